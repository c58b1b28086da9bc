#include "cuda/sampler.h"

#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

void CudaSampler::initial_noise(const Tensor&, std::int32_t, const Tensor&) {
  fail(ErrorCode::internal, "not written");
}
void CudaSampler::guide(const Tensor&, const Tensor&, const Tensor&) { fail(ErrorCode::internal, "not written"); }
void CudaSampler::sample(const Tensor&, const ConstantPtr&, const StepInputs&, SampleMode, bool, const Tensor&) {
  fail(ErrorCode::internal, "not written");
}
void CudaSampler::sample_logits(const Tensor&, const StepInputs&, SampleMode, bool, const Tensor&) {
  fail(ErrorCode::internal, "not written");
}
void CudaSampler::renoise(const Tensor&, const Tensor&, const StepInputs&) { fail(ErrorCode::internal, "not written"); }
void CudaSampler::start(const Tensor&, const Tensor&, const Tensor&) { fail(ErrorCode::internal, "not written"); }
void CudaSampler::advance(const Tensor&) { fail(ErrorCode::internal, "not written"); }

}  // namespace paella::cuda
