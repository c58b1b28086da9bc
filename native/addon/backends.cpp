#include "addon/backends.h"

#include <algorithm>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "cuda/plugin_loader.h"

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

BackendDescription describe_missing() {
  BackendDescription result;
  result.reason = "this build does not contain it";
  result.remedy = "Use the backend cpu.";
  return result;
}

std::function<std::unique_ptr<Backend>()> missing_factory(const BackendRequest& request) {
  const BackendDescription missing = describe_missing();
  throw Error(ErrorCode::backend_unavailable, concat("backend ", request.name, " is unavailable: ", missing.reason),
              missing.remedy);
}

// Fastest first: the order in which `auto` tries them.
constexpr BackendEntry entries[] = {
    {"tensorrt", describe_missing, missing_factory},
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
