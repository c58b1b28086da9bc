// The one table that lists the backends.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <string>

#include "core/backend.h"

namespace paella::addon {

struct BackendRequest {
  std::string name;       // "cpu", "cuda", "tensorrt"
  std::string precision;  // "auto", "fp32", …
  int device = 0;
  int threads = 0;  // 0: every usable core
};

// Throws ERR_BACKEND_UNAVAILABLE or ERR_INVALID_OPTION at once if it cannot be made here.
std::function<std::unique_ptr<Backend>()> backend_factory(const BackendRequest& request);

// Array of NativeBackendInfo, see lib/native/contract.ts.
Napi::Value describe_backends(Napi::Env env);

}  // namespace paella::addon
