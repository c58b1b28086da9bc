// Elementwise operations and gathers.
#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

void CudaOps::do_gather(const Constant&, const Tensor&, const Tensor&) {
  fail(ErrorCode::internal, "do_gather: not written");
}

void CudaOps::do_gather_patches(std::span<const ConstantPtr, 4>, const Constant&, const Tensor&, const Tensor&) {
  fail(ErrorCode::internal, "do_gather_patches: not written");
}

void CudaOps::do_modulate(const Tensor&, const Tensor&) { fail(ErrorCode::internal, "do_modulate: not written"); }

void CudaOps::do_gated(const Tensor&, Activation, const Tensor&) { fail(ErrorCode::internal, "do_gated: not written"); }

void CudaOps::do_activate(const Tensor&, Activation, const Tensor&) {
  fail(ErrorCode::internal, "do_activate: not written");
}

void CudaOps::do_add(const Tensor&, const Tensor&) { fail(ErrorCode::internal, "do_add: not written"); }

void CudaOps::do_columns(const Tensor&, std::int64_t, const Tensor&) {
  fail(ErrorCode::internal, "do_columns: not written");
}

void CudaOps::do_repeat(const Tensor&, const Tensor&) { fail(ErrorCode::internal, "do_repeat: not written"); }

void CudaOps::do_copy(const Tensor&, const Tensor&) { fail(ErrorCode::internal, "do_copy: not written"); }

void CudaOps::do_select_row(const Tensor&, const Tensor&, const Tensor&) {
  fail(ErrorCode::internal, "do_select_row: not written");
}

void CudaOps::do_to_pixels(const Tensor&, const Tensor&) { fail(ErrorCode::internal, "do_to_pixels: not written"); }

void CudaOps::do_from_pixels(const Tensor&, const Tensor&) { fail(ErrorCode::internal, "do_from_pixels: not written"); }

void CudaOps::do_nearest_code(const Tensor&, const Constant&, const Tensor&) {
  fail(ErrorCode::internal, "do_nearest_code: not written");
}

}  // namespace paella::cuda
