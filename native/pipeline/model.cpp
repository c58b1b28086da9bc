#include "pipeline/model.h"

#include <string_view>

#include "core/error.h"
#include "core/weights.h"

namespace paella {

namespace {

constexpr std::uint64_t random_seed = 20230401;  // any constant: the same weights everywhere

}  // namespace

MemoryMode memory_mode(const std::string& name) {
  if (name == "resident") return MemoryMode::resident;
  if (name == "balanced") return MemoryMode::balanced;
  if (name == "low") return MemoryMode::low;
  fail(ErrorCode::invalid_option, "memory: expected resident, balanced or low, got ", name);
}

std::int64_t load_component(const ModelConfig& config, const std::string& component, Backend& backend,
                            const std::function<void(const LoadProgress&)>& progress,
                            const std::function<void(Loader&)>& make) {
  const std::string path = config.folder + "/" + component + "/model.safetensors";
  const auto source = config.folder.empty() ? random_weights(random_seed) : open_safetensors(path);
  LoadProgress state{component, 0, 0};
  if (progress && !config.folder.empty())
    for (const TensorInfo& tensor : list_safetensors(path))
      state.total += static_cast<std::size_t>(tensor.shape.elements()) * sizeof(float);
  Loader loader(*source, backend, [&](std::size_t loaded) {
    state.loaded += loaded;
    if (progress) progress(state);
  });
  try {
    make(loader);
  } catch (const Error& error) {
    // What is wrong with the values of a tensor is found where its file is not known.
    const bool of_file = error.code() == ErrorCode::numeric || error.code() == ErrorCode::model_format;
    if (config.folder.empty() || !of_file || std::string_view(error.what()).starts_with(path)) throw;
    throw Error(error.code(), concat(path, ": ", error.what()), error.remedy());
  }
  source->check_all_used();
  return loader.parameters();
}

Model::Model(ModelConfig config, Backend& backend, const std::function<void(const LoadProgress&)>& progress,
             MemoryMode mode)
    : config_(std::move(config)), backend_(backend), mode_(mode) {
  load_text_encoder(progress);
  // Until the first prompt the text encoder is what will be needed; low has no room for it and the U-Net.
  if (mode_ == MemoryMode::low) text_encoder_.reset();
  load_unet(progress);
  load_vqgan(progress);
}

void Model::load(const std::string& component, const std::function<void(const LoadProgress&)>& progress,
                 const std::function<void(Loader&)>& make) {
  const std::size_t before = backend_.memory().weights;
  parameters_[component] = load_component(config_, component, backend_, progress, make);
  bytes_[component] = backend_.memory().weights - before;
}

void Model::load_text_encoder(const std::function<void(const LoadProgress&)>& progress) {
  load("text_encoder", progress,
       [&](Loader& loader) { text_encoder_ = std::make_unique<Byt5Encoder>(config_.text_encoder, loader); });
}

void Model::load_unet(const std::function<void(const LoadProgress&)>& progress) {
  load("unet", progress, [&](Loader& loader) { unet_ = std::make_unique<Unet>(config_.unet, loader); });
}

void Model::load_vqgan(const std::function<void(const LoadProgress&)>& progress) {
  load("vqgan", progress, [&](Loader& loader) { vqgan_ = std::make_unique<Vqgan>(config_.vqgan, loader); });
}

const Byt5Encoder& Model::text_encoder() {
  if (!text_encoder_) {
    if (mode_ == MemoryMode::low && unet_) {
      if (unet_release_) unet_release_();
      unet_.reset();
    }
    load_text_encoder(nullptr);
  }
  return *text_encoder_;
}

const Unet& Model::unet() {
  if (!unet_) {
    text_done();
    load_unet(nullptr);
  }
  return *unet_;
}

const Vqgan& Model::vqgan() { return *vqgan_; }

void Model::text_done() {
  if (mode_ != MemoryMode::resident) text_encoder_.reset();
}

}  // namespace paella
