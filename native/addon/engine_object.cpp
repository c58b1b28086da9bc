#include "addon/engine_object.h"

#include <map>

#include "addon/backends.h"
#include "addon/background_job.h"
#include "addon/convert.h"

namespace paella::addon {

namespace {

// A promise that waits for the engine, and who wants to hear of its progress. Lives and dies on the JavaScript thread.
struct Pending {
  explicit Pending(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise::Deferred deferred;
  Napi::FunctionReference on_event;
};

}  // namespace

// Owned by the JavaScript functions that it gave out, and by itself while a promise is pending. The engine's callbacks
// hold only weak references and numbers: nothing of JavaScript may be destroyed on the engine's thread.
class EngineHandle : public std::enable_shared_from_this<EngineHandle> {
 public:
  explicit EngineHandle(std::shared_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {}

  Napi::Value load(Napi::Env env, EngineOptions options, const Napi::Value& on_progress, int threads);
  void stop();
  // For backends that have something to say at any time. `on_log` (level, message), if it is a function.
  tensorrt::Log log_to(const Napi::Value& on_log);

 private:
  using Number = std::uint64_t;
  // What a letter does with the handle and the promise it is about, if both are still there.
  using Action = std::function<void(Napi::Env, EngineHandle&, Pending&)>;

  Number add_pending(Napi::Env env, const Napi::Value& on_event);
  void settle(Napi::Env env, Number number, const std::function<void(Pending&)>& how);
  std::function<void(Action)> sender(Number number);
  std::function<void(const Error&)> rejecter(Number number);
  template <typename Result>
  std::function<void(Result)> resolver(Number number);
  Napi::Object job_object(Napi::Env env, Number number, std::function<void()> cancel);
  Napi::Object submit(Napi::Env env, Number number, const std::function<Engine::Ticket()>& submit_job);

  Napi::Object engine_object(Napi::Env env, const EngineInfo& info);
  Napi::Value generate(const Napi::CallbackInfo& info);
  Napi::Value encode_text(const Napi::CallbackInfo& info);
  Napi::Value predict(const Napi::CallbackInfo& info);
  Napi::Value encode_image(const Napi::CallbackInfo& info);
  Napi::Value decode_tokens(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<Mailbox> mailbox_;
  std::unique_ptr<Engine> engine_;
  int threads_ = 0;
  Number next_number_ = 1;
  std::map<Number, Pending> pending_;
  Napi::FunctionReference on_log_;
  std::shared_ptr<EngineHandle> self_;
};

EngineHandle::Number EngineHandle::add_pending(Napi::Env env, const Napi::Value& on_event) {
  const Number number = next_number_++;
  Pending& pending = pending_.emplace(number, Pending(env)).first->second;
  if (on_event.IsFunction()) pending.on_event = Napi::Persistent(on_event.As<Napi::Function>());
  if (pending_.size() == 1) self_ = shared_from_this();
  mailbox_->hold(env);
  return number;
}

void EngineHandle::settle(Napi::Env env, Number number, const std::function<void(Pending&)>& how) {
  const auto found = pending_.find(number);
  if (found == pending_.end()) return;
  const auto keep = shared_from_this();
  how(found->second);
  pending_.erase(found);
  mailbox_->release(env);
  if (pending_.empty()) self_.reset();
}

// For the engine's thread: posts an action about one promise.
std::function<void(EngineHandle::Action)> EngineHandle::sender(Number number) {
  return [number, mailbox = mailbox_, weak = weak_from_this()](Action action) {
    mailbox->post([number, weak, action = std::move(action)](Napi::Env env) {
      const auto handle = weak.lock();
      if (!handle) return;
      const auto found = handle->pending_.find(number);
      if (found != handle->pending_.end()) action(env, *handle, found->second);
    });
  };
}

std::function<void(const Error&)> EngineHandle::rejecter(Number number) {
  return [number, send = sender(number)](const Error& error) {
    send([number, error](Napi::Env env, EngineHandle& handle, Pending&) {
      handle.settle(env, number, [&](Pending& pending) { pending.deferred.Reject(to_js(env, error)); });
    });
  };
}

template <typename Result>
std::function<void(Result)> EngineHandle::resolver(Number number) {
  return [number, send = sender(number)](Result value) {
    // std::function must be copyable, results should not be copied: shared.
    auto result = std::make_shared<std::decay_t<Result>>(std::forward<Result>(value));
    send([number, result](Napi::Env env, EngineHandle& handle, Pending&) {
      handle.settle(env, number, [&](Pending& pending) { pending.deferred.Resolve(to_js(env, *result)); });
    });
  };
}

Napi::Object EngineHandle::job_object(Napi::Env env, Number number, std::function<void()> cancel) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("promise", pending_.at(number).deferred.Promise());
  object.Set("cancel",
             Napi::Function::New(env, [cancel = std::move(cancel)](const Napi::CallbackInfo&) { cancel(); }, "cancel"));
  return object;
}

Napi::Object EngineHandle::submit(Napi::Env env, Number number, const std::function<Engine::Ticket()>& submit_job) {
  const auto promise_only = [&] { return job_object(env, number, [] {}); };
  try {
    const Engine::Ticket ticket = submit_job();
    if (!pending_.at(number).on_event.IsEmpty())
      sender(number)([ticket](Napi::Env letter_env, EngineHandle&, Pending& pending) {
        Napi::Object event = Napi::Object::New(letter_env);
        event.Set("type", "queued");
        event.Set("position", static_cast<double>(ticket.position));
        pending.on_event.Call({event});
      });
    return job_object(env, number, [weak = weak_from_this(), id = ticket.id] {
      if (const auto handle = weak.lock()) handle->engine_->cancel(id);
    });
  } catch (const Error& error) {
    Napi::Object job = promise_only();
    settle(env, number, [&](Pending& pending) { pending.deferred.Reject(to_js(env, error)); });
    return job;
  }
}

Napi::Value EngineHandle::load(Napi::Env env, EngineOptions options, const Napi::Value& on_progress, int threads) {
  threads_ = threads;
  const Number number = add_pending(env, on_progress);
  Engine::LoadCallbacks callbacks;
  if (on_progress.IsFunction())
    callbacks.on_progress = [send = sender(number)](const LoadProgress& progress) {
      send([progress](Napi::Env letter_env, EngineHandle&, Pending& pending) {
        Napi::Object event = Napi::Object::New(letter_env);
        event.Set("phase", progress.phase);
        event.Set("loaded", static_cast<double>(progress.loaded));
        event.Set("total", static_cast<double>(progress.total));
        pending.on_event.Call({event});
      });
    };
  callbacks.on_loaded = [number, send = sender(number)](const EngineInfo& info) {
    send([number, info](Napi::Env letter_env, EngineHandle& handle, Pending&) {
      const Napi::Object engine = handle.engine_object(letter_env, info);
      handle.settle(letter_env, number, [&](Pending& pending) { pending.deferred.Resolve(engine); });
    });
  };
  callbacks.on_error = rejecter(number);
  engine_ = std::make_unique<Engine>(std::move(options), std::move(callbacks));
  return job_object(env, number, [weak = weak_from_this()] {
    if (const auto handle = weak.lock()) handle->engine_->cancel_load();
  });
}

tensorrt::Log EngineHandle::log_to(const Napi::Value& on_log) {
  if (!on_log.IsFunction()) return {};
  on_log_ = Napi::Persistent(on_log.As<Napi::Function>());
  return [mailbox = mailbox_, weak = weak_from_this()](tensorrt::Severity severity, const std::string& message) {
    mailbox->post([weak, severity, message](Napi::Env env) {
      const auto handle = weak.lock();
      if (handle && !handle->on_log_.IsEmpty())
        handle->on_log_.Call({Napi::String::New(env, tensorrt::name_of(severity)), Napi::String::New(env, message)});
    });
  };
}

Napi::Object EngineHandle::engine_object(Napi::Env env, const EngineInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("info", to_js(env, info, threads_));
  const auto method = [&](const char* name, Napi::Value (EngineHandle::*body)(const Napi::CallbackInfo&)) {
    object.Set(name, Napi::Function::New(
                         env,
                         [handle = shared_from_this(), body](const Napi::CallbackInfo& call) {
                           return (handle.get()->*body)(call);
                         },
                         name));
  };
  method("generate", &EngineHandle::generate);
  method("encodeText", &EngineHandle::encode_text);
  method("predict", &EngineHandle::predict);
  method("encodeImage", &EngineHandle::encode_image);
  method("decodeTokens", &EngineHandle::decode_tokens);
  method("dispose", &EngineHandle::dispose);
  object.Set("stats", Napi::Function::New(
                          env,
                          [handle = shared_from_this()](const Napi::CallbackInfo& call) {
                            return to_js(call.Env(), handle->engine_->stats());
                          },
                          "stats"));
  return object;
}

Napi::Value EngineHandle::generate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  GenerateRequest request = generate_request(info[0].As<Napi::Object>());
  const Number number = add_pending(env, info[1]);
  if (pending_.at(number).on_event.IsEmpty()) {
    request.step_events = false;
    request.preview_every = 0;
  }
  request.on_step = [send = sender(number)](const StepEvent& step) {
    send([step](Napi::Env letter_env, EngineHandle&, Pending& pending) {
      Napi::Object event = Napi::Object::New(letter_env);
      event.Set("type", "step");
      event.Set("step", static_cast<double>(step.step));
      event.Set("steps", static_cast<double>(step.steps));
      event.Set("noiseLevel", step.noise_level);
      event.Set("elapsedMs", step.elapsed_ms);
      pending.on_event.Call({event});
    });
  };
  request.on_preview = [send = sender(number)](PreviewEvent&& preview) {
    auto shared = std::make_shared<PreviewEvent>(std::move(preview));
    send([shared](Napi::Env letter_env, EngineHandle&, Pending& pending) {
      Napi::Object event = Napi::Object::New(letter_env);
      event.Set("type", "preview");
      event.Set("step", static_cast<double>(shared->step));
      event.Set("steps", static_cast<double>(shared->steps));
      event.Set("index", static_cast<double>(shared->index));
      event.Set("pixels", to_js(letter_env, shared->pixels));
      pending.on_event.Call({event});
    });
  };
  request.on_done = resolver<GenerateResult&&>(number);
  request.on_error = rejecter(number);
  return submit(env, number, [&] { return engine_->submit(std::move(request)); });
}

Napi::Value EngineHandle::encode_text(const Napi::CallbackInfo& info) {
  auto ids = int32_values(info[0], "ids");
  const Number number = add_pending(info.Env(), info.Env().Undefined());
  auto resolve = resolver<std::vector<float>&&>(number);
  return submit(info.Env(), number, [&] {
    return engine_->submit(
        [ids = std::move(ids), resolve](Generator& generator) { resolve(generator.conditions().encode(ids)); },
        rejecter(number));
  });
}

Napi::Value EngineHandle::predict(const Napi::CallbackInfo& info) {
  const auto object = info[0].As<Napi::Object>();
  const auto whole = [&](const char* key) { return static_cast<std::int64_t>(number_member(object, key)); };
  auto tokens = int32_values(object.Get("tokens"), "tokens");
  const std::int64_t batch = whole("batch"), height = whole("height"), width = whole("width");
  const auto noise_level = static_cast<float>(number_member(object, "noiseLevel"));
  ConditionInput input;
  const Napi::Value condition = object.Get("condition");
  if (condition.IsNull() || condition.IsUndefined()) {
    input.ids = {1};  // the empty prompt: its end alone
  } else {
    input = condition_input(condition);
  }
  const Number number = add_pending(info.Env(), info.Env().Undefined());
  auto resolve = resolver<std::vector<float>&&>(number);
  return submit(info.Env(), number, [&] {
    return engine_->submit(
        [=, tokens = std::move(tokens), input = std::move(input)](Generator& generator) {
          const ConditionPtr resolved = generator.conditions().resolve(input);
          resolve(generator.predict(tokens, batch, height, width, noise_level, resolved));
        },
        rejecter(number));
  });
}

Napi::Value EngineHandle::encode_image(const Napi::CallbackInfo& info) {
  auto pixels = uint8_values(info[0], "pixels");
  const std::int64_t width = info[1].ToNumber().Int64Value(), height = info[2].ToNumber().Int64Value();
  if (width <= 0 || height <= 0 || static_cast<std::int64_t>(pixels.size()) != width * height * 3)
    throw Napi::TypeError::New(info.Env(),
                               concat("pixels: expected ", width, "×", height, "×3 bytes, got ", pixels.size()));
  const Number number = add_pending(info.Env(), info.Env().Undefined());
  auto resolve = resolver<std::vector<std::int32_t>&&>(number);
  return submit(info.Env(), number, [&] {
    return engine_->submit(
        [=, pixels = std::move(pixels)](Generator& generator) { resolve(generator.encode(pixels, height, width)); },
        rejecter(number));
  });
}

Napi::Value EngineHandle::decode_tokens(const Napi::CallbackInfo& info) {
  auto tokens = int32_values(info[0], "tokens");
  const std::int64_t width = info[1].ToNumber().Int64Value(), height = info[2].ToNumber().Int64Value();
  if (width <= 0 || height <= 0 || static_cast<std::int64_t>(tokens.size()) != width * height)
    throw Napi::TypeError::New(info.Env(),
                               concat("tokens: expected ", width, "×", height, " numbers, got ", tokens.size()));
  const Number number = add_pending(info.Env(), info.Env().Undefined());
  auto resolve = resolver<std::vector<std::uint8_t>&&>(number);
  return submit(info.Env(), number, [&] {
    return engine_->submit(
        [=, tokens = std::move(tokens)](Generator& generator) { resolve(generator.decode(tokens, height, width)); },
        rejecter(number));
  });
}

Napi::Value EngineHandle::dispose(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Number number = add_pending(env, env.Undefined());
  const Napi::Promise promise = pending_.at(number).deferred.Promise();
  engine_->dispose(info[0].ToBoolean(), [number, send = sender(number)] {
    send([number](Napi::Env letter_env, EngineHandle& handle, Pending&) {
      handle.settle(letter_env, number, [&](Pending& pending) { pending.deferred.Resolve(letter_env.Undefined()); });
    });
  });
  return promise;
}

void EngineHandle::stop() {
  const auto keep = shared_from_this();
  if (engine_) engine_->stop();
  pending_.clear();
  self_.reset();
}

Napi::Value load_engine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto request = info[0].As<Napi::Object>();
  BackendRequest backend;
  backend.name = string_member(request, "backend");
  backend.precision = string_member(request, "precision");
  backend.threads = static_cast<int>(number_member(request, "threads"));
  EngineOptions options;
  options.model = string_member(request, "model");
  options.model_options = {memory_mode(string_member(request, "memory")),
                           encoder_weights(string_member(request, "encoderWeights"))};
  options.max_batch = static_cast<std::size_t>(number_member(request, "maxBatch"));
  options.max_delay_ms = number_member(request, "maxDelayMs");
  options.max_queue = static_cast<std::size_t>(number_member(request, "maxQueue"));
  auto& environment = *env.GetInstanceData<std::shared_ptr<Environment>>();
  std::erase_if(environment->engines, [](const auto& weak) { return weak.expired(); });
  const auto handle = std::make_shared<EngineHandle>(environment->mailbox);
  backend.model = options.model;
  backend.engine_folder = string_member(request, "engineFolder");
  backend.profiles = engine_profiles(request.Get("engineProfiles"));
  backend.log = handle->log_to(info[2]);
  const auto devices = request.Get("devices").As<Napi::Array>();
  for (std::uint32_t i = 0; i < devices.Length(); ++i) {
    backend.device = devices.Get(i).ToNumber().Int32Value();
    options.make_backends.push_back(backend_factory(backend));
  }
  environment->engines.push_back(handle);
  return handle->load(env, std::move(options), info[1], backend.threads);
}

void stop(Environment& environment) {
  for (const auto& weak : environment.engines)
    if (const auto handle = weak.lock()) handle->stop();
  environment.engines.clear();
  environment.surveys.clear();
  stop_jobs(environment);
}

}  // namespace paella::addon
