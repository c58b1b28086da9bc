#include "pipeline/model.h"

#include <string_view>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

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

EncoderWeights encoder_weights(const std::string& name) {
  if (name == "full") return EncoderWeights::full;
  if (name == "int8") return EncoderWeights::int8;
  fail(ErrorCode::invalid_option, "encoderWeights: expected full or int8, got ", name);
}

std::int64_t load_component(const ModelConfig& config, const std::string& component, Backend& backend,
                            const std::function<void(const LoadProgress&)>& progress,
                            const std::function<void(Loader&)>& make) {
  const std::string path = config.folder + "/" + component + "/model.safetensors";
  const auto source = !config.folder.empty()   ? open_safetensors(path)
                      : backend.reads_values() ? random_weights(random_seed)
                                               : weights_without_values();
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
  // Tensors that nothing is made of (a counter of BatchNorm) are not told of one by one.
  if (progress && state.loaded < state.total) progress({component, state.total, state.total});
  const std::int64_t parameters = loader.parameters();
#if defined(__GLIBC__)
  // The f32 copies of tensors have come and gone; glibc would keep some hundred megabytes of them.
  malloc_trim(0);
#endif
  return parameters;
}

Model::Model(ModelConfig config, Backend& backend, const std::function<void(const LoadProgress&)>& progress,
             ModelOptions options)
    : config_(std::move(config)), backend_(backend), options_(options) {
  const auto load_encoder = [&](bool exists, void (Model::*load)(const Progress&)) {
    if (exists) (this->*load)(progress);
    // There is no room for two.
    if (options_.memory == MemoryMode::low) drop_encoders();
  };
  load_encoder(config_.clip_text.has_value(), &Model::load_clip_text);
  load_encoder(config_.clip_image.has_value(), &Model::load_clip_image);
  load_encoder(config_.prior.has_value(), &Model::load_prior);
  load_encoder(true, &Model::load_text_encoder);
  load_unet(progress);
  load_vqgan(progress);
}

Layout Model::encoder_matrices() const {
  return options_.encoder_weights == EncoderWeights::int8 ? Layout::matrix_w8 : Layout::matrix;
}

void Model::load(const std::string& component, const Progress& progress, Layout matrices,
                 const std::function<void(Loader&)>& make) {
  const std::size_t before = backend_.memory().weights;
  parameters_[component] = load_component(config_, component, backend_, progress, [&](Loader& loader) {
    loader.keep_matrices_as(matrices);
    make(loader);
  });
  bytes_[component] = backend_.memory().weights - before;
}

void Model::load_text_encoder(const Progress& progress) {
  load("text_encoder", progress, encoder_matrices(),
       [&](Loader& loader) { text_encoder_ = std::make_unique<Byt5Encoder>(config_.text_encoder, loader); });
}

void Model::load_clip_text(const Progress& progress) {
  load("clip_text", progress, encoder_matrices(),
       [&](Loader& loader) { clip_text_ = std::make_unique<ClipTextEncoder>(*config_.clip_text, loader); });
}

void Model::load_clip_image(const Progress& progress) {
  load("clip_image", progress, encoder_matrices(),
       [&](Loader& loader) { clip_image_ = std::make_unique<ClipImageEncoder>(*config_.clip_image, loader); });
}

void Model::load_prior(const Progress& progress) {
  load("prior", progress, encoder_matrices(),
       [&](Loader& loader) { prior_ = std::make_unique<Prior>(*config_.prior, loader); });
}

void Model::load_unet(const Progress& progress) {
  load("unet", progress, backend_.unet_products(),
       [&](Loader& loader) { unet_ = std::make_unique<Unet>(config_.unet, loader); });
}

void Model::load_vqgan(const Progress& progress) {
  load("vqgan", progress, Layout::matrix,
       [&](Loader& loader) { vqgan_ = std::make_unique<Vqgan>(config_.vqgan, loader); });
}

void Model::drop_encoders() {
  text_encoder_.reset();
  clip_text_.reset();
  clip_image_.reset();
  prior_.reset();
}

template <typename Network>
const Network& Model::needed(const std::unique_ptr<Network>& network, void (Model::*load)(const Progress&)) {
  if (!network) {
    if (options_.memory == MemoryMode::low) {
      if (unet_) {
        if (unet_release_) unet_release_();
        unet_.reset();
      }
      drop_encoders();
    }
    (this->*load)(nullptr);
  }
  return *network;
}

const Byt5Encoder& Model::text_encoder() { return needed(text_encoder_, &Model::load_text_encoder); }

const ClipTextEncoder& Model::clip_text() {
  expect(config_.clip_text.has_value(), "model: no clip_text");
  return needed(clip_text_, &Model::load_clip_text);
}

const ClipImageEncoder& Model::clip_image() {
  expect(config_.clip_image.has_value(), "model: no clip_image");
  return needed(clip_image_, &Model::load_clip_image);
}

const Prior& Model::prior() {
  expect(config_.prior.has_value(), "model: no prior");
  return needed(prior_, &Model::load_prior);
}

const Unet& Model::unet() {
  if (!unet_) {
    prompts_done();
    load_unet(nullptr);
  }
  return *unet_;
}

const Vqgan& Model::vqgan() { return *vqgan_; }

void Model::prompts_done() {
  if (options_.memory != MemoryMode::resident) drop_encoders();
}

}  // namespace paella
