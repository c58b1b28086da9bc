// exportModel() of lib/native/contract.ts.
#pragma once

#include <napi.h>

namespace paella::addon {

// exportModel(request, onProgress) → { promise, cancel() }
Napi::Value export_networks(const Napi::CallbackInfo& info);

}  // namespace paella::addon
