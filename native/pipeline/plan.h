// Buffers and compiled networks for one shape of batch. Addresses stay the same from job to job, so that what a backend
// has captured can be replayed. What a job brings goes up as one block, and what it gives comes down as one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "pipeline/generator.h"

namespace paella {

class Plan {
 public:
  Plan(Model& model, Backend& backend, const BatchShape& shape, const std::vector<ImageRequest>& images);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  bool fits(const BatchShape& shape, const std::vector<ImageRequest>& images) const;

  // Everything that a job brings along. `levels` [steps + 1]: noise level before each step, and after the last.
  void upload(const std::vector<ImageRequest>& images, std::span<const float> levels);

  // What follows only enqueues, so that it may be captured.
  // First: modulation of all steps, noise, first tokens.
  void begin();
  struct Step {
    bool guided = true;
    bool renoise = true;
    friend bool operator==(const Step&, const Step&) = default;
  };
  void step(const Step& step, StageTimes& times);
  // Features of the present tokens, conditional pass alone: [B, H, W, c_out].
  const Tensor& conditional_features();
  // Pixels of the present tokens.
  void decode(StageTimes& times);

  // Waits. Tokens and pixels per image; ERR_NUMERIC if a position could not be drawn.
  void download(GeneratedBatch& batch);
  // Waits. For previews and tests; the block itself is left alone.
  std::vector<std::vector<std::uint8_t>> download_pixels();
  std::vector<std::int32_t> download_tokens();

  // Begins the keys under which this plan's work is replayed; never used twice.
  const std::string& key() const { return key_; }
  // Milliseconds that the last job took, 0 before there was one: how long a job cannot be stopped if it is replayed as
  // a whole.
  double last_ms = 0;

 private:
  void lay_out();
  void compile();
  std::unique_ptr<Network> compile_denoise(std::int64_t rows);
  std::vector<Tensor> denoise_inputs(std::int64_t rows) const;
  std::int64_t rows() const { return shape_.conditional_steps > 0 ? 2 * batch_ : batch_; }

  Model& model_;
  Backend& backend_;
  BatchShape shape_;
  std::int64_t batch_ = 0;
  std::int64_t distinct_ = 0;  // P, conditions of the batch
  std::int64_t longest_ = 0;   // Smax, their padded length
  std::string key_;

  // One buffer: inputs, then `fault`, then results. [0, up_bytes_) goes up, [fault_at_, end) comes down.
  Buffer block_;
  std::vector<std::uint8_t> staging_;
  std::size_t up_bytes_ = 0, fault_at_ = 0;
  Tensor seed_;              // i64 [B]
  Tensor step_;              // i32 [1], counts up on the device
  Tensor numbers_table_;     // f32 [steps, 4B]: guidance, temperature, renoise level, typical mass
  Tensor embeddings_;        // f32 [steps, c_r]
  Tensor condition_length_;  // i32 [P]
  Tensor condition_index_;   // i32 [2B]: conditional rows, then unconditional ones
  Tensor first_tokens_;      // i32 [B, H, W]; −1: start from noise
  Tensor fault_;             // i32 [1]
  Tensor tokens_;            // i32 [B, H, W]
  Tensor pixels_;            // u8 [B, H·p, W·p, 3]

  std::vector<Buffer> memory_;
  Tensor noise_;                      // i32 [B, H, W]
  Tensor features_, guided_;          // f32 [2B, H, W, C], [B, H, W, C]
  Tensor numbers_;                    // f32 [4B]: this step's row of the table
  Tensor modulation_;                 // f32 [steps, modulation_size]
  std::vector<Tensor> condition_kv_;  // per attention block [P, Smax, 2c]
  std::vector<ConditionPtr> loaded_;  // what condition_kv_ holds
  StepInputs step_inputs_;

  std::unique_ptr<Network> guided_network_, conditional_network_, numbers_network_, modulation_network_;
  std::vector<Tensor> guided_inputs_, conditional_inputs_;
  struct Decoding {
    std::shared_ptr<Network> network;
    Tensor tokens, pixels;
  };
  std::vector<Decoding> decodings_;
};

}  // namespace paella
