#include "addon/backends.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "cuda/plugin_loader.h"
#include "pipeline/model_folder.h"
#include "tensorrt/plugin_loader.h"
#include "tensorrt/tensorrt_backend.h"

namespace paella::addon {

namespace {

struct BackendEntry {
  const char* name;
  BackendDescription (*describe)();
  std::function<std::unique_ptr<Backend>()> (*factory)(const BackendRequest&);
};

BackendDescription describe_cpu() {
  const cpu::Description cpu = cpu::describe();
  BackendDescription result;
  result.available = true;
  result.devices.push_back(
      {cpu.model, {}, static_cast<double>(cpu.memory_total), static_cast<double>(cpu.memory_available)});
  result.precisions = cpu.precisions;
  result.details = {{"instruction set", cpu.isa}, {"oneDNN", cpu.onednn_version}, {"cores", std::to_string(cpu.cores)}};
  return result;
}

std::function<std::unique_ptr<Backend>()> cpu_factory(const BackendRequest& request) {
  cpu::Options options;
  options.precision = request.precision;
  options.threads = request.threads;
  return [options] { return cpu::make_backend(options); };
}

BackendDescription describe_cuda() {
  const cuda::OpenedPlugin& opened = cuda::plugin();
  const cuda::Availability found = cuda::availability(opened);
  BackendDescription result;
  result.available = found.available;
  result.reason = found.reason;
  result.remedy = found.remedy;
  result.unexpected = found.unexpected;
  for (const cuda::DeviceInfo& device : found.survey.devices)
    result.devices.push_back({device.name, concat(device.major, '.', device.minor),
                              static_cast<double>(device.memory_total), static_cast<double>(device.memory_free)});
  if (found.available) result.precisions = {"bf16", "fp16", "fp32"};
  if (opened.plugin != nullptr)
    result.details = {{"driver supports CUDA", found.survey.driver_version},
                      {"built with CUDA", found.survey.runtime_version},
                      {"architectures", opened.plugin->architectures}};
  return result;
}

std::function<std::unique_ptr<Backend>()> cuda_factory(const BackendRequest& request) {
  const cuda::Plugin& plugin = cuda::usable(cuda::plugin());
  cuda::Options options;
  options.precision = request.precision;
  options.device = request.device;
  return [&plugin, options] { return plugin.make_backend(options); };
}

// The first GPU decides what is said of the backend; each worker is checked against its own.
BackendDescription describe_tensorrt() {
  const auto& opened = tensorrt::plugins();
  BackendDescription result;
  for (const tensorrt::OpenedPlugin& each : opened) {
    if (each.plugin == nullptr) continue;
    const tensorrt::Library& library = each.plugin->library();
    result.details[concat("plug-in ", each.plugin->flavour, ' ', each.plugin->headers)] =
        library.path.empty() ? library.reason : concat(library.version, ", ", library.path);
  }
  const cuda::Availability found = cuda::availability(cuda::plugin());
  const bool any_device = found.available && !found.survey.devices.empty();
  const tensorrt::Choice choice =
      tensorrt::choose(opened, "", any_device ? std::optional(found.survey.devices.front()) : std::nullopt);
  result.reason = choice.reason;
  result.remedy = choice.remedy;
  // Without a GPU nobody expects it; what is wrong with CUDA is told by the backend cuda.
  result.unexpected = choice.unexpected && found.available;
  if (choice.plugin == nullptr) return result;
  if (!found.available) {
    result.reason = concat("it runs on top of the backend cuda, which is unavailable: ", found.reason);
    result.remedy = found.remedy;
    return result;
  }
  BackendDescription cuda = describe_cuda();
  result.available = true;
  result.devices = std::move(cuda.devices);
  result.precisions = std::move(cuda.precisions);
  result.details["in use"] = concat(choice.plugin->flavour, ' ', choice.plugin->library().version);
  return result;
}

std::function<std::unique_ptr<Backend>()> tensorrt_factory(const BackendRequest& request) {
  const cuda::Availability found = cuda::availability(cuda::plugin());
  const auto& devices = found.survey.devices;
  const auto at = static_cast<std::size_t>(request.device);
  const auto gpu = found.available && at < devices.size() ? std::optional(devices[at]) : std::nullopt;
  const tensorrt::Plugin& plugin = tensorrt::usable(tensorrt::choose(tensorrt::plugins(), "", gpu));
  if (!gpu)
    throw Error(ErrorCode::backend_unavailable,
                concat("backend tensorrt is unavailable: it runs on top of the backend cuda, which is unavailable: ",
                       found.available ? concat("there is no device ", request.device) : found.reason),
                found.remedy);
  cuda::Options options;
  options.precision = request.precision;
  options.device = request.device;
  tensorrt::BackendOptions engines;
  engines.cache_folder = request.engine_folder;
  engines.profiles = request.profiles;
  engines.gpu = gpu->name;
  engines.compute_capability = concat(gpu->major, '.', gpu->minor);
  engines.log = request.log;
  return [&plugin, options, engines, model = request.model] {
    const cuda::Plugin& cuda_plugin = cuda::usable(cuda::plugin());
    tensorrt::BackendOptions own = engines;
    own.pixels_per_token = read_model_config(model).vqgan.pixels_per_token();
    auto backend = cuda_plugin.make_backend(options);
    void* stream = cuda_plugin.stream_of(*backend);
    return tensorrt::make_backend(plugin, std::move(backend), stream, std::move(own));
  };
}

// Fastest first: the order in which `auto` tries them.
constexpr BackendEntry entries[] = {
    {"tensorrt", describe_tensorrt, tensorrt_factory},
    {"cuda", describe_cuda, cuda_factory},
    {"cpu", describe_cpu, cpu_factory},
};

}  // namespace

std::function<std::unique_ptr<Backend>()> backend_factory(const BackendRequest& request) {
  for (const BackendEntry& entry : entries)
    if (request.name == entry.name) return entry.factory(request);
  fail(ErrorCode::invalid_option, "backend: expected tensorrt, cuda or cpu, got ", request.name);
}

std::vector<BackendDescription> describe_backends(const std::vector<std::string>& names) {
  std::vector<BackendDescription> result;
  for (const BackendEntry& entry : entries) {
    if (!names.empty() && std::find(names.begin(), names.end(), entry.name) == names.end()) continue;
    result.push_back(entry.describe());
    result.back().name = entry.name;
  }
  return result;
}

Napi::Value to_js(Napi::Env env, const std::vector<BackendDescription>& descriptions) {
  Napi::Array result = Napi::Array::New(env);
  for (const BackendDescription& description : descriptions) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", description.name);
    object.Set("available", description.available);
    if (!description.reason.empty()) object.Set("reason", description.reason);
    if (!description.remedy.empty()) object.Set("remedy", description.remedy);
    object.Set("unexpected", description.unexpected);
    Napi::Array devices = Napi::Array::New(env);
    for (const BackendDescription::Device& device : description.devices) {
      Napi::Object item = Napi::Object::New(env);
      item.Set("name", device.name);
      if (!device.compute_capability.empty()) item.Set("computeCapability", device.compute_capability);
      item.Set("memoryTotal", device.memory_total);
      item.Set("memoryFree", device.memory_free);
      devices.Set(devices.Length(), item);
    }
    object.Set("devices", devices);
    Napi::Array precisions = Napi::Array::New(env);
    for (const std::string& precision : description.precisions) precisions.Set(precisions.Length(), precision);
    object.Set("precisions", precisions);
    Napi::Object details = Napi::Object::New(env);
    for (const auto& [key, value] : description.details) details.Set(key, value);
    object.Set("details", details);
    result.Set(result.Length(), object);
  }
  return result;
}

}  // namespace paella::addon
