#include "onnx/values.h"

#include "core/error.h"

namespace paella::onnx {

namespace {

std::uintptr_t begin_of(const Tensor& tensor) { return reinterpret_cast<std::uintptr_t>(tensor.data); }
std::uintptr_t end_of(const Tensor& tensor) { return begin_of(tensor) + tensor.bytes(); }

// Whether the shapes agree in all but their first dimension.
bool same_entries(const Shape& a, const Shape& b) {
  return a.rank() == b.rank() && a.rank() > 0 && a.with_first(1) == b.with_first(1);
}

}  // namespace

Shape Values::shape_of(const Dims& dims) const {
  std::vector<std::int64_t> sizes;
  for (const Dim& dim : dims) sizes.push_back(dim.value(sizes_));
  return Shape(sizes);
}

void Values::write(const Tensor& tensor, const Value& value) {
  expect(tensor.dtype == value.type, value.name, ": expected type ", name_of(tensor.dtype), ", got ",
         name_of(value.type));
  expect(shape_of(value.dims) == tensor.shape, value.name, ": expected shape ", tensor.shape.text(), ", got ",
         text_of(value.dims), " = ", shape_of(value.dims).text());
  if (tensor.bytes() == 0) return;
  // What lay here, wholly or in part, is gone.
  auto it = ranges_.upper_bound(begin_of(tensor));
  if (it != ranges_.begin() && std::prev(it)->second.end > begin_of(tensor)) --it;
  while (it != ranges_.end() && it->first < end_of(tensor)) it = ranges_.erase(it);
  ranges_[begin_of(tensor)] = {end_of(tensor), value};
}

Value Values::read(const Tensor& tensor) {
  auto it = ranges_.upper_bound(begin_of(tensor));
  expect(it != ranges_.begin() && std::prev(it)->second.end > begin_of(tensor), "recording: a tensor ",
         tensor.shape.text(), " is read that nothing was written to");
  --it;
  expect(it->second.value.type == tensor.dtype, it->second.value.name, ": written as ", name_of(it->second.value.type),
         " and read as ", name_of(tensor.dtype));
  if (it->first == begin_of(tensor) && it->second.end == end_of(tensor))
    return reshaped(it->second.value, tensor.shape);
  if (it->second.end >= end_of(tensor)) return slice(*it, tensor);
  expect(it->first == begin_of(tensor), "recording: a tensor ", tensor.shape.text(), " begins within ",
         it->second.value.name, " and ends after it");
  Value whole = joined(it, tensor);
  write(tensor, whole);
  return whole;
}

// Entries of the first axis.
Value Values::slice(const Ranges::value_type& range, const Tensor& tensor) {
  const Value& value = range.second.value;
  const Shape shape = shape_of(value.dims);
  expect(same_entries(shape, tensor.shape), value.name, ": a slice ", tensor.shape.text(), " of ", shape.text(),
         " is no range of its first axis");
  expect(value.dims[0].constant(), value.name, ": a slice ", tensor.shape.text(), " of ", text_of(value.dims),
         " depends on the size ", value.dims[0].text());
  const std::size_t each = (range.second.end - range.first) / static_cast<std::size_t>(shape[0]);
  const std::size_t offset = begin_of(tensor) - range.first;
  expect(offset % each == 0, value.name, ": a slice begins within an entry");
  const auto first = static_cast<std::int64_t>(offset / each);
  Value result = value;
  result.dims[0] = Dim(tensor.shape[0]);
  result.name = graph_.node("Slice", {value.name, graph_.integers({first}), graph_.integers({first + tensor.shape[0]}),
                                      graph_.integers({0})});
  return result;
}

// Ranges that follow each other without a gap, along the first axis.
Value Values::joined(Ranges::const_iterator first, const Tensor& tensor) {
  std::vector<std::string> names;
  Value result;
  std::uintptr_t at = begin_of(tensor);
  for (auto it = first; at < end_of(tensor); ++it) {
    expect(it != ranges_.end() && it->first == at && it->second.end <= end_of(tensor), "recording: of a tensor ",
           tensor.shape.text(), " a part is read that nothing was written to");
    const Value& part = it->second.value;
    expect(same_entries(shape_of(part.dims), tensor.shape), part.name, ": ", text_of(part.dims), " is no part of a ",
           tensor.shape.text());
    expect(part.type == tensor.dtype, part.name, ": expected type ", name_of(tensor.dtype), ", got ",
           name_of(part.type));
    if (names.empty()) {
      result = part;
    } else {
      result.dims[0] = result.dims[0].plus(part.dims[0]);
    }
    names.push_back(part.name);
    at = it->second.end;
  }
  result.name = graph_.node("Concat", names, {{"axis", std::int64_t{0}}});
  return result;
}

// Leading sizes may stay what they are; behind them all must be numbers.
Value Values::reshaped(const Value& value, const Shape& shape) {
  const Shape old = shape_of(value.dims);
  if (old == shape) return value;
  Value result = value;
  result.dims.clear();
  int kept = 0;
  while (kept < old.rank() && kept < shape.rank() && old[kept] == shape[kept]) ++kept;
  for (int axis = kept; axis < old.rank(); ++axis)
    expect(value.dims[static_cast<std::size_t>(axis)].constant(), value.name, ": the shape ", shape.text(), " of ",
           text_of(value.dims), " cannot be told in symbols");
  std::vector<std::int64_t> target;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    result.dims.push_back(axis < kept ? value.dims[static_cast<std::size_t>(axis)] : Dim(shape[axis]));
    target.push_back(axis < kept ? 0 : shape[axis]);  // 0: as it is
  }
  result.name = graph_.node("Reshape", {value.name, graph_.integers(target)});
  return result;
}

}  // namespace paella::onnx
