#include <cmath>

#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

Doubles layer_norm(const Doubles& x, std::int64_t channels, double epsilon) {
  Doubles out(x.size());
  const auto n = static_cast<std::size_t>(channels);
  for (std::size_t row = 0; row < x.size(); row += n) {
    double mean = 0, variance = 0;
    for (std::size_t c = 0; c < n; ++c) mean += x[row + c];
    mean /= static_cast<double>(n);
    for (std::size_t c = 0; c < n; ++c) variance += (x[row + c] - mean) * (x[row + c] - mean);
    for (std::size_t c = 0; c < n; ++c)
      out[row + c] = (x[row + c] - mean) / std::sqrt(variance / static_cast<double>(n) + epsilon);
  }
  return out;
}

// [B, H, W, C] → h·(1 + γ·G/(mean G + 1e-6))
Doubles grn(const Doubles& h, std::int64_t images, std::int64_t channels, const std::vector<float>& gamma) {
  Doubles out = h;
  const auto n = static_cast<std::size_t>(channels), each = h.size() / static_cast<std::size_t>(images);
  for (std::size_t image = 0; image < static_cast<std::size_t>(images); ++image) {
    Doubles norms(n);
    double mean = 0;
    for (std::size_t i = 0; i < each; ++i) norms[i % n] += h[image * each + i] * h[image * each + i];
    for (double& norm : norms) mean += (norm = std::sqrt(norm)) / static_cast<double>(n);
    for (std::size_t i = 0; i < each; ++i) out[image * each + i] *= 1 + gamma[i % n] * norms[i % n] / (mean + 1e-6);
  }
  return out;
}

const Shape shapes[] = {{1, 1, 1, 1},    {1, 1, 1, 4},    {1, 3, 5, 17},   {5, 2, 3, 33},
                        {3, 1, 7, 12},   {1, 9, 16, 64},  {2, 8, 8, 640},  {1, 2, 1, 1280},
                        {1, 1, 3, 2566}, {5, 1, 1, 5120}, {1, 1, 2, 16388}};

}  // namespace

TEST("layer_norm") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    double worst = 0;
    for (const Shape& shape : shapes) {
      Random random(1);
      auto x = random.normal(shape.elements());
      for (float& value : x) value += 3;  // a mean that must be taken off
      for (const DType out : {DType::f32, backend->operand_type()})
        worst = std::max(worst, error_of(compute(*backend, {input_f32(shape, x)}, shape,
                                                 [&](Ops& ops, auto in) { return ops.layer_norm(in[0], 1e-6f, out); }),
                                         layer_norm(doubles(x), shape[-1], 1e-6)));
    }
    CHECK_BOUND("layer_norm, " + variant.text(), worst, bound_for(*backend, 1e-6, 5e-3));
  }
}

TEST("rms_norm") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    double worst = 0;
    for (const Shape& shape : shapes) {
      Random random(2);
      const auto x = random.normal(shape.elements()), w = random.normal(shape[-1]);
      const auto weight = constant(*backend, w, {shape[-1]}, Layout::vector);
      Doubles expected = doubles(x);
      const auto n = static_cast<std::size_t>(shape[-1]);
      for (std::size_t row = 0; row < x.size(); row += n) {
        double squares = 0;
        for (std::size_t c = 0; c < n; ++c) squares += expected[row + c] * expected[row + c];
        for (std::size_t c = 0; c < n; ++c)
          expected[row + c] *= w[c] / std::sqrt(squares / static_cast<double>(n) + 1e-6);
      }
      worst = std::max(
          worst,
          error_of(compute(*backend, {input_f32(shape, x)}, shape,
                           [&](Ops& ops, auto in) { return ops.rms_norm(in[0], weight, 1e-6f, ops.operand_type()); }),
                   expected));
    }
    CHECK_BOUND("rms_norm, " + variant.text(), worst, bound_for(*backend, 1e-6, 5e-3));
  }
}

TEST("grn: norms per image and channel") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    double worst = 0;
    for (const Shape& shape : shapes) {
      Random random(3);
      const auto h = random.normal(shape.elements()), g = random.normal(shape[-1]);
      const auto gamma = constant(*backend, g, {shape[-1]}, Layout::vector);
      const auto found = compute(*backend, {input_f32(shape, h)}, shape, [&](Ops& ops, auto in) {
        const Tensor operand = as_operand(ops, in[0]);
        ops.grn(operand, gamma);
        return operand;
      });
      worst = std::max(worst, error_of(found, grn(doubles(h), shape[0], shape[-1], g)));
    }
    CHECK_BOUND("grn, " + variant.text(), worst, bound_for(*backend, 1e-6, 1e-2));
  }
}

TEST("normalisation: same bits for any number of threads and images") {
  std::vector<std::vector<Variant>> groups;  // those of a group agree
  for (const std::string& precision : precisions()) {
    groups.emplace_back();
    for (const int threads : {1, 2, 3}) groups.back().push_back({.precision = precision, .threads = threads});
  }
  for (const Variant& variant : cuda_variants()) groups.push_back({variant});
  for (const Shape& shape : {Shape{5, 12, 13, 72}, Shape{5, 5, 14, 1284}}) {
    const std::int64_t channels = shape[3], each = shape.elements() / 5;
    Random random(4);
    const auto x = random.normal(shape.elements(), 0.5f), g = random.normal(channels);
    for (const auto& group : groups) {
      std::vector<float> all;
      for (const Variant& variant : group) {
        const auto backend = make(variant);
        const auto gamma = constant(*backend, g, {channels}, Layout::vector);
        const auto both = [&](Ops& ops, std::span<const Tensor> in) {
          const Tensor h = ops.layer_norm(in[0], 1e-6f, ops.operand_type());
          ops.grn(h, gamma);
          return h;
        };
        const auto found = compute(*backend, {input_f32(shape, x)}, shape, both);
        if (all.empty()) all = found;
        CHECK(same_bits(found, all));
        for (std::int64_t image = 0; image < 5; ++image) {
          const std::vector<float> own(x.begin() + image * each, x.begin() + (image + 1) * each);
          const auto alone = compute(*backend, {input_f32(shape.with_first(1), own)}, shape.with_first(1), both);
          CHECK(same_bits(alone, {all.begin() + image * each, all.begin() + (image + 1) * each}));
        }
      }
    }
  }
}
