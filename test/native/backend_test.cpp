// Memory, options and errors of the CPU backend.
#include <omp.h>

#include <cstdlib>
#include <limits>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "operations.h"

using namespace paella;
using namespace paella::test;

TEST("describe: plausible numbers") {
  const cpu::Description machine = cpu::describe();
  CHECK(!machine.model.empty() && !machine.isa.empty() && machine.cores >= 1);
  CHECK(machine.memory_total >= machine.memory_available && machine.memory_available > 0);
  CHECK_EQUAL(machine.precisions[0], "fp32");
  CHECK_EQUAL(machine.onednn_version.substr(0, 2), "3.");
}

TEST("options: wrong ones are refused by name") {
  CHECK_THROWS(cpu::make_backend({.precision = "int3"}), ErrorCode::invalid_option, "got int3");
  CHECK_THROWS(cpu::make_backend({.precision = ""}), ErrorCode::invalid_option,
               "precision: expected one of auto, fp32");
  CHECK_THROWS(cpu::make_backend({.threads = -1}), ErrorCode::invalid_option, "threads");
  setenv("PAELLA_CPU_ISA", "sse9", 1);
  CHECK_THROWS(cpu::make_backend({}), ErrorCode::invalid_option, "PAELLA_CPU_ISA");
  unsetenv("PAELLA_CPU_ISA");
  CHECK_EQUAL(cpu::make_backend({.precision = "fp32"})->precision(), "fp32");
}

TEST("memory: counted, and more than there is is refused") {
  const auto backend = make({});
  const MemoryUse before = backend->memory();
  {
    const Buffer buffer = backend->allocate(1000);
    CHECK_EQUAL(backend->memory().activations, before.activations + 1000);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    const auto weight = constant(*backend, std::vector<float>(64 * 32), {64, 32}, Layout::matrix);
    CHECK(backend->memory().weights >= before.weights + 64 * 32 * 4);
  }
  CHECK_EQUAL(backend->memory().activations, before.activations);
  CHECK_EQUAL(backend->memory().weights, before.weights);
  CHECK(backend->memory().peak >= 1000);
  CHECK_THROWS(backend->allocate(std::size_t{1} << 50), ErrorCode::out_of_memory, "1125899906842624 bytes needed");
  CHECK_THROWS(backend->allocate(std::numeric_limits<std::size_t>::max()), ErrorCode::out_of_memory, "bytes free");
  const auto huge =
      std::make_shared<Lambda>([](Ops& ops, auto, auto) { ops.allocate({1 << 20, 1 << 20, 64}, DType::f32); });
  CHECK_THROWS(backend->compile(huge, {}, {}), ErrorCode::out_of_memory, "activations of test");
}

TEST("memory: a network that was compiled goes on after another that does not fit") {
  for (const char* kind : {"cpu", "cuda"}) {
    const auto backend = make({.backend = kind, .precision = "fp32"});
    const auto one = constant(*backend, {1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0}, {4, 4}, Layout::matrix);
    const auto sum = std::make_shared<Lambda>([&](Ops& ops, auto in, auto out) {
      ops.linear_add(out[0], ops.linear(in[0], {one, nullptr}, Activation::none, DType::f32), {one, nullptr});
    });
    const TensorSpec spec{{1, 4}, DType::f32};
    const auto network = backend->compile(sum, std::vector{spec}, std::vector{spec});
    const std::size_t used = backend->memory().activations;
    const auto huge =
        std::make_shared<Lambda>([](Ops& ops, auto, auto) { ops.allocate({1 << 20, 1 << 20, 64}, DType::f32); });
    CHECK_THROWS(backend->compile(huge, {}, {}), ErrorCode::out_of_memory, "activations of test");
    CHECK_EQUAL(backend->memory().activations, used);
    const Buffer a = backend->allocate(16), b = backend->allocate(16);
    const Tensor in = a.tensor({1, 4}, DType::f32), out = b.tensor({1, 4}, DType::f32);
    std::vector<float> values{5, 0, 0, 0};
    backend->upload(values.data(), in);
    backend->upload(values.data(), out);
    network->run(std::vector{in}, std::vector{out});
    backend->download(out, values.data());
    CHECK_EQUAL(values[0], 10.0f);  // 5 + 5·1·1
    CHECK_EQUAL(values[3], 20.0f);
  }
}

TEST("constants: what is not finite is refused") {
  const auto backend = make({});
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_THROWS(constant(*backend, {1, infinity}, {2}, Layout::vector), ErrorCode::numeric, "test");
}

TEST("networks: inputs and outputs are checked, and two networks share one memory") {
  const auto backend = make({});
  const auto twice = std::make_shared<Lambda>([](Ops& ops, auto in, auto out) {
    const Tensor sum = ops.convert(in[0], DType::bf16);
    ops.copy(sum, out[0]);
  });
  const TensorSpec spec{{4}, DType::f32}, large{{4000}, DType::f32};
  const auto network = backend->compile(twice, std::vector{spec}, std::vector{spec});
  const std::size_t used = backend->memory().activations;
  const auto bigger = backend->compile(twice, std::vector{large}, std::vector{large});
  CHECK(bigger->scratch_bytes() >= 8000 && backend->memory().activations < used + 8000 + 200);
  const Buffer a = backend->allocate(16), b = backend->allocate(16);
  const std::vector<float> values{1, 2, 3, 4};
  backend->upload(values.data(), a.tensor({4}, DType::f32));
  network->run(std::vector{a.tensor({4}, DType::f32)}, std::vector{b.tensor({4}, DType::f32)});
  std::vector<float> found(4);
  backend->download(b.tensor({4}, DType::f32), found.data());
  CHECK(same_bits(found, values));
  // A network that is too large for the machine takes nothing from those that are there.
  const auto huge =
      std::make_shared<Lambda>([](Ops& ops, auto, auto) { ops.allocate({1 << 20, 1 << 20, 64}, DType::f32); });
  CHECK_THROWS(backend->compile(huge, {}, {}), ErrorCode::out_of_memory, "activations of test");
  network->run(std::vector{a.tensor({4}, DType::f32)}, std::vector{b.tensor({4}, DType::f32)});
  backend->download(b.tensor({4}, DType::f32), found.data());
  CHECK(same_bits(found, values));
  CHECK_THROWS(network->run(std::vector{a.tensor({2, 2}, DType::f32)}, std::vector{b.tensor({4}, DType::f32)}),
               ErrorCode::internal, "expected inputs 0 to be f32 [4], got f32 [2, 2]");
}

TEST("threads: a backend leaves the caller's setting alone") {
  const int before = omp_get_max_threads();
  const auto one = make({.threads = 1}), three = make({.threads = 3});
  for (const auto* backend : {&one, &three, &one})
    compute(**backend, {input_f32({64, 64}, std::vector<float>(4096, 1))}, {64, 64},
            [](Ops& ops, auto in) { return ops.layer_norm(in[0], 1e-6f, DType::f32); });
  CHECK_EQUAL(omp_get_max_threads(), before);
}
