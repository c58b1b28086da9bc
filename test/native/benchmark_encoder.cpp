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

void encoder(const Settings& settings) {
  constexpr std::int64_t length = 64;
  const ModelConfig config = read_model_config("random:paella-v3");
  const Byt5Config& shape = config.text_encoder;
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
    Encoder each{name, nullptr, 0, {}, {}};
    const auto before = static_cast<double>(backend->memory().weights);
    load_component(config, "text_encoder", *backend, nullptr, [&](Loader& loader) {
      loader.keep_matrices_as(matrices);
      each.network = std::make_unique<Byt5Encoder>(shape, loader);
    });
    each.bytes = static_cast<double>(backend->memory().weights) - before;
    encoders.push_back(std::move(each));
  }
  std::vector<std::int32_t> ids(length, 100);
  for (std::int64_t i = 0; i < length; ++i) ids[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(97 + i % 26);
  ids.back() = 1;
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
      const std::vector<float> bias = each.network->position_bias(length);
      const auto begin = std::chrono::steady_clock::now();
      each.states = run_network<float>(
          *backend, each.network->network(),
          {{ids.data(), {{length}, DType::i32}}, {bias.data(), {{shape.num_heads, 2 * length - 1}, DType::f32}}},
          {{length, d}, DType::f32});
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
  double least = 1;  // cosine, of the worst position
  for (std::int64_t t = 0; t < length; ++t) {
    double dot = 0, a = 0, b = 0;
    for (std::int64_t c = 0; c < d; ++c) {
      const double x = encoders[0].states[static_cast<std::size_t>(t * d + c)];
      const double y = encoders[1].states[static_cast<std::size_t>(t * d + c)];
      dot += x * y, a += x * x, b += y * y;
    }
    least = std::min(least, dot / std::sqrt(a * b));
  }
  for (const Encoder& each : encoders) {
    std::vector<double> shares;
    for (std::size_t i = 0; i < each.seconds.size(); ++i) shares.push_back(plain_seconds[i] / each.seconds[i]);
    std::printf(
        "{\"bench\":\"encoder\",\"model\":\"ByT5-XL, "
        "random\",\"device\":\"%s\",\"precision\":\"%s\",\"weights\":\"%s\","
        "\"tokens\":%lld,\"rounds\":%d,\"seconds\":%.4g,\"onednn_seconds\":%.4g,\"share_of_onednn_rate\":%.3f,"
        "\"product_gflop\":%.1f,\"weight_bytes\":%.0f,\"least_cosine_to_full\":%.6f}\n",
        backend->device().c_str(), backend->precision().c_str(), each.weights, static_cast<long long>(length),
        settings.rounds, median(each.seconds), median(plain_seconds), median(shares), flop * 1e-9, each.bytes,
        each.weights == std::string("full") ? 1.0 : least);
  }
  std::fflush(stdout);
}

}  // namespace paella::bench
