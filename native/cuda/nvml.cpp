#include "cuda/nvml.h"

#include <dlfcn.h>

namespace paella::cuda {

namespace {

// nvml.h, whose interface is versioned by the names of its functions; 0 is success.
using Device = void*;
struct MemoryV1 {
  unsigned long long total, free, used;
};
using Initialize = int (*)();
using Find = int (*)(const char*, Device*);
using Read = int (*)(Device, MemoryV1*);

struct Library {
  Find find = nullptr;
  Read read = nullptr;
  Library() {
    void* handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return;
    const auto initialize = reinterpret_cast<Initialize>(dlsym(handle, "nvmlInit_v2"));
    if (initialize == nullptr || initialize() != 0) return;
    find = reinterpret_cast<Find>(dlsym(handle, "nvmlDeviceGetHandleByPciBusId_v2"));
    read = reinterpret_cast<Read>(dlsym(handle, "nvmlDeviceGetMemoryInfo"));
  }
};

}  // namespace

std::optional<DeviceMemory> nvml_memory(const std::string& bus_id) {
  static const Library library;  // stays open, as the driver does
  Device device = nullptr;
  MemoryV1 memory = {};
  if (library.find == nullptr || library.read == nullptr) return std::nullopt;
  if (library.find(bus_id.c_str(), &device) != 0 || library.read(device, &memory) != 0) return std::nullopt;
  return DeviceMemory{static_cast<std::size_t>(memory.total), static_cast<std::size_t>(memory.free)};
}

}  // namespace paella::cuda
