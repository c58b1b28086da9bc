// What libpaella_tensorrt_<kind>.so exports: one function, `paella_tensorrt_plugin`. Such a library is all that knows
// TensorRT's headers; it links nothing of TensorRT, but opens the libraries of the kind that it was compiled for when
// it is asked to. There may be several of them beside the addon, one for each kind: see docs/tensorrt.md.
//
// Which plans are built, cached and run, and with what weights, is decided on this side (engine_store.h,
// tensorrt_backend.h), so that it is the same for every kind and is tested without TensorRT.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace paella::tensorrt {

enum class Severity { debug, info, warning, error };
inline const char* name_of(Severity severity) {
  constexpr const char* names[] = {"debug", "info", "warn", "error"};
  return names[static_cast<int>(severity)];
}
using Log = std::function<void(Severity severity, const std::string& message)>;

// A network as ONNX: the serialised ModelProto, whose initialisers have no data of their own, and their data.
struct Initializer {
  std::string name;
  const void* data = nullptr;
  std::size_t bytes = 0;
};
struct Graph {
  std::string model;
  std::vector<Initializer> weights;
};

// What one input may be: dimensions from `minimum` to `maximum`, fastest at `optimum`.
struct InputRange {
  std::string name;
  std::vector<std::int64_t> minimum, optimum, maximum;
};

struct IoTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> dims;  // -1: given at run time
  bool input = true;
};

struct BuildRequest {
  std::string network;  // for messages
  const Graph* graph = nullptr;
  std::vector<InputRange> inputs;
  std::string compute_capability;  // "8.9": for a GPU that is not here (TensorRT-RTX only); empty: the current one
  // Leave out the weights that a refit brings back. Needs a GPU: without one TensorRT-RTX 1.4 fails with a CUDA error.
  bool strip = true;
  std::size_t workspace_bytes = 0;  // most working memory of one operation; 0: what the GPU has
  std::function<void(const std::string& phase, int step, int steps)> progress;
  std::function<bool()> cancelled;
  Log log;
};

struct BuiltPlan {
  std::vector<std::uint8_t> plan;
  std::vector<IoTensor> io;
  bool stripped = false;
  int layers = 0;  // of the network, before they are fused
};

// One engine at one set of shapes.
class Execution {
 public:
  virtual ~Execution() = default;
  virtual std::size_t scratch_bytes() const = 0;
  // Only enqueues on `stream` (a cudaStream_t). Addresses in the order of Engine::io(). The first call must not be
  // captured: TensorRT finishes its preparations in it.
  virtual void enqueue(std::span<void* const> addresses, void* scratch, std::size_t scratch_bytes, void* stream) = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const std::vector<IoTensor>& io() const = 0;
  // Bytes of weights that it holds on the GPU.
  virtual std::size_t weight_bytes() const = 0;
  // What became of the network's layers: JSON of TensorRT's engine inspector.
  virtual std::string layers() const = 0;
  // Shapes of the inputs, in the order of io(). ERR_INVALID_OPTION if the engine was not built for them.
  virtual std::unique_ptr<Execution> execution(std::span<const Shape> inputs) = 0;
};

// What was opened.
struct Library {
  std::string path;     // of libnvinfer or libtensorrt_rtx; empty: `reason` says why
  std::string version;  // "11.2.1", "1.4.0.76"
  std::string reason, remedy;
  bool found = false;  // there is a file that looks like TensorRT
};

struct Plugin {
  const char* abi;
  const char* flavour;  // "enterprise" or "rtx"
  const char* headers;  // "11.4.0"
  // Opens TensorRT at the first call. Never throws.
  const Library& (*library)();
  // Whether the library can make code for this GPU; empty, or why not. RTX leaves out 8.0 and 9.0.
  std::string (*refusal)(int major, int minor);
  // ERR_BACKEND_UNAVAILABLE if TensorRT refuses, with its own words; ERR_ABORTED.
  BuiltPlan (*build)(const BuildRequest& request);
  // On the GPU that is current on this thread, with the weights of `graph` if the plan was stripped of them. ERR_IO if
  // the library finds the plan damaged or made for something else: then it has to be built anew.
  std::unique_ptr<Engine> (*load)(std::span<const std::uint8_t> plan, const Graph& graph, bool stripped,
                                  const Log& log);
};

inline constexpr const char* plugin_prefix = "libpaella_tensorrt_";
inline constexpr const char* plugin_entry = "paella_tensorrt_plugin";

// Version, compiler, and a hash over the headers that both sides share: see native/tensorrt/CMakeLists.txt.
inline constexpr const char* plugin_abi = PAELLA_VERSION " " PAELLA_TENSORRT_ABI;

}  // namespace paella::tensorrt

extern "C" __attribute__((visibility("default"))) const paella::tensorrt::Plugin* paella_tensorrt_plugin();
