#include "pipeline/estimate.h"

#include <algorithm>

#include "core/counting_backend.h"
#include "core/error.h"
#include "core/weights.h"
#include "pipeline/generator.h"

namespace paella {

namespace {

// All values in f32: more than any precision takes. 0: not known without counting.
std::size_t bound_of(const ModelConfig& config) {
  if (config.folder.empty()) return 0;
  std::vector<std::string> components{"text_encoder", "unet", "vqgan"};
  if (config.clip_text) components.emplace_back("clip_text");
  if (config.clip_image) components.emplace_back("clip_image");
  if (config.prior) components.emplace_back("prior");
  std::size_t bytes = 0;
  for (const std::string& component : components)
    for (const TensorInfo& tensor : list_safetensors(config.folder + "/" + component + "/model.safetensors"))
      bytes += static_cast<std::size_t>(tensor.shape.elements()) * sizeof(float);
  return bytes;
}

ConditionInput longest_usual_prompt(const ModelConfig& config) {
  ConditionInput prompt;
  prompt.ids.assign(64, 100);
  prompt.ids.push_back(1);
  if (config.clip_text) prompt.clip_ids = {0, 1};
  if (config.prior) prompt.prior = PriorSettings{.steps = 1};
  prompt.drawn_image = !config.image_levels.empty();
  return prompt;
}

}  // namespace

std::size_t MemoryEstimate::total() const {
  std::size_t sum = 0;
  for (const auto& [component, bytes] : weights) sum += bytes;
  return sum;
}

std::size_t MemoryEstimate::largest_encoder() const {
  std::size_t most = 0;
  for (const auto& [component, bytes] : weights)
    if (component != "unet" && component != "vqgan") most = std::max(most, bytes);
  return most;
}

// As Model loads: everything at first, but in `low` one network beside the VQGAN.
std::size_t MemoryEstimate::loaded(MemoryMode mode) const {
  if (mode != MemoryMode::low) return total();
  return weights.at("vqgan") + std::max(weights.at("unet"), largest_encoder());
}

std::size_t MemoryEstimate::peak(MemoryMode mode) const {
  const std::size_t beside = mode == MemoryMode::resident ? total() : weights.at("unet") + weights.at("vqgan");
  return std::max(loaded(mode), beside + drawing);
}

MemoryEstimate estimate_memory(const ModelConfig& config, const EstimateRequest& request) {
  const auto backend = make_counting_backend(request.precision);
  Model model(config, *backend, nullptr, {.encoder_weights = request.encoder_weights});
  MemoryEstimate estimate;
  estimate.parameters = model.parameters();
  estimate.weights = model.bytes();

  const std::int64_t width = request.width > 0 ? request.width : config.defaults.width;
  const std::int64_t height = request.height > 0 ? request.height : config.defaults.height;
  for (const auto& [name, pixels] : {std::pair{"width", width}, std::pair{"height", height}})
    if (pixels % config.size_multiple() != 0 || pixels > config.max_size())
      fail(ErrorCode::invalid_option, name, ": expected a multiple of ", config.size_multiple(), " up to ",
           config.max_size(), ", got ", pixels);
  Generator generator(model, *backend);
  const ConditionInput prompt = longest_usual_prompt(config);
  ConditionInput negative;
  negative.ids = {1};
  const auto conditions = generator.conditions().resolve({&prompt, &negative}, nullptr, [] { return true; });
  ImageRequest image;
  image.condition = conditions[0];
  image.negative = conditions[1];
  image.guidance_scale = {2, 2};
  image.temperature = {1, 1};
  const std::int64_t scale = config.vqgan.pixels_per_token();
  Observer quiet;
  generator.generate({height / scale, width / scale, 1, 1, SampleMode::multinomial, false},
                     std::vector<ImageRequest>(static_cast<std::size_t>(request.batch), image), quiet);
  estimate.drawing = backend->memory().peak - backend->memory().weights;
  return estimate;
}

void check_room(const ModelConfig& config, const std::string& precision, std::size_t free,
                const ModelOptions& options) {
  const std::size_t bound = bound_of(config);
  if (free == 0 || (bound > 0 && bound < free)) return;
  const std::size_t needed =
      estimate_memory(config, {.precision = precision, .encoder_weights = options.encoder_weights})
          .loaded(options.memory);
  if (needed <= free) return;
  throw Error(ErrorCode::out_of_memory,
              concat("not enough memory for the weights of ", config.name, " in ", precision, ": ", needed,
                     " bytes needed, ", free, " bytes free"),
              "use memory 'low', encoderWeights 'int8' or a smaller precision, or free memory; `paella inspect` shows "
              "what each takes");
}

}  // namespace paella
