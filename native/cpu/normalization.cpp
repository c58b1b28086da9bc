#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "cpu/cpu_ops.h"

namespace paella::cpu {

Element element_of(DType type) {
  expect(type == DType::f32 || type == DType::bf16, "expected f32 or bf16, got ", name_of(type));
  return type == DType::bf16 ? Element::bf16 : Element::f32;
}

void CpuOps::do_layer_norm(const Tensor& x, float epsilon, const Tensor& out) {
  const std::int64_t channels = x.shape[-1];
  const auto width = static_cast<std::int64_t>(size_of(out.dtype));
  parallel_range(threads(), x.shape.rows(), 0.3 * static_cast<double>(channels),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   kernels().layer_norm(x.as<float>() + begin * channels, end - begin, channels, epsilon,
                                        out.as<std::uint8_t>() + begin * channels * width, element_of(out.dtype));
                 });
}

void CpuOps::do_rms_norm(const Tensor& x, const Constant& weight, float epsilon, const Tensor& out) {
  const std::int64_t channels = x.shape[-1];
  const auto width = static_cast<std::int64_t>(size_of(out.dtype));
  parallel_range(
      threads(), x.shape.rows(), 0.3 * static_cast<double>(channels), [&](std::int64_t begin, std::int64_t end, int) {
        kernels().rms_norm(x.as<float>() + begin * channels, end - begin, channels, cpu(weight).as<float>(), epsilon,
                           out.as<std::uint8_t>() + begin * channels * width, element_of(out.dtype));
      });
}

void grn_sums(Context& context, const void* h, DType type, std::int64_t pixels, std::int64_t channels, float* sums) {
  const auto width = static_cast<std::int64_t>(size_of(type));
  // Few pixels may still be many channels: split those, too. Columns do not influence each other.
  const std::int64_t runs = grn_runs(pixels), block = 512, blocks = (channels + block - 1) / block;
  parallel_range(context.threads, runs * blocks, 0.1 * static_cast<double>(grn_run * std::min(block, channels)),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t item = begin; item < end; ++item) {
                     const std::int64_t run = item / blocks, column = item % blocks * block;
                     const std::int64_t first = run * grn_run, rows = std::min(grn_run, pixels - first);
                     const auto* from = static_cast<const std::uint8_t*>(h) + (first * channels + column) * width;
                     context.kernels->square_sums(from, element_of(type), rows, channels,
                                                  std::min(block, channels - column), sums + run * channels + column);
                   }
                 });
}

void grn_factors(const float* sums, std::int64_t runs, std::int64_t channels, const float* gamma, float* factors) {
  double total = 0;
  for (std::int64_t c = 0; c < channels; ++c) factors[c] = sums[c];
  for (std::int64_t run = 1; run < runs; ++run)
    for (std::int64_t c = 0; c < channels; ++c) factors[c] += sums[run * channels + c];
  for (std::int64_t c = 0; c < channels; ++c) {
    factors[c] = std::sqrt(factors[c]);
    total += static_cast<double>(factors[c]);
  }
  const float scale = 1.0f / (static_cast<float>(total / static_cast<double>(channels)) + 1e-6f);
  for (std::int64_t c = 0; c < channels; ++c) factors[c] = 1.0f + gamma[c] * (factors[c] * scale);
}

void grn_apply(Context& context, void* h, DType type, std::int64_t pixels, std::int64_t channels,
               const float* factors) {
  const auto width = static_cast<std::int64_t>(size_of(type));
  parallel_range(context.threads, pixels, 0.1 * static_cast<double>(channels),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   auto* at = static_cast<std::uint8_t*>(h) + begin * channels * width;
                   context.kernels->scale_channels(at, element_of(type), end - begin, channels, factors, at);
                 });
}

void CpuOps::do_grn(const Tensor& h, const Constant& gamma) {
  const std::int64_t pixels = h.shape[1] * h.shape[2], channels = h.shape[3], runs = grn_runs(pixels);
  float* sums = context_.scratch_of<float>((runs + 1) * channels);
  float* factors = sums + runs * channels;
  for (std::int64_t image = 0; image < h.shape[0]; ++image) {
    void* data = h.slice(image, 1).data;
    grn_sums(context_, data, h.dtype, pixels, channels, sums);
    grn_factors(sums, runs, channels, cpu(gamma).as<float>(), factors);
    grn_apply(context_, data, h.dtype, pixels, channels, factors);
  }
}

}  // namespace paella::cpu
