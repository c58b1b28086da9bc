// paella_bench operations: our own kernels and composites at the shapes of the 1-billion-parameter U-Net.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>

#include "benchmark.h"
#include "core/error.h"
#include "cpu/cpu_backend.h"

namespace paella::bench {

namespace {

class Lambda final : public Description {
 public:
  using Function = std::function<void(Ops&, std::span<const Tensor>)>;
  explicit Lambda(Function function) : function_(std::move(function)) {}
  const char* name() const override { return "benchmark"; }
  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor>) const override { function_(ops, inputs); }

 private:
  Function function_;
};

class OperationBench {
 public:
  explicit OperationBench(const Settings& settings)
      : settings_(settings),
        backend_(cpu::make_backend({.precision = settings.precision, .threads = settings.threads})) {}

  void run() {
    for (const auto& [grid, c, rows] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{32, 640, 1},
                                        {32, 640, 2},
                                        {16, 1280, 2},
                                        {8, 1280, 2}}) {
      depthwise_norm(rows, grid, c, false);
      res_block_tail(rows, grid, c);
    }
    depthwise_norm(2, 16, 1280, true);
    attention(2, 16, 16, 80, 40);
    attention(2, 8, 16, 80, 40);
    attention(2, 32, 16, 80, 40);  // 128×128 tokens
    attention(2, 8, 4, 32, 24);    // of the size of the bundled model
    draw(64, 8192, 1);
    draw(64, 8192, 0.2f);
    draw(16, 512, 1);
  }

 private:
  std::vector<float> values(std::int64_t count, float scale = 1) {
    std::normal_distribution<float> distribution(0, scale);
    std::vector<float> result(static_cast<std::size_t>(count));
    for (float& value : result) value = distribution(random_);
    return result;
  }

  ConstantPtr constant(const Shape& shape, Layout layout, float scale = 1) {
    const auto data = values(shape.elements(), scale);
    return backend_->constant({"benchmark", shape, DType::f32, data.data()}, layout);
  }

  Tensor tensor(const Shape& shape, DType type) {
    memory_.push_back(backend_->allocate(TensorSpec{shape, type}.bytes()));
    const Tensor result = memory_.back().tensor(shape, type);
    auto data = values(shape.elements());
    if (type == DType::bf16)
      for (std::size_t i = 0; i < data.size(); ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, &data[i], 4);
        const auto half = static_cast<std::uint16_t>(bits >> 16);
        std::memcpy(result.as<std::uint16_t>() + i, &half, 2);
      }
    else
      backend_->upload(data.data(), result);
    return result;
  }

  template <typename T>
  Tensor tensor_of(const std::vector<T>& data, const Shape& shape, DType type) {
    memory_.push_back(backend_->allocate(data.size() * sizeof(T)));
    const Tensor result = memory_.back().tensor(shape, type);
    backend_->upload(data.data(), result);
    return result;
  }

  void report(const std::string& what, double flop, const Timing& timing) {
    std::printf(
        "{\"bench\":\"operations\",\"what\":\"%s\",\"precision\":\"%s\",\"device\":\"%s\",\"seconds\":%.6g,"
        "\"gflops\":%.1f,\"cpu_seconds\":%.6g,\"cpu_gflops\":%.1f}\n",
        what.c_str(), backend_->precision().c_str(), backend_->device().c_str(), timing.wall, flop / timing.wall * 1e-9,
        timing.cpu, flop / timing.cpu * 1e-9);
    std::fflush(stdout);
  }

  void network(const std::string& what, double flop, const std::vector<Tensor>& inputs, Lambda::Function function) {
    std::vector<TensorSpec> specs;
    for (const Tensor& input : inputs) specs.push_back({input.shape, input.dtype});
    const auto compiled = backend_->compile(std::make_shared<Lambda>(std::move(function)), specs, {});
    report(what, flop, measure(settings_, [&] { compiled->run(inputs, {}); }));
    memory_.clear();
  }

  void depthwise_norm(std::int64_t rows, std::int64_t grid, std::int64_t c, bool with_skip) {
    const Shape shape{rows, grid, grid, c};
    const auto weight = constant({c, with_skip ? 2 : 1, 3, 3}, Layout::depthwise), bias = constant({c}, Layout::vector);
    network(concat("depthwise_norm ", shape.text(), with_skip ? " with skip" : ""),
            18.0 * static_cast<double>(shape.elements()) * (with_skip ? 2 : 1),
            {tensor(shape, DType::f32), tensor(shape, DType::f32)}, [=](Ops& ops, auto in) {
              ops.depthwise_norm(in[0], with_skip ? &in[1] : nullptr, weight, bias, Padding::zero, 1e-6f);
            });
  }

  void res_block_tail(std::int64_t rows, std::int64_t grid, std::int64_t c) {
    const Shape shape{rows, grid, grid, c};
    const Linear expand{constant({4 * c, c}, Layout::matrix, 0.03f), constant({4 * c}, Layout::vector)};
    const Linear contract{constant({c, 4 * c}, Layout::matrix, 0.001f), constant({c}, Layout::vector)};
    const ResBlockTail tail{expand, constant({4 * c}, Layout::vector), contract};
    network(concat("res_block_tail ", shape.text()),
            16.0 * static_cast<double>(shape.elements()) * static_cast<double>(c),
            {tensor(shape, DType::f32), tensor(shape, backend_->operand_type()), tensor({2 * c}, DType::f32)},
            [=](Ops& ops, auto in) { ops.res_block_tail(in[0], in[1], tail, &in[2]); });
  }

  void attention(std::int64_t rows, std::int64_t grid, int heads, std::int64_t d, std::int64_t length) {
    const std::int64_t c = heads * d, pixels = grid * grid;
    network(
        concat("image_attention ", rows, " rows, ", pixels, " queries, ", pixels + length, " keys, ", heads, " x ", d),
        4.0 * static_cast<double>(rows * pixels * (pixels + length) * c),
        {tensor({rows, grid, grid, 3 * c}, backend_->operand_type()),
         tensor({rows, length, 2 * c}, backend_->operand_type()),
         tensor_of(std::vector<std::int32_t>(static_cast<std::size_t>(rows), static_cast<std::int32_t>(length)), {rows},
                   DType::i32),
         tensor_of(rows == 2 ? std::vector<std::int32_t>{0, 1} : std::vector<std::int32_t>{0}, {rows}, DType::i32)},
        [=](Ops& ops, auto in) { ops.image_attention(in[0], {in[1], in[2], in[3]}, heads); });
  }

  // The product with the head alone, then with the draw.
  void draw(std::int64_t grid, std::int64_t codes, float temperature) {
    constexpr std::int64_t channels = 256;
    const auto head = constant({codes, channels}, Layout::matrix_f32, 1.0f / 16);
    const Tensor features = tensor({1, grid, grid, channels}, DType::f32);
    const double flop = 2.0 * static_cast<double>(grid * grid * codes * channels);
    StepInputs step;
    step.seed = tensor_of(std::vector<std::int64_t>{1}, {1}, DType::i64);
    step.step = tensor_of(std::vector<std::int32_t>{0}, {1}, DType::i32);
    step.temperature = tensor_of(std::vector<float>{temperature}, {1}, DType::f32);
    step.typical_mass = tensor_of(std::vector<float>{0.2f}, {1}, DType::f32);
    const Tensor tokens =
        tensor_of(std::vector<std::int32_t>(static_cast<std::size_t>(grid * grid)), {1, grid, grid}, DType::i32);
    for (const auto& [name, mode, typical] :
         {std::tuple<const char*, SampleMode, bool>{"argmax", SampleMode::argmax, false},
          {"multinomial", SampleMode::multinomial, false},
          {"typical", SampleMode::multinomial, true}})
      report(concat("sample ", name, ", ", grid * grid, " positions, ", codes, " codes, temperature ", temperature),
             flop, measure(settings_, [&, mode = mode, typical = typical] {
               backend_->sampler().sample(features, head, step, mode, typical, tokens);
             }));
    memory_.clear();
  }

  const Settings& settings_;
  std::unique_ptr<Backend> backend_;
  std::vector<Buffer> memory_;
  std::mt19937_64 random_{1};
};

}  // namespace

void operations(const Settings& settings) { OperationBench(settings).run(); }

}  // namespace paella::bench
