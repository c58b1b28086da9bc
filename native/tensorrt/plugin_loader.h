// Finds the TensorRT plug-ins of this build, and the one that works here. Ordinary C++ without TensorRT: part of the
// addon and of the native tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cuda/plugin_loader.h"
#include "tensorrt/plugin.h"

namespace paella::tensorrt {

struct OpenedPlugin {
  const Plugin* plugin = nullptr;  // null: `reason` says why
  std::string path;
  std::string reason, remedy;
};

// An opened library stays open for the life of the process. Never throws.
OpenedPlugin open_plugin(const std::string& path);

// All libpaella_tensorrt_*.so in a folder: the full TensorRT before TensorRT-RTX, newer before older.
std::vector<OpenedPlugin> open_plugins(const std::string& folder);
// Those of this build: the file that the environment variable PAELLA_TENSORRT_PLUGIN names, else those beside the
// module that this code is part of. Opened by the first call; any thread.
const std::vector<OpenedPlugin>& plugins();

// The first plug-in whose library could be opened and which makes code for the GPU, if one is given.
struct Choice {
  const Plugin* plugin = nullptr;  // null: `reason` says why
  std::string reason, remedy;
  // TensorRT is installed, but none of the plug-ins fits: worth a warning where nobody asked for it by name.
  bool unexpected = false;
};
// flavour: "enterprise", "rtx", or empty for any.
Choice choose(const std::vector<OpenedPlugin>& opened, const std::string& flavour,
              const std::optional<cuda::DeviceInfo>& gpu);

// ERR_BACKEND_UNAVAILABLE if there is none.
const Plugin& usable(const Choice& choice);

}  // namespace paella::tensorrt
