// paella_bench encoder: ByT5-XL on a prompt of 64 bytes, beside what oneDNN alone needs for the same matrix products in
// the same run, round by round.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "benchmark.h"
#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "pipeline/model.h"
#include "pipeline/run_network.h"

namespace paella::bench {

namespace {

constexpr std::int64_t length = 64;

std::vector<std::int32_t> prompt() {
  std::vector<std::int32_t> ids(length);
  for (std::int64_t i = 0; i < length; ++i) ids[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(100 + i % 26);
  ids.back() = 1;
  return ids;
}

std::unique_ptr<Byt5Encoder> load_encoder(const ModelConfig& config, Backend& backend, Layout matrices) {
  std::unique_ptr<Byt5Encoder> made;
  load_component(config, "text_encoder", backend, nullptr, [&](Loader& loader) {
    loader.keep_matrices_as(matrices);
    made = std::make_unique<Byt5Encoder>(config.text_encoder, loader);
  });
  return made;
}

std::vector<float> encode(const Byt5Encoder& network, Backend& backend) {
  const std::vector<std::int32_t> ids = prompt();
  const std::vector<float> bias = network.position_bias(length);
  const Byt5Config& shape = network.config();
  return run_network<float>(
      backend, network.network(),
      {{ids.data(), {{length}, DType::i32}}, {bias.data(), {{shape.num_heads, 2 * length - 1}, DType::f32}}},
      {{length, shape.d_model}, DType::f32});
}

// Of each position's states.
std::vector<double> cosines(const std::vector<float>& a, const std::vector<float>& b, std::size_t width) {
  std::vector<double> found;
  for (std::size_t at = 0; at < a.size(); at += width) {
    double dot = 0, aa = 0, bb = 0;
    for (std::size_t c = at; c < at + width; ++c) {
      const double x = a[c], y = b[c];
      dot += x * y, aa += x * x, bb += y * y;
    }
    found.push_back(dot / std::sqrt(aa * bb));
  }
  return found;
}

}  // namespace

void encoder(const Settings& settings) {
  const ModelConfig config = read_model_config("random:paella-v3");
  const Byt5Config& shape = config.text_encoder;
  std::vector<float> exact;  // in fp32; before the others need the memory
  {
    const auto backend = cpu::make_backend({.precision = "fp32", .threads = settings.threads});
    exact = encode(*load_encoder(config, *backend, Layout::matrix), *backend);
  }
  const auto backend = cpu::make_backend({.precision = settings.precision, .threads = settings.threads});
  const bool bf16 = backend->operand_type() == DType::bf16;
  // Full weights, then, beside them, those of 8 bits.
  struct Encoder {
    const char* weights;
    std::unique_ptr<Byt5Encoder> network;
    double bytes = 0;
    std::vector<double> seconds;
    std::vector<float> states;
  };
  std::vector<Encoder> encoders;
  for (const auto& [name, matrices] : {std::pair{"full", Layout::matrix}, std::pair{"int8", Layout::matrix_w8}}) {
    const auto before = static_cast<double>(backend->memory().weights);
    Encoder each{name, load_encoder(config, *backend, matrices), 0, {}, {}};
    each.bytes = static_cast<double>(backend->memory().weights) - before;
    encoders.push_back(std::move(each));
  }
  const std::int64_t d = shape.d_model, inner = shape.num_heads * shape.d_kv;
  const auto layers = static_cast<int>(shape.num_layers);
  const std::vector<Product> products{{"qkv", layers, length, 3 * inner, d},
                                      {"out", layers, length, d, inner},
                                      {"wi", layers, length, 2 * shape.d_ff, d},
                                      {"wo", layers, length, d, shape.d_ff}};
  std::vector<double> plain_seconds;
  double flop = 0;
  for (int round = -1; round < settings.rounds; ++round) {  // the first makes primitives
    for (Encoder& each : encoders) {
      const auto begin = std::chrono::steady_clock::now();
      each.states = encode(*each.network, *backend);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      if (round >= 0) each.seconds.push_back(seconds.count());
    }
    if (round < 0) continue;
    Settings brief = settings;
    brief.seconds = settings.seconds / 10;
    const PlainProducts plain = plain_products(brief, products, bf16);
    plain_seconds.push_back(plain.seconds);
    flop = plain.flop;
  }
  for (const Encoder& each : encoders) {
    std::vector<double> shares;
    for (std::size_t i = 0; i < each.seconds.size(); ++i) shares.push_back(plain_seconds[i] / each.seconds[i]);
    const auto likeness = cosines(each.states, exact, static_cast<std::size_t>(d));
    std::printf(
        "{\"bench\":\"encoder\",\"model\":\"ByT5-XL, "
        "random\",\"device\":\"%s\",\"precision\":\"%s\",\"weights\":\"%s\","
        "\"tokens\":%lld,\"rounds\":%d,\"seconds\":%.4g,\"onednn_seconds\":%.4g,\"share_of_onednn_rate\":%.3f,"
        "\"product_gflop\":%.1f,\"weight_bytes\":%.0f,\"median_cosine_to_fp32\":%.6f,\"least_cosine_to_fp32\":%.6f}\n",
        backend->device().c_str(), backend->precision().c_str(), each.weights, static_cast<long long>(length),
        settings.rounds, median(each.seconds), median(plain_seconds), median(shares), flop * 1e-9, each.bytes,
        median(likeness), *std::min_element(likeness.begin(), likeness.end()));
  }
  std::fflush(stdout);
}

}  // namespace paella::bench
