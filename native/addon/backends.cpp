#include "addon/backends.h"

#include <map>
#include <vector>

#include "core/error.h"
#include "cpu/cpu_backend.h"

namespace paella::addon {

namespace {

struct Device {
  std::string name;
  double memory_total = 0, memory_free = 0;
};

struct BackendDescription {
  bool available = false;
  std::string reason, remedy;
  std::vector<Device> devices;
  std::vector<std::string> precisions;
  std::map<std::string, std::string> details;
};

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
      {cpu.model, static_cast<double>(cpu.memory_total), static_cast<double>(cpu.memory_available)});
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

BackendDescription describe_missing() {
  BackendDescription result;
  result.reason = "this build does not contain it";
  result.remedy = "use the backend cpu";
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
    {"cuda", describe_missing, missing_factory},
    {"cpu", describe_cpu, cpu_factory},
};

}  // namespace

std::function<std::unique_ptr<Backend>()> backend_factory(const BackendRequest& request) {
  for (const BackendEntry& entry : entries)
    if (request.name == entry.name) return entry.factory(request);
  fail(ErrorCode::invalid_option, "backend: expected tensorrt, cuda or cpu, got ", request.name);
}

Napi::Value describe_backends(Napi::Env env) {
  Napi::Array result = Napi::Array::New(env);
  for (const BackendEntry& entry : entries) {
    const BackendDescription description = entry.describe();
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", entry.name);
    object.Set("available", description.available);
    if (!description.reason.empty()) object.Set("reason", description.reason);
    if (!description.remedy.empty()) object.Set("remedy", description.remedy);
    Napi::Array devices = Napi::Array::New(env);
    for (const Device& device : description.devices) {
      Napi::Object item = Napi::Object::New(env);
      item.Set("name", device.name);
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
