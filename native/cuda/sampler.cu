#include "cuda/sampler.h"

#include <algorithm>

#include "cuda/dispatch.cuh"
#include "cuda/kernels/head.cuh"
#include "cuda/kernels/sampler.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

namespace {

void check(bool condition, const char* operation, const char* what) {
  expect(condition, operation, ": ", what, " do not fit");
}

DrawTask draw_task(const StepInputs& step, std::int64_t codes, const Tensor& tokens) {
  DrawTask task{};
  task.seed = step.seed.as<std::int64_t>();
  task.step = step.step.as<std::int32_t>();
  task.temperature = step.temperature.as<float>();
  task.typical_mass = step.typical_mass.as<float>();
  task.tokens = tokens.as<std::int32_t>();
  task.fault = step.fault.as<std::int32_t>();
  task.codes = static_cast<int>(codes);
  task.pixels = static_cast<int>(tokens.shape[1] * tokens.shape[2]);
  return task;
}

// Bytes that typical filtering keeps for each code of a row: weight and distance, in shared memory where they fit.
constexpr std::int64_t filter_bytes = 8;
constexpr std::int64_t reserved_shared_bytes = 2048;  // static arrays of draw_kernel

bool filter_fits_shared(const Runtime& runtime, std::int64_t codes) {
  return codes * filter_bytes + reserved_shared_bytes <= static_cast<std::int64_t>(runtime.device().shared_per_block);
}

void draw_rows(Runtime& runtime, const DrawTask& task, const float* logits, SampleMode mode, bool typical,
               float* spare) {
  const std::size_t shared = typical && spare == nullptr ? static_cast<std::size_t>(task.codes * filter_bytes) : 0;
  const auto kernel = mode == SampleMode::argmax ? typical ? draw_kernel<false, true> : draw_kernel<false, false>
                      : typical ? draw_kernel<true, true>
                                                 : draw_kernel<true, false>;
  launch(runtime, kernel, grid(task.rows), draw_threads, shared, task, logits, spare);
}

// How the work of a head product is laid out: blocks of rows × stretches of the codes. Tokens do not depend on it.
struct Spread {
  std::int64_t row_tiles, stretches;
  int tiles_per_block;
};

Spread layout_for(const Runtime& runtime, std::int64_t rows, std::int64_t tile_rows, std::int64_t codes,
                  std::int64_t tile_codes) {
  const std::int64_t row_tiles = ceil_div(rows, tile_rows), code_tiles = ceil_div(codes, tile_codes);
  const std::int64_t wanted = std::clamp<std::int64_t>(2 * runtime.device().multiprocessors / row_tiles, 1, code_tiles);
  const std::int64_t each = ceil_div(code_tiles, wanted);
  return {row_tiles, ceil_div(code_tiles, each), static_cast<int>(each)};
}

// The head's product for a stretch of rows, into a sink.
struct HeadProduct {
  Runtime& runtime;
  const CudaConstant& head;
  bool split;  // on tensor cores

  std::int64_t codes() const { return head.shape[0]; }
  std::int64_t depth() const { return head.shape[1]; }
  std::int64_t tile_rows() const { return split ? split_rows : plain_tile; }
  std::int64_t tile_codes() const { return split ? split_codes : plain_tile; }
  // Of the workspace, per row.
  std::int64_t part_bytes() const { return split ? depth() * 4 : 0; }
  int places(const Spread& layout) const { return static_cast<int>(layout.stretches) * (split ? 2 : 1); }
  Spread layout(std::int64_t rows) const { return layout_for(runtime, rows, tile_rows(), codes(), tile_codes()); }

  // `parts`: room for the split features.
  template <typename Sink>
  void run(const float* features, std::int64_t rows, void* parts, const Spread& layout, const Sink& sink) const {
    const auto blocks = grid(layout.row_tiles, layout.stretches);
    if (split) {
      auto* high = static_cast<bf16*>(parts);
      bf16* low = high + rows * depth();
      launch(runtime, split_kernel, grid(ceil_div(rows * depth(), head_threads * 4)), head_threads, 0, features,
             rows * depth(), high, low);
      const SplitProduct product{high,
                                 low,
                                 static_cast<const bf16*>(head.high),
                                 static_cast<const bf16*>(head.low),
                                 static_cast<int>(rows),
                                 static_cast<int>(codes()),
                                 static_cast<int>(depth()),
                                 layout.tiles_per_block};
      launch(runtime, split_product_kernel<Sink>, blocks, head_threads, split_shared_bytes, product, sink);
    } else {
      const PlainProduct product{features,
                                 head.as<float>(),
                                 static_cast<int>(rows),
                                 static_cast<int>(codes()),
                                 static_cast<int>(depth()),
                                 layout.tiles_per_block};
      launch(runtime, plain_product_kernel<Sink>, blocks, head_threads, 0, product, sink);
    }
  }
};

constexpr std::int64_t alignment = 256;
std::int64_t aligned(std::int64_t bytes) { return ceil_div(bytes, alignment) * alignment; }

}  // namespace

void CudaSampler::initial_noise(const Tensor& seed, std::int32_t codebook_size, const Tensor& tokens) {
  check(tokens.shape[0] == seed.shape[0], "initial_noise", "seeds and tokens");
  const std::int64_t count = tokens.elements();
  if (count == 0) return;
  launch(*context_.runtime, initial_noise_kernel, grid(ceil_div(count, plain_threads)), plain_threads, 0,
         seed.as<std::int64_t>(), codebook_size, count / tokens.shape[0], count, tokens.as<std::int32_t>());
}

void CudaSampler::start(const Tensor& first, const Tensor& noise, const Tensor& tokens) {
  check(first.shape == tokens.shape && noise.shape == tokens.shape, "start", "first tokens, noise and tokens");
  const std::int64_t count = tokens.elements();
  if (count == 0) return;
  launch(*context_.runtime, start_kernel, grid(ceil_div(count, plain_threads)), plain_threads, 0,
         first.as<std::int32_t>(), noise.as<std::int32_t>(), count, tokens.as<std::int32_t>());
}

void CudaSampler::advance(const Tensor& step) {
  launch(*context_.runtime, advance_kernel, grid(1), warp_size, 0, step.as<std::int32_t>());
}

void CudaSampler::guide(const Tensor& features, const Tensor& guidance, const Tensor& out) {
  check(features.shape == out.shape.with_first(2 * out.shape[0]) && guidance.shape[0] == out.shape[0], "guide",
        "features, scales and result");
  const std::int64_t count = out.elements();
  if (count == 0) return;
  const std::int64_t each = count / out.shape[0];
  const bool wide = each % 4 == 0;
  launch(*context_.runtime, wide ? guide_kernel<4> : guide_kernel<1>,
         grid(ceil_div(count, plain_threads * (wide ? 4 : 1))), plain_threads, 0, features.as<float>(),
         guidance.as<float>(), each, count, out.as<float>());
}

void CudaSampler::renoise(const Tensor& tokens, const Tensor& noise, const StepInputs& step) {
  check(tokens.shape == noise.shape, "renoise", "tokens and noise");
  const std::int64_t count = tokens.elements();
  if (count == 0) return;
  launch(*context_.runtime, renoise_kernel, grid(ceil_div(count, plain_threads)), plain_threads, 0,
         step.seed.as<std::int64_t>(), step.step.as<std::int32_t>(), step.renoise_level.as<float>(),
         tokens.shape[1] * tokens.shape[2], count, noise.as<std::int32_t>(), tokens.as<std::int32_t>());
}

void CudaSampler::sample_logits(const Tensor& logits, const StepInputs& step, SampleMode mode, bool typical,
                                const Tensor& tokens) {
  const std::int64_t codes = logits.shape[-1], rows = tokens.elements();
  check(logits.shape.rows() == rows, "sample_logits", "logits and tokens");
  const bool spare = typical && !filter_fits_shared(*context_.runtime, codes);
  const std::int64_t piece =
      spare ? static_cast<std::int64_t>(context_.workspace_bytes()) / (codes * filter_bytes) : rows;
  expect(piece >= 1 || rows == 0, "sample_logits: expected fewer codes than ", codes);
  DrawTask task = draw_task(step, codes, tokens);
  for (task.first = 0; task.first < rows; task.first += piece) {
    task.rows = static_cast<int>(std::min(piece, rows - task.first));
    draw_rows(*context_.runtime, task, logits.as<float>() + task.first * codes, mode, typical,
              spare ? static_cast<float*>(context_.workspace.data()) : nullptr);
  }
}

void CudaSampler::sample(const Tensor& features, const ConstantPtr& head, const StepInputs& step, SampleMode mode,
                         bool typical, const Tensor& tokens) {
  const std::int64_t codes = head->shape[0], depth = head->shape[1], rows = tokens.elements();
  check(features.shape.rows() == rows && features.shape[-1] == depth, "sample", "features, head and tokens");
  check(codes * depth <= 0x7fffffff, "sample", "offsets in the head and 32 bits");
  Runtime& runtime = *context_.runtime;
  const CudaConstant& weights = cuda(*head);
  const HeadProduct product{runtime, weights, context_.operand != DType::f32 && weights.high != nullptr};
  DrawTask task = draw_task(step, codes, tokens);

  // As many rows at a time as fit the workspace: split features, then candidates or logits, then what filtering needs.
  const bool spare = typical && !filter_fits_shared(runtime, codes);
  const std::int64_t most_places = 2 * ceil_div(codes, product.tile_codes());
  const std::int64_t row_bytes =
      product.part_bytes() + (typical ? codes * 4 : most_places * sizeof(Best)) + (spare ? codes * filter_bytes : 0);
  const std::int64_t fitting = (static_cast<std::int64_t>(context_.workspace_bytes()) - 3 * alignment) / row_bytes;
  expect(fitting >= 1, "sample: expected fewer codes than ", codes);
  const std::int64_t piece =
      fitting < product.tile_rows() ? fitting : fitting / product.tile_rows() * product.tile_rows();

  auto* const base = static_cast<std::uint8_t*>(context_.workspace.data());
  for (task.first = 0; task.first < rows; task.first += piece) {
    task.rows = static_cast<int>(std::min(piece, rows - task.first));
    const float* from = features.as<float>() + task.first * depth;
    const auto layout = product.layout(task.rows);
    std::uint8_t* const results = base + aligned(task.rows * product.part_bytes());
    if (typical) {
      auto* logits = reinterpret_cast<float*>(results);
      product.run(from, task.rows, base, layout, StoreSink{logits, task.rows, task.codes});
      draw_rows(runtime, task, logits, mode, true,
                spare ? reinterpret_cast<float*>(results + aligned(std::int64_t{task.rows} * codes * 4)) : nullptr);
      continue;
    }
    auto* candidates = reinterpret_cast<Best*>(results);
    const int places = product.places(layout);
    if (mode == SampleMode::argmax)
      product.run(from, task.rows, base, layout, DrawSink<false>{task, candidates, places});
    else
      product.run(from, task.rows, base, layout, DrawSink<true>{task, candidates, places});
    launch(runtime, join_kernel, grid(ceil_div(task.rows, head_threads)), head_threads, 0, task, candidates, places);
  }
}

}  // namespace paella::cuda
