// The CUDA runtime as the engine sees it: one device, one stream, memory, graphs, and what is counted of them. Ordinary
// C++: no CUDA header is needed to use it. Two implementations: runtime.cu for GPUs, test/simt/runtime.cpp for the CPU.
//
// Used by one thread, the engine's. Errors of CUDA are sticky: after one, every call throws ERR_INTERNAL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"

namespace paella::cuda {

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  std::size_t shared_per_block = 0;  // bytes, with opt-in
  std::size_t l2_bytes = 0;
  std::size_t memory_total = 0, memory_free = 0;
};

// What machine this is; `reason` says why there is no usable device: no driver, driver too old (needs, found), no GPU.
struct Survey {
  std::vector<DeviceInfo> devices;
  std::string reason, remedy;  // empty: at least one device can be used
  bool no_device = false;      // `reason` is that there is no driver or no GPU, rather than that something is wrong
  std::string driver_version, runtime_version;  // "13.0"
};
Survey survey();

// A captured sequence of kernels, replayed by Runtime::launch.
class Graph {
 public:
  virtual ~Graph() = default;
};

class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual const DeviceInfo& device() const = 0;
  virtual std::size_t memory_free() const = 0;
  // The cudaStream_t that everything is enqueued on, for libraries that bring work of their own.
  virtual void* stream() const = 0;

  // Aligned to 256 bytes. ERR_OUT_OF_MEMORY with needed and free bytes; the runtime stays usable. `purpose` is for that
  // message: "weights in_mapper.0.weight".
  virtual void* allocate(std::size_t bytes, const std::string& purpose) = 0;
  // Waits for what was enqueued: an aborted job leaves work that still uses its memory.
  virtual void free(void* data) noexcept = 0;

  // In stream order. The host memory of an upload may be reused when the call returns; a download waits for its data.
  virtual void upload(const void* host, void* device, std::size_t bytes) = 0;
  virtual void download(const void* device, void* host, std::size_t bytes) = 0;
  virtual void copy(const void* from, void* to, std::size_t bytes) = 0;
  virtual void fill(void* to, int byte, std::size_t bytes) = 0;
  virtual void synchronize() = 0;
  // A place in the stream, and waiting for it. The last 8 places can be waited for; older ones have passed.
  virtual std::uint64_t mark() = 0;
  virtual void wait(std::uint64_t mark) = 0;

  // Kernels that `body` launches are recorded, not run. Nothing else may be called meanwhile. If `body` throws, the
  // capture ends and the exception goes on.
  virtual std::unique_ptr<Graph> capture(const std::function<void()>& body) = 0;
  virtual void launch(Graph& graph) = 0;
  virtual bool capturing() const = 0;

  TransferCounts counts;
};

// ERR_BACKEND_UNAVAILABLE if there is no such device.
std::unique_ptr<Runtime> make_runtime(int device);

}  // namespace paella::cuda
