// Free memory of a GPU from NVIDIA's management library, which the driver brings: the CUDA runtime can only tell it
// after it has made a context on the device, which takes hundreds of MB there. Opened at run time; often absent in
// containers.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace paella::cuda {

struct DeviceMemory {
  std::size_t total = 0, free = 0;  // bytes
};

// `bus_id` as cudaDeviceGetPCIBusId writes it: "0000:01:00.0". Nothing if the library cannot tell.
std::optional<DeviceMemory> nvml_memory(const std::string& bus_id);

}  // namespace paella::cuda
