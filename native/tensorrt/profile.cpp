#include "tensorrt/profile.h"

#include "core/error.h"

namespace paella::tensorrt {

namespace {

void check(const std::string& profile, const std::string& what, const Range& range, std::int64_t multiple,
           const std::string& unit) {
  if (range.minimum < 1 || range.minimum > range.optimum || range.optimum > range.maximum)
    fail(ErrorCode::invalid_option, "profile ", profile, ": ", what,
         ": expected minimum ≤ optimum ≤ maximum from 1 on, got ", range.minimum, ", ", range.optimum, ", ",
         range.maximum);
  for (const std::int64_t value : {range.minimum, range.optimum, range.maximum})
    if (value % multiple != 0)
      fail(ErrorCode::invalid_option, "profile ", profile, ": ", what, ": expected multiples of ", multiple, unit,
           ", got ", value);
}

}  // namespace

Ranges ranges_of(const Profile& profile, const Signature& signature, std::int64_t pixels_per_token) {
  check(profile.name, "batch", profile.batch, 1, "");
  check(profile.name, "condition", profile.condition, 32, " tokens");
  check(profile.name, "steps", profile.steps, 1, "");
  Ranges ranges;
  for (const auto& [symbol, rule] : signature.symbols) {
    const Range& batch = profile.batch;
    if (symbol == "batch") {
      ranges[symbol] = batch;
    } else if (symbol == "rows") {  // without guidance, and with it
      ranges[symbol] = {batch.minimum, 2 * batch.optimum, 2 * batch.maximum};
    } else if (symbol == "conditions") {  // one prompt for all; prompts and one negative prompt; all different
      ranges[symbol] = {1, batch.optimum + 1, 2 * batch.maximum};
    } else if (symbol == "height" || symbol == "width") {
      const Range& side = symbol == "height" ? profile.height : profile.width;
      check(profile.name, symbol, side, rule.multiple * pixels_per_token, " pixels");
      ranges[symbol] = {side.minimum / pixels_per_token, side.optimum / pixels_per_token,
                        side.maximum / pixels_per_token};
    } else if (symbol == "condition_length") {
      ranges[symbol] = profile.condition;
    } else if (symbol == "steps") {
      ranges[symbol] = profile.steps;
    } else {
      fail(ErrorCode::internal, "profile ", profile.name, ": no range for the size ", symbol);
    }
  }
  return ranges;
}

std::optional<std::map<std::string, std::int64_t>> symbols_of(const Signature& signature,
                                                              std::span<const TensorSpec> inputs) {
  if (signature.inputs.size() != inputs.size()) return std::nullopt;
  std::map<std::string, std::int64_t> symbols;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Port& port = signature.inputs[i];
    const Shape& shape = inputs[i].shape;
    if (port.type != inputs[i].dtype || static_cast<int>(port.dims.size()) != shape.rank()) return std::nullopt;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const Dim& dim = port.dims[static_cast<std::size_t>(axis)];
      if (dim.constant()) {
        if (shape[axis] != dim.offset) return std::nullopt;
        continue;
      }
      const std::int64_t scaled = (shape[axis] - dim.offset) * dim.denominator;
      if (scaled <= 0 || scaled % dim.numerator != 0) return std::nullopt;
      const auto [known, added] = symbols.emplace(dim.symbol, scaled / dim.numerator);
      if (!added && known->second != scaled / dim.numerator) return std::nullopt;
    }
  }
  return symbols;
}

bool covers(const Ranges& ranges, const std::map<std::string, std::int64_t>& symbols) {
  for (const auto& [symbol, value] : symbols) {
    const auto range = ranges.find(symbol);
    if (range == ranges.end() || value < range->second.minimum || value > range->second.maximum) return false;
  }
  return true;
}

Ranges exactly(const std::map<std::string, std::int64_t>& symbols) {
  Ranges ranges;
  for (const auto& [symbol, value] : symbols) ranges[symbol] = {value, value, value};
  return ranges;
}

std::vector<InputRange> input_ranges(const Signature& signature, const Ranges& ranges) {
  std::map<std::string, std::int64_t> low, best, high;
  for (const auto& [symbol, range] : ranges) {
    low[symbol] = range.minimum;
    best[symbol] = range.optimum;
    high[symbol] = range.maximum;
  }
  std::vector<InputRange> result;
  for (const Port& port : signature.inputs) {
    InputRange input{port.name, {}, {}, {}};
    for (const Dim& dim : port.dims) {
      input.minimum.push_back(dim.value(low));
      input.optimum.push_back(dim.value(best));
      input.maximum.push_back(dim.value(high));
    }
    result.push_back(std::move(input));
  }
  return result;
}

std::string text_of(const Ranges& ranges) {
  std::string text;
  for (const auto& [symbol, range] : ranges)
    text += concat(text.empty() ? "" : " ", symbol, '=', range.minimum, ':', range.optimum, ':', range.maximum);
  return text;
}

}  // namespace paella::tensorrt
