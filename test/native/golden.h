// Access to the tensors in test/golden/, and running a network on host arrays.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/json.h"
#include "core/weights.h"
#include "models/loader.h"

namespace paella::test {

// Root of test/golden/: PAELLA_GOLDEN, or the folder of the source tree.
std::string golden_folder();

class Golden {
 public:
  explicit Golden(const std::string& file);  // below golden_folder()
  bool has(const std::string& name) const { return shapes_.count(name) > 0; }
  const Shape& shape(const std::string& name) const;
  std::vector<float> f32(const std::string& name);
  std::vector<std::int32_t> i32(const std::string& name);
  std::vector<std::uint8_t> u8(const std::string& name);
  std::vector<std::int64_t> i64(const std::string& name);

 private:
  template <typename T>
  std::vector<T> values(const std::string& name);
  std::unique_ptr<WeightSource> source_;
  std::map<std::string, Shape> shapes_;
};

// A host array as input of a network.
struct Input {
  TensorSpec spec;
  std::vector<std::uint8_t> bytes;
};
Input input_f32(const Shape& shape, const std::vector<float>& values);
Input input_i32(const Shape& shape, const std::vector<std::int32_t>& values);
Input input_u8(const Shape& shape, const std::vector<std::uint8_t>& values);

// Compiles, uploads, runs, downloads. Outputs as raw bytes.
std::vector<std::vector<std::uint8_t>> run(Backend& backend, const std::shared_ptr<const Description>& network,
                                           const std::vector<Input>& inputs, const std::vector<TensorSpec>& outputs);
template <typename T>
std::vector<T> as(const std::vector<std::uint8_t>& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) __builtin_memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// Norm of the difference over norm of the expected values.
double relative_error(const std::vector<float>& found, const std::vector<float>& expected);

// A bound that depends on the precision of a backend.
struct PrecisionCase {
  const char* precision;
  double bound;
};

}  // namespace paella::test
