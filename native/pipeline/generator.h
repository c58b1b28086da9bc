// generate(): from prompts to pixels, the whole sampling loop on the backend.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "pipeline/conditions.h"
#include "pipeline/model.h"

namespace paella {

// What may differ between images of one batch.
struct ImageRequest {
  std::uint64_t seed = 0;
  ConditionPtr condition, negative;
  std::pair<double, double> guidance_scale, temperature;  // first and last step
  std::int64_t renoise_steps = 0;
  double typical_mass = 1;                // ignored unless the batch is typical
  std::vector<std::int32_t> init_tokens;  // [H·W], or empty: start from noise
};

// What all images of a batch share.
struct BatchShape {
  std::int64_t height = 0, width = 0;  // tokens
  std::int64_t steps = 0;
  std::int64_t conditional_steps = 0;  // guided steps; the rest run the conditional pass alone
  SampleMode mode = SampleMode::multinomial;
  bool typical = false;

  friend bool operator==(const BatchShape&, const BatchShape&) = default;
};

// Milliseconds per stage. Where operations only enqueue, `unet` is the time of the whole loop and decoding.
struct StageTimes {
  double encode_text = 0, prior = 0, unet = 0, guide = 0, sample = 0, renoise = 0, decode = 0;
};

// How the caller watches and stops a batch; called on the engine's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  // Asked before each step; false stops the batch with ERR_ABORTED.
  virtual bool keep_going() { return true; }
  // Whether step_done() or preview() will do something. If not, a backend may run the loop as one piece.
  virtual bool watches() { return false; }
  // After step `step` (from 0), in order. Where operations only enqueue, the next step may have begun.
  virtual void step_done(std::int64_t step, float noise_level) { (void)step, (void)noise_level; }
  // Asked for each step but the last. True: the tokens after it are decoded and handed to preview().
  virtual bool wants_preview(std::int64_t step) { return (void)step, false; }
  virtual void preview(std::int64_t step, std::size_t image, const std::vector<std::uint8_t>& pixels) {
    (void)step, (void)image, (void)pixels;
  }
  // After every step, the tokens [B, H, W] as they enter the next one. For tests; downloading costs time.
  virtual bool wants_tokens() { return false; }
  virtual void tokens(std::int64_t step, const std::vector<std::int32_t>& tokens) { (void)step, (void)tokens; }
};

struct GeneratedBatch {
  std::vector<std::vector<std::int32_t>> tokens;  // per image [H, W]
  std::vector<std::vector<std::uint8_t>> pixels;  // per image [H·p, W·p, 3]
  StageTimes times;
};

class Plan;

class Generator {
 public:
  Generator(Model& model, Backend& backend);
  ~Generator();

  Conditions& conditions() { return conditions_; }

  GeneratedBatch generate(const BatchShape& shape, const std::vector<ImageRequest>& images, Observer& observer);

  // Logits f32 [B, H, W, V] of one conditional pass. tokens [B, H, W].
  std::vector<float> predict(std::span<const std::int32_t> tokens, std::int64_t batch, std::int64_t height,
                             std::int64_t width, float noise_level, const ConditionPtr& condition);
  // Pixels [H·p, W·p, 3] of tokens [H, W]. ERR_INVALID_OPTION if a token is no code.
  std::vector<std::uint8_t> decode(std::span<const std::int32_t> tokens, std::int64_t height, std::int64_t width);
  // Tokens [H/p, W/p] of pixels [H, W, 3].
  std::vector<std::int32_t> encode(std::span<const std::uint8_t> pixels, std::int64_t height, std::int64_t width);

  // Drops buffers that are kept for the shapes used last.
  void release_plans();
  // A job that is replayed as a whole cannot be stopped half way: only what takes less than this is.
  void set_longest_replay(double milliseconds) { longest_replay_ms_ = milliseconds; }

 private:
  Plan& plan_for(const BatchShape& shape, const std::vector<ImageRequest>& images);
  void run_steps(Plan& plan, const BatchShape& shape, std::int64_t renoised, Observer& observer, StageTimes& times);
  void check_tokens(std::span<const std::int32_t> tokens) const;

  Model& model_;
  Backend& backend_;
  Conditions conditions_;
  std::list<std::unique_ptr<Plan>> plans_;  // most recently used first
  double longest_replay_ms_ = 100;
};

}  // namespace paella
