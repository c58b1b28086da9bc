// paella_bench step: one guided step of the 1-billion-parameter U-Net, beside what oneDNN alone needs for the same
// matrix products in the same run, round by round, so that a drifting machine shifts both.
#include <cstdio>
#include <fstream>

#include "benchmark.h"
#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "pipeline/generator.h"

namespace paella::bench {

namespace {

// A line of /proc/self/status, in bytes.
double status_bytes(const char* key) {
  std::ifstream file("/proc/self/status");
  std::string word;
  while (file >> word)
    if (word == key) {
      double kilobytes = 0;
      file >> kilobytes;
      return kilobytes * 1024;
    }
  return 0;
}

// What attention adds to the matrix products of a step: scores and values, both passes.
double attention_flop(std::int64_t tokens, std::int64_t condition, std::int64_t negative) {
  double flop = 0;
  for (const auto& [blocks, queries] : {std::pair<double, std::int64_t>{32, tokens / 16}, {12, tokens / 64}})
    for (const std::int64_t length : {condition, negative})
      flop += blocks * 4.0 * static_cast<double>(queries * (queries + length) * 1280);
  return flop;
}

std::vector<std::int32_t> prompt_of(std::int64_t length) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(length - 1), 100);
  ids.push_back(1);
  return ids;
}

}  // namespace

void step(const Settings& settings) {
  constexpr std::int64_t side = 64, condition = 40, negative = 1, steps = 2;
  const auto loading = std::chrono::steady_clock::now();
  const auto backend = cpu::make_backend({.precision = settings.precision, .threads = settings.threads});
  Model model(read_model_config("random:paella-v3-256"), *backend, nullptr);
  Generator generator(model, *backend);
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - loading).count();
  ImageRequest image;
  image.seed = 1;
  image.condition = generator.conditions().from_ids(prompt_of(condition));
  image.negative = generator.conditions().from_ids(prompt_of(negative));
  image.guidance_scale = {8, 8};
  image.temperature = {1, 0.5};
  image.renoise_steps = steps - 1;
  const BatchShape shape{side, side, steps, steps, SampleMode::multinomial, false};

  Observer quiet;
  generator.generate(shape, {image}, quiet);  // warm-up: primitives are made
  // Before the comparison takes memory of its own.
  const double peak = status_bytes("VmHWM:");
  const bool bf16 = settings.precision == "bf16";
  std::vector<double> step_seconds, product_seconds, decode_seconds;
  StageTimes stages;
  double flop = 0;
  for (int round = 0; round < settings.rounds; ++round) {
    const StageTimes times = generator.generate(shape, {image}, quiet).times;
    step_seconds.push_back((times.unet + times.guide + times.sample + times.renoise) / 1e3 / steps);
    decode_seconds.push_back(times.decode / 1e3);
    stages.unet += times.unet / steps;
    stages.guide += times.guide / steps;
    stages.sample += times.sample / steps;
    stages.renoise += times.renoise / steps;
    double seconds = 0;
    flop = 0;
    for (const Product& product : guided_step(side, side)) {
      constexpr std::size_t beyond_caches = std::size_t{192} << 20;
      Settings brief = settings;
      brief.seconds = 0;  // five repetitions
      seconds += product.count * onednn_rate(brief, product, bf16 && !product.f32, beyond_caches).wall;
      flop += product.count * product.flop();
    }
    product_seconds.push_back(seconds);
  }
  const double step_median = median(step_seconds), product_median = median(product_seconds);
  std::vector<double> shares;
  for (std::size_t i = 0; i < step_seconds.size(); ++i) shares.push_back(product_seconds[i] / step_seconds[i]);
  const double useful = flop + attention_flop(side * side, condition, negative);
  const auto weights = static_cast<double>(backend->memory().weights);
  std::printf(
      "{\"bench\":\"step\",\"model\":\"%s\",\"device\":\"%s\",\"precision\":\"%s\",\"threads\":%d,\"tokens\":\"64x64\","
      "\"condition\":%lld,\"rounds\":%d,\"load_seconds\":%.3g,\"step_seconds\":%.4g,\"onednn_seconds\":%.4g,"
      "\"share_of_onednn_rate\":%.3f,\"share_of_onednn_rate_with_attention_flop\":%.3f,\"product_gflop\":%.1f,"
      "\"useful_gflop\":%.1f,\"step_gflops\":%.1f,\"onednn_gflops\":%.1f,\"unet_ms\":%.1f,\"guide_ms\":%.2f,"
      "\"sample_ms\":%.1f,\"renoise_ms\":%.2f,\"decode_seconds\":%.3g,\"weight_bytes\":%.0f,\"peak_bytes\":%.0f,"
      "\"peak_beyond_weights_bytes\":%.0f}\n",
      model.config().name.c_str(), backend->device().c_str(), backend->precision().c_str(), settings.threads,
      static_cast<long long>(condition), settings.rounds, load_seconds, step_median, product_median, median(shares),
      median(shares) * useful / flop, flop * 1e-9, useful * 1e-9, useful / step_median * 1e-9,
      flop / product_median * 1e-9, stages.unet / settings.rounds, stages.guide / settings.rounds,
      stages.sample / settings.rounds, stages.renoise / settings.rounds, median(decode_seconds), weights, peak,
      peak - weights);
  std::fflush(stdout);
}

}  // namespace paella::bench
