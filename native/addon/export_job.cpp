#include "addon/export_job.h"

#include <atomic>
#include <chrono>
#include <optional>

#include "addon/convert.h"
#include "export/exporter.h"

namespace paella::addon {

// Lives and dies on the JavaScript thread; its thread and its letters hold weak references and the flag only.
class ExportJob : public std::enable_shared_from_this<ExportJob> {
 public:
  ExportJob(Napi::Env env, std::shared_ptr<Mailbox> mailbox, const Napi::Value& on_progress)
      : mailbox_(std::move(mailbox)), deferred_(Napi::Promise::Deferred::New(env)) {
    if (on_progress.IsFunction()) on_progress_ = Napi::Persistent(on_progress.As<Napi::Function>());
  }

  Napi::Object start(Napi::Env env, ExportRequest request);
  bool running() const { return running_; }
  void cancel() { *cancelled_ = true; }
  void wait() {
    if (thread_.valid()) thread_.wait();
  }

 private:
  using Action = std::function<void(Napi::Env, ExportJob&)>;
  static void send(const std::shared_ptr<Mailbox>& mailbox, const std::weak_ptr<ExportJob>& weak, Action action) {
    mailbox->post([weak, action = std::move(action)](Napi::Env env) {
      if (const auto job = weak.lock()) action(env, *job);
    });
  }
  void settle(Napi::Env env) {
    running_ = false;
    mailbox_->release(env);
  }

  std::shared_ptr<Mailbox> mailbox_;
  Napi::Promise::Deferred deferred_;
  Napi::FunctionReference on_progress_;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  bool running_ = true;
  std::future<void> thread_;  // last: waited for before the rest goes
};

namespace {

// How often progress is told.
constexpr auto interval = std::chrono::milliseconds(50);

Napi::Array to_js(Napi::Env env, const std::vector<Port>& ports) {
  Napi::Array result = Napi::Array::New(env);
  for (const Port& port : ports) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", port.name);
    object.Set("type", name_of(port.type));
    Napi::Array shape = Napi::Array::New(env);
    for (const Dim& dim : port.dims) {
      if (dim.constant()) {
        shape.Set(shape.Length(), static_cast<double>(dim.offset));
      } else {
        shape.Set(shape.Length(), dim.text());
      }
    }
    object.Set("shape", shape);
    result.Set(result.Length(), object);
  }
  return result;
}

Napi::Object to_js(Napi::Env env, const ExportedNetwork& network) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", network.name);
  object.Set("file", network.file);
  object.Set("dataFile", network.data_file);
  object.Set("inputs", to_js(env, network.signature.inputs));
  object.Set("outputs", to_js(env, network.signature.outputs));
  Napi::Object symbols = Napi::Object::New(env);
  for (const auto& [name, rule] : network.signature.symbols) {
    Napi::Object symbol = Napi::Object::New(env);
    if (rule.multiple_of.empty()) {
      symbol.Set("multipleOf", static_cast<double>(rule.multiple));
    } else {
      symbol.Set("multipleOf", rule.multiple_of);
    }
    symbols.Set(name, symbol);
  }
  object.Set("symbols", symbols);
  object.Set("nodes", static_cast<double>(network.nodes));
  object.Set("initializers", static_cast<double>(network.initializers));
  return object;
}

Napi::Object to_js(Napi::Env env, const ExportResult& result) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("model", result.config.name);
  Napi::Array networks = Napi::Array::New(env), data = Napi::Array::New(env);
  for (const ExportedNetwork& network : result.networks) networks.Set(networks.Length(), to_js(env, network));
  for (const ExportedData& each : result.data) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("file", each.file);
    item.Set("component", each.component);
    item.Set("bytes", static_cast<double>(each.bytes));
    data.Set(data.Length(), item);
  }
  object.Set("networks", networks);
  object.Set("data", data);
  if (!result.relative_biases.empty()) {
    const Byt5Config& config = result.config.text_encoder;
    Napi::Object positions = Napi::Object::New(env);
    positions.Set("buckets", static_cast<double>(config.relative_buckets));
    positions.Set("maxDistance", static_cast<double>(config.relative_max_distance));
    positions.Set("heads", static_cast<double>(config.num_heads));
    Napi::Array bias = Napi::Array::New(env, result.relative_biases.size());
    for (std::uint32_t i = 0; i < bias.Length(); ++i) bias.Set(i, result.relative_biases[i]);
    positions.Set("bias", bias);
    object.Set("positions", positions);
  }
  return object;
}

}  // namespace

Napi::Object ExportJob::start(Napi::Env env, ExportRequest request) {
  mailbox_->hold(env);
  const std::weak_ptr<ExportJob> weak = weak_from_this();
  const bool told = !on_progress_.IsEmpty();
  thread_ = std::async(
      std::launch::async, [mailbox = mailbox_, weak, told, cancelled = cancelled_, request = std::move(request)] {
        auto last = std::chrono::steady_clock::now() - interval;
        std::string phase;
        const auto on_progress = [&](const ExportProgress& progress) {
          if (*cancelled) throw Error(ErrorCode::aborted, "the export was aborted");
          const auto now = std::chrono::steady_clock::now();
          const bool ends = progress.done == progress.total && progress.total > 0;
          if (!told || (now - last < interval && !ends)) return;
          last = now;
          send(mailbox, weak, [progress](Napi::Env letter_env, ExportJob& job) {
            Napi::Object event = Napi::Object::New(letter_env);
            event.Set("phase", progress.phase);
            event.Set("done", static_cast<double>(progress.done));
            event.Set("total", static_cast<double>(progress.total));
            if (job.running()) job.on_progress_.Call({event});
          });
        };
        std::optional<Error> failure;
        try {
          const auto result = std::make_shared<const ExportResult>(export_model(request, on_progress));
          if (*cancelled) throw Error(ErrorCode::aborted, "the export was aborted");
          send(mailbox, weak, [result](Napi::Env letter_env, ExportJob& job) {
            job.settle(letter_env);
            job.deferred_.Resolve(to_js(letter_env, *result));
          });
          return;
        } catch (const Error& error) {
          failure = error;
        } catch (const std::bad_alloc&) {
          failure = Error(ErrorCode::out_of_memory, "export: out of host memory", "export fewer networks at a time");
        } catch (const std::exception& error) {
          failure = Error(ErrorCode::internal, concat("export: ", error.what()));
        }
        send(mailbox, weak, [error = *failure](Napi::Env letter_env, ExportJob& job) {
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

Napi::Value export_networks(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto object = info[0].As<Napi::Object>();
  ExportRequest request;
  request.model = string_member(object, "model");
  request.folder = string_member(object, "folder");
  request.precision = string_member(object, "precision");
  request.opset = static_cast<int>(number_member(object, "opset"));
  const auto networks = object.Get("networks").As<Napi::Array>();
  for (std::uint32_t i = 0; i < networks.Length(); ++i) request.networks.push_back(networks.Get(i).ToString());
  Environment& environment = **env.GetInstanceData<std::shared_ptr<Environment>>();
  std::erase_if(environment.exports, [](const auto& job) { return !job->running(); });
  const auto job = std::make_shared<ExportJob>(env, environment.mailbox, info[1]);
  environment.exports.push_back(job);
  return job->start(env, std::move(request));
}

void stop_exports(Environment& environment) {
  for (const auto& job : environment.exports) job->cancel();
  for (const auto& job : environment.exports) job->wait();
  environment.exports.clear();
}

}  // namespace paella::addon
