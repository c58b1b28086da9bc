#include "core/tensor.h"

#include <algorithm>

#include "core/error.h"

namespace paella {

std::size_t size_of(DType type) {
  switch (type) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::i64:
      return 8;
    case DType::u8:
    case DType::i8:
      return 1;
  }
  return 0;
}

const char* name_of(DType type) {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::u8:
      return "u8";
    case DType::i8:
      return "i8";
  }
  return "?";
}

Shape::Shape(std::initializer_list<std::int64_t> dims) : Shape(std::vector<std::int64_t>(dims)) {}

Shape::Shape(const std::vector<std::int64_t>& dims) : rank_(static_cast<int>(dims.size())) {
  expect(rank_ <= max_rank, "shape: expected at most ", max_rank, " dimensions, got ", rank_);
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= dims_[static_cast<std::size_t>(axis)];
  return product;
}

std::int64_t Shape::rows() const {
  std::int64_t product = 1;
  for (int axis = 0; axis + 1 < rank_; ++axis) product *= dims_[static_cast<std::size_t>(axis)];
  return product;
}

Shape Shape::with_last(std::int64_t channels) const {
  Shape result = *this;
  result.dims_[static_cast<std::size_t>(rank_ - 1)] = channels;
  return result;
}

Shape Shape::with_first(std::int64_t batch) const {
  Shape result = *this;
  result.dims_[0] = batch;
  return result;
}

std::string Shape::text() const {
  std::string out = "[";
  for (int axis = 0; axis < rank_; ++axis) {
    if (axis > 0) out += ", ";
    out += std::to_string(dims_[static_cast<std::size_t>(axis)]);
  }
  return out + "]";
}

bool operator==(const Shape& a, const Shape& b) {
  return a.rank_ == b.rank_ && std::equal(a.dims_.begin(), a.dims_.begin() + a.rank_, b.dims_.begin());
}

Tensor Tensor::reshaped(Shape other) const {
  expect(other.elements() == elements(), "reshape: expected ", elements(), " elements, got ", other.text());
  return {data, other, dtype};
}

Tensor Tensor::slice(std::int64_t first, std::int64_t count) const {
  expect(shape.rank() > 0 && first >= 0 && count >= 0 && first + count <= shape[0], "slice: ", first, " + ", count,
         " is outside of ", shape.text());
  const std::int64_t stride = shape[0] == 0 ? 0 : elements() / shape[0];
  auto* start = static_cast<std::uint8_t*>(data) + static_cast<std::size_t>(first * stride) * size_of(dtype);
  return {start, shape.with_first(count), dtype};
}

}  // namespace paella
