// 3×3 depthwise convolutions, alone and fused with the LayerNorm around them.
#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

Tensor CudaOps::depthwise_norm(const Tensor&, const Tensor*, const ConstantPtr&, const ConstantPtr&, Padding, float) {
  fail(ErrorCode::internal, "depthwise_norm: not written");
}

void CudaOps::norm_depthwise_add(const Tensor&, const ConstantPtr&, const ConstantPtr&, Padding, float) {
  fail(ErrorCode::internal, "norm_depthwise_add: not written");
}

void CudaOps::do_depthwise_conv(const Tensor&, const Tensor*, const Constant&, const Constant&, Padding,
                                const Tensor&) {
  fail(ErrorCode::internal, "do_depthwise_conv: not written");
}

}  // namespace paella::cuda
