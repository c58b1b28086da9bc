// Opens libpaella_cuda.so and says in words why it cannot be used. Ordinary C++ without CUDA: part of the addon and of
// the native tests.
#pragma once

#include <string>

#include "cuda/plugin.h"

namespace paella::cuda {

struct OpenedPlugin {
  const Plugin* plugin = nullptr;  // null: `reason` says why
  std::string path;
  bool found = false;  // there is such a file
  std::string reason, remedy;
};

// An opened library stays open for the life of the process. Never throws.
OpenedPlugin open_plugin(const std::string& path);

// The plug-in of this build: the file that the environment variable PAELLA_CUDA_PLUGIN names, else libpaella_cuda.so
// beside the module that this code is part of. Opened by the first call; any thread.
const OpenedPlugin& plugin();

// Where the plug-ins of this build lie: the folder of the addon, or of the program that this code was linked into;
// empty if unknown.
std::string plugin_folder();

// What this machine offers through a plug-in.
struct Availability {
  bool available = false;
  std::string reason, remedy;  // why it is not available
  // Not available although one would expect it: the plug-in is there but does not fit, or a GPU is there but cannot be
  // used. A missing plug-in and a machine without a GPU are nothing to warn of.
  bool unexpected = false;
  Survey survey;
};
Availability availability(const OpenedPlugin& opened);

// ERR_BACKEND_UNAVAILABLE if it could not be opened.
const Plugin& usable(const OpenedPlugin& opened);

}  // namespace paella::cuda
