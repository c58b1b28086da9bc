// What goes into a network and comes out of it, with the sizes that may differ from call to call as symbols: for
// whoever turns a Description into another form (ONNX, TensorRT), instead of running it at one shape.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace paella {

// A size: symbol·numerator/denominator + offset; without a symbol just the offset. The quotient is whole by the rule of
// its symbol.
struct Dim {
  std::string symbol;
  std::int64_t numerator = 0, denominator = 1, offset = 0;

  Dim() = default;
  Dim(std::int64_t constant) : offset(constant) {}  // NOLINT: a number is a size
  Dim(const char* name) : symbol(name), numerator(1) {}
  Dim(std::string name) : symbol(std::move(name)), numerator(1) {}

  bool constant() const { return symbol.empty(); }
  // Of the symbol's own value.
  std::int64_t value(const std::map<std::string, std::int64_t>& symbols) const;
  std::string text() const;  // "640", "batch", "height/2", "2*length-1"

  // Exact; ERR_INTERNAL where the result is no such expression.
  Dim times(std::int64_t factor) const;
  Dim divided_by(std::int64_t divisor) const;
  Dim plus(const Dim& other) const;

  friend bool operator==(const Dim&, const Dim&) = default;
};

using Dims = std::vector<Dim>;
std::string text_of(const Dims& dims);  // "[batch, height/2, width/2, 640]"

struct Port {
  std::string name;
  Dims dims;
  DType type = DType::f32;
};

// What the values of a symbol have in common: it is a multiple of a number, or of another symbol.
struct SymbolRule {
  std::int64_t multiple = 1;
  std::string multiple_of;
};

struct Signature {
  std::vector<Port> inputs, outputs;
  std::map<std::string, SymbolRule> symbols;

  // The same with some symbols made numbers. ERR_INVALID_OPTION for one that is none of this network's, or whose value
  // breaks its rule.
  Signature fixed(const std::map<std::string, std::int64_t>& values) const;
};

}  // namespace paella
