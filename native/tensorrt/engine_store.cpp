#include "tensorrt/engine_store.h"

#include <algorithm>
#include <chrono>
#include <string_view>

#include "core/error.h"
#include "tensorrt/sha256.h"

namespace paella::tensorrt {

namespace {

// Weights are converted and hashed in pieces of this size.
constexpr std::size_t piece = std::size_t{1} << 20;

std::size_t bytes_of(const onnx::OnnxConstant& constant) {
  return static_cast<std::size_t>(constant.shape.elements()) * size_of(constant.type());
}

bool is_rtx(const Plugin& plugin) { return std::string_view(plugin.flavour) == "rtx"; }

// Inputs and outputs of the plan are those of the description, or addresses would be bound to the wrong tensors.
void check_io(const Recording& recording, const std::vector<IoTensor>& io) {
  std::vector<IoTensor> expected;
  const auto add = [&](const std::vector<Port>& ports, bool input) {
    for (const Port& port : ports) expected.push_back({port.name, port.type, {}, input});
  };
  add(recording.signature.inputs, true);
  add(recording.signature.outputs, false);
  expect(io.size() == expected.size(), recording.network, ": expected ", expected.size(),
         " inputs and outputs of the engine, got ", io.size());
  for (const IoTensor& tensor : expected) {
    const auto found =
        std::find_if(io.begin(), io.end(), [&](const IoTensor& each) { return each.name == tensor.name; });
    expect(found != io.end() && found->dtype == tensor.dtype && found->input == tensor.input, recording.network,
           ": expected the engine's ", tensor.input ? "input " : "output ", tensor.name, " of type ",
           name_of(tensor.dtype), ", got ", found == io.end() ? "none" : name_of(found->dtype));
  }
}

}  // namespace

EngineStore::EngineStore(const Plugin& plugin, Options options)
    : plugin_(plugin), options_(std::move(options)), cache_(options_.folder) {}

Recording EngineStore::record(const Description& network, DType operand, const Resolve& resolve) {
  Recording recording;
  recording.network = network.name();
  recording.signature = network.signature(operand);
  recording.data = std::make_shared<onnx::DataFile>(recording.network + ".onnx.data");
  onnx::RecordOptions options;
  options.resolve = resolve;
  onnx::Model model = onnx::record(network, recording.signature, operand, *recording.data, options);
  recording.graph = std::move(model.graph);
  recording.weights = std::move(model.initializers);
  recording.graph_hash = sha256(recording.graph);
  std::erase_if(hashes_, [](const auto& entry) { return entry.second.constant.expired(); });
  Sha256 all;
  for (const onnx::DataFile::Entry* entry : recording.weights)
    all.add(entry->name).add("=").add(content_hash(*entry)).add("\n");
  recording.weights_hash = all.hex();
  return recording;
}

std::string EngineStore::content_hash(const onnx::DataFile::Entry& entry) {
  Hashed& known = hashes_[entry.constant.get()];
  if (known.constant.lock() == entry.constant) return known.hash;
  const onnx::OnnxConstant& constant = *entry.constant;
  const std::size_t bytes = bytes_of(constant);
  Sha256 hash;
  hash.add(name_of(constant.type())).add(constant.shape.text());
  if (const void* data = constant.data()) {
    hash.add(data, bytes);
  } else {
    std::vector<std::uint8_t> part;
    for (std::size_t first = 0; first < bytes; first += piece) {
      part.resize(std::min(piece, bytes - first));
      constant.read(first, part);
      hash.add(part.data(), part.size());
    }
  }
  known = {entry.constant, hash.hex()};
  return known.hash;
}

EngineStore::Weights EngineStore::weights_of(const Recording& recording) {
  Weights weights;
  weights.graph.model = recording.graph;
  for (const onnx::DataFile::Entry* entry : recording.weights) {
    const std::size_t bytes = bytes_of(*entry->constant);
    const void* data = entry->constant->data();
    if (data == nullptr) {
      weights.memory.emplace_back(bytes);
      entry->constant->read(0, weights.memory.back());
      data = weights.memory.back().data();
    }
    weights.graph.weights.push_back({entry->name, data, bytes});
  }
  return weights;
}

PlanKey EngineStore::key_of(const Recording& recording, const Ranges& ranges, bool strip) const {
  return {recording.network,
          recording.graph_hash,
          recording.weights_hash,
          plugin_.flavour,
          plugin_.library().version,
          is_rtx(plugin_) ? "any" : options_.gpu,
          options_.compute_capability,
          options_.precision,
          text_of(ranges),
          concat(strip ? "strip-plan refit-identical" : "weights-in-plan",
                 " no-tf32 workspace=", options_.workspace_bytes)};
}

void EngineStore::say(Severity severity, const std::string& message) const {
  if (options_.log) options_.log(severity, message);
}

BuiltPlan EngineStore::build(const Recording& recording, const Ranges& ranges, const Graph& graph) const {
  BuildRequest request;
  request.network = recording.network;
  request.graph = &graph;
  request.inputs = input_ranges(recording.signature, ranges);
  // RTX's plans are portable among GPUs of one compute capability when it is named.
  if (is_rtx(plugin_)) request.compute_capability = options_.compute_capability;
  request.strip = options_.strip;
  request.workspace_bytes = options_.workspace_bytes;
  if (options_.progress)
    request.progress = [&](const std::string& phase, int step, int steps) {
      options_.progress(recording.network, phase, step, steps);
    };
  request.cancelled = options_.cancelled;
  request.log = options_.log;
  return plugin_.build(request);
}

EngineStore::Plan EngineStore::plan(const Recording& recording, const Ranges& ranges) {
  Plan result;
  const auto look = [&] {
    // One that holds its weights, e.g. built on a machine without a GPU, is as good.
    for (const bool strip : {options_.strip, false}) {
      result.key = key_of(recording, ranges, strip);
      result.path = cache_.plan_path(result.key);
      std::string why;
      if (auto found = cache_.find(result.key, why)) {
        result.file = std::move(*found);
        return true;
      }
      if (!why.empty()) result.why_rebuilt = why;
      if (!strip) break;
    }
    result.key = key_of(recording, ranges, options_.strip);
    result.path = cache_.plan_path(result.key);
    return false;
  };
  if (look()) return result;
  const auto lock = cache_.lock(result.key, options_.cancelled);
  if (look()) return result;  // by another process, while this one waited
  if (!result.why_rebuilt.empty())
    say(Severity::warning, concat(recording.network, ": the cached plan is not used: ", result.why_rebuilt));
  say(Severity::info, concat(recording.network, ": building a plan for ", options_.compute_capability, ", ",
                             options_.precision, ", ", result.key.profile));
  const auto start = std::chrono::steady_clock::now();
  const Weights weights = weights_of(recording);
  BuiltPlan built = build(recording, ranges, weights.graph);
  check_io(recording, built.io);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  cache_.store(result.key, built, took.count());
  say(Severity::info, concat(recording.network, ": built in ", static_cast<std::int64_t>(took.count()), " ms, ",
                             built.plan.size(), " bytes: ", result.path));
  result.file = {std::move(built.plan), built.stripped};
  result.built = true;
  return result;
}

std::shared_ptr<Engine> EngineStore::engine(const Recording& recording, const Ranges& ranges) {
  Plan found = plan(recording, ranges);
  const Weights weights = weights_of(recording);
  const auto load = [&] {
    std::shared_ptr<Engine> engine = plugin_.load(found.file.plan, weights.graph, found.file.stripped, options_.log);
    check_io(recording, engine->io());
    return engine;
  };
  try {
    auto engine = load();
    if (const std::string layers = found.built ? engine->layers() : ""; !layers.empty())
      cache_.store_layers(found.key, layers);
    return engine;
  } catch (const Error& error) {
    // A plan that was just built and is refused would be refused again.
    if (error.code() != ErrorCode::io || found.built) throw;
    say(Severity::warning, concat(recording.network, ": the cached plan is not used: ", error.what()));
    cache_.drop(found.key);
  }
  found = plan(recording, ranges);
  return load();
}

}  // namespace paella::tensorrt
