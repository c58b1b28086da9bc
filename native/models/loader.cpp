#include "models/loader.h"

#include "core/error.h"

namespace paella {

Loader::Loader(WeightSource& source, Backend& backend, std::function<void(std::size_t)> progress)
    : source_(source), backend_(backend), progress_(std::move(progress)) {}

void Loader::count(const HostTensor& tensor) {
  parameters_ += tensor.elements();
  if (progress_) progress_(static_cast<std::size_t>(tensor.elements()) * sizeof(float));
}

std::vector<float> Loader::values_of(const HostTensor& tensor) const {
  if (backend_.reads_values()) return to_f32(tensor);
  return std::vector<float>(static_cast<std::size_t>(tensor.elements()));
}

ConstantPtr Loader::take(const HostTensor& tensor, Layout layout) {
  return backend_.constant(tensor, layout == Layout::matrix ? matrices_ : layout);
}

ConstantPtr Loader::constant(const std::string& name, const Shape& shape, Layout layout) {
  return constant(name, shape, shape, layout);
}

ConstantPtr Loader::constant(const std::string& name, const Shape& shape, const Shape& as, Layout layout) {
  HostTensor tensor = source_.get(name, shape);
  count(tensor);
  HostTensor view = tensor;
  view.shape = as;
  ConstantPtr result = take(view, layout);
  source_.release(tensor);
  return result;
}

Linear Loader::linear(const std::string& prefix, std::int64_t outputs, std::int64_t inputs, bool bias, Layout layout) {
  Linear result;
  result.weight = constant(prefix + ".weight", {outputs, inputs}, layout);
  if (bias) result.bias = constant(prefix + ".bias", {outputs}, Layout::vector);
  return result;
}

Linear Loader::stacked(const std::vector<std::string>& names, std::int64_t outputs, std::int64_t inputs) {
  const Shape all{static_cast<std::int64_t>(names.size()) * outputs, inputs};
  std::vector<float> rows;
  for (const std::string& name : names) {
    const HostTensor tensor = source_.get(name, {outputs, inputs});
    count(tensor);
    if (backend_.reads_values()) {
      const std::vector<float> part = to_f32(tensor);
      rows.insert(rows.end(), part.begin(), part.end());
    }
    source_.release(tensor);
  }
  return {take({names.front(), all, DType::f32, rows.data()}, Layout::matrix), nullptr};
}

std::vector<float> Loader::host(const std::string& name, const Shape& shape) {
  const HostTensor tensor = source_.get(name, shape);
  count(tensor);
  std::vector<float> values = values_of(tensor);
  source_.release(tensor);
  return values;
}

ConstantPtr Loader::constant_and_values(const std::string& name, const Shape& shape, Layout layout,
                                        std::vector<float>& values) {
  const HostTensor tensor = source_.get(name, shape);
  count(tensor);
  values = values_of(tensor);
  ConstantPtr result = take(tensor, layout);
  source_.release(tensor);
  return result;
}

ConstantPtr Loader::derived(const std::string& name, const std::vector<float>& values, const Shape& shape,
                            Layout layout) {
  expect(static_cast<std::int64_t>(values.size()) == shape.elements(), name, ": expected ", shape.text(), ", got ",
         values.size(), " values");
  return take({name, shape, DType::f32, values.data()}, layout);
}

void Loader::skip(const std::string& name, const Shape& shape) {
  if (source_.has(name)) source_.get(name, shape);
}

std::vector<float> transposed_kernel_rows(const std::vector<float>& kernel, std::int64_t inputs, std::int64_t outputs,
                                          std::int64_t size) {
  std::vector<float> rows(kernel.size());
  const std::int64_t taps = size * size;
  for (std::int64_t i = 0; i < inputs; ++i)
    for (std::int64_t o = 0; o < outputs; ++o)
      for (std::int64_t tap = 0; tap < taps; ++tap)
        rows[static_cast<std::size_t>((tap * outputs + o) * inputs + i)] =
            kernel[static_cast<std::size_t>((i * outputs + o) * taps + tap)];
  return rows;
}

std::vector<float> kernel_columns(const std::vector<float>& kernel, std::int64_t outputs, std::int64_t inputs,
                                  std::int64_t size) {
  std::vector<float> columns(kernel.size());
  const std::int64_t taps = size * size;
  for (std::int64_t o = 0; o < outputs; ++o)
    for (std::int64_t i = 0; i < inputs; ++i)
      for (std::int64_t tap = 0; tap < taps; ++tap)
        columns[static_cast<std::size_t>((o * taps + tap) * inputs + i)] =
            kernel[static_cast<std::size_t>((o * inputs + i) * taps + tap)];
  return columns;
}

}  // namespace paella
