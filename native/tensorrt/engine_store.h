// From a network to an engine that runs: record it as ONNX, look for a plan, build one where there is none that may be
// trusted, load it, give it its weights.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "onnx/onnx_model.h"
#include "tensorrt/plan_cache.h"
#include "tensorrt/plugin.h"
#include "tensorrt/profile.h"

namespace paella::tensorrt {

// A network as a graph, its weights by reference.
struct Recording {
  std::string network;
  Signature signature;
  std::string graph;
  std::vector<const onnx::DataFile::Entry*> weights;  // of `data`
  std::shared_ptr<onnx::DataFile> data;
  std::string graph_hash, weights_hash;
};

// Where engines come from. Used by one thread.
class EngineStore {
 public:
  struct Options {
    std::string folder;              // of the plan cache
    std::string gpu;                 // "NVIDIA H200"; of no importance to RTX
    std::string compute_capability;  // "9.0"
    std::string precision;           // "bf16"
    std::size_t workspace_bytes = 0;
    // Plans without weights, which come from the model at each load. False where there is no GPU to build them on.
    bool strip = true;
    std::function<void(const std::string& network, const std::string& phase, int step, int steps)> progress;
    std::function<bool()> cancelled;
    Log log;
  };
  EngineStore(const Plugin& plugin, Options options);

  using Resolve = std::function<std::shared_ptr<const onnx::OnnxConstant>(const Constant&)>;
  // Products read `operand`.
  Recording record(const Description& network, DType operand, const Resolve& resolve = {});

  struct Plan {
    PlanKey key;
    PlanFile file;
    bool built = false;       // rather than found
    std::string why_rebuilt;  // what was wrong with the one that was there
    std::string path;
  };
  // ERR_BACKEND_UNAVAILABLE with TensorRT's words, ERR_IO, ERR_ABORTED.
  Plan plan(const Recording& recording, const Ranges& ranges);
  // The same, ready to run. A plan that the library refuses is built once more.
  std::shared_ptr<Engine> engine(const Recording& recording, const Ranges& ranges);

  const PlanCache& cache() const { return cache_; }

 private:
  // The weights in memory as the graph wants them; converted ones are held by `memory`.
  struct Weights {
    Graph graph;
    std::vector<std::vector<std::uint8_t>> memory;
  };
  static Weights weights_of(const Recording& recording);
  std::string content_hash(const onnx::DataFile::Entry& entry);
  PlanKey key_of(const Recording& recording, const Ranges& ranges, bool strip) const;
  void say(Severity severity, const std::string& message) const;
  BuiltPlan build(const Recording& recording, const Ranges& ranges, const Graph& graph) const;

  const Plugin& plugin_;
  Options options_;
  PlanCache cache_;
  struct Hashed {
    std::weak_ptr<const onnx::OnnxConstant> constant;
    std::string hash;
  };
  std::map<const onnx::OnnxConstant*, Hashed> hashes_;
};

}  // namespace paella::tensorrt
