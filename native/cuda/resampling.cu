// Resampling.
#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

void CudaOps::do_space_to_depth(const Tensor&, const Tensor&) {
  fail(ErrorCode::internal, "do_space_to_depth: not written");
}

void CudaOps::do_depth_to_space(const Tensor&, const Tensor&) {
  fail(ErrorCode::internal, "do_depth_to_space: not written");
}

void CudaOps::do_patches_4x4(const Tensor&, const Tensor&) { fail(ErrorCode::internal, "do_patches_4x4: not written"); }

void CudaOps::do_overlap_add_4x4(const Tensor&, const Constant&, const Tensor&) {
  fail(ErrorCode::internal, "do_overlap_add_4x4: not written");
}

}  // namespace paella::cuda
