#include "core/signature.h"

#include <numeric>

#include "core/error.h"

namespace paella {

std::int64_t Dim::value(const std::map<std::string, std::int64_t>& symbols) const {
  if (constant()) return offset;
  const auto found = symbols.find(symbol);
  expect(found != symbols.end(), "dimension ", text(), ": no value for ", symbol);
  const std::int64_t scaled = found->second * numerator;
  expect(scaled % denominator == 0, "dimension ", text(), ": not whole where ", symbol, " is ", found->second);
  return scaled / denominator + offset;
}

std::string Dim::text() const {
  if (constant()) return std::to_string(offset);
  std::string out = numerator == 1 ? symbol : concat(numerator, '*', symbol);
  if (denominator != 1) out += concat('/', denominator);
  if (offset != 0) out += concat(offset > 0 ? "+" : "", offset);
  return out;
}

Dim Dim::times(std::int64_t factor) const {
  Dim result = *this;
  result.offset *= factor;
  if (constant()) return result;
  const std::int64_t shared = std::gcd(numerator * factor, denominator);
  result.numerator = numerator * factor / shared;
  result.denominator = denominator / shared;
  return result;
}

Dim Dim::divided_by(std::int64_t divisor) const {
  expect(divisor > 0 && offset % divisor == 0, "dimension ", text(), ": cannot be divided by ", divisor);
  Dim result = *this;
  result.offset /= divisor;
  if (constant()) return result;
  const std::int64_t shared = std::gcd(numerator, denominator * divisor);
  result.numerator = numerator / shared;
  result.denominator = denominator * divisor / shared;
  return result;
}

Dim Dim::plus(const Dim& other) const {
  expect(constant() || other.constant(), "dimension: the sum of ", text(), " and ", other.text(),
         " has two symbols: expected at most one");
  Dim result = constant() ? other : *this;
  result.offset = offset + other.offset;
  return result;
}

std::string text_of(const Dims& dims) {
  std::string out = "[";
  for (const Dim& dim : dims) out += (out.size() > 1 ? ", " : "") + dim.text();
  return out + "]";
}

Signature Signature::fixed(const std::map<std::string, std::int64_t>& values) const {
  for (const auto& [name, value] : values) {
    const auto rule = symbols.find(name);
    if (rule == symbols.end()) {
      std::string known;
      for (const auto& [each, unused] : symbols) known += (known.empty() ? "" : ", ") + each;
      fail(ErrorCode::invalid_option, name, ": expected one of the sizes ", known, " of this network");
    }
    if (value < 1 || value % rule->second.multiple != 0)
      fail(ErrorCode::invalid_option, name, ": expected a positive multiple of ", rule->second.multiple, ", got ",
           value);
    const std::string& other = rule->second.multiple_of;
    if (other.empty()) continue;
    const auto found = values.find(other);
    if (found == values.end() || value % found->second != 0)
      fail(ErrorCode::invalid_option, name, ": expected a multiple of ", other, ", which must be fixed too, got ",
           value);
  }
  Signature result = *this;
  const auto substitute = [&](std::vector<Port>& ports) {
    for (Port& port : ports)
      for (Dim& dim : port.dims)
        if (!dim.constant() && values.contains(dim.symbol)) dim = Dim(dim.value(values));
  };
  substitute(result.inputs);
  substitute(result.outputs);
  for (const auto& [name, value] : values) {
    result.symbols.erase(name);
    // A symbol that is a multiple of one that is a number now.
    for (auto& [each, rule] : result.symbols)
      if (rule.multiple_of == name) rule = {std::lcm(rule.multiple, value), {}};
  }
  return result;
}

}  // namespace paella
