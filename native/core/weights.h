// Where weights come from: a safetensors file (mapped, read-only) or seeded random numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace paella {

// A tensor in host memory, F32, F16 or BF16 as it lies in the file. The memory belongs to the source that made it.
struct HostTensor {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
  const void* data = nullptr;
  // Keeps `data` readable after release() and after the source, as a mapped file does; null: it is not.
  std::shared_ptr<const void> owner = {};

  std::int64_t elements() const { return shape.elements(); }
};

// Copies to f32, whatever the stored type. Throws ERR_NUMERIC naming the tensor if an element is infinite or NaN.
std::vector<float> to_f32(const HostTensor& tensor);

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual bool has(const std::string& name) const = 0;
  // The tensor of this name; ERR_MODEL_FORMAT if it is missing or has another shape ("expected […], found […]").
  // Marks it as used.
  virtual HostTensor get(const std::string& name, const Shape& shape) = 0;
  // Tells that the caller has finished with this tensor, so that its pages or scratch memory may be dropped.
  virtual void release(const HostTensor& tensor) = 0;
  // ERR_MODEL_FORMAT listing every tensor of the source that nobody asked for.
  virtual void check_all_used() const = 0;
};

// Opens `path` (ERR_MODEL_NOT_FOUND, ERR_IO) and checks it as the reference reader does (ERR_MODEL_FORMAT): header of
// at most 100 MB, valid JSON without duplicate keys, contiguous offsets from 0 without holes, byte length = product of
// the shape × element size, no bytes left over.
std::unique_ptr<WeightSource> open_safetensors(const std::string& path);

// The same checks on bytes in memory, for tests and fuzzing. The bytes must outlive the source.
std::unique_ptr<WeightSource> parse_safetensors(std::span<const std::uint8_t> bytes, const std::string& label);

// Names, types and shapes of a safetensors file without touching its data.
struct TensorInfo {
  std::string name;
  Shape shape;
  DType dtype;
};
std::vector<TensorInfo> list_safetensors(const std::string& path);

// Every name exists; values are uniform with the variance that keeps activations of order one (fan-in), the same for
// the same (seed, name, shape) everywhere. For speed and memory measurements of configurations whose weights are not at
// hand.
std::unique_ptr<WeightSource> random_weights(std::uint64_t seed);

// Every name exists, and no values: for backends that only count, see counting_backend.h.
std::unique_ptr<WeightSource> weights_without_values();

}  // namespace paella
