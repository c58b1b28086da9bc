// All networks of a model on one backend, and which of them stay in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/backend.h"
#include "models/byt5.h"
#include "models/clip.h"
#include "models/loader.h"
#include "models/prior.h"
#include "models/unet.h"
#include "models/vqgan.h"
#include "pipeline/model_folder.h"

namespace paella {

enum class MemoryMode {
  resident,  // everything stays
  balanced,  // what prompts are encoded with (text encoders, prior) goes afterwards, and comes back for new prompts
  low,       // these and the U-Net are in memory one at a time; the VQGAN, small, stays
};
// ERR_INVALID_OPTION for another name.
MemoryMode memory_mode(const std::string& name);

// Of what prompts are encoded with: text encoders, image encoder, prior.
enum class EncoderWeights {
  full,  // in the backend's operand type
  int8,  // 8 bits, a scale for each row (Layout::matrix_w8)
};
// ERR_INVALID_OPTION for another name.
EncoderWeights encoder_weights(const std::string& name);

struct ModelOptions {
  MemoryMode memory = MemoryMode::resident;
  EncoderWeights encoder_weights = EncoderWeights::full;
};

struct LoadProgress {
  std::string phase;  // component folder
  std::size_t loaded = 0, total = 0;
};

// Reads the weights of one component ("text_encoder", "unet", …): `make` binds them, all of them. Returns how
// many there are. `progress` may throw to cancel. Errors name the file.
std::int64_t load_component(const ModelConfig& config, const std::string& component, Backend& backend,
                            const std::function<void(const LoadProgress&)>& progress,
                            const std::function<void(Loader&)>& make);

class Model {
 public:
  // Loads every network once, whatever the mode, so that a damaged file shows here. `progress` may throw to cancel.
  // Errors as of WeightSource and Backend::constant.
  Model(ModelConfig config, Backend& backend, const std::function<void(const LoadProgress&)>& progress,
        ModelOptions options = {});

  const ModelConfig& config() const { return config_; }
  const std::map<std::string, std::int64_t>& parameters() const { return parameters_; }  // per component
  // Held by the backend while a component is loaded.
  const std::map<std::string, std::size_t>& bytes() const { return bytes_; }

  // Loaded again if the mode let them go. References hold until the next call of another of these or of prompts_done().
  // CLIP and the prior: only if the configuration has them.
  const Byt5Encoder& text_encoder();
  const ClipTextEncoder& clip_text();
  const ClipImageEncoder& clip_image();
  const Prior& prior();
  const Unet& unet();
  const Vqgan& vqgan();
  // No more prompts for now.
  void prompts_done();
  // Called before the U-Net goes: whatever holds its weights must let go of them.
  void on_unet_release(std::function<void()> listener) { unet_release_ = std::move(listener); }

 private:
  using Progress = std::function<void(const LoadProgress&)>;
  void load_text_encoder(const Progress& progress);
  void load_clip_text(const Progress& progress);
  void load_clip_image(const Progress& progress);
  void load_prior(const Progress& progress);
  void load_unet(const Progress& progress);
  void load_vqgan(const Progress& progress);
  void load(const std::string& component, const Progress& progress, Layout matrices,
            const std::function<void(Loader&)>& make);
  Layout encoder_matrices() const;
  // One of the networks that prompts are encoded with.
  template <typename Network>
  const Network& needed(const std::unique_ptr<Network>& network, void (Model::*load)(const Progress&));
  void drop_encoders();

  ModelConfig config_;
  Backend& backend_;
  ModelOptions options_;
  std::map<std::string, std::int64_t> parameters_;
  std::map<std::string, std::size_t> bytes_;
  std::unique_ptr<Byt5Encoder> text_encoder_;
  std::unique_ptr<ClipTextEncoder> clip_text_;
  std::unique_ptr<ClipImageEncoder> clip_image_;
  std::unique_ptr<Prior> prior_;
  std::unique_ptr<Unet> unet_;
  std::unique_ptr<Vqgan> vqgan_;
  std::function<void()> unet_release_;
};

}  // namespace paella
