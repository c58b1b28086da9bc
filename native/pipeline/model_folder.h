// What a model is: a folder (docs/model-format.md), or a named random configuration.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/byt5.h"
#include "models/clip.h"
#include "models/prior.h"
#include "models/unet.h"
#include "models/vqgan.h"

namespace paella {

// generation_config.json; a model's own defaults.
struct GenerationDefaults {
  std::int64_t width = 256, height = 256;  // pixels
  std::int64_t steps = 12;
  std::int64_t renoise_steps = 11;
  std::int64_t conditional_steps = 12;
  std::pair<double, double> guidance_scale = {8.0, 8.0};
  std::pair<double, double> temperature = {0.7, 0.3};
  std::string negative_prompt;
  std::optional<double> typical_mass;
  // Of the prior, if there is one (spec 4.4).
  std::int64_t prior_steps = 60;
  double prior_guidance_scale = 3.0;
};

struct ModelConfig {
  std::string name;
  std::string family = "v3";
  std::string folder;  // empty: random weights
  Byt5Config text_encoder;
  UnetConfig unet;
  VqganConfig vqgan;
  // Not every model has these; the prior needs the text encoder.
  std::optional<ClipTextConfig> clip_text;
  std::optional<ClipImageConfig> clip_image;
  std::optional<PriorConfig> prior;
  // Instead of a prior the seed draws image embeddings, whatever the prompt: each number is one of these. Empty: it
  // does not.
  std::vector<float> image_levels;
  GenerationDefaults defaults;

  // Pixels along one side must be a multiple of this.
  std::int64_t size_multiple() const { return unet.token_multiple() * vqgan.pixels_per_token(); }
  // 512 tokens: with f4, 2048 pixels.
  std::int64_t max_size() const { return 512 * vqgan.pixels_per_token(); }
};

// `model`: path of a folder, or "random:<configuration>". ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT. Reads no weights.
ModelConfig read_model_config(const std::string& model);

// Names accepted after "random:".
std::vector<std::string> random_configurations();

}  // namespace paella
