// buildEngines() of lib/native/contract.ts.
#pragma once

#include <napi.h>

namespace paella::addon {

// buildEngines(request, onEvent) → { promise, cancel() }
Napi::Value build_model_engines(const Napi::CallbackInfo& info);

}  // namespace paella::addon
