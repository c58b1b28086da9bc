// Builds TensorRT plans of a model ahead of time (docs/tensorrt.md). What is built here is what the backend `tensorrt`
// finds when it needs it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "pipeline/model_folder.h"
#include "tensorrt/plugin_loader.h"
#include "tensorrt/profile.h"

namespace paella {

struct EngineBuildRequest {
  std::string model;               // as for read_model_config()
  std::string folder;              // of the plan cache
  std::string precision = "bf16";  // fp32, bf16 or fp16
  std::string flavour;             // "enterprise" or "rtx"; empty: the first that works here
  // "8.9": for a GPU of this kind that need not be here; TensorRT-RTX only. Empty: for the GPU `device` of this
  // machine.
  std::string compute_capability;
  int device = 0;
  std::vector<tensorrt::Profile> profiles;  // those for another precision are left out
  std::vector<std::string> networks;        // of engine_networks(); empty: all
  std::size_t workspace_bytes = 0;          // most working memory of one operation; 0: what the GPU has
};

struct EngineBuildEvents {
  std::function<void(const std::string& network, const std::string& phase, int step, int steps)> progress;
  std::function<bool()> cancelled;
  tensorrt::Log log;
};

struct BuiltEngine {
  std::string network, profile, path, key;
  bool built = false;  // false: it was there
  std::uint64_t bytes = 0;
  std::string why_rebuilt;  // what was wrong with the one that was there
};

// "unet", "vqgan-decoder"
std::vector<std::string> engine_networks();

// ERR_INVALID_OPTION for a profile outside the model's limits, an unknown network, or if nothing is left to build;
// ERR_BACKEND_UNAVAILABLE with the reason, TensorRT's own words included; ERR_IO; ERR_ABORTED; what reading the model
// throws. Plans that were finished before an error stay in the cache.
std::vector<BuiltEngine> build_engines(const EngineBuildRequest& request, const EngineBuildEvents& events);

}  // namespace paella
