// paella_bench step: one guided step of a U-Net (by default the one of 1 billion parameters), beside what oneDNN alone
// needs for the same matrix products in the same run, round by round, so that a drifting machine shifts both.
#include <algorithm>
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
double attention_flop(const UnetConfig& config, const Settings& settings, std::int64_t condition,
                      std::int64_t negative) {
  double flop = 0;
  for (std::size_t level = 0; level < config.c_hidden.size(); ++level) {
    const std::int64_t queries = settings.height * settings.width / 4 >> (2 * level);
    const auto kinds = config.level_config[level];
    const auto blocks = 2 * config.blocks[level] * std::count(kinds.begin(), kinds.end(), 'A');
    for (const std::int64_t length : {condition, negative})
      flop +=
          4.0 * static_cast<double>(settings.batch * blocks * queries * (queries + length) * config.c_hidden[level]);
  }
  return flop;
}

std::vector<std::int32_t> prompt_of(std::int64_t length) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(length - 1), 100);
  ids.push_back(1);
  return ids;
}

}  // namespace

void step(const Settings& settings) {
  constexpr std::int64_t condition = 40, negative = 1, steps = 2;
  const auto loading = std::chrono::steady_clock::now();
  const auto backend = cpu::make_backend({.precision = settings.precision, .threads = settings.threads});
  Model model(read_model_config(settings.model), *backend, nullptr);
  Generator generator(model, *backend);
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - loading).count();
  ImageRequest image;
  image.seed = 1;
  image.condition = generator.conditions().from_ids(prompt_of(condition));
  image.negative = generator.conditions().from_ids(prompt_of(negative));
  image.guidance_scale = {8, 8};
  image.temperature = {1, 0.5};
  image.renoise_steps = steps - 1;
  const BatchShape shape{settings.height, settings.width, steps, steps, SampleMode::multinomial, false};

  std::vector<ImageRequest> images(static_cast<std::size_t>(settings.batch), image);
  for (std::size_t i = 0; i < images.size(); ++i) images[i].seed += i;

  Observer quiet;
  generator.generate(shape, images, quiet);  // warm-up: primitives are made
  // Before the comparison takes memory of its own.
  const double peak = status_bytes("VmHWM:");
  const bool bf16 = settings.precision == "bf16";
  std::vector<double> step_seconds, product_seconds, decode_seconds;
  const UnetConfig& config = model.config().unet;
  const auto products = step_products(config, settings.height, settings.width, settings.batch);
  StageTimes stages;
  double flop = 0;
  for (int round = 0; round < settings.rounds; ++round) {
    const StageTimes times = generator.generate(shape, images, quiet).times;
    step_seconds.push_back((times.unet + times.guide + times.sample + times.renoise) / 1e3 / steps);
    decode_seconds.push_back(times.decode / 1e3);
    stages.unet += times.unet / steps;
    stages.guide += times.guide / steps;
    stages.sample += times.sample / steps;
    stages.renoise += times.renoise / steps;
    Settings brief = settings;
    brief.seconds = settings.seconds / 100;  // at least five repetitions
    const PlainProducts plain = plain_products(brief, products, bf16);
    flop = plain.flop;
    product_seconds.push_back(plain.seconds);
  }
  const double step_median = median(step_seconds), product_median = median(product_seconds);
  std::vector<double> shares;
  for (std::size_t i = 0; i < step_seconds.size(); ++i) shares.push_back(product_seconds[i] / step_seconds[i]);
  const double useful = flop + attention_flop(config, settings, condition, negative);
  const auto weights = static_cast<double>(backend->memory().weights);
  std::string samples, share_samples;
  for (std::size_t i = 0; i < step_seconds.size(); ++i) {
    const char* comma = i == 0 ? "" : ",";
    samples += concat(comma, step_seconds[i]);
    share_samples += concat(comma, shares[i]);
  }
  std::printf(
      "{\"bench\":\"step\",\"model\":\"%s\",\"device\":\"%s\",\"precision\":\"%s\",\"threads\":%d,"
      "\"tokens\":\"%lldx%lld\",\"pixels_per_token\":%lld,\"batch\":%lld,\"condition\":%lld,\"rounds\":%d,\"load_"
      "seconds\":%.3g,\"step_seconds\":%.4g,\"onednn_seconds\":%"
      ".4g,"
      "\"share_of_onednn_rate\":%.3f,\"share_of_onednn_rate_with_attention_flop\":%.3f,\"product_gflop\":%.1f,"
      "\"useful_gflop\":%.1f,\"step_gflops\":%.1f,\"onednn_gflops\":%.1f,\"unet_ms\":%.1f,\"guide_ms\":%.2f,"
      "\"sample_ms\":%.1f,\"renoise_ms\":%.2f,\"decode_seconds\":%.3g,\"weight_bytes\":%.0f,\"peak_bytes\":%.0f,"
      "\"peak_beyond_weights_bytes\":%.0f,\"step_samples\":[%s],\"share_samples\":[%s]}\n",
      model.config().name.c_str(), backend->device().c_str(), backend->precision().c_str(), settings.threads,
      static_cast<long long>(settings.height), static_cast<long long>(settings.width),
      static_cast<long long>(model.config().vqgan.pixels_per_token()), static_cast<long long>(settings.batch),
      static_cast<long long>(condition), settings.rounds, load_seconds, step_median, product_median, median(shares),
      median(shares) * useful / flop, flop * 1e-9, useful * 1e-9, useful / step_median * 1e-9,
      flop / product_median * 1e-9, stages.unet / settings.rounds, stages.guide / settings.rounds,
      stages.sample / settings.rounds, stages.renoise / settings.rounds, median(decode_seconds), weights, peak,
      peak - weights, samples.c_str(), share_samples.c_str());
  std::fflush(stdout);
}

}  // namespace paella::bench
