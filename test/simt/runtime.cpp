// native/cuda/runtime.h on the CPU: memory of the host, kernels by simt.h, graphs as lists of kernels.
#include "cuda/runtime.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <utility>

#include "core/error.h"
#include "simt/runtime.h"
#include "simt/simt.h"

namespace paella::simt {

namespace {

constexpr std::size_t KiB = 1024;

// Whether the device is one that has wgmma: what PAELLA_CUDA_PRODUCTS asks for, or a test.
bool& hopper() {
  static bool value = [] {
    const char* products = std::getenv("PAELLA_CUDA_PRODUCTS");
    return products != nullptr && std::strcmp(products, "wgmma") == 0;
  }();
  return value;
}

class RecordedGraph final : public cuda::Graph {
 public:
  std::vector<Kernel> kernels;
};

class SimtRuntime final : public cuda::Runtime {
 public:
  explicit SimtRuntime(std::size_t memory) {
    device_ = hopper() ? cuda::DeviceInfo{"SIMT on the CPU", 9, 0, 132, 227 * KiB, 50 * KiB * KiB, memory, memory}
                       : cuda::DeviceInfo{"SIMT on the CPU", 8, 0, 108, 163 * KiB, 40 * KiB * KiB, memory, memory};
  }

  const cuda::DeviceInfo& device() const override { return device_; }
  std::size_t memory_free() const override { return device_.memory_total - used_; }

  void* stream() const override { return const_cast<SimtRuntime*>(this); }  // no stream, but an address to recognise

  void* allocate(std::size_t bytes, const std::string& purpose) override {
    check_not_capturing("allocate");
    if (bytes > memory_free())
      throw Error(ErrorCode::out_of_memory, concat("not enough GPU memory for ", purpose, ": ", bytes,
                                                   " bytes needed, ", memory_free(), " bytes free"));
    void* data = ::operator new(bytes, std::align_val_t{256});
    std::memset(data, 0xff, bytes);  // NaN: what is read before it is written shows
    sizes_[data] = bytes;
    used_ += bytes;
    return data;
  }
  void free(void* data) noexcept override {
    const auto found = sizes_.find(data);
    if (found == sizes_.end()) return;
    used_ -= found->second;
    sizes_.erase(found);
    ::operator delete(data, std::align_val_t{256});
  }

  void upload(const void* host, void* device, std::size_t bytes) override {
    check_not_capturing("upload");
    ++counts.uploads;
    if (bytes > 0) std::memcpy(device, host, bytes);
  }
  void download(const void* device, void* host, std::size_t bytes) override {
    check_not_capturing("download");
    ++counts.downloads;
    if (bytes > 0) std::memcpy(host, device, bytes);
  }
  void copy(const void* from, void* to, std::size_t bytes) override {
    run_or_record(*this, {.grid = {1, 1, 1}, .body = [=] {
      if (bytes > 0) std::memmove(to, from, bytes);
    }});
  }
  void fill(void* to, int byte, std::size_t bytes) override {
    run_or_record(*this, {.grid = {1, 1, 1}, .body = [=] { std::memset(to, byte, bytes); }});
  }
  void synchronize() override {
    check_not_capturing("synchronize");
    ++counts.synchronizations;
  }

  std::uint64_t mark() override { return 0; }
  void wait(std::uint64_t) override { check_not_capturing("wait"); }

  std::unique_ptr<cuda::Graph> capture(const std::function<void()>& body) override {
    expect(graph_ == nullptr, "capture: expected no other capture");
    auto graph = std::make_unique<RecordedGraph>();
    graph_ = graph.get();
    try {
      body();
    } catch (...) {
      graph_ = nullptr;
      throw;
    }
    graph_ = nullptr;
    return graph;
  }
  void launch(cuda::Graph& graph) override {
    check_not_capturing("launch");
    ++counts.launches;
    for (const Kernel& kernel : static_cast<RecordedGraph&>(graph).kernels) run_now(kernel);
  }
  bool capturing() const override { return graph_ != nullptr; }

  RecordedGraph* graph_ = nullptr;

 private:
  void check_not_capturing(const char* call) const { expect(graph_ == nullptr, call, ": not while capturing a graph"); }

  cuda::DeviceInfo device_;
  std::map<void*, std::size_t> sizes_;
  std::size_t used_ = 0;
};

}  // namespace

void run_or_record(cuda::Runtime& runtime, Kernel kernel) {
  auto& mine = static_cast<SimtRuntime&>(runtime);
  expect(kernel.threads >= 1 && kernel.threads <= 1024, "launch: expected 1 to 1024 threads, got ", kernel.threads);
  expect(kernel.cluster >= 1 && kernel.cluster <= 8 && kernel.grid.x % static_cast<unsigned>(kernel.cluster) == 0,
         "launch: expected whole clusters of 1 to 8 blocks, got ", kernel.grid.x, " blocks in clusters of ",
         kernel.cluster);
  expect(kernel.shared_bytes <= runtime.device().shared_per_block, "launch: expected at most ",
         runtime.device().shared_per_block, " bytes of shared memory, got ", kernel.shared_bytes);
  if (mine.graph_ != nullptr)
    mine.graph_->kernels.push_back(std::move(kernel));
  else
    run_now(kernel);
}

Hopper::Hopper() : before_(std::exchange(hopper(), true)) {}
Hopper::~Hopper() { hopper() = before_; }

std::unique_ptr<cuda::Runtime> make_runtime(std::size_t memory_bytes) {
  return std::make_unique<SimtRuntime>(memory_bytes);
}

}  // namespace paella::simt

namespace paella::cuda {

Survey survey() {
  Survey result;
  result.devices.push_back(simt::make_runtime(std::size_t{1} << 30)->device());
  result.driver_version = result.runtime_version = "simt";
  return result;
}

std::unique_ptr<Runtime> make_runtime(int device) {
  if (device != 0) fail(ErrorCode::backend_unavailable, "device: expected 0, got ", device);
  return simt::make_runtime(std::size_t{4} << 30);
}

}  // namespace paella::cuda
