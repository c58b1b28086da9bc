// Prompts to what the U-Net attends to: encoder states, then keys and values of every attention block, once per prompt
// and cached.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "pipeline/model.h"

namespace paella {

// Step-invariant part of one prompt (spec 1.8.3).
struct Condition {
  std::int64_t length = 0;  // S
  Buffer memory;
  std::vector<Tensor> kv;  // per attention block [S, 2c], in `memory`
  std::size_t bytes() const { return memory.bytes(); }
};
using ConditionPtr = std::shared_ptr<const Condition>;

// Token ids, or encoder states [T, d_model] that encode() gave earlier; just one of the two.
struct ConditionInput {
  std::vector<std::int32_t> ids;
  std::vector<float> states;
};

class Conditions {
 public:
  Conditions(Model& model, Backend& backend);

  // Encoder states f32 [T, d_model] of token ids.
  std::vector<float> encode(std::span<const std::int32_t> ids);
  // One for each prompt. All prompts of a batch in one call: memory modes may have to swap networks for it.
  std::vector<ConditionPtr> resolve(const std::vector<const ConditionInput*>& prompts);
  ConditionPtr from_ids(std::span<const std::int32_t> ids);
  ConditionPtr from_states(std::span<const float> states);

  std::size_t cached_bytes() const { return cached_bytes_; }

 private:
  ConditionPtr find(const std::string& key);
  ConditionPtr keep(const std::string& key, ConditionPtr condition);
  // States f32 [T, d_model] in the backend's memory, encoded or as given.
  struct States {
    std::string key;
    Buffer memory;
    Tensor tensor;
  };
  States states_of(const ConditionInput& prompt);
  ConditionPtr project(const Tensor& states);
  void encode_into(std::span<const std::int32_t> ids, const Tensor& states);

  struct Entry {
    std::string key;
    ConditionPtr condition;
  };
  Model& model_;
  Backend& backend_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
  std::size_t cached_bytes_ = 0;
};

}  // namespace paella
