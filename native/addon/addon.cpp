// The exposed object: NativeModule of lib/native/contract.ts.
#include <napi.h>

#include "addon/backends.h"
#include "addon/convert.h"
#include "addon/engine_object.h"
#include "pipeline/model_folder.h"

namespace paella::addon {

namespace {

// A C++ error in a call becomes a rejected promise, never an exception of the process.
Napi::Value rejected_job(Napi::Env env, const Error& error) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(to_js(env, error));
  Napi::Object job = Napi::Object::New(env);
  job.Set("promise", deferred.Promise());
  job.Set("cancel", Napi::Function::New(env, [](const Napi::CallbackInfo&) {}, "cancel"));
  return job;
}

Napi::Value load(const Napi::CallbackInfo& info) {
  try {
    return load_engine(info);
  } catch (const Error& error) {
    return rejected_job(info.Env(), error);
  }
}

Napi::Value backends(const Napi::CallbackInfo& info) {
  const auto deferred = Napi::Promise::Deferred::New(info.Env());
  try {
    deferred.Resolve(describe_backends(info.Env()));
  } catch (const Error& error) {
    deferred.Reject(to_js(info.Env(), error));
  }
  return deferred.Promise();
}

Napi::Value configurations(const Napi::CallbackInfo& info) {
  const std::vector<std::string> names = random_configurations();
  Napi::Array array = Napi::Array::New(info.Env(), names.size());
  for (std::uint32_t i = 0; i < names.size(); ++i) array.Set(i, names[i]);
  return array;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto environment = std::make_shared<Environment>();
  environment->mailbox = Mailbox::create(env);
  env.SetInstanceData(new std::shared_ptr<Environment>(environment));
  // Runs before the mailbox's own clean-up, because it is registered later: engines stop while JavaScript values that
  // they answer to can still be released.
  env.AddCleanupHook([environment] {
    stop_engines(*environment);
    environment->mailbox->close();
  });
  // An exception that nobody catches ends the process without clean-up hooks, but not without this event. An engine
  // that still runs then would meet oneDNN and OpenMP half taken down.
  const Napi::Object process = env.Global().Get("process").As<Napi::Object>();
  const auto on_exit = [environment](const Napi::CallbackInfo&) { stop_engines(*environment); };
  process.Get("once").As<Napi::Function>().Call(
      process, {Napi::String::New(env, "exit"), Napi::Function::New(env, on_exit, "stopPaellaEngines")});
  exports.Set("version", PAELLA_VERSION);
  exports.Set("backends", Napi::Function::New(env, backends, "backends"));
  exports.Set("randomConfigurations", Napi::Function::New(env, configurations, "randomConfigurations"));
  exports.Set("load", Napi::Function::New(env, load, "load"));
  return exports;
}

}  // namespace

NODE_API_MODULE(paella, initialize)

}  // namespace paella::addon
