// Attention.
#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

void CudaOps::do_image_attention(const Tensor&, const ConditionKeys&, int, const Tensor&) {
  fail(ErrorCode::internal, "do_image_attention: not written");
}

void CudaOps::do_text_attention(const Tensor&, const Tensor&, int, const Tensor&) {
  fail(ErrorCode::internal, "do_text_attention: not written");
}

}  // namespace paella::cuda
