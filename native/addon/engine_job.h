// buildEngines() of lib/native/contract.ts.
#pragma once

#include <napi.h>

#include "addon/engine_object.h"

namespace paella::addon {

// buildEngines(request, onEvent) → { promise, cancel() }
Napi::Value build_model_engines(const Napi::CallbackInfo& info);

// Cancels every build of an environment and waits for their threads.
void stop_engine_builds(Environment& environment);

}  // namespace paella::addon
