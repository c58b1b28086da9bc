#include "addon/export_job.h"

#include <chrono>
#include <memory>

#include "addon/background_job.h"
#include "addon/convert.h"
#include "export/exporter.h"

namespace paella::addon {

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

Napi::Object to_js(Napi::Env env, const ExportProgress& progress) {
  Napi::Object event = Napi::Object::New(env);
  event.Set("phase", progress.phase);
  event.Set("done", static_cast<double>(progress.done));
  event.Set("total", static_cast<double>(progress.total));
  return event;
}

MakeResult run(const ExportRequest& request, const JobControl& control) {
  auto last = std::chrono::steady_clock::now() - interval;
  const auto on_progress = [&](const ExportProgress& progress) {
    control.check();
    const auto now = std::chrono::steady_clock::now();
    const bool ends = progress.done == progress.total && progress.total > 0;
    if (!control.tell || (now - last < interval && !ends)) return;
    last = now;
    control.tell([progress](Napi::Env env) { return to_js(env, progress); });
  };
  const auto result = std::make_shared<const ExportResult>(export_model(request, on_progress));
  return [result](Napi::Env env) { return to_js(env, *result); };
}

}  // namespace

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
  return start_job(env, info[1], {"export", "export fewer networks at a time", [request](const JobControl& control) {
                                    return run(request, control);
                                  }});
}

}  // namespace paella::addon
