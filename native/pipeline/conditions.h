// Prompts to what the U-Net attends to: encoder states and embeddings, then keys and values of every attention block,
// once per prompt and cached.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "pipeline/encoders.h"
#include "pipeline/model.h"
#include "pipeline/prior_sampler.h"

namespace paella {

// Step-invariant part of one prompt (spec 1.8.3).
struct Condition {
  std::int64_t length = 0;  // S
  Buffer memory;
  std::vector<Tensor> kv;  // per attention block [S, 2c], in `memory`
  std::size_t bytes() const { return memory.bytes(); }
};
using ConditionPtr = std::shared_ptr<const Condition>;

// What a prompt is made of. Text is token ids, or encoder states [T, d_model] that encode() gave earlier.
struct ConditionInput {
  std::vector<std::int32_t> ids;
  std::vector<float> states;
  // CLIP's ids from start to end of text; empty: the condition has no CLIP text. ERR_INVALID_OPTION if the model has
  // none.
  std::vector<std::int32_t> clip_ids;
  // Pictures, RGB [image_size, image_size, 3] of the model's CLIP.
  std::vector<std::vector<std::uint8_t>> images;
  // An image embedding, drawn with `image_seed`: by the prior from CLIP's text, or as the model
  // says by itself (ModelConfig::image_levels); not beside pictures.
  std::optional<PriorSettings> prior;
  bool drawn_image = false;
  std::uint64_t image_seed = 0;
  // What each entry's attention is multiplied by, [S] (spec 4.3), or empty.
  std::vector<float> weights;
};

struct ConditionTimes {
  double encode_text = 0, prior = 0;  // milliseconds
};

class Conditions {
 public:
  Conditions(Model& model, Backend& backend);

  // Encoder states f32 [T, d_model] of token ids.
  std::vector<float> encode(std::span<const std::int32_t> ids);
  // One for each prompt. All prompts of a batch in one call: memory modes may have to swap networks for it.
  // `keep_going` is asked between the prior's steps; false ends it with ERR_ABORTED.
  std::vector<ConditionPtr> resolve(
      const std::vector<const ConditionInput*>& prompts, ConditionTimes* times = nullptr,
      const std::function<bool()>& keep_going = [] { return true; });
  ConditionPtr resolve(const ConditionInput& prompt) { return resolve({&prompt}).front(); }
  ConditionPtr from_ids(std::span<const std::int32_t> ids);
  ConditionPtr from_states(std::span<const float> states);

  std::size_t cached_bytes() const { return cached_bytes_; }

 private:
  // A prompt on its way: embeddings in host memory.
  struct Encoded {
    const ConditionInput* prompt = nullptr;
    std::string key;
    std::vector<float> states, clip_text, images;
  };
  void check(const ConditionInput& prompt) const;
  ConditionPtr find(const std::string& key);
  ConditionPtr keep(const std::string& key, ConditionPtr condition);
  void encode(std::vector<Encoded>& prompts);
  // The numbers that the seed draws, docs/randomness.md; none where the prompt has no such embedding.
  std::vector<float> drawn_image(const ConditionInput& prompt) const;
  void run_prior(std::vector<Encoded>& prompts, const std::function<bool()>& keep_going);
  ConditionPtr project(const Encoded& prompt);

  struct Entry {
    std::string key;
    ConditionPtr condition;
  };
  Model& model_;
  Backend& backend_;
  PromptEncoders encoders_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
  std::size_t cached_bytes_ = 0;
};

}  // namespace paella
