#include "cuda/runtime.h"

#include <cuda_runtime.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "core/error.h"
#include "cuda/launch.cuh"
#include "cuda/nvml.h"

namespace paella::cuda {

namespace {

// Tensor cores with bf16, asynchronous copies.
constexpr int least_major = 8;

std::string too_old(const DeviceInfo& info) {
  return concat(info.name, " has compute capability ", info.major, '.', info.minor, ", expected ", least_major,
                ".0 or later");
}

std::string version_text(int version) { return concat(version / 1000, '.', version % 1000 / 10); }

// After a failed kernel nothing of the context can be used any more; after a lack of memory (of a graph, a stream, a
// kernel's stack) everything can.
void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error(ErrorCode::out_of_memory, concat("not enough GPU memory for ", call),
                "Use a smaller image, a smaller batch or memory: 'low', or free memory of the GPU.");
  }
  throw Error(ErrorCode::internal,
              concat("cuda: ", call, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status),
                     "); the engine cannot go on"),
              "Dispose this engine and load another; if it happens again, run `paella doctor`.");
}

class CapturedGraph final : public Graph {
 public:
  explicit CapturedGraph(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
  }
  ~CapturedGraph() override {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
  }
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;
  cudaGraphExec_t executable() const { return executable_; }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

DeviceInfo device_info(int index) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  DeviceInfo info;
  info.name = properties.name;
  info.major = properties.major;
  info.minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.shared_per_block = properties.sharedMemPerBlockOptin;
  info.l2_bytes = static_cast<std::size_t>(properties.l2CacheSize);
  info.memory_total = properties.totalGlobalMem;
  return info;
}

// Without a context on the device if that is possible: a survey must not take memory on every GPU of the machine.
std::size_t free_memory_of(int index, std::size_t total) {
  char bus_id[32] = {};
  if (cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, index) == cudaSuccess) {
    const auto memory = nvml_memory(bus_id);
    // Of a GPU that is split into instances it tells the whole.
    if (memory && memory->total < total + total / 8) return memory->free;
  }
  int current = 0;
  std::size_t free = 0, all = 0;
  cudaGetDevice(&current);
  if (cudaSetDevice(index) != cudaSuccess || cudaMemGetInfo(&free, &all) != cudaSuccess) free = 0;
  cudaSetDevice(current);
  cudaGetLastError();
  return free;
}

// Whether the start of a kernel may overlap the end of the one before (device.cuh). PAELLA_CUDA_OVERLAP=0 forbids it:
// a wrong result that goes away with it is a race between kernels.
bool overlap_wanted(const DeviceInfo& info) {
  const char* value = std::getenv("PAELLA_CUDA_OVERLAP");
  return info.major >= 9 && (value == nullptr || std::strcmp(value, "0") != 0);
}

class CudaRuntime final : public Runtime {
 public:
  explicit CudaRuntime(int index) {
    check(cudaSetDevice(index), "cudaSetDevice");
    info_ = device_info(index);
    overlap_ = overlap_wanted(info_);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    info_.memory_free = memory_free();
  }
  ~CudaRuntime() override {
    for (const cudaEvent_t event : events_)
      if (event != nullptr) cudaEventDestroy(event);
    cudaStreamDestroy(stream_);
  }

  const DeviceInfo& device() const override { return info_; }
  void* stream() const override { return stream_; }
  std::size_t memory_free() const override {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return free;
  }

  void* allocate(std::size_t bytes, const std::string& purpose) override {
    void* data = nullptr;
    const cudaError_t status = cudaMalloc(&data, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // this one is not sticky
      throw Error(
          ErrorCode::out_of_memory,
          concat("not enough GPU memory for ", purpose, ": ", bytes, " bytes needed, ", memory_free(), " bytes free"),
          "Use a smaller image, a smaller batch or memory: 'low', or free memory of the GPU.");
    }
    check(status, "cudaMalloc");
    return data;
  }
  void free(void* data) noexcept override {
    // That cudaFree waits by itself is habit, not promise.
    if (!capturing_) cudaStreamSynchronize(stream_);
    cudaFree(data);
  }

  void upload(const void* host, void* device, std::size_t bytes) override {
    ++counts.uploads;
    check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_), "upload");
    // From pageable memory the call returns once the data is staged; nothing promises it for pinned memory.
    check(cudaStreamSynchronize(stream_), "upload");
  }
  void download(const void* device, void* host, std::size_t bytes) override {
    ++counts.downloads;
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_), "download");
    check(cudaStreamSynchronize(stream_), "download");
  }
  void copy(const void* from, void* to, std::size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copy");
  }
  void fill(void* to, int byte, std::size_t bytes) override {
    check(cudaMemsetAsync(to, byte, bytes, stream_), "fill");
  }
  void synchronize() override {
    ++counts.synchronizations;
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  std::uint64_t mark() override {
    cudaEvent_t& event = events_[marks_ % kept_events];
    if (event == nullptr) {
      check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync), "cudaEventCreate");
    } else {
      check(cudaEventSynchronize(event), "cudaEventSynchronize");  // of the mark before last, long passed
    }
    check(cudaEventRecord(event, stream_), "cudaEventRecord");
    return marks_++;
  }
  void wait(std::uint64_t mark) override {
    if (mark + kept_events >= marks_) check(cudaEventSynchronize(events_[mark % kept_events]), "cudaEventSynchronize");
  }

  std::unique_ptr<Graph> capture(const std::function<void()>& body) override {
    // Thread-local: whatever else the process does on other threads goes on undisturbed.
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    capturing_ = true;
    cudaGraph_t graph = nullptr;
    try {
      body();
    } catch (...) {
      capturing_ = false;
      cudaStreamEndCapture(stream_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      cudaGetLastError();
      throw;
    }
    capturing_ = false;
    check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    return std::make_unique<CapturedGraph>(graph);
  }
  void launch(Graph& graph) override {
    ++counts.launches;
    check(cudaGraphLaunch(static_cast<CapturedGraph&>(graph).executable(), stream_), "cudaGraphLaunch");
  }
  bool capturing() const override { return capturing_; }

  void launch_kernel(const void* kernel, int cluster, Grid blocks, int threads, std::size_t shared_bytes,
                     void** arguments) {
    // Up to 48 KB need no leave, but a kernel's static arrays count too; none has more than 16 KB.
    constexpr std::size_t without_leave = std::size_t{32} << 10;
    if (shared_bytes > without_leave) {
      std::size_t& allowed = shared_[kernel];
      if (shared_bytes > allowed) {
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
              "cudaFuncSetAttribute");
        allowed = shared_bytes;
      }
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(blocks.x, blocks.y, blocks.z);
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream_;
    cudaLaunchAttribute attributes[2] = {};
    config.attrs = attributes;
    if (overlap_) {
      cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
      attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attribute.val.programmaticStreamSerializationAllowed = 1;
    }
    if (cluster > 1) {
      cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim.x = static_cast<unsigned>(cluster);
      attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    }
    check(cudaLaunchKernelExC(&config, kernel, arguments), "kernel launch");
  }

 private:
  DeviceInfo info_;
  cudaStream_t stream_ = nullptr;
  bool overlap_ = false, capturing_ = false;
  static constexpr std::uint64_t kept_events = 8;
  std::array<cudaEvent_t, kept_events> events_{};
  std::uint64_t marks_ = 0;
  std::unordered_map<const void*, std::size_t> shared_;
};

}  // namespace

void launch_kernel(Runtime& runtime, const void* kernel, int cluster, Grid blocks, int threads,
                   std::size_t shared_bytes, void** arguments) {
  static_cast<CudaRuntime&>(runtime).launch_kernel(kernel, cluster, blocks, threads, shared_bytes, arguments);
}

Survey survey() {
  Survey result;
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  result.runtime_version = version_text(runtime);
  result.driver_version = driver == 0 ? "none" : version_text(driver);
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (driver == 0 || status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    result.no_device = true;
    result.reason = driver == 0 ? "no CUDA device: no NVIDIA driver was found" : "no CUDA device";
    result.remedy = "Install NVIDIA's driver, or in a container start it with GPUs (for example `--gpus all`).";
    return result;
  }
  if (status == cudaErrorInsufficientDriver) {
    result.reason = concat("driver too old: needs CUDA ", result.runtime_version, ", found ", result.driver_version);
    result.remedy = concat("Update NVIDIA's driver, or build with a CUDA toolkit that it supports (up to ",
                           result.driver_version, ").");
    return result;
  }
  if (status != cudaSuccess) {
    result.reason = concat("CUDA: ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
    result.remedy = "Run NVIDIA's `nvidia-smi`: if it fails too, repair the driver or restart the machine.";
    return result;
  }
  bool usable = false;
  for (int i = 0; i < count; ++i) {
    DeviceInfo info = device_info(i);
    if (info.major >= least_major) usable = true;
    info.memory_free = free_memory_of(i, info.memory_total);
    result.devices.push_back(std::move(info));
  }
  if (!usable) {
    result.reason = too_old(result.devices[0]);
    result.remedy = "Use the backend cpu, or a GPU of the Ampere generation or later.";
  }
  return result;
}

std::unique_ptr<Runtime> make_runtime(int device) {
  const Survey machine = survey();
  if (!machine.reason.empty())
    throw Error(ErrorCode::backend_unavailable, concat("backend cuda is unavailable: ", machine.reason),
                machine.remedy);
  const auto count = static_cast<int>(machine.devices.size());
  if (device < 0 || device >= count)
    throw Error(ErrorCode::backend_unavailable,
                concat("device: expected a CUDA device from 0 to ", count - 1, ", got ", device));
  const DeviceInfo& info = machine.devices[static_cast<std::size_t>(device)];
  if (info.major < least_major)
    throw Error(ErrorCode::backend_unavailable, concat("device: ", too_old(info)), "Choose another device.");
  return std::make_unique<CudaRuntime>(device);
}

}  // namespace paella::cuda
