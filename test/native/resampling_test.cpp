#include <numeric>

#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

std::size_t index(const Shape& shape, std::int64_t image, std::int64_t y, std::int64_t x, std::int64_t c) {
  return static_cast<std::size_t>(((image * shape[1] + y) * shape[2] + x) * shape[3] + c);
}

const Shape fine_shapes[] = {{1, 2, 2, 1}, {2, 4, 6, 5}, {3, 6, 2, 24}, {1, 2, 4, 12}, {5, 2, 8, 4}, {1, 4, 2, 642}};

}  // namespace

TEST("space_to_depth and depth_to_space are inverse, channel (2·dy + dx)·C + c") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    for (const Shape& fine : fine_shapes) {
      const Shape coarse{fine[0], fine[1] / 2, fine[2] / 2, fine[3] * 4};
      std::vector<float> x(static_cast<std::size_t>(fine.elements()));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251);  // exact in 16 bits
      const auto found = compute(*backend, {input_f32(fine, x)}, coarse,
                                 [&](Ops& ops, auto in) { return ops.space_to_depth(as_operand(ops, in[0])); });
      bool right = true;
      for (std::int64_t image = 0; image < fine[0]; ++image)
        for (std::int64_t y = 0; y < fine[1]; ++y)
          for (std::int64_t column = 0; column < fine[2]; ++column)
            for (std::int64_t c = 0; c < fine[3]; ++c)
              right &= found[index(coarse, image, y / 2, column / 2, (2 * (y % 2) + column % 2) * fine[3] + c)] ==
                       x[index(fine, image, y, column, c)];
      CHECK(right);
      const auto back = compute(*backend, {input_f32(coarse, found)}, fine,
                                [&](Ops& ops, auto in) { return ops.depth_to_space(as_operand(ops, in[0])); });
      CHECK(same_bits(back, x));
    }
  }
}

TEST("patches_4x4: stride 2, zero padding 1, channel (4·ky + kx)·C + c") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    for (const Shape& shape : fine_shapes) {
      const Shape out{shape[0], shape[1] / 2, shape[2] / 2, shape[3] * 16};
      std::vector<float> x(static_cast<std::size_t>(shape.elements()));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251 + 1);
      const auto found = compute(*backend, {input_f32(shape, x)}, out,
                                 [&](Ops& ops, auto in) { return ops.patches_4x4(in[0], ops.operand_type()); });
      bool right = true;
      for (std::int64_t image = 0; image < out[0]; ++image)
        for (std::int64_t y = 0; y < out[1]; ++y)
          for (std::int64_t column = 0; column < out[2]; ++column)
            for (std::int64_t tap = 0; tap < 16; ++tap)
              for (std::int64_t c = 0; c < shape[3]; ++c) {
                const std::int64_t sy = 2 * y + tap / 4 - 1, sx = 2 * column + tap % 4 - 1;
                const bool inside = sy >= 0 && sy < shape[1] && sx >= 0 && sx < shape[2];
                right &= found[index(out, image, y, column, tap * shape[3] + c)] ==
                         (inside ? x[index(shape, image, sy, sx, c)] : 0);
              }
      CHECK(right);
    }
  }
}

TEST("overlap_add_4x4: what a transposed 4×4 convolution with stride 2 and padding 1 adds up") {
  for (const Variant& variant : variants()) {
    if (variant.precision != "fp32") continue;
    const auto backend = make(variant);
    double worst = 0;
    for (const Shape& coarse :
         {Shape{1, 1, 1, 3}, Shape{2, 3, 2, 5}, Shape{1, 4, 5, 32}, Shape{5, 1, 3, 12}, Shape{1, 2, 1, 640}}) {
      const Shape in_shape = coarse.with_last(coarse[3] * 16), out{coarse[0], coarse[1] * 2, coarse[2] * 2, coarse[3]};
      Random random(7);
      const auto x = random.normal(in_shape.elements()), b = random.normal(coarse[3]);
      const auto bias = constant(*backend, b, {coarse[3]}, Layout::vector);
      const auto found = compute(*backend, {input_f32(in_shape, x)}, out,
                                 [&](Ops& ops, auto in) { return ops.overlap_add_4x4(in[0], bias); });
      Doubles expected(found.size());
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = b[i % b.size()];
      for (std::int64_t image = 0; image < coarse[0]; ++image)
        for (std::int64_t y = 0; y < coarse[1]; ++y)
          for (std::int64_t column = 0; column < coarse[2]; ++column)
            for (std::int64_t tap = 0; tap < 16; ++tap)
              for (std::int64_t c = 0; c < coarse[3]; ++c) {
                const std::int64_t oy = 2 * y + tap / 4 - 1, ox = 2 * column + tap % 4 - 1;
                if (oy < 0 || oy >= out[1] || ox < 0 || ox >= out[2]) continue;
                expected[index(out, image, oy, ox, c)] += x[index(in_shape, image, y, column, tap * coarse[3] + c)];
              }
      worst = std::max(worst, error_of(found, expected));
    }
    CHECK_BOUND("overlap_add_4x4, " + variant.text(), worst, 1e-6);
  }
}
