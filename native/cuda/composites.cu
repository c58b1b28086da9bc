// Composites that save passes over memory. Their default bodies in core/ops.cpp say what they mean.
#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/kernels/grn.cuh"
#include "cuda/launch.cuh"
#include "cuda/products.h"

namespace paella::cuda {

namespace {

constexpr int factor_threads = 1024;

// h [images, pixels, C] → sums [images, runs, C].
void sum_squares(Runtime& runtime, const Tensor& h, std::int64_t images, std::int64_t pixels, const Tensor& sums) {
  const std::int64_t channels = h.shape[-1], runs = ceil_div(pixels, sum_run);
  with_type(h.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (channels % 2 == 0)
      launch(runtime, grn_sums_kernel<T, 2>, grid(ceil_div(channels, 256), runs, images), 128, 0, h.as<const T>(),
             static_cast<int>(pixels), static_cast<int>(channels), sums.as<float>());
    else
      launch(runtime, grn_sums_kernel<T, 1>, grid(ceil_div(channels, 128), runs, images), 128, 0, h.as<const T>(),
             static_cast<int>(pixels), static_cast<int>(channels), sums.as<float>());
  });
}

}  // namespace

// The normalisation costs no pass of its own: the first product sums the squares of what it stores, the second
// multiplies its operand by the factors on the way in.
void CudaOps::res_block_tail(const Tensor& residual, const Tensor& operand, const ResBlockTail& weights,
                             const Tensor* modulation) {
  if (!context_.fused) return Ops::res_block_tail(residual, operand, weights, modulation);
  const std::int64_t images = operand.shape[0], pixels = operand.shape[1] * operand.shape[2];
  const std::int64_t channels = operand.shape[3], hidden_channels = weights.expand.weight->shape[0];
  const std::int64_t runs = ceil_div(pixels, sum_run);
  Arena::Scope scope(arena_);
  const Tensor hidden = allocate({images * pixels, hidden_channels}, operand.dtype);
  const Tensor sums = allocate({images, runs, hidden_channels}, DType::f32);
  const Tensor factors = allocate({images, hidden_channels}, DType::f32);
  if (measuring() || images * pixels == 0) return;

  Product expand;
  expand.x = operand.data;
  expand.x_type = operand.dtype;
  expand.rows = images * pixels;
  expand.weight = weights.expand.weight.get();
  if (weights.expand.bias) expand.bias = cuda(*weights.expand.bias).as<float>();
  expand.activation = Activation::gelu_erf;
  expand.out = hidden.data;
  expand.out_type = hidden.dtype;
  expand.pixels = pixels;
  if (can_sum_squares(context_, expand)) expand.sums = sums.as<float>();
  context_.check_interrupt();
  run_product(context_, expand);
  if (expand.sums == nullptr) sum_squares(runtime(), hidden, images, pixels, sums);
  launch(runtime(), grn_factors_kernel<factor_threads>, grid(images), factor_threads, 0, sums.as<const float>(),
         static_cast<int>(runs), static_cast<int>(hidden_channels), cuda(*weights.gamma).as<float>(),
         factors.as<float>());

  Product contract;
  contract.x = hidden.data;
  contract.x_type = hidden.dtype;
  contract.rows = images * pixels;
  contract.weight = weights.contract.weight.get();
  if (weights.contract.bias) contract.bias = cuda(*weights.contract.bias).as<float>();
  contract.accumulate = true;
  contract.out = residual.data;
  contract.out_type = DType::f32;
  contract.factors = factors.as<float>();
  contract.pixels = pixels;
  if (modulation != nullptr) {
    contract.scale = modulation->as<float>();
    contract.shift = contract.scale + channels;
  }
  context_.check_interrupt();
  run_product(context_, contract);
}

}  // namespace paella::cuda
