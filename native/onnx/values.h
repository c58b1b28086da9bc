// What lies where while a network is recorded.
//
// A description works on addresses: it writes in place, looks at slices, and the arena uses memory again. Here every
// range of addresses holds the value that was written to it last. Nothing is ever stored at these addresses.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/signature.h"
#include "onnx/graph.h"

namespace paella::onnx {

// One value of the graph, with its shape in symbols.
struct Value {
  std::string name;
  Dims dims;
  DType type = DType::f32;
};

class Values {
 public:
  // `sizes`: what the symbols are while recording.
  Values(Graph& graph, const std::map<std::string, std::int64_t>& sizes) : graph_(graph), sizes_(sizes) {}

  Shape shape_of(const Dims& dims) const;

  // The tensor's memory holds `value` from now on. ERR_INTERNAL unless shapes and types agree.
  void write(const Tensor& tensor, const Value& value);
  // The value of a tensor: as it was written, a slice of it, several that lie side by side, or another shape of it.
  // ERR_INTERNAL where nothing was written, or where no sizes in symbols can tell the slice or shape.
  Value read(const Tensor& tensor);

 private:
  struct Range {
    std::uintptr_t end = 0;
    Value value;
  };
  using Ranges = std::map<std::uintptr_t, Range>;
  Value slice(const Ranges::value_type& range, const Tensor& tensor);
  Value joined(Ranges::const_iterator first, const Tensor& tensor);
  Value reshaped(const Value& value, const Shape& shape);

  Graph& graph_;
  const std::map<std::string, std::int64_t>& sizes_;
  Ranges ranges_;
};

}  // namespace paella::onnx
