#include "addon/engine_job.h"

#include <chrono>
#include <memory>
#include <mutex>

#include "addon/background_job.h"
#include "addon/convert.h"
#include "engines/engine_builder.h"

namespace paella::addon {

namespace {

// How often progress is told.
constexpr auto interval = std::chrono::milliseconds(50);

Napi::Array to_js(Napi::Env env, const std::vector<BuiltEngine>& engines) {
  Napi::Array result = Napi::Array::New(env);
  for (const BuiltEngine& engine : engines) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("network", engine.network);
    object.Set("profile", engine.profile);
    object.Set("file", engine.path);
    object.Set("key", engine.key);
    object.Set("built", engine.built);
    object.Set("bytes", static_cast<double>(engine.bytes));
    if (!engine.why_rebuilt.empty()) object.Set("whyRebuilt", engine.why_rebuilt);
    result.Set(result.Length(), object);
  }
  return result;
}

// Called on threads of TensorRT's, at any rate.
EngineBuildEvents events_of(const JobControl& control) {
  EngineBuildEvents events;
  events.cancelled = [cancelled = control.cancelled] { return cancelled->load(); };
  if (!control.tell) return events;
  struct Pace {
    std::mutex mutex;
    std::chrono::steady_clock::time_point last;
  };
  events.progress = [tell = control.tell, pace = std::make_shared<Pace>()](
                        const std::string& network, const std::string& phase, int step, int steps) {
    {
      const std::lock_guard lock(pace->mutex);
      const auto now = std::chrono::steady_clock::now();
      if (now - pace->last < interval) return;
      pace->last = now;
    }
    tell([=](Napi::Env env) {
      Napi::Object event = Napi::Object::New(env);
      event.Set("type", "progress");
      event.Set("network", network);
      event.Set("phase", phase);
      event.Set("step", step);
      event.Set("steps", steps);
      return event;
    });
  };
  events.log = [tell = control.tell](tensorrt::Severity severity, const std::string& message) {
    tell([severity, message](Napi::Env env) {
      Napi::Object event = Napi::Object::New(env);
      event.Set("type", "log");
      event.Set("level", tensorrt::name_of(severity));
      event.Set("message", message);
      return event;
    });
  };
  return events;
}

}  // namespace

Napi::Value build_model_engines(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto object = info[0].As<Napi::Object>();
  EngineBuildRequest request;
  request.model = string_member(object, "model");
  request.folder = string_member(object, "folder");
  request.precision = string_member(object, "precision");
  request.flavour = string_member(object, "flavour");
  request.compute_capability = string_member(object, "computeCapability");
  request.device = static_cast<int>(number_member(object, "device"));
  request.workspace_bytes = static_cast<std::size_t>(number_member(object, "workspaceBytes"));
  request.profiles = engine_profiles(object.Get("profiles"));
  const auto networks = object.Get("networks").As<Napi::Array>();
  for (std::uint32_t i = 0; i < networks.Length(); ++i) request.networks.push_back(networks.Get(i).ToString());
  return start_job(env, info[1],
                   {"engine build", "build one network at a time", [request](const JobControl& control) -> MakeResult {
                      const auto built =
                          std::make_shared<const std::vector<BuiltEngine>>(build_engines(request, events_of(control)));
                      return [built](Napi::Env result_env) { return to_js(result_env, *built); };
                    }});
}

}  // namespace paella::addon
