// CLIP's two encoders (spec 5.2), in open_clip's layout: from token ids, or from the pixels of a picture, to one
// embedding, not normalised.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/json.h"
#include "models/loader.h"

namespace paella {

// What both towers have. Defaults: ViT-H-14.
struct ClipTowerConfig {
  std::int64_t embed_dim = 1024;
  std::int64_t width = 1024;
  std::int64_t layers = 24;
  std::int64_t heads = 16;
  std::int64_t mlp_width = 4096;
  float epsilon = 1e-5f;
};

struct ClipTextConfig : ClipTowerConfig {
  std::int64_t context_length = 77;
  std::int64_t vocab_size = 49408;

  static ClipTextConfig from_json(const Json& json, const std::string& label);
};

struct ClipImageConfig : ClipTowerConfig {
  ClipImageConfig() : ClipTowerConfig{1024, 1280, 32, 16, 5120, 1e-5f} {}
  std::int64_t image_size = 224;
  std::int64_t patch_size = 14;

  static ClipImageConfig from_json(const Json& json, const std::string& label);
  std::int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

class ClipTextEncoder {
 public:
  ClipTextEncoder(const ClipTextConfig& config, Loader& loader);

  const ClipTextConfig& config() const { return config_; }
  // Inputs: ids i32 [T] up to and with the end of text, T at most context_length (attention is causal: what follows the
  // end changes nothing); positions i32 [T], 0 to T − 1; bias f32 [heads, 2T − 1], see attention_bias(); place of the
  // end of text i32 [1], T − 1. Output: f32 [1, embed_dim].
  std::shared_ptr<const Description> network() const;
  std::vector<float> attention_bias(std::int64_t length) const;

  struct Weights;

 private:
  ClipTextConfig config_;
  std::shared_ptr<const Weights> weights_;
};

class ClipImageEncoder {
 public:
  ClipImageEncoder(const ClipImageConfig& config, Loader& loader);

  const ClipImageConfig& config() const { return config_; }
  // Inputs: patches u8 [1 + patches, patch_bytes], see patches(); bias f32 [heads, 2·(1 + patches) − 1], zeros; place
  // of the class token i32 [1], 0. Output: f32 [1, embed_dim].
  std::shared_ptr<const Description> network() const;
  // RGB pixels [image_size, image_size, 3] as the network takes them: a row of zeros for the class token, then the
  // patches, each row padded with zeros.
  std::vector<std::uint8_t> patches(std::span<const std::uint8_t> pixels) const;
  std::int64_t patch_bytes() const;
  std::vector<float> attention_bias() const;

  struct Weights;

 private:
  ClipImageConfig config_;
  std::shared_ptr<const Weights> weights_;
};

}  // namespace paella
