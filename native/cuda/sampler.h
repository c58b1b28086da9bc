// Drawing of tokens on the device: docs/randomness.md, spec 4.1.
#pragma once

#include "cuda/cuda_ops.h"

namespace paella::cuda {

class CudaSampler final : public Sampler {
 public:
  explicit CudaSampler(Context& context) : context_(context) {}
  void initial_noise(const Tensor& seed, std::int32_t codebook_size, const Tensor& tokens) override;
  void start(const Tensor& first, const Tensor& noise, const Tensor& tokens) override;
  void guide(const Tensor& features, const Tensor& guidance, const Tensor& out) override;
  void sample(const Tensor& features, const ConstantPtr& head, const StepInputs& step, SampleMode mode, bool typical,
              const Tensor& tokens) override;
  void sample_logits(const Tensor& logits, const StepInputs& step, SampleMode mode, bool typical,
                     const Tensor& tokens) override;
  void renoise(const Tensor& tokens, const Tensor& noise, const StepInputs& step) override;
  void advance(const Tensor& step) override;

 private:
  Context& context_;
};

}  // namespace paella::cuda
