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

#include "pipeline/model_folder.h"

namespace paella {

// Step-invariant part of one prompt (spec 1.8.3).
struct Condition {
  std::int64_t length = 0;  // S
  Buffer memory;
  std::vector<Tensor> kv;  // per attention block [S, 2c], in `memory`
  std::size_t bytes() const { return memory.bytes(); }
};
using ConditionPtr = std::shared_ptr<const Condition>;

class Conditions {
 public:
  Conditions(const Model& model, Backend& backend);

  // Encoder states f32 [T, d_model] of token ids.
  std::vector<float> encode(std::span<const std::int32_t> ids);
  // From token ids, or from states [T, d_model] that encode() gave earlier.
  ConditionPtr from_ids(std::span<const std::int32_t> ids);
  ConditionPtr from_states(std::span<const float> states);

  std::size_t cached_bytes() const { return cached_bytes_; }

 private:
  ConditionPtr find(const std::string& key);
  ConditionPtr keep(const std::string& key, ConditionPtr condition);
  // States in the backend's memory.
  ConditionPtr project(const Tensor& states);
  void encode_into(std::span<const std::int32_t> ids, const Tensor& states);

  struct Entry {
    std::string key;
    ConditionPtr condition;
  };
  const Model& model_;
  Backend& backend_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
  std::size_t cached_bytes_ = 0;
};

}  // namespace paella
