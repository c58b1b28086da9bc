// Shapes, element types and the non-owning tensor that all operations take.
//
// Letters used in shape comments: B images, R rows of the U-Net (conditional and unconditional passes), H×W token grid,
// C channels, S condition length, D condition width, V codebook size. Activations are [B, H, W, C], row-major.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace paella {

enum class DType : std::uint8_t { f32, bf16, f16, i32, i64, u8, i8 };

std::size_t size_of(DType type);
const char* name_of(DType type);

class Shape {
 public:
  static constexpr int max_rank = 5;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  explicit Shape(const std::vector<std::int64_t>& dims);

  int rank() const { return rank_; }
  // Negative indices count from the end: shape[-1] is the channel count.
  std::int64_t operator[](int axis) const { return dims_[static_cast<std::size_t>(axis < 0 ? axis + rank_ : axis)]; }
  std::int64_t elements() const;
  // Product of all dimensions but the last: how many vectors of channels there are.
  std::int64_t rows() const;
  Shape with_last(std::int64_t channels) const;
  Shape with_first(std::int64_t batch) const;
  std::string text() const;  // "[2, 8, 8, 640]"

  friend bool operator==(const Shape& a, const Shape& b);
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }

 private:
  std::array<std::int64_t, max_rank> dims_{};
  int rank_ = 0;
};

// A view: who owns the memory is said where it is made (arena, buffer, weights). `data` is an address on the backend's
// device and is only dereferenced by that backend.
struct Tensor {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;

  std::int64_t elements() const { return shape.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype); }
  Tensor reshaped(Shape other) const;
  // `count` entries of the first axis, from `first`.
  Tensor slice(std::int64_t first, std::int64_t count) const;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

struct TensorSpec {
  Shape shape;
  DType dtype = DType::f32;
  std::size_t bytes() const { return static_cast<std::size_t>(shape.elements()) * size_of(dtype); }
};

}  // namespace paella
