// Drawing of tokens on this machine.
#pragma once

#include "core/backend.h"
#include "cpu/cpu_ops.h"

namespace paella::cpu {

class CpuSampler final : public Sampler {
 public:
  explicit CpuSampler(Context& context) : context_(context) {}
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
  struct Draw;
  // Draws the tokens of `rows` positions from `first` on. `logits` belong to the first of them.
  void draw_rows(const Draw& draw, const float* logits, float* scratch, std::int64_t first, std::int64_t rows);

  Context& context_;
};

}  // namespace paella::cpu
