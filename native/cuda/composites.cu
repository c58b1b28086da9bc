// Composites that save passes over memory. Their default bodies in core/ops.cpp say what they mean.
#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

void CudaOps::res_block_tail(const Tensor&, const Tensor&, const ResBlockTail&, const Tensor*) {
  fail(ErrorCode::internal, "res_block_tail: not written");
}

}  // namespace paella::cuda
