// TensorRT itself on a GPU (PAELLA_TEST_GPU=1, with its libraries installed): engines against the CUDA executor, built,
// stripped, refitted, captured. Nothing here is emulated.
#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "cuda/plugin_loader.h"
#include "golden.h"
#include "harness.h"
#include "operations.h"
#include "pipeline/generator.h"
#include "pipeline/model.h"
#include "tensorrt/plugin_loader.h"
#include "tensorrt/tensorrt_backend.h"
#include "tensorrt_fixture.h"

using namespace paella;
using namespace paella::tensorrt;
using namespace paella::test;

namespace {

std::unique_ptr<Backend> on_tensorrt(const Plugin& plugin, const cuda::DeviceInfo& gpu, const std::string& precision,
                                     const std::string& folder, std::vector<std::string>& warnings) {
  const cuda::Plugin& cuda_plugin = cuda::usable(cuda::plugin());
  auto inner = cuda_plugin.make_backend({.precision = precision});
  void* stream = cuda_plugin.stream_of(*inner);
  BackendOptions options;
  options.cache_folder = folder;
  options.gpu = gpu.name;
  options.compute_capability = concat(gpu.major, '.', gpu.minor);
  options.log = [&](Severity severity, const std::string& message) {
    if (severity == Severity::warning || severity == Severity::error) warnings.push_back(message);
  };
  return make_backend(plugin, std::move(inner), stream, std::move(options));
}

}  // namespace

TEST("TensorRT on a GPU: features, tokens and pixels against CUDA, and a second start from the cache") {
  if (!on_gpu()) return skip("no GPU was asked for");
  const cuda::DeviceInfo gpu = cuda::availability(cuda::plugin()).survey.devices.front();
  const Choice choice = choose(plugins(), "", gpu);
  if (choice.plugin == nullptr) return skip(choice.reason);
  const ModelConfig config = read_model_config(PAELLA_SOURCE_DIR "/models/tiny");
  const std::int64_t side = 4 * config.unet.token_multiple();
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < side * side; ++i)
    tokens.push_back(static_cast<std::int32_t>(i * 37 % config.unet.num_labels));
  const std::vector<std::int32_t> prompt = {100, 101, 102, 1};
  for (const char* precision : {"fp32", "bf16", "fp16"}) {
    const TemporaryFolder folder;
    const auto plain = cuda::usable(cuda::plugin()).make_backend({.precision = precision});
    Model plain_model(config, *plain, nullptr);
    Generator plain_generator(plain_model, *plain);
    const auto expected =
        plain_generator.predict(tokens, 1, side, side, 0.7f, plain_generator.conditions().from_ids(prompt));
    const auto expected_pixels = plain_generator.decode(tokens, side, side);
    for (const bool again : {false, true}) {
      std::vector<std::string> warnings;
      const auto backend = on_tensorrt(*choice.plugin, gpu, precision, folder.path(), warnings);
      Model model(config, *backend, nullptr);
      Generator generator(model, *backend);
      const auto found = generator.predict(tokens, 1, side, side, 0.7f, generator.conditions().from_ids(prompt));
      CHECK_BOUND(concat("logits, ", precision, again ? ", from the cache" : ""), error_of(found, doubles(expected)),
                  bound_for(*backend, 1e-4, 3e-2));
      const auto pixels = generator.decode(tokens, side, side);
      int most = 0;
      for (std::size_t i = 0; i < pixels.size(); ++i)
        most = std::max(most, std::abs(int{pixels[i]} - int{expected_pixels[i]}));
      CHECK_BOUND(concat("pixels, ", precision), most, std::string(precision) == "fp32" ? 1 : 16);
      // The whole loop, captured and replayed: twice the same.
      ImageRequest image;
      image.seed = 7;
      image.condition = generator.conditions().from_ids(prompt);
      image.negative = generator.conditions().from_ids(std::vector<std::int32_t>{1});
      image.guidance_scale = {4, 4};
      image.temperature = {0.8, 0.2};
      BatchShape shape;
      shape.height = shape.width = side;
      shape.steps = shape.conditional_steps = 6;
      Observer observer;
      const auto first = generator.generate(shape, {image}, observer);
      CHECK(generator.generate(shape, {image}, observer).tokens == first.tokens);
    }
  }
}
