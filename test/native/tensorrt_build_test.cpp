// Plans of our own networks by TensorRT-RTX itself, which builds for a GPU that is not here. Skipped where its library
// is not installed; CI has a stage that installs it.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/weights.h"
#include "harness.h"
#include "models/unet.h"
#include "models/vqgan.h"
#include "pipeline/model_folder.h"
#include "tensorrt/engine_store.h"
#include "tensorrt/plugin_loader.h"

using namespace paella;
using namespace paella::tensorrt;
using namespace paella::test;

namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "paella-plans-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  std::string path() const { return path_; }

 private:
  fs::path path_;
};

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
  return {"test", "", {1, 1, 2}, {multiple, 2 * multiple, 4 * multiple}, {multiple, 2 * multiple, 4 * multiple},
          {32, 32, 64}, {1, 8, 12}};
}

// U-Net and VQGAN decoder: every layer is accepted, inputs and outputs are those that were declared, and what was built
// is found again.
void build_and_find(const Plugin& plugin, const std::string& model, const std::string& precision) {
  const ModelConfig config = read_model_config(model);
  const auto backend = onnx::make_backend(precision);
  const auto source = [&](const char* component) {
    return config.folder.empty() ? random_weights(1)
                                 : open_safetensors(config.folder + "/" + component + "/model.safetensors");
  };
  const auto unet_source = source("unet"), vqgan_source = source("vqgan");
  Loader unet_loader(*unet_source, *backend), vqgan_loader(*vqgan_source, *backend);
  const Unet unet(config.unet, unet_loader);
  const Vqgan vqgan(config.vqgan, vqgan_loader);
  const Folder folder;
  EngineStore store(plugin, options_for(folder.path(), precision));
  const Profile profile = profile_of(config.size_multiple());
  for (const auto& network : {unet.denoise(), vqgan.decoder()}) {
    const Recording recording = store.record(*network, backend->operand_type());
    const Ranges ranges = ranges_of(profile, recording.signature, config.vqgan.pixels_per_token());
    const EngineStore::Plan built = store.plan(recording, ranges);
    CHECK(built.built && built.file.plan.size() > 1000 && !built.file.stripped);
    CHECK_EQUAL(fs::file_size(built.path), built.file.plan.size());
    const EngineStore::Plan found = store.plan(recording, ranges);
    CHECK(!found.built && found.file.plan == built.file.plan && found.why_rebuilt.empty());
  }
}

}  // namespace

TEST("TensorRT-RTX builds the networks of the bundled model") {
  const Plugin* plugin = rtx();
  if (plugin == nullptr) return;
  for (const char* precision : {"fp32", "bf16", "fp16"})
    build_and_find(*plugin, PAELLA_SOURCE_DIR "/models/tiny", precision);
}
