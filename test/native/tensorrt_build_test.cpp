// Plans of our own networks by TensorRT-RTX itself, which builds for a GPU that is not here. Skipped where its library
// is not installed; CI has a stage that installs it.
#include <atomic>
#include <filesystem>

#include "core/error.h"
#include "core/weights.h"
#include "harness.h"
#include "models/unet.h"
#include "models/vqgan.h"
#include "pipeline/model_folder.h"
#include "tensorrt/engine_store.h"
#include "tensorrt/plugin_loader.h"
#include "tensorrt_fixture.h"

using namespace paella;
using namespace paella::tensorrt;
using namespace paella::test;

namespace {

namespace fs = std::filesystem;

// Null, and a skip, without TensorRT-RTX.
const Plugin* rtx() {
  const Choice choice = choose(plugins(), "rtx", std::nullopt);
  if (choice.plugin == nullptr) skip(concat("no plan is built by TensorRT-RTX here: ", choice.reason));
  return choice.plugin;
}

EngineStore::Options options_for(const std::string& folder, const std::string& precision) {
  EngineStore::Options options;
  options.folder = folder;
  options.compute_capability = "8.9";
  options.precision = precision;
  options.strip = false;  // needs a GPU
  return options;
}

Profile profile_of(std::int64_t multiple) {
  return {"test",
          "",
          {1, 1, 2},
          {multiple, 2 * multiple, 4 * multiple},
          {multiple, 2 * multiple, 4 * multiple},
          {32, 32, 64},
          {1, 8, 12}};
}

// U-Net and VQGAN decoder: every layer is accepted, inputs and outputs are those that were declared (the store compares
// them), and what was built is found again.
void build_and_find(const Plugin& plugin, const ModelConfig& config, const std::string& precision) {
  const auto backend = onnx::make_backend(precision);
  const auto source = [&](const char* component) {
    return config.folder.empty() ? random_weights(1)
                                 : open_safetensors(config.folder + "/" + component + "/model.safetensors");
  };
  const auto unet_source = source("unet"), vqgan_source = source("vqgan");
  Loader unet_loader(*unet_source, *backend), vqgan_loader(*vqgan_source, *backend);
  const Unet unet(config.unet, unet_loader);
  const Vqgan vqgan(config.vqgan, vqgan_loader);
  const TemporaryFolder folder;
  EngineStore store(plugin, options_for(folder.path(), precision));
  const Profile profile = profile_of(config.size_multiple());
  const std::shared_ptr<const Description> networks[] = {unet.denoise(), vqgan.decoder()};
  for (const auto& network : networks) {
    const Recording recording = store.record(*network, backend->operand_type());
    const Ranges ranges = ranges_of(profile, recording.signature, config.vqgan.pixels_per_token());
    const EngineStore::Plan built = store.plan(recording, ranges);
    CHECK(built.built && built.file.plan.size() > 1000 && !built.file.stripped);
    CHECK_EQUAL(fs::file_size(built.path), built.file.plan.size());
    const EngineStore::Plan found = store.plan(recording, ranges);
    CHECK(!found.built && found.file.plan == built.file.plan && found.why_rebuilt.empty());
  }
}

// Three levels, attention in two of them, a skip into each: the shape of the 1-billion network, in small.
ModelConfig small_v3() {
  ModelConfig config;
  config.unet.c_in = config.unet.c_out = 32;
  config.unet.num_labels = 64;
  config.unet.c_r = 16;
  config.unet.c_cond = 48;
  config.unet.c_hidden = {32, 64, 64};
  config.unet.nhead = {-1, 4, 4};
  config.unet.blocks = {1, 2, 1};
  config.unet.byt5_embd = 40;
  config.unet.clip_embd = config.unet.clip_image_embd = 0;
  config.vqgan.c_hidden = 32;
  config.vqgan.bottleneck_blocks = 2;
  config.vqgan.codebook_size = 64;
  return config;
}

}  // namespace

TEST("TensorRT-RTX builds the networks of the bundled model") {
  const Plugin* plugin = rtx();
  if (plugin == nullptr) return;
  for (const char* precision : {"fp32", "bf16", "fp16"})
    build_and_find(*plugin, read_model_config(PAELLA_SOURCE_DIR "/models/tiny"), precision);
}

TEST("TensorRT-RTX builds networks in the shape of the 1-billion model") {
  const Plugin* plugin = rtx();
  if (plugin == nullptr) return;
  for (const char* precision : {"bf16", "fp16"}) build_and_find(*plugin, small_v3(), precision);
}

TEST("TensorRT-RTX: a build is cancelled half way, and nothing is left of it") {
  const Plugin* plugin = rtx();
  if (plugin == nullptr) return;
  const ModelConfig config = small_v3();
  const auto backend = onnx::make_backend("bf16");
  const auto source = random_weights(1);
  Loader loader(*source, *backend);
  const Vqgan vqgan(config.vqgan, loader);
  const TemporaryFolder folder;
  EngineStore::Options options = options_for(folder.path(), "bf16");
  std::atomic<int> steps{0};
  std::string phase;
  options.progress = [&](const std::string& network, const std::string& name, int, int) {
    CHECK_EQUAL(network, "vqgan.decoder");
    if (++steps == 10) phase = name;
  };
  options.cancelled = [&] { return steps >= 10; };
  EngineStore store(*plugin, options);
  const Recording recording = store.record(*vqgan.decoder(), backend->operand_type());
  const Ranges ranges = ranges_of(profile_of(4), recording.signature, 4);
  CHECK_THROWS(store.plan(recording, ranges), ErrorCode::aborted, "vqgan.decoder");
  CHECK(steps >= 10 && !phase.empty());
  for (const auto& file : fs::directory_iterator(folder.path())) CHECK(file.path().extension() == ".lock");
  // The same store goes on.
  steps = -1000000;
  CHECK(store.plan(recording, ranges).built);
}

TEST("TensorRT-RTX: what it refuses is said in its own words") {
  const Plugin* plugin = rtx();
  if (plugin == nullptr) return;
  const Graph graph{"no protocol buffer", {}};
  BuildRequest request;
  request.network = "unet";
  request.graph = &graph;
  request.compute_capability = "8.9";
  request.strip = false;
  CHECK_THROWS(plugin->build(request), ErrorCode::backend_unavailable, "unet: the graph could not be read");
  CHECK(plugin->refusal(9, 0).find("does not support compute capability 9.0") != std::string::npos);
  CHECK(plugin->refusal(8, 0).find("8.0") != std::string::npos);
  CHECK_EQUAL(plugin->refusal(8, 9), "");
  // Its header is looked at first, GPU or not: a file like this has to be built anew.
  const std::vector<std::uint8_t> plan(100000, 7);
  CHECK_THROWS(plugin->load(plan, graph, false, {}), ErrorCode::io, "it is no plan");
  CHECK_THROWS(plugin->load(std::span(plan).first(4), graph, false, {}), ErrorCode::io, "cut off");
}
