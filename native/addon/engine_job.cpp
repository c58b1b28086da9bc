#include "addon/engine_job.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>

#include "addon/convert.h"
#include "engines/engine_builder.h"

namespace paella::addon {

// Lives and dies on the JavaScript thread; its thread and its letters hold weak references and the flag only.
class EngineJob : public std::enable_shared_from_this<EngineJob> {
 public:
  EngineJob(Napi::Env env, std::shared_ptr<Mailbox> mailbox, const Napi::Value& on_event)
      : mailbox_(std::move(mailbox)), deferred_(Napi::Promise::Deferred::New(env)) {
    if (on_event.IsFunction()) on_event_ = Napi::Persistent(on_event.As<Napi::Function>());
  }

  Napi::Object start(Napi::Env env, EngineBuildRequest request);
  bool running() const { return running_; }
  void cancel() { *cancelled_ = true; }
  void wait() {
    if (thread_.valid()) thread_.wait();
  }

 private:
  using Action = std::function<void(Napi::Env, EngineJob&)>;
  using Sender = std::function<void(Action)>;
  static EngineBuildEvents events(const Sender& send, const std::shared_ptr<std::atomic<bool>>& cancelled, bool heard);
  void tell(const Napi::Object& event) {
    if (running_ && !on_event_.IsEmpty()) on_event_.Call({event});
  }
  void settle(Napi::Env env) {
    running_ = false;
    mailbox_->release(env);
  }

  std::shared_ptr<Mailbox> mailbox_;
  Napi::Promise::Deferred deferred_;
  Napi::FunctionReference on_event_;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  bool running_ = true;
  std::future<void> thread_;  // last: waited for before the rest goes
};

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

}  // namespace

// Called on threads of TensorRT's, at any rate.
EngineBuildEvents EngineJob::events(const Sender& send, const std::shared_ptr<std::atomic<bool>>& cancelled,
                                    bool heard) {
  EngineBuildEvents events;
  events.cancelled = [cancelled] { return cancelled->load(); };
  if (!heard) return events;
  struct Pace {
    std::mutex mutex;
    std::chrono::steady_clock::time_point last;
  };
  events.progress = [send, pace = std::make_shared<Pace>()](const std::string& network, const std::string& phase,
                                                            int step, int steps) {
    {
      const std::lock_guard lock(pace->mutex);
      const auto now = std::chrono::steady_clock::now();
      if (now - pace->last < interval) return;
      pace->last = now;
    }
    send([=](Napi::Env env, EngineJob& job) {
      Napi::Object event = Napi::Object::New(env);
      event.Set("type", "progress");
      event.Set("network", network);
      event.Set("phase", phase);
      event.Set("step", step);
      event.Set("steps", steps);
      job.tell(event);
    });
  };
  events.log = [send](tensorrt::Severity severity, const std::string& message) {
    send([severity, message](Napi::Env env, EngineJob& job) {
      Napi::Object event = Napi::Object::New(env);
      event.Set("type", "log");
      event.Set("level", tensorrt::name_of(severity));
      event.Set("message", message);
      job.tell(event);
    });
  };
  return events;
}

Napi::Object EngineJob::start(Napi::Env env, EngineBuildRequest request) {
  mailbox_->hold(env);
  const Sender send = [mailbox = mailbox_, weak = weak_from_this()](Action action) {
    mailbox->post([weak, action = std::move(action)](Napi::Env letter_env) {
      if (const auto job = weak.lock()) action(letter_env, *job);
    });
  };
  const EngineBuildEvents told = events(send, cancelled_, !on_event_.IsEmpty());
  thread_ = std::async(std::launch::async, [send, told, cancelled = cancelled_, request = std::move(request)] {
    std::optional<Error> failure;
    try {
      const auto built = std::make_shared<const std::vector<BuiltEngine>>(build_engines(request, told));
      if (*cancelled) throw Error(ErrorCode::aborted, "the build was aborted");
      send([built](Napi::Env letter_env, EngineJob& job) {
        job.settle(letter_env);
        job.deferred_.Resolve(to_js(letter_env, *built));
      });
      return;
    } catch (const Error& error) {
      failure = error;
    } catch (const std::bad_alloc&) {
      failure = Error(ErrorCode::out_of_memory, "engine build: out of host memory", "build one network at a time");
    } catch (const std::exception& error) {
      failure = Error(ErrorCode::internal, concat("engine build: ", error.what()));
    }
    send([error = *failure](Napi::Env letter_env, EngineJob& job) {
      job.settle(letter_env);
      job.deferred_.Reject(addon::to_js(letter_env, error));
    });
  });
  Napi::Object object = Napi::Object::New(env);
  object.Set("promise", deferred_.Promise());
  object.Set("cancel", Napi::Function::New(
                           env, [cancelled = cancelled_](const Napi::CallbackInfo&) { *cancelled = true; }, "cancel"));
  return object;
}

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
  Environment& environment = **env.GetInstanceData<std::shared_ptr<Environment>>();
  std::erase_if(environment.engine_builds, [](const auto& job) { return !job->running(); });
  const auto job = std::make_shared<EngineJob>(env, environment.mailbox, info[1]);
  environment.engine_builds.push_back(job);
  return job->start(env, std::move(request));
}

void stop_engine_builds(Environment& environment) {
  for (const auto& job : environment.engine_builds) job->cancel();
  for (const auto& job : environment.engine_builds) job->wait();
  environment.engine_builds.clear();
}

}  // namespace paella::addon
