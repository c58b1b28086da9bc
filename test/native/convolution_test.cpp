#include <algorithm>

#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

double at(const std::vector<float>& x, const Shape& shape, std::int64_t image, std::int64_t row, std::int64_t column,
          std::int64_t channel, Padding padding) {
  if (padding == Padding::replicate) {
    row = std::clamp<std::int64_t>(row, 0, shape[1] - 1);
    column = std::clamp<std::int64_t>(column, 0, shape[2] - 1);
  }
  if (row < 0 || row >= shape[1] || column < 0 || column >= shape[2]) return 0;
  return x[static_cast<std::size_t>(((image * shape[1] + row) * shape[2] + column) * shape[3] + channel)];
}

}  // namespace

TEST("depthwise_conv: both paddings, odd sizes, with and without skip") {
  for (const Variant& variant : variants()) {
    if (variant.precision != "fp32") continue;  // f32 in all precisions
    const auto backend = make(variant);
    double worst = 0;
    for (const Shape& shape :
         {Shape{1, 1, 1, 2}, Shape{1, 1, 1, 4}, Shape{2, 3, 2, 6}, Shape{4, 5, 7, 34}, Shape{2, 9, 16, 64},
          Shape{3, 7, 1, 12}, Shape{5, 1, 9, 24}, Shape{2, 33, 35, 8}, Shape{1, 2, 3, 640}})
      for (const Padding padding : {Padding::zero, Padding::replicate})
        for (const bool with_skip : {false, true})
          for (const std::int64_t skip_images : {shape[0], std::int64_t{1}}) {
            Random random(5);
            const std::int64_t c = shape[3], inputs = with_skip ? 2 : 1;
            const Shape skip_shape = shape.with_first(skip_images);
            const auto x = random.normal(shape.elements()), skip = random.normal(skip_shape.elements());
            const auto w = random.normal(c * inputs * 9), b = random.normal(c);
            const auto weight = constant(*backend, w, {c, inputs, 3, 3}, Layout::depthwise);
            const auto bias = constant(*backend, b, {c}, Layout::vector);
            const auto found =
                compute(*backend, {input_f32(shape, x), input_f32(skip_shape, skip)}, shape, [&](Ops& ops, auto in) {
                  return ops.depthwise_conv(in[0], with_skip ? &in[1] : nullptr, weight, bias, padding);
                });
            Doubles expected(found.size());
            std::size_t i = 0;
            for (std::int64_t image = 0; image < shape[0]; ++image)
              for (std::int64_t y = 0; y < shape[1]; ++y)
                for (std::int64_t column = 0; column < shape[2]; ++column)
                  for (std::int64_t g = 0; g < c; ++g, ++i) {
                    expected[i] = b[static_cast<std::size_t>(g)];
                    for (std::int64_t input = 0; input < inputs; ++input)
                      for (std::int64_t tap = 0; tap < 9; ++tap) {
                        // Group g of concat(x, skip) holds channels 2g and 2g + 1 (spec 1.5).
                        const std::int64_t from = with_skip ? 2 * g + input : g;
                        const std::int64_t row = y + tap / 3 - 1, at_column = column + tap % 3 - 1;
                        const double value =
                            from < c ? at(x, shape, image, row, at_column, from, padding)
                                     : at(skip, skip_shape, image % skip_images, row, at_column, from - c, padding);
                        expected[i] += value * w[static_cast<std::size_t>((g * inputs + input) * 9 + tap)];
                      }
                  }
            worst = std::max(worst, error_of(found, expected));
          }
    CHECK_BOUND("depthwise_conv, " + variant.text(), worst, 1e-6);
  }
}

TEST("depthwise_conv: same bits for any number of threads and images") {
  const Shape shape{5, 6, 11, 40};
  Random random(6);
  const auto x = random.normal(shape.elements()), w = random.normal(40 * 9), b = random.normal(40);
  const std::int64_t each = shape.elements() / 5;
  std::vector<Variant> same;
  for (const int threads : {1, 2, 3}) same.push_back({.threads = threads});
  same.push_back({.backend = "cuda"});
  std::vector<float> all;
  for (const Variant& variant : same) {
    const auto backend = make(variant);
    if (variant.backend == "cuda") all.clear();  // agrees with itself
    const auto weight = constant(*backend, w, {40, 1, 3, 3}, Layout::depthwise);
    const auto bias = constant(*backend, b, {40}, Layout::vector);
    const Body body = [&](Ops& ops, auto in) {
      return ops.depthwise_conv(in[0], nullptr, weight, bias, Padding::zero);
    };
    const auto found = compute(*backend, {input_f32(shape, x)}, shape, body);
    if (all.empty()) all = found;
    CHECK(same_bits(found, all));
    const auto last =
        compute(*backend, {input_f32(shape.with_first(1), {x.end() - each, x.end()})}, shape.with_first(1), body);
    CHECK(same_bits(last, {all.end() - each, all.end()}));
  }
}

namespace {

enum class Fused { depthwise_norm, depthwise_norm_skip, norm_depthwise_add };

// Layouts of threads differ by the size of the image and the number of channels: cases for each.
const Shape fused_shapes[] = {{1, 1, 1, 4},    {2, 3, 5, 6},    {3, 1, 7, 12},    {5, 6, 1, 24},
                              {2, 16, 17, 36}, {1, 33, 35, 8},  {1, 4, 5, 640},   {1, 3, 3, 1280},
                              {1, 1, 3, 2560}, {1, 2, 1, 5120}, {1, 1, 257, 1024}};

std::vector<float> apply(Backend& backend, Fused fused, Padding padding, const Shape& shape,
                         const std::vector<float>& x, const Shape& skip_shape, const std::vector<float>& skip) {
  const std::int64_t c = shape[3], inputs = fused == Fused::depthwise_norm_skip ? 2 : 1;
  Random random(21);
  const auto weight = constant(backend, random.normal(c * inputs * 9, 0.3f), {c, inputs, 3, 3}, Layout::depthwise);
  const auto bias = constant(backend, random.normal(c), {c}, Layout::vector);
  return compute(backend, {input_f32(shape, x), input_f32(skip_shape, skip)}, shape, [&](Ops& ops, auto in) {
    if (fused != Fused::norm_depthwise_add)
      return ops.depthwise_norm(in[0], inputs == 2 ? &in[1] : nullptr, weight, bias, padding, 1e-6f);
    ops.norm_depthwise_add(in[0], weight, bias, padding, 1e-6f);
    return in[0];
  });
}

}  // namespace

TEST("convolution and normalisation: fused and plain agree, images keep their bits in a batch") {
  for (const Variant& variant : cuda_variants()) {
    const auto backend = make(variant);
    const auto plain = make({.backend = variant.backend, .precision = variant.precision, .fused = false});
    for (const Fused fused : {Fused::depthwise_norm, Fused::depthwise_norm_skip, Fused::norm_depthwise_add}) {
      double worst = 0;
      bool same = true;
      for (const Shape& shape : fused_shapes) {
        // As the networks use them: zeros around the U-Net's, copies of the border around the VQGAN's; small ones both.
        const bool vqgan = fused == Fused::norm_depthwise_add;
        if (vqgan && shape[3] > 1280) continue;
        for (const Padding padding : {Padding::replicate, Padding::zero}) {
          if ((padding == Padding::replicate) != vqgan && shape.elements() > 1000) continue;
          Random random(22);
          const Shape skip_shape = shape.with_first(1), alone = skip_shape;
          const auto x = random.normal(shape.elements()), skip = random.normal(skip_shape.elements());
          const auto found = apply(*backend, fused, padding, shape, x, skip_shape, skip);
          worst = std::max(worst, error_of(found, doubles(apply(*plain, fused, padding, shape, x, skip_shape, skip))));
          const auto last = apply(*backend, fused, padding, alone, {x.end() - alone.elements(), x.end()}, alone, skip);
          same &= same_bits(last, {found.end() - alone.elements(), found.end()});
        }
      }
      const char* const names[] = {"depthwise_norm", "depthwise_norm with skip", "norm_depthwise_add"};
      const std::string name = names[static_cast<int>(fused)] + (", " + variant.text());
      check(same, __FILE__, __LINE__, name + ": an image's bits depend on the batch");
      CHECK_BOUND(name, worst, variant.precision == "fp32" ? 2e-6 : variant.precision == "fp16" ? 2e-3 : 1e-2);
    }
  }
}
