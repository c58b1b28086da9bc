// Binds weights by their official names and hands them to the backend. Used in the constructors of the networks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/weights.h"

namespace paella {

class Loader {
 public:
  // `progress` is told the bytes (f32) that were taken over since the last call; it may throw to cancel.
  Loader(WeightSource& source, Backend& backend, std::function<void(std::size_t)> progress = {});

  // Keeps what is asked for as Layout::matrix in another layout of product weights.
  void keep_matrices_as(Layout layout) { matrices_ = layout; }

  // The tensor as it is.
  ConstantPtr constant(const std::string& name, const Shape& shape, Layout layout);
  // The same under another shape of equally many elements, e.g. [N, K, 1, 1] → [N, K].
  ConstantPtr constant(const std::string& name, const Shape& shape, const Shape& as, Layout layout);
  // weight [N, K] and, unless `bias` is false, bias [N] below `prefix`.
  Linear linear(const std::string& prefix, std::int64_t outputs, std::int64_t inputs, bool bias = true,
                Layout layout = Layout::matrix);

  // The tensor as it is, and its values: for a constant that another one is derived from.
  ConstantPtr constant_and_values(const std::string& name, const Shape& shape, Layout layout,
                                  std::vector<float>& values);

  // Products of the same input, each [outputs, inputs], as one: their rows below each other.
  Linear stacked(const std::vector<std::string>& names, std::int64_t outputs, std::int64_t inputs);

  // For weights that are rearranged before the backend sees them.
  std::vector<float> host(const std::string& name, const Shape& shape);
  ConstantPtr derived(const std::string& name, const std::vector<float>& values, const Shape& shape, Layout layout);

  // Marks a tensor that a file may hold but that no computation reads.
  void skip(const std::string& name, const Shape& shape);

  Backend& backend() { return backend_; }
  // Number of weights taken from the source.
  std::int64_t parameters() const { return parameters_; }

 private:
  void count(const HostTensor& tensor);
  ConstantPtr take(const HostTensor& tensor, Layout layout);
  // Zeros for a backend that does not read them.
  std::vector<float> values_of(const HostTensor& tensor) const;
  WeightSource& source_;
  Backend& backend_;
  std::function<void(std::size_t)> progress_;
  std::int64_t parameters_ = 0;
  Layout matrices_ = Layout::matrix;
};

// A 2×2 stride-2 transposed convolution [inputs, outputs, 2, 2] as a product, rows (2·dy + dx)·outputs + o, and its
// bias. `size` is 2 or 4: the same for a 4×4 kernel, rows (4·ky + kx)·outputs + o.
std::vector<float> transposed_kernel_rows(const std::vector<float>& kernel, std::int64_t inputs, std::int64_t outputs,
                                          std::int64_t size);
// A convolution [outputs, inputs, size, size] as a product, columns (size·ky + kx)·inputs + c.
std::vector<float> kernel_columns(const std::vector<float>& kernel, std::int64_t outputs, std::int64_t inputs,
                                  std::int64_t size);

}  // namespace paella
