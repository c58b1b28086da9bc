#include "golden.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace paella::test {

std::string golden_folder() {
  const char* folder = std::getenv("PAELLA_GOLDEN");
  return folder != nullptr ? folder : PAELLA_SOURCE_DIR "/test/golden";
}

Golden::Golden(const std::string& file) {
  const std::string path = golden_folder() + "/" + file;
  source_ = open_safetensors(path);
  for (const TensorInfo& tensor : list_safetensors(path)) shapes_.emplace(tensor.name, tensor.shape);
}

const Shape& Golden::shape(const std::string& name) const {
  const auto found = shapes_.find(name);
  expect(found != shapes_.end(), "golden: there is no tensor ", name);
  return found->second;
}

template <typename T>
std::vector<T> Golden::values(const std::string& name) {
  const HostTensor tensor = source_->get(name, shape(name));
  expect(size_of(tensor.dtype) == sizeof(T), "golden: ", name, " holds ", name_of(tensor.dtype));
  std::vector<T> result(static_cast<std::size_t>(tensor.elements()));
  std::memcpy(result.data(), tensor.data, result.size() * sizeof(T));
  return result;
}

std::vector<float> Golden::f32(const std::string& name) { return values<float>(name); }
std::vector<std::int32_t> Golden::i32(const std::string& name) { return values<std::int32_t>(name); }
std::vector<std::uint8_t> Golden::u8(const std::string& name) { return values<std::uint8_t>(name); }
std::vector<std::int64_t> Golden::i64(const std::string& name) { return values<std::int64_t>(name); }

namespace {

template <typename T>
Input input_of(const Shape& shape, DType type, const std::vector<T>& values) {
  Input input{{shape, type}, std::vector<std::uint8_t>(values.size() * sizeof(T))};
  expect(input.spec.bytes() == input.bytes.size(), "input: expected ", shape.text(), ", got ", values.size(),
         " values");
  if (!values.empty()) std::memcpy(input.bytes.data(), values.data(), input.bytes.size());
  return input;
}

}  // namespace

Input input_f32(const Shape& shape, const std::vector<float>& values) { return input_of(shape, DType::f32, values); }
Input input_i32(const Shape& shape, const std::vector<std::int32_t>& values) {
  return input_of(shape, DType::i32, values);
}
Input input_u8(const Shape& shape, const std::vector<std::uint8_t>& values) {
  return input_of(shape, DType::u8, values);
}

std::vector<std::vector<std::uint8_t>> run(Backend& backend, const std::shared_ptr<const Description>& network,
                                           const std::vector<Input>& inputs, const std::vector<TensorSpec>& outputs) {
  std::vector<Buffer> memory;
  std::vector<Tensor> in, out;
  std::vector<TensorSpec> input_specs;
  for (const Input& input : inputs) {
    memory.push_back(backend.allocate(input.spec.bytes()));
    in.push_back(memory.back().tensor(input.spec.shape, input.spec.dtype));
    backend.upload(input.bytes.data(), in.back());
    input_specs.push_back(input.spec);
  }
  for (const TensorSpec& spec : outputs) {
    memory.push_back(backend.allocate(spec.bytes()));
    out.push_back(memory.back().tensor(spec.shape, spec.dtype));
  }
  backend.compile(network, input_specs, outputs)->run(in, out);
  std::vector<std::vector<std::uint8_t>> results;
  for (const Tensor& tensor : out) {
    results.emplace_back(tensor.bytes());
    backend.download(tensor, results.back().data());
  }
  return results;
}

double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  expect(found.size() == expected.size(), "expected ", expected.size(), " values, got ", found.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double d = static_cast<double>(found[i]) - expected[i];
    difference += d * d;
    norm += static_cast<double>(expected[i]) * expected[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

}  // namespace paella::test
