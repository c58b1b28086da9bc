#include "cpu/sampler.h"

#include <algorithm>
#include <atomic>

#include "core/error.h"
#include "core/philox.h"

namespace paella::cpu {

namespace {

std::uint64_t seed_of(const Tensor& seed, std::int64_t image) {
  return static_cast<std::uint64_t>(seed.as<std::int64_t>()[image]);
}

void check(bool condition, const char* operation, const char* what) {
  expect(condition, operation, ": ", what, " do not fit");
}

}  // namespace

struct CpuSampler::Draw {
  std::int64_t codes = 0;
  std::int64_t pixels = 0;  // of one image
  const StepInputs& step;
  SampleMode mode;
  bool typical;
  bool plain;  // every code's noise is computed
  std::int32_t* tokens = nullptr;
};

void CpuSampler::initial_noise(const Tensor& seed, std::int32_t codebook_size, const Tensor& tokens) {
  check(tokens.shape[0] == seed.shape[0], "initial_noise", "seeds and tokens");
  const std::int64_t pixels = tokens.elements() / std::max<std::int64_t>(1, tokens.shape[0]);
  const ThreadScope threads(context_.threads);
  parallel_range(context_.threads, tokens.elements(), 15, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i)
      tokens.as<std::int32_t>()[i] =
          initial_token(seed_of(seed, i / pixels), static_cast<std::uint32_t>(i % pixels), codebook_size);
  });
}

void CpuSampler::guide(const Tensor& features, const Tensor& guidance, const Tensor& out) {
  check(features.shape == out.shape.with_first(2 * out.shape[0]) && guidance.shape[0] == out.shape[0], "guide",
        "features, scales and result");
  const ThreadScope threads(context_.threads);
  const std::int64_t lines = out.shape[0] * out.shape[1], line = out.elements() / std::max<std::int64_t>(1, lines);
  parallel_range(context_.threads, lines, 0.2 * static_cast<double>(line),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t i = begin; i < end; ++i)
                     context_.kernels->blend(features.as<float>() + i * line, features.as<float>() + (lines + i) * line,
                                             line, guidance.as<float>()[i / out.shape[1]], out.as<float>() + i * line);
                 });
}

void CpuSampler::draw_rows(const Draw& draw, const float* logits, float* scratch, std::int64_t first,
                           std::int64_t rows) {
  const std::int64_t per_thread = 3 * draw.codes;
  std::atomic<bool> undefined{false};
  const double row_ns = static_cast<double>(draw.codes) * (draw.plain ? 4.0 : draw.typical ? 2.0 : 0.5);
  parallel_range(context_.threads, rows, row_ns, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* filtered = scratch + thread * per_thread;
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t position = first + i, image = position / draw.pixels;
      DrawTask task;
      task.logits = logits + i * draw.codes;
      task.codes = draw.codes;
      task.temperature = draw.step.temperature.as<float>()[image];
      task.seed = seed_of(draw.step.seed, image);
      task.step = static_cast<std::uint32_t>(draw.step.step.as<std::int32_t>()[0]);
      task.position = static_cast<std::uint32_t>(position % draw.pixels);
      if (draw.typical) {
        context_.kernels->typical_filter(task.logits, draw.codes, draw.step.typical_mass.as<float>()[image], filtered,
                                         filtered + draw.codes);
        task.logits = filtered;
      }
      const std::int32_t token = draw.mode == SampleMode::argmax ? context_.kernels->argmax(task.logits, draw.codes)
                                 : draw.plain                    ? context_.kernels->draw_plain(task)
                                                                 : context_.kernels->draw(task);
      if (token < 0) undefined.store(true, std::memory_order_relaxed);
      draw.tokens[position] = std::max(token, 0);
    }
  });
  if (undefined)
    throw Error(ErrorCode::numeric, "sample: a position has no finite logit",
                "The weights may be damaged or unsuitable for this precision; try precision fp32.");
}

void CpuSampler::sample_logits(const Tensor& logits, const StepInputs& step, SampleMode mode, bool typical,
                               const Tensor& tokens) {
  const std::int64_t codes = logits.shape[-1], rows = tokens.elements();
  check(logits.shape.rows() == rows, "sample_logits", "logits and tokens");
  const ThreadScope threads(context_.threads);
  const Draw draw{codes, tokens.shape[1] * tokens.shape[2], step, mode, typical, true, tokens.as<std::int32_t>()};
  float* scratch = context_.scratch_of<float>(context_.threads * 3 * codes);
  draw_rows(draw, logits.as<float>(), scratch, 0, rows);
}

void CpuSampler::sample(const Tensor& features, const ConstantPtr& head, const StepInputs& step, SampleMode mode,
                        bool typical, const Tensor& tokens) {
  const std::int64_t codes = head->shape[0], channels = head->shape[1], rows = tokens.elements();
  check(features.shape.rows() == rows && features.shape[-1] == channels, "sample", "features, head and tokens");
  const ThreadScope threads(context_.threads);
  // Logits of a few rows at a time, which are drawn from while they are in cache.
  constexpr std::int64_t budget = std::int64_t{4} << 20;
  const std::int64_t chunk =
      std::clamp<std::int64_t>(budget / (4 * codes) / 16 * 16, 16, std::max<std::int64_t>(16, rows));
  float* logits = context_.scratch_of<float>(chunk * codes + context_.threads * 3 * codes);
  const Draw draw{codes,           tokens.shape[1] * tokens.shape[2], step, mode, typical,
                  !context_.fused, tokens.as<std::int32_t>()};
  for (std::int64_t first = 0; first < rows; first += chunk) {
    const std::int64_t count = std::min(chunk, rows - first);
    context_.products->run(features.as<float>() + first * channels, DType::f32, count, cpu(*head), {}, logits,
                           DType::f32);
    draw_rows(draw, logits, logits + chunk * codes, first, count);
  }
}

void CpuSampler::renoise(const Tensor& tokens, const Tensor& noise, const StepInputs& step) {
  check(tokens.shape == noise.shape, "renoise", "tokens and noise");
  const std::int64_t pixels = tokens.shape[1] * tokens.shape[2];
  const auto number = static_cast<std::uint32_t>(step.step.as<std::int32_t>()[0]);
  const ThreadScope threads(context_.threads);
  parallel_range(context_.threads, tokens.elements(), 15, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / pixels;
      const float uniform = renoise_uniform(seed_of(step.seed, image), number, static_cast<std::uint32_t>(i % pixels));
      if (uniform < step.renoise_level.as<float>()[image]) tokens.as<std::int32_t>()[i] = noise.as<std::int32_t>()[i];
    }
  });
}

}  // namespace paella::cpu
