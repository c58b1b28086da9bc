// paella_bench gpu: kernels of the CUDA engine at the shapes of the 1-billion-parameter U-Net, each beside its floor:
// FLOPs over the product rate and bytes over the copy rate that the same run measured.
// paella_bench generate: whole jobs. Both print one JSON object per line.
#include "benchmark_gpu.h"

#include <algorithm>
#include <cstdio>
#include <random>

#include "benchmark_cublas.h"
#include "core/error.h"
#include "cuda/plugin_loader.h"
#include "cuda/product_table.h"
#include "pipeline/generator.h"

namespace paella::bench {

namespace {

using Seconds = std::chrono::duration<double>;

double now() { return Seconds(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Lambda final : public Description {
 public:
  using Function = std::function<void(Ops&, std::span<const Tensor>)>;
  explicit Lambda(Function function) : function_(std::move(function)) {}
  const char* name() const override { return "benchmark"; }
  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor>) const override { function_(ops, inputs); }

 private:
  Function function_;
};

struct Rates {
  double flops = 0, bytes = 0;  // per second
};

class KernelBench {
 public:
  KernelBench(const Settings& settings, Backend& backend) : settings_(settings), backend_(backend) {}

  void run() {
    measure_rates();
    if (settings_.smoke) return run_small();
    for (const Product& product : step_products({}, 64, 64))
      if (!product.f32) linear(product.what.c_str(), product.rows, product.columns, product.inner);
    for (const auto& [grid, c, rows] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{32, 640, 1},
                                        {32, 640, 2},
                                        {16, 1280, 2},
                                        {8, 1280, 2}}) {
      depthwise_norm(rows, grid, c, false);
      layer_norm(rows, grid, c);
      res_block_tail(rows, grid, c);
    }
    depthwise_norm(2, 16, 1280, true);
    attention(2, 16, 16, 80, 40);
    attention(2, 8, 16, 80, 40);
    attention(2, 32, 16, 80, 40);  // 128×128 tokens
    attention(64, 16, 16, 80, 40);
    draw(SampleMode::multinomial, false, "multinomial");
    draw(SampleMode::argmax, false, "argmax");
    draw(SampleMode::multinomial, true, "typical");
  }

 private:
  // Each kind once, as small as it gets.
  void run_small() {
    linear("product", 64, 96, 128);
    depthwise_norm(1, 4, 64, false);
    depthwise_norm(1, 4, 64, true);
    layer_norm(1, 4, 64);
    res_block_tail(1, 8, 64);
    attention(2, 4, 2, 32, 8);
    draw(SampleMode::multinomial, false, "multinomial");
    draw(SampleMode::argmax, false, "argmax");
    draw(SampleMode::multinomial, true, "typical");
  }

  // Median seconds of one repetition, of many in one graph, so that neither the host nor gaps between graphs count.
  double seconds_of(const std::function<void(int)>& enqueue) {
    constexpr int repeats = 20;
    const std::string key = concat("benchmark ", number_++);
    const auto body = [&] {
      for (int i = 0; i < repeats; ++i) enqueue(i);
    };
    backend_.replay(key, body);
    backend_.synchronize();
    std::vector<double> times;
    for (int round = 0; round < 3 || (round < 50 && times.size() * times.back() * repeats < settings_.seconds);
         ++round) {
      const double start = now();
      backend_.replay(key, body);
      backend_.synchronize();
      times.push_back((now() - start) / repeats);
    }
    backend_.forget(key);
    return median(times);
  }

  void report(const std::string& what, double flop, double bytes, double seconds, double cublas_seconds = 0) {
    const double floor =
        std::max(rates_.flops > 0 ? flop / rates_.flops : 0, rates_.bytes > 0 ? bytes / rates_.bytes : 0);
    std::printf(
        "{\"bench\":\"gpu\",\"what\":\"%s\",\"precision\":\"%s\",\"device\":\"%s\",\"us\":%.2f,\"gflop\":%.4g,"
        "\"mbytes\":%.4g,\"tflops\":%.1f,\"gbytes_per_s\":%.0f,\"floor_us\":%.2f,\"times_floor\":%.2f",
        what.c_str(), backend_.precision().c_str(), backend_.device().c_str(), seconds * 1e6, flop * 1e-9, bytes * 1e-6,
        flop / seconds * 1e-12, bytes / seconds * 1e-9, floor * 1e6, floor > 0 ? seconds / floor : 0.0);
    if (cublas_seconds > 0) std::printf(",\"cublas_us\":%.2f", cublas_seconds * 1e6);
    std::printf("}\n");
    std::fflush(stdout);
    memory_.clear();
  }

  void measure_rates() {
    const std::int64_t side = settings_.smoke ? 64 : 8192, bytes = settings_.smoke ? 1 << 20 : std::int64_t{1} << 30;
    {
      const Tensor from = tensor({bytes / 4}, DType::f32), to = tensor({bytes / 4}, DType::f32);
      const double seconds = seconds_of([&](int) { backend_.copy(from, to); });
      rates_.bytes = 2.0 * static_cast<double>(bytes) / seconds;
      report("copy", 0, 2.0 * static_cast<double>(bytes), seconds);
    }
    const double cublas_seconds = linear("product 8192", side, side, side);
    if (cublas_seconds > 0)
      rates_.flops = std::max(rates_.flops, 2.0 * static_cast<double>(side * side * side) / cublas_seconds);
  }

  std::vector<float> values(std::int64_t count, float scale = 1) {
    std::uniform_real_distribution<float> distribution(-scale, scale);
    std::vector<float> result(static_cast<std::size_t>(count));
    for (float& value : result) value = distribution(random_);
    return result;
  }
  Tensor tensor(const Shape& shape, DType type) {
    memory_.push_back(backend_.allocate(std::max<std::size_t>(TensorSpec{shape, type}.bytes(), 1)));
    const Tensor result = memory_.back().tensor(shape, type);
    if (type == DType::f32) backend_.upload(values(shape.elements()).data(), result);
    return result;
  }
  // Numbers of the operand type: converted on the device.
  Tensor operand(const Shape& shape) {
    const DType type = backend_.operand_type();
    const Tensor source = tensor(shape, DType::f32), result = tensor(shape, type);
    const TensorSpec specs[] = {{shape, DType::f32}, {shape, type}};
    const Tensor inputs[] = {source, result};
    backend_.compile(std::make_shared<Lambda>([](Ops& ops, auto in) { ops.copy(in[0], in[1]); }), specs, {})
        ->run(inputs, {});
    return result;
  }
  template <typename T>
  Tensor tensor_of(const std::vector<T>& data, const Shape& shape, DType type) {
    const Tensor result = tensor(shape, type);
    backend_.upload(data.data(), result);
    return result;
  }
  ConstantPtr constant(const Shape& shape, Layout layout, float scale = 1) {
    const auto data = values(shape.elements(), scale);
    return backend_.constant({"benchmark", shape, DType::f32, data.data()}, layout);
  }

  // Weights rotate through more memory than the L2 cache holds, as they do in a network.
  int copies_of(double bytes) const {
    const double beyond_cache = settings_.smoke ? 0 : 192e6;
    return static_cast<int>(std::clamp(beyond_cache / bytes, 1.0, 32.0));
  }

  double network(const std::vector<Tensor>& inputs, const std::vector<Lambda::Function>& variants) {
    std::vector<TensorSpec> specs;
    for (const Tensor& input : inputs) specs.push_back({input.shape, input.dtype});
    std::vector<std::unique_ptr<Network>> compiled;
    for (const Lambda::Function& variant : variants)
      compiled.push_back(backend_.compile(std::make_shared<Lambda>(variant), specs, {}));
    return seconds_of([&](int i) { compiled[static_cast<std::size_t>(i) % compiled.size()]->run(inputs, {}); });
  }

  double width() const { return static_cast<double>(size_of(backend_.operand_type())); }

  double linear(const std::string& what, std::int64_t m, std::int64_t n, std::int64_t k) {
    const double weight_bytes = static_cast<double>(n * k) * width();
    std::vector<Lambda::Function> variants;
    for (int i = 0; i < copies_of(weight_bytes); ++i)
      variants.push_back([weights = Linear{constant({n, k}, Layout::matrix, 0.03f), constant({n}, Layout::vector)}](
                             Ops& ops, auto in) { ops.linear(in[0], weights, Activation::none, ops.operand_type()); });
    const Tensor x = operand({m, k});
    const double seconds = network({x}, variants);
    const double flop = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    const double cublas = cublas_seconds(backend_, m, n, k, settings_.smoke ? 0 : copies_of(weight_bytes));
    if (rates_.flops == 0) rates_.flops = flop / seconds;
    report(concat(what, " [", m, " x ", n, " x ", k, "]"), flop,
           weight_bytes + static_cast<double>(m * (n + k)) * width(), seconds, cublas);
    return cublas;
  }

  void depthwise_norm(std::int64_t rows, std::int64_t grid, std::int64_t c, bool with_skip) {
    const Shape shape{rows, grid, grid, c};
    const auto weight = constant({c, with_skip ? 2 : 1, 3, 3}, Layout::depthwise), bias = constant({c}, Layout::vector);
    const double elements = static_cast<double>(shape.elements());
    const double seconds =
        network({tensor(shape, DType::f32), tensor(shape, DType::f32)}, {[=](Ops& ops, auto in) {
                  ops.depthwise_norm(in[0], with_skip ? &in[1] : nullptr, weight, bias, Padding::zero, 1e-6f);
                }});
    report(concat("depthwise_norm ", shape.text(), with_skip ? " with skip" : ""), 0,
           elements * (4 + width()) * (with_skip ? 1.5 : 1), seconds);
  }

  void layer_norm(std::int64_t rows, std::int64_t grid, std::int64_t c) {
    const Shape shape{rows, grid, grid, c};
    const double seconds = network({tensor(shape, DType::f32)},
                                   {[](Ops& ops, auto in) { ops.layer_norm(in[0], 1e-6f, ops.operand_type()); }});
    report(concat("layer_norm ", shape.text()), 0, static_cast<double>(shape.elements()) * (4 + width()), seconds);
  }

  void res_block_tail(std::int64_t rows, std::int64_t grid, std::int64_t c) {
    const Shape shape{rows, grid, grid, c};
    const double weight_bytes = 8.0 * static_cast<double>(c * c) * width();
    std::vector<Lambda::Function> variants;
    for (int i = 0; i < copies_of(weight_bytes); ++i) {
      const ResBlockTail tail{{constant({4 * c, c}, Layout::matrix, 0.03f), constant({4 * c}, Layout::vector)},
                              constant({4 * c}, Layout::vector),
                              {constant({c, 4 * c}, Layout::matrix, 0.001f), constant({c}, Layout::vector)}};
      variants.push_back([tail](Ops& ops, auto in) { ops.res_block_tail(in[0], in[1], tail, &in[2]); });
    }
    const double seconds = network({tensor(shape, DType::f32), operand(shape), tensor({2 * c}, DType::f32)}, variants);
    report(concat("res_block_tail ", shape.text()), 16.0 * static_cast<double>(shape.elements() * c),
           weight_bytes + static_cast<double>(shape.elements()) * (8 + width()), seconds);
  }

  void attention(std::int64_t rows, std::int64_t grid, int heads, std::int64_t d, std::int64_t length) {
    const std::int64_t c = heads * d, pixels = grid * grid;
    std::vector<std::int32_t> index;
    for (std::int64_t i = 0; i < rows; ++i) index.push_back(static_cast<std::int32_t>(i));
    const double seconds =
        network({operand({rows, grid, grid, 3 * c}), operand({rows, length, 2 * c}),
                 tensor_of(std::vector<std::int32_t>(static_cast<std::size_t>(rows), static_cast<std::int32_t>(length)),
                           {rows}, DType::i32),
                 tensor_of(index, {rows}, DType::i32)},
                {[=](Ops& ops, auto in) { ops.image_attention(in[0], {in[1], in[2], in[3]}, heads); }});
    report(
        concat("image_attention ", rows, " rows, ", pixels, " queries, ", pixels + length, " keys, ", heads, " x ", d),
        4.0 * static_cast<double>(rows * pixels * (pixels + length) * c),
        static_cast<double>(rows * c * (4 * pixels + 2 * length)) * width(), seconds);
  }

  void draw(SampleMode mode, bool typical, const char* name) {
    constexpr std::int64_t channels = 256;
    const std::int64_t grid = settings_.smoke ? 4 : 64, codes = settings_.smoke ? 64 : 8192;
    const auto head = constant({codes, channels}, Layout::matrix_f32, 1.0f / 16);
    const Tensor features = tensor({1, grid, grid, channels}, DType::f32);
    StepInputs step;
    step.seed = tensor_of(std::vector<std::int64_t>{1}, {1}, DType::i64);
    step.step = tensor_of(std::vector<std::int32_t>{0}, {1}, DType::i32);
    step.temperature = tensor_of(std::vector<float>{0.7f}, {1}, DType::f32);
    step.typical_mass = tensor_of(std::vector<float>{0.2f}, {1}, DType::f32);
    step.fault = tensor_of(std::vector<std::int32_t>{0}, {1}, DType::i32);
    const Tensor tokens = tensor({1, grid, grid}, DType::i32);
    const double seconds =
        seconds_of([&](int) { backend_.sampler().sample(features, head, step, mode, typical, tokens); });
    report(concat("sample ", name, ", ", grid * grid, " positions, ", codes, " codes"),
           2.0 * static_cast<double>(grid * grid * codes * channels),
           static_cast<double>(codes * channels) * 4 + static_cast<double>(grid * grid * channels) * 4, seconds);
  }

  const Settings& settings_;
  Backend& backend_;
  Rates rates_;
  int number_ = 0;
  std::vector<Buffer> memory_;
  std::mt19937_64 random_{1};
};

std::vector<std::int32_t> prompt_of(std::int64_t length) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(length - 1), 100);
  ids.push_back(1);
  return ids;
}

// Jobs of one shape, warm: medians of the wall time of Generator::generate, results on the host included.
void jobs(const Settings& settings, Generator& generator, Backend& backend, const std::string& model,
          std::int64_t batch, std::int64_t side, std::int64_t steps) {
  std::vector<ImageRequest> images;
  for (std::int64_t i = 0; i < batch; ++i) {
    ImageRequest image;
    image.seed = static_cast<std::uint64_t>(i);
    image.condition = generator.conditions().from_ids(prompt_of(40));
    image.negative = generator.conditions().from_ids(prompt_of(1));
    image.guidance_scale = {8, 8};
    image.temperature = {0.7, 0.3};
    image.renoise_steps = steps - 1;
    images.push_back(image);
  }
  const BatchShape shape{side, side, steps, steps, SampleMode::multinomial, false};
  Observer quiet;
  for (int i = 0; i < 3; ++i) generator.generate(shape, images, quiet);
  const TransferCounts before = backend.transfers();
  std::vector<double> times;
  const double begin = now();
  while (times.size() < 5 || (times.size() < 50 && now() - begin < settings.seconds * 10)) {
    const double start = now();
    generator.generate(shape, images, quiet);
    times.push_back(now() - start);
  }
  const TransferCounts after = backend.transfers();
  const auto runs = static_cast<double>(times.size());
  const double middle = median(times);
  std::sort(times.begin(), times.end());
  std::printf(
      "{\"bench\":\"generate\",\"model\":\"%s\",\"device\":\"%s\",\"precision\":\"%s\",\"tokens\":\"%lldx%lld\","
      "\"batch\":%lld,\"steps\":%lld,\"runs\":%zu,\"ms\":%.3f,\"ms_min\":%.3f,\"ms_p90\":%.3f,"
      "\"images_per_s\":%.2f,\"launches_per_job\":%.2f,\"uploads_per_job\":%.2f,\"downloads_per_job\":%.2f,"
      "\"peak_bytes\":%zu}\n",
      model.c_str(), backend.device().c_str(), backend.precision().c_str(), static_cast<long long>(side),
      static_cast<long long>(side), static_cast<long long>(batch), static_cast<long long>(steps), times.size(),
      middle * 1e3, times.front() * 1e3, times[times.size() * 9 / 10] * 1e3, static_cast<double>(batch) / middle,
      static_cast<double>(after.launches - before.launches) / runs,
      static_cast<double>(after.uploads - before.uploads) / runs,
      static_cast<double>(after.downloads - before.downloads) / runs, backend.memory().peak);
  std::fflush(stdout);
}

// Seconds of `run`, and that it has finished.
double timed(Backend& backend, const std::function<void()>& run) {
  std::vector<double> times;
  for (int i = 0; i < 12; ++i) {
    const double start = now();
    run();
    backend.synchronize();
    if (i >= 2) times.push_back(now() - start);
  }
  return median(times);
}

}  // namespace

std::unique_ptr<Backend> gpu_backend(const Settings& settings) {
  return cuda::usable(cuda::plugin()).make_backend({.precision = settings.precision});
}

void tune(const Settings& settings) {
  const DType operand = settings.precision == "fp16" ? DType::f16 : DType::bf16;
  const auto times = [&](std::int64_t m, std::int64_t n, std::int64_t k, bool accumulate) {
    return settings.smoke
               ? cuda::time_product(std::shared_ptr<cuda::Runtime>(cuda::make_runtime(0)), operand, m, n, k, accumulate)
               : cuda::usable(cuda::plugin()).time_product(operand, m, n, k, accumulate);
  };
  const cuda::Survey machine = settings.smoke ? cuda::survey() : cuda::usable(cuda::plugin()).survey();
  if (machine.devices.empty()) throw Error(ErrorCode::backend_unavailable, machine.reason, machine.remedy);
  const cuda::DeviceInfo& device = machine.devices.front();
  // Of the denoiser, the VQGAN's decoder and ByT5-XL: columns, inner, whether added to a residual; and the rows that
  // one to 32 images give.
  struct Shape {
    std::int64_t columns, inner;
    bool accumulate;
  };
  std::vector<Shape> shapes = {{5120, 1280, false}, {1280, 5120, true},  {3840, 1280, false},  {1280, 1280, true},
                               {2560, 640, false},  {640, 2560, true},   {1280, 2560, false},  {2560, 1280, false},
                               {1024, 640, false},  {1536, 384, false},  {384, 1536, true},    {768, 192, false},
                               {192, 768, true},    {6144, 2560, false}, {13440, 2560, false}, {2560, 6720, true},
                               {2560, 2048, true}};
  std::vector<std::int64_t> rows = {64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
  if (settings.smoke) shapes = {{96, 128, true}}, rows = {40};
  for (const Shape& shape : shapes)
    for (const std::int64_t m : rows)
      for (const cuda::WayTiming& timing : times(m, shape.columns, shape.inner, shape.accumulate))
        std::printf(
            "{\"bench\":\"tune\",\"device\":\"%s\",\"sm\":%d,\"precision\":\"%s\",\"rows\":%lld,"
            "\"columns\":%lld,\"inner\":%lld,\"tile\":%d,\"tile_rows\":%d,\"tile_columns\":%d,"
            "\"splits\":%d,\"us\":%.3f}\n",
            device.name.c_str(), device.major * 10 + device.minor, operand == DType::bf16 ? "bf16" : "fp16",
            static_cast<long long>(m), static_cast<long long>(shape.columns), static_cast<long long>(shape.inner),
            timing.way.tile, timing.tile.rows, timing.tile.columns, timing.way.splits, timing.seconds * 1e6);
}

void predict() {
  constexpr int multiprocessors = 132;  // of an H100 or H200
  constexpr double clock = 1.7e9;       // that they keep up under products
  for (const auto& [name, instruction] :
       {std::pair{"mma", cuda::Instruction::mma}, {"wgmma", cuda::Instruction::wgmma}}) {
    double sum = 0;
    const auto line = [&](const char* what, int count, int tile, int splits, double seconds) {
      std::printf(
          "{\"bench\":\"predict\",\"what\":\"%s\",\"instruction\":\"%s\",\"count\":%d,\"tile\":%d,\"splits\":%d,"
          "\"us\":%.2f,\"measured\":false}\n",
          what, name, count, tile, splits, seconds * 1e6);
    };
    for (const Product& product : step_products({}, 64, 64)) {
      if (product.f32) continue;  // the head: part of the draw
      const cuda::ProductWay way =
          cuda::way_for(instruction, 90, multiprocessors, product.rows, product.columns, product.inner);
      const double seconds = cuda::predicted_clocks(cuda::product_tile_list[way.tile], way.splits, product.rows,
                                                    product.columns, product.inner, multiprocessors) /
                             clock;
      line(product.what.c_str(), product.count, way.tile, way.splits, seconds);
      sum += product.count * seconds;
    }
    line("products of a guided step", 1, -1, -1, sum);
  }
}

void gpu(const Settings& settings, Backend& backend) { KernelBench(settings, backend).run(); }

void generate(const Settings& settings, Backend& backend) {
  Model model(read_model_config(settings.model), backend, nullptr);
  Generator generator(model, backend);
  const std::string name = model.config().name;
  if (settings.smoke) {
    jobs(settings, generator, backend, name, 2, model.config().unet.token_multiple(), 3);
    return;
  }
  for (const std::int64_t batch : {1, 2, 4, 8, 16, 32}) jobs(settings, generator, backend, name, batch, 64, 8);
  for (const std::int64_t steps : {4, 12, 24}) jobs(settings, generator, backend, name, 1, 64, steps);
  for (const std::int64_t side : {32, 96, 128, 192}) jobs(settings, generator, backend, name, 1, side, 8);
  const std::vector<std::int32_t> tokens(64 * 64, 5);
  std::printf(
      "{\"bench\":\"decode\",\"model\":\"%s\",\"device\":\"%s\",\"precision\":\"%s\",\"tokens\":\"64x64\","
      "\"ms_with_transfers\":%.3f}\n",
      name.c_str(), backend.device().c_str(), backend.precision().c_str(),
      timed(backend, [&] { generator.decode(tokens, 64, 64); }) * 1e3);
  const auto prompt = prompt_of(64);
  std::printf(
      "{\"bench\":\"encode_text\",\"model\":\"%s\",\"device\":\"%s\",\"precision\":\"%s\",\"prompt_tokens\":64,"
      "\"layers\":%lld,\"ms_with_transfers\":%.3f}\n",
      name.c_str(), backend.device().c_str(), backend.precision().c_str(),
      static_cast<long long>(model.config().text_encoder.num_layers),
      timed(backend, [&] { generator.conditions().encode(prompt); }) * 1e3);
}

}  // namespace paella::bench
