// For tests of single operations: every backend variant of this machine, host arrays in, host arrays out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "golden.h"
#include "harness.h"

namespace paella::test {

// "cuda" is the executor of native/cuda/ on the CPU, see test/simt/. With PAELLA_TEST_GPU=1 it is the plug-in on a GPU
// instead: the same tests with the same bounds, and variants() holds nothing else.
bool on_gpu();

// How a backend is made. isa: a value of PAELLA_CPU_ISA; empty: the best one.
struct Variant {
  std::string backend = "cpu";  // or "cuda"
  std::string precision = "fp32";
  std::string isa = {};
  int threads = 2;
  bool fused = true;
  std::string text() const;
};

std::unique_ptr<Backend> make(const Variant& variant);
// By the name that test cases carry as data: "bf16" or "int8" on the CPU, "cuda bf16". Null, and a skip that says why,
// if this machine cannot.
std::unique_ptr<Backend> backend_named(const std::string& name, int threads = 2);
// Instruction sets that this machine has.
std::vector<std::string> instruction_sets();
// fp32, and bf16 if the CPU has it.
std::vector<std::string> precisions();
std::vector<Variant> cuda_variants();
// All instruction sets × precisions of the CPU, and the precisions of CUDA; on_gpu(): only those.
std::vector<Variant> variants();

// Relative error (norm of the difference over norm) that rounding of operands explains.
double bound_for(const Backend& backend, double fp32, double bf16);

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::vector<float> normal(std::int64_t count, float scale = 1);
  std::vector<float> uniform(std::int64_t count, float low, float high);
  std::vector<std::int32_t> integers(std::int64_t count, std::int32_t below);

 private:
  std::mt19937_64 engine_;
};

ConstantPtr constant(Backend& backend, const std::vector<float>& values, const Shape& shape, Layout layout);

using Body = std::function<Tensor(Ops& ops, std::span<const Tensor> inputs)>;
// Runs `body` as a network: once to measure, once to compute. Its result is returned as f32.
std::vector<float> compute(Backend& backend, const std::vector<Input>& inputs, const Shape& out, const Body& body);

// x as the operand type of `ops` sees it.
Tensor as_operand(Ops& ops, const Tensor& x);

using Doubles = std::vector<double>;
Doubles doubles(const std::vector<float>& values);
double error_of(const std::vector<float>& found, const Doubles& expected);
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

// A network made of one function.
class Lambda final : public Description {
 public:
  using Function = std::function<void(Ops&, std::span<const Tensor>, std::span<const Tensor>)>;
  explicit Lambda(Function function) : function_(std::move(function)) {}
  const char* name() const override { return "test"; }
  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    function_(ops, inputs, outputs);
  }

 private:
  Function function_;
};

}  // namespace paella::test
