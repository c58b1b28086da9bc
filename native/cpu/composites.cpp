// Composites that save passes over memory. Their default bodies in core/ops.cpp say what they mean; `fused` false runs
// those instead, and tests compare the two.
#include <algorithm>

#include "core/error.h"
#include "cpu/cpu_ops.h"

namespace paella::cpu {

namespace {

// Rows that are taken through a product and what follows at a time, so that they are still in the last-level cache.
std::int64_t rows_in_cache(std::int64_t channels, DType type) {
  constexpr std::int64_t budget = 8 << 20;
  const std::int64_t rows = budget / (channels * static_cast<std::int64_t>(size_of(type)));
  return std::max<std::int64_t>(rows / 512 * 512, 512);  // a multiple of grn_run, and enough for products to be fast
}
static_assert(512 % grn_run == 0);

}  // namespace

Tensor CpuOps::depthwise_norm(const Tensor& x, const Tensor* skip, const ConstantPtr& weight, const ConstantPtr& bias,
                              Padding padding, float epsilon) {
  if (!context_.fused) return Ops::depthwise_norm(x, skip, weight, bias, padding, epsilon);
  Tensor result = allocate(x.shape, operand_type());
  if (!measuring()) convolve(x, skip, *weight, *bias, padding, Then::normalise, epsilon, result);
  return result;
}

void CpuOps::res_block_tail(const Tensor& residual, const Tensor& operand, const ResBlockTail& weights,
                            const Tensor* modulation) {
  if (!context_.fused) return Ops::res_block_tail(residual, operand, weights, modulation);
  const std::int64_t images = operand.shape[0], pixels = operand.shape[1] * operand.shape[2];
  const std::int64_t channels = operand.shape[3], hidden_channels = weights.expand.weight->shape[0];
  const std::int64_t runs = grn_runs(pixels), chunk = rows_in_cache(hidden_channels, operand.dtype);
  Arena::Scope scope(arena_);
  const Tensor hidden = allocate({images * pixels, hidden_channels}, operand.dtype);
  const Tensor sums = allocate({images, runs, hidden_channels}, DType::f32);
  const Tensor factors = allocate({images, hidden_channels}, DType::f32);
  const Tensor scale = allocate({channels}, DType::f32);  // 1 + a of the modulation
  if (measuring()) return;

  const Tensor rows = operand.reshaped({images * pixels, channels});
  const Tensor sum_rows = residual.reshaped({images * pixels, channels});
  // Whole images at once where they are small, parts of an image where they are large.
  const std::int64_t images_at_once = std::max<std::int64_t>(1, chunk / pixels), part = std::min(chunk, pixels);
  for (std::int64_t image = 0; image < images; image += images_at_once) {
    const std::int64_t count = std::min(images_at_once, images - image);
    for (std::int64_t pixel = 0; pixel < pixels; pixel += part) {
      const std::int64_t stretch = std::min(part, pixels - pixel), first = image * pixels + pixel;
      const std::int64_t total = stretch * count;  // count > 1 only if stretch is the whole image
      do_linear(rows.slice(first, total), weights.expand, Activation::gelu_erf, hidden.slice(first, total));
      for (std::int64_t i = 0; i < count; ++i)
        grn_sums(context_, hidden.slice(first + i * pixels, stretch).data, hidden.dtype, stretch, hidden_channels,
                 sums.as<float>() + ((image + i) * runs + pixel / grn_run) * hidden_channels);
    }
  }
  parallel_range(threads(), images, 2.0 * static_cast<double>(hidden_channels * (runs + 1)),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t image = begin; image < end; ++image)
                     grn_factors(sums.as<float>() + image * runs * hidden_channels, runs, hidden_channels,
                                 cpu(*weights.gamma).as<float>(), factors.as<float>() + image * hidden_channels);
                 });

  Epilogue epilogue{.accumulate = true};
  if (weights.contract.bias) epilogue.bias = cpu(*weights.contract.bias).as<float>();
  if (modulation != nullptr) {
    const auto* a = modulation->as<float>();
    for (std::int64_t c = 0; c < channels; ++c) scale.as<float>()[c] = 1.0f + a[c];
    epilogue.factor = scale.as<float>();
    epilogue.shift = a + channels;
  }
  for (std::int64_t image = 0; image < images; image += images_at_once) {
    const std::int64_t count = std::min(images_at_once, images - image);
    for (std::int64_t pixel = 0; pixel < pixels; pixel += part) {
      const std::int64_t stretch = std::min(part, pixels - pixel), first = image * pixels + pixel;
      if (cpu(*weights.contract.weight).layout == Layout::matrix_w8a8) {
        // GRN's factors are applied where the operand is rounded to 8 bits.
        for (std::int64_t i = 0; i < count; ++i) {
          context_.check_interrupt();
          context_.products->run(hidden.slice(first + i * pixels, 1).data, hidden.dtype, stretch,
                                 cpu(*weights.contract.weight), epilogue, sum_rows.slice(first + i * pixels, 1).data,
                                 DType::f32, factors.as<float>() + (image + i) * hidden_channels);
        }
        continue;
      }
      for (std::int64_t i = 0; i < count; ++i)
        grn_apply(context_, hidden.slice(first + i * pixels, stretch).data, hidden.dtype, stretch, hidden_channels,
                  factors.as<float>() + (image + i) * hidden_channels);
      context_.check_interrupt();
      context_.products->run(hidden.slice(first, 1).data, hidden.dtype, stretch * count, cpu(*weights.contract.weight),
                             epilogue, sum_rows.slice(first, 1).data, DType::f32);
    }
  }
}

void CpuOps::norm_depthwise_add(const Tensor& x, const ConstantPtr& weight, const ConstantPtr& bias, Padding padding,
                                float epsilon) {
  if (!context_.fused) return Ops::norm_depthwise_add(x, weight, bias, padding, epsilon);
  Arena::Scope scope(arena_);
  const Tensor normalised = layer_norm(x, epsilon, DType::f32);
  if (!measuring()) convolve(normalised, nullptr, *weight, *bias, padding, Then::add, 0, x);
}

void CpuOps::mlp_add(const Tensor& residual, const Tensor& operand, const Linear& expand, const Linear& contract) {
  if (!context_.fused) return Ops::mlp_add(residual, operand, expand, contract);
  const std::int64_t count = operand.shape.rows(), hidden_channels = expand.weight->shape[0];
  const std::int64_t chunk = std::min(count, rows_in_cache(hidden_channels, operand.dtype));
  Arena::Scope scope(arena_);
  const Tensor hidden = allocate({chunk, hidden_channels}, operand.dtype);  // never the whole image: memory, and cache
  if (measuring()) return;
  const Tensor rows = operand.reshaped({count, operand.shape[-1]});
  const Tensor sum_rows = residual.reshaped({count, residual.shape[-1]});
  for (std::int64_t first = 0; first < count; first += chunk) {
    const std::int64_t total = std::min(chunk, count - first);
    do_linear(rows.slice(first, total), expand, Activation::gelu_erf, hidden.slice(0, total));
    do_linear_add(sum_rows.slice(first, total), hidden.slice(0, total), contract);
  }
}

}  // namespace paella::cpu
