// What prompts are made of, encoded: text by ByT5 and CLIP, pictures by CLIP. Results are kept in host memory, because
// one prompt is drawn with many seeds.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pipeline/model.h"

namespace paella {

class PromptEncoders {
 public:
  PromptEncoders(Model& model, Backend& backend) : model_(model), backend_(backend) {}

  // ByT5's last hidden states f32 [T, d_model]. ERR_INVALID_OPTION for an id that does not exist.
  std::vector<float> text(std::span<const std::int32_t> ids);
  // CLIP's embedding f32 [embed_dim] of ids from the start to the end of text, [T].
  std::vector<float> clip_text(std::span<const std::int32_t> ids);
  // CLIP's embedding f32 [embed_dim] of RGB pixels [image_size, image_size, 3].
  std::vector<float> clip_image(std::span<const std::uint8_t> pixels);

 private:
  using Values = std::vector<float>;
  Values remembered(std::string key, const std::function<Values()>& encode);

  Model& model_;
  Backend& backend_;
  std::list<std::pair<std::string, Values>> entries_;  // most recently used first
  std::unordered_map<std::string, decltype(entries_)::iterator> index_;
  std::size_t bytes_ = 0;  // of keys and values
};

}  // namespace paella
