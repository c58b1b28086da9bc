#include "operations.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "cuda/cuda_backend.h"
#include "cuda/plugin_loader.h"

namespace paella::test {

bool on_gpu() {
  const char* wanted = std::getenv("PAELLA_TEST_GPU");
  return wanted != nullptr && *wanted != '\0' && std::strcmp(wanted, "0") != 0;
}

std::string why_not_here() {
  if (!on_gpu()) return {};
  const cuda::Availability found = cuda::availability(cuda::plugin());
  return found.available ? "" : "nothing runs on a GPU here: " + found.reason;
}

std::string Variant::text() const {
  if (backend != "cpu") return concat(backend, on_gpu() ? "-gpu " : " ", precision, fused ? "" : ", plain");
  return concat(precision, isa.empty() ? "" : "/" + isa, ", ", threads, " threads", fused ? "" : ", plain");
}

std::unique_ptr<Backend> make(const Variant& variant) {
  if (variant.backend == "cuda") {
    const cuda::Options options{.precision = variant.precision, .fused = variant.fused};
    return on_gpu() ? cuda::usable(cuda::plugin()).make_backend(options) : cuda::make_backend(options);
  }
  if (!variant.isa.empty()) setenv("PAELLA_CPU_ISA", variant.isa.c_str(), 1);
  auto backend =
      cpu::make_backend({.precision = variant.precision, .threads = variant.threads, .fused = variant.fused});
  if (!variant.isa.empty()) unsetenv("PAELLA_CPU_ISA");
  return backend;
}

std::unique_ptr<Backend> backend_named(const std::string& name, int threads) {
  const auto space = name.find(' ');
  if (space != std::string::npos)
    return make({.backend = name.substr(0, space), .precision = name.substr(space + 1), .threads = threads});
  for (const std::string& supported : cpu::describe().precisions)
    if (supported == name) return make({.precision = name, .threads = threads});
  skip("this CPU has no products in " + name);
  return nullptr;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> found;
  for (const char* isa : {"baseline", "avx2", "avx512", "avx512_bf16"}) {
    try {
      make({.isa = isa});
      found.emplace_back(isa);
    } catch (const Error&) {  // not on this machine
      unsetenv("PAELLA_CPU_ISA");
    }
  }
  return found;
}

std::vector<std::string> precisions() {
  std::vector<std::string> names = cpu::describe().precisions;
  std::erase(names, "int8");  // operations do not know of it: it is a layout of weights, see quantized_test.cpp
  return names;
}

std::vector<Variant> cuda_variants() {
  std::vector<Variant> all;
  for (const char* precision : {"fp32", "bf16", "fp16"}) all.push_back({.backend = "cuda", .precision = precision});
  return all;
}

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const std::string& precision : on_gpu() ? std::vector<std::string>{} : precisions())
    for (const std::string& isa : instruction_sets()) all.push_back({.precision = precision, .isa = isa});
  for (const Variant& variant : cuda_variants()) all.push_back(variant);
  return all;
}

double bound_for(const Backend& backend, double fp32, double bf16) {
  return backend.operand_type() == DType::f32 ? fp32 : bf16;
}

std::vector<float> Random::normal(std::int64_t count, float scale) {
  std::normal_distribution<float> distribution(0, scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = distribution(engine_);
  return values;
}

std::vector<float> Random::uniform(std::int64_t count, float low, float high) {
  std::uniform_real_distribution<float> distribution(low, high);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = distribution(engine_);
  return values;
}

std::vector<std::int32_t> Random::integers(std::int64_t count, std::int32_t below) {
  std::uniform_int_distribution<std::int32_t> distribution(0, below - 1);
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::int32_t& value : values) value = distribution(engine_);
  return values;
}

ConstantPtr constant(Backend& backend, const std::vector<float>& values, const Shape& shape, Layout layout) {
  expect(static_cast<std::int64_t>(values.size()) == shape.elements(), "constant: ", values.size(), " values for ",
         shape.text());
  return backend.constant({"test", shape, DType::f32, values.data()}, layout);
}

std::vector<float> compute(Backend& backend, const std::vector<Input>& inputs, const Shape& out, const Body& body) {
  const auto network = std::make_shared<Lambda>(
      [&](Ops& ops, std::span<const Tensor> in, std::span<const Tensor> to) { ops.copy(body(ops, in), to[0]); });
  return as<float>(run(backend, network, inputs, {{out, DType::f32}})[0]);
}

Tensor as_operand(Ops& ops, const Tensor& x) { return ops.convert(x, ops.operand_type()); }

Doubles doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

double error_of(const std::vector<float>& found, const Doubles& expected) {
  expect(found.size() == expected.size(), "expected ", expected.size(), " values, got ", found.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += (found[i] - expected[i]) * (found[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-30));
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace paella::test
