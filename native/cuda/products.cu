// Matrix products.
#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

void CudaOps::do_linear(const Tensor&, const Linear&, Activation, const Tensor&) {
  fail(ErrorCode::internal, "do_linear: not written");
}

void CudaOps::do_linear_add(const Tensor&, const Tensor&, const Linear&) {
  fail(ErrorCode::internal, "do_linear_add: not written");
}

}  // namespace paella::cuda
