// A model folder (docs/model-format.md) or a named random configuration, and the networks bound to a backend.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "models/byt5.h"
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
};

struct ModelConfig {
  std::string name;
  std::string family = "v3";
  std::string folder;  // empty: random weights
  Byt5Config text_encoder;
  UnetConfig unet;
  VqganConfig vqgan;
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

struct LoadProgress {
  std::string phase;  // component folder
  std::size_t loaded = 0, total = 0;
};

// All networks of a model on one backend.
struct Model {
  // `progress` may throw to cancel. Errors as of WeightSource and Backend::constant.
  Model(ModelConfig config, Backend& backend, const std::function<void(const LoadProgress&)>& progress);

  ModelConfig config;
  std::map<std::string, std::int64_t> parameters;  // per component
  std::map<std::string, std::size_t> bytes;        // held by the backend, per component
  std::unique_ptr<Byt5Encoder> text_encoder;
  std::unique_ptr<Unet> unet;
  std::unique_ptr<Vqgan> vqgan;
};

}  // namespace paella
