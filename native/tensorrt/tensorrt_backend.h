// TensorRT is CUDA with another compile(): the denoiser and the VQGAN's decoder run as engines, everything else by the
// CUDA executor, on one stream.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "tensorrt/plugin.h"
#include "tensorrt/profile.h"

namespace paella::tensorrt {

struct BackendOptions {
  std::string cache_folder;
  std::vector<Profile> profiles;  // the first that covers a shape is taken; none: an engine for that shape alone
  std::int64_t pixels_per_token = 4;
  std::string gpu;                 // name
  std::string compute_capability;  // "9.0"
  Log log;
};

// `cuda` made by the CUDA plug-in; `stream` (a cudaStream_t) is the one that it enqueues on.
std::unique_ptr<Backend> make_backend(const Plugin& plugin, std::unique_ptr<Backend> cuda, void* stream,
                                      BackendOptions options);

}  // namespace paella::tensorrt
