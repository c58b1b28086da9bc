#include <iterator>

#include "core/error.h"
#include "onnx/onnx_ops.h"

namespace paella::onnx {

namespace {

// Tensors lie at addresses from here on, inputs and outputs far from the arena. Nothing is stored there.
constexpr std::uintptr_t arena_base = std::uintptr_t{1} << 60, port_base = std::uintptr_t{1} << 61;
constexpr std::size_t arena_bytes = std::size_t{1} << 59;

// What symbols are while recording: primes times what their rule asks for, so that no two sizes are alike by chance.
// Whether a description looked at one of them shows when the result runs at other sizes, and in the outputs' shapes.
std::map<std::string, std::int64_t> recording_sizes(const Signature& signature) {
  constexpr std::int64_t primes[] = {5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43};
  std::map<std::string, std::int64_t> sizes;
  std::size_t next = 0;
  const auto prime = [&] {
    expect(next < std::size(primes), "recording: expected at most ", std::size(primes), " symbols");
    return primes[next++];
  };
  for (const auto& [name, rule] : signature.symbols)
    if (rule.multiple_of.empty()) sizes[name] = prime() * rule.multiple;
  for (const auto& [name, rule] : signature.symbols) {
    if (rule.multiple_of.empty()) continue;
    const auto base = sizes.find(rule.multiple_of);
    expect(base != sizes.end(), "recording: ", name, " is a multiple of ", rule.multiple_of,
           ", which is no size by itself");
    sizes[name] = 3 * base->second * rule.multiple;
  }
  return sizes;
}

class Ports {
 public:
  // Tensors for ports, one after another in memory that is not there.
  std::vector<Tensor> tensors(const std::vector<Port>& ports, const Values& values) {
    std::vector<Tensor> result;
    for (const Port& port : ports) {
      result.push_back({reinterpret_cast<void*>(next_), values.shape_of(port.dims), port.type});
      next_ += (result.back().bytes() / Arena::alignment + 2) * Arena::alignment;
    }
    return result;
  }

 private:
  std::uintptr_t next_ = port_base;
};

void check(const Description& network, const Signature& signature, const RecordOptions& options) {
  if (options.opset < oldest_opset || options.opset > newest_opset)
    fail(ErrorCode::invalid_option, "opset: expected ", oldest_opset, " to ", newest_opset, ", got ", options.opset);
  expect(!signature.outputs.empty(), network.name(), ": expected a signature, got none");
}

}  // namespace

Model record(const Description& network, const Signature& signature, DType operand, DataFile& data,
             const RecordOptions& options) {
  check(network, signature, options);
  const auto sizes = recording_sizes(signature);
  Graph graph(network.name(), signature, data, options.opset);
  OnnxOps ops(signature, sizes, operand, graph, options);
  Values& values = ops.values();
  Ports ports;
  const std::vector<Tensor> inputs = ports.tensors(signature.inputs, values);
  const std::vector<Tensor> outputs = ports.tensors(signature.outputs, values);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Port& port = signature.inputs[i];
    values.write(inputs[i], {port.name, port.dims, port.type});
  }
  ops.arena().use(reinterpret_cast<void*>(arena_base), arena_bytes);
  network.run(ops, inputs, outputs);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Port& port = signature.outputs[i];
    const Value value = values.read(outputs[i]);
    expect(value.dims == port.dims, network.name(), ": expected output ", port.name, " of ", text_of(port.dims),
           ", recorded ", text_of(value.dims));
    graph.output(value.name, port.name);
  }
  Model model;
  model.graph = graph.serialize();
  model.initializers = graph.initializers();
  model.signature = signature;
  model.opset = options.opset;
  model.nodes = graph.size();
  return model;
}

}  // namespace paella::onnx
