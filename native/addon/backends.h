// The one table that lists the backends.
#pragma once

#include <napi.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "tensorrt/profile.h"

namespace paella::addon {

struct BackendRequest {
  std::string name;       // "cpu", "cuda", "tensorrt"
  std::string precision;  // "auto", "fp32", …
  int device = 0;
  int threads = 0;  // 0: every usable core
  // For tensorrt.
  std::string model;          // as for read_model_config()
  std::string engine_folder;  // cache of plans
  std::vector<tensorrt::Profile> profiles;
  tensorrt::Log log;  // called on the engine's thread
};

// Throws ERR_BACKEND_UNAVAILABLE or ERR_INVALID_OPTION at once if it cannot be made here.
std::function<std::unique_ptr<Backend>()> backend_factory(const BackendRequest& request);

// NativeBackendInfo of lib/native/contract.ts, before it is a JavaScript value.
struct BackendDescription {
  struct Device {
    std::string name, compute_capability;
    double memory_total = 0, memory_free = 0;
  };
  std::string name;
  bool available = false;
  std::string reason, remedy;
  bool unexpected = false;
  std::vector<Device> devices;
  std::vector<std::string> precisions;
  std::map<std::string, std::string> details;
};

// Those that are named, all if none is; fastest first. Looking for GPUs can take seconds: not on the JavaScript thread.
std::vector<BackendDescription> describe_backends(const std::vector<std::string>& names);

Napi::Value to_js(Napi::Env env, const std::vector<BackendDescription>& descriptions);

}  // namespace paella::addon
