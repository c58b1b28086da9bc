// inspectModel(): what a model is and how much memory it takes, without reading its weights.
#pragma once

#include <napi.h>

namespace paella::addon {

// (NativeInspectRequest) → NativeJob<NativeInspection>
Napi::Value inspect_model(const Napi::CallbackInfo& info);

}  // namespace paella::addon
