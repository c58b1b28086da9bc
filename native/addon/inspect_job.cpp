#include "addon/inspect_job.h"

#include <memory>

#include "addon/background_job.h"
#include "addon/convert.h"
#include "pipeline/estimate.h"

namespace paella::addon {

namespace {

MakeResult run(const std::string& model, const EstimateRequest& request) {
  struct Inspection {
    EngineInfo info;
    MemoryEstimate estimate;
  };
  const auto found = std::make_shared<Inspection>();
  found->info.config = read_model_config(model);
  found->info.precision = request.precision;
  found->estimate = estimate_memory(found->info.config, request);
  found->info.parameters = found->estimate.parameters;
  found->info.bytes = found->estimate.weights;
  return [found](Napi::Env env) -> Napi::Value {
    const auto object = to_js(env, found->info, 0).As<Napi::Object>();
    Napi::Object loaded = Napi::Object::New(env), peak = Napi::Object::New(env);
    for (const char* mode : {"resident", "balanced", "low"}) {
      loaded.Set(mode, static_cast<double>(found->estimate.loaded(memory_mode(mode))));
      peak.Set(mode, static_cast<double>(found->estimate.peak(memory_mode(mode))));
    }
    Napi::Object memory = Napi::Object::New(env);
    memory.Set("weights", loaded);
    memory.Set("peak", peak);
    Napi::Object result = Napi::Object::New(env);
    result.Set("info", object);
    result.Set("memory", memory);
    return result;
  };
}

}  // namespace

Napi::Value inspect_model(const Napi::CallbackInfo& info) {
  const auto object = info[0].As<Napi::Object>();
  const std::string model = string_member(object, "model");
  EstimateRequest request;
  request.precision = string_member(object, "precision");
  request.encoder_weights = encoder_weights(string_member(object, "encoderWeights"));
  request.width = static_cast<std::int64_t>(number_member(object, "width"));
  request.height = static_cast<std::int64_t>(number_member(object, "height"));
  request.batch = static_cast<std::int64_t>(number_member(object, "count"));
  return start_job(info.Env(), info[1],
                   {"inspect", "use a smaller size or count", [=](const JobControl&) { return run(model, request); }});
}

}  // namespace paella::addon
