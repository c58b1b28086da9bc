// The exposed object: NativeModule of lib/native/contract.ts.
#include <napi.h>

#include <chrono>
#include <future>
#include <optional>

#include "addon/backends.h"
#include "addon/convert.h"
#include "addon/engine_job.h"
#include "addon/engine_object.h"
#include "addon/export_job.h"
#include "addon/inspect_job.h"
#include "export/exporter.h"
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

// On a thread of its own: a driver that is asked for the first time may need seconds to answer.
Napi::Value backends(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Environment& environment = **env.GetInstanceData<std::shared_ptr<Environment>>();
  std::vector<std::string> names;
  if (info[0].IsArray()) {
    const auto array = info[0].As<Napi::Array>();
    for (std::uint32_t i = 0; i < array.Length(); ++i) names.push_back(array.Get(i).ToString());
  }
  const auto deferred = Napi::Promise::Deferred::New(env);
  const auto mailbox = environment.mailbox;
  mailbox->hold(env);
  std::erase_if(environment.surveys, [](const auto& survey) {
    return survey.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  environment.surveys.push_back(std::async(std::launch::async, [mailbox, deferred, names = std::move(names)] {
    std::shared_ptr<const std::vector<BackendDescription>> found;
    std::optional<Error> failure;
    try {
      found = std::make_shared<std::vector<BackendDescription>>(describe_backends(names));
    } catch (const Error& error) {
      failure = error;
    } catch (const std::exception& error) {
      failure = Error(ErrorCode::internal, concat("backends: ", error.what()));
    }
    mailbox->post([mailbox, deferred, found, failure](Napi::Env letter_env) {
      if (found) {
        deferred.Resolve(to_js(letter_env, *found));
      } else {
        deferred.Reject(to_js(letter_env, *failure));
      }
      mailbox->release(letter_env);
    });
  }));
  return deferred.Promise();
}

Napi::Value list(Napi::Env env, const std::vector<std::string>& names) {
  Napi::Array array = Napi::Array::New(env, names.size());
  for (std::uint32_t i = 0; i < names.size(); ++i) array.Set(i, names[i]);
  return array;
}

Napi::Value configurations(const Napi::CallbackInfo& info) { return list(info.Env(), random_configurations()); }
Napi::Value networks(const Napi::CallbackInfo& info) { return list(info.Env(), exportable_networks()); }

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto environment = std::make_shared<Environment>();
  environment->mailbox = Mailbox::create(env);
  env.SetInstanceData(new std::shared_ptr<Environment>(environment));
  // Runs before the mailbox's own clean-up, because it is registered later: engines stop while JavaScript values that
  // they answer to can still be released.
  env.AddCleanupHook([environment] {
    stop(*environment);
    environment->mailbox->close();
  });
  // An exception that nobody catches ends the process without clean-up hooks, but not without this event. An engine
  // that still runs then would meet oneDNN and OpenMP half taken down.
  const Napi::Object process = env.Global().Get("process").As<Napi::Object>();
  const auto on_exit = [environment](const Napi::CallbackInfo&) { stop(*environment); };
  process.Get("once").As<Napi::Function>().Call(
      process, {Napi::String::New(env, "exit"), Napi::Function::New(env, on_exit, "stopPaellaEngines")});
  exports.Set("version", PAELLA_VERSION);
  exports.Set("backends", Napi::Function::New(env, backends, "backends"));
  exports.Set("randomConfigurations", Napi::Function::New(env, configurations, "randomConfigurations"));
  exports.Set("exportableNetworks", Napi::Function::New(env, networks, "exportableNetworks"));
  exports.Set("exportModel", Napi::Function::New(env, export_networks, "exportModel"));
  exports.Set("inspectModel", Napi::Function::New(env, inspect_model, "inspectModel"));
  exports.Set("buildEngines", Napi::Function::New(env, build_model_engines, "buildEngines"));
  exports.Set("load", Napi::Function::New(env, load, "load"));
  return exports;
}

}  // namespace

NODE_API_MODULE(paella, initialize)

}  // namespace paella::addon
