// exportModel() of lib/native/contract.ts.
#pragma once

#include <napi.h>

#include "addon/engine_object.h"

namespace paella::addon {

// exportModel(request, onProgress) → { promise, cancel() }
Napi::Value export_networks(const Napi::CallbackInfo& info);

// Cancels every export of an environment and waits for their threads.
void stop_exports(Environment& environment);

}  // namespace paella::addon
