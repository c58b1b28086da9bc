// paella_bench products: matrix products of one guided step by oneDNN alone. Weights rotate through more memory than
// the caches hold, as they do in a network; `cached_seconds` is the same with one set of weights. The last line sums
// up.
#include <cstdio>
#include <cstring>
#include <dnnl.hpp>
#include <random>
#include <unordered_map>

#include "benchmark.h"

namespace paella::bench {

// Rows: R·H·W. Up to the first attention both passes of the guidance share everything (spec 1.8.2).
std::vector<Product> guided_step(std::int64_t height, std::int64_t width) {
  const std::int64_t n0 = height * width / 4, n1 = n0 / 4, n2 = n1 / 4;
  std::vector<Product> all{{"level 0 down expand", 6, n0, 2560, 640},
                           {"level 0 down contract", 6, n0, 640, 2560},
                           {"downsample 1", 1, n1, 1280, 2560},
                           {"level 1 first expand", 1, n1, 5120, 1280},
                           {"level 1 first contract", 1, n1, 1280, 5120},
                           {"level 1 first qkv", 1, n1, 3840, 1280},
                           {"level 1 expand", 31, 2 * n1, 5120, 1280},
                           {"level 1 contract", 31, 2 * n1, 1280, 5120},
                           {"level 1 qkv", 31, 2 * n1, 3840, 1280},
                           {"level 1 attention out", 32, 2 * n1, 1280, 1280},
                           {"downsample 2", 1, 2 * n2, 1280, 5120},
                           {"level 2 expand", 12, 2 * n2, 5120, 1280},
                           {"level 2 contract", 12, 2 * n2, 1280, 5120},
                           {"level 2 qkv", 12, 2 * n2, 3840, 1280},
                           {"level 2 attention out", 12, 2 * n2, 1280, 1280},
                           {"upsample 1", 1, 2 * n2, 5120, 1280},
                           {"upsample 0", 1, 2 * n1, 2560, 1280},
                           {"level 0 up expand", 6, 2 * n0, 2560, 640},
                           {"level 0 up contract", 6, 2 * n0, 640, 2560},
                           {"clf", 1, 2 * n0, 1024, 640}};
  all.push_back({"head", 1, 4 * n0, 8192, 256, true});
  return all;
}

// One thread count for the whole process here, so plain memory and no backend.
Timing onednn_rate(const Settings& settings, const Product& product, bool bf16, std::size_t weight_bytes) {
  using dnnl::memory;
  using Tag = memory::format_tag;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const auto type = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const dnnl::matmul::primitive_desc description(engine, memory::desc({product.rows, product.inner}, type, Tag::ab),
                                                 memory::desc({product.inner, product.columns}, type, Tag::any),
                                                 memory::desc({product.rows, product.columns}, type, Tag::ab));
  const dnnl::matmul matmul(description);
  memory x(description.src_desc(), engine), out(description.dst_desc(), engine);
  std::mt19937 random(1);
  const auto fill = [&](const memory& to) {  // zeros would be faster than numbers
    const std::size_t count = to.get_desc().get_size() / (bf16 ? 2 : 4);
    for (std::size_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(random() % 2048) / 1024.0f - 1.0f;
      std::uint32_t bits;
      std::memcpy(&bits, &value, 4);
      if (bf16)
        static_cast<std::uint16_t*>(to.get_data_handle())[i] = static_cast<std::uint16_t>(bits >> 16);
      else
        static_cast<float*>(to.get_data_handle())[i] = value;
    }
  };
  fill(x);
  std::vector<memory> weights;
  std::size_t bytes = 0;
  while (weights.empty() || bytes < weight_bytes) {
    weights.emplace_back(description.weights_desc(), engine);
    if (weights.size() == 1)
      fill(weights[0]);
    else
      std::memcpy(weights.back().get_data_handle(), weights[0].get_data_handle(), weights[0].get_desc().get_size());
    bytes += description.weights_desc().get_size();
  }
  std::size_t next = 0;
  return measure(settings, [&] {
    matmul.execute(stream,
                   {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weights[next++ % weights.size()]}, {DNNL_ARG_DST, out}});
  });
}

void products(const Settings& settings) {
  const bool bf16 = settings.precision == "bf16";
  const char* precision = bf16 ? "bf16" : "fp32";
  double seconds = 0, cached_seconds = 0, cpu_seconds = 0, flop = 0;
  for (const Product& product : guided_step(64, 64)) {
    constexpr std::size_t beyond_caches = std::size_t{192} << 20;
    const Timing timing = onednn_rate(settings, product, bf16 && !product.f32, beyond_caches);
    const Timing cached = onednn_rate(settings, product, bf16 && !product.f32, 0);
    const double each = product.flop();
    std::printf(
        "{\"bench\":\"products\",\"what\":\"%s\",\"precision\":\"%s\",\"threads\":%d,\"count\":%d,\"m\":%lld,"
        "\"n\":%lld,\"k\":%lld,\"seconds\":%.6g,\"gflops\":%.1f,\"cached_seconds\":%.6g,\"cached_gflops\":%.1f,"
        "\"cpu_seconds\":%.6g}\n",
        product.what, product.f32 ? "fp32" : precision, settings.threads, product.count,
        static_cast<long long>(product.rows), static_cast<long long>(product.columns),
        static_cast<long long>(product.inner), timing.wall, each / timing.wall * 1e-9, cached.wall,
        each / cached.wall * 1e-9, timing.cpu);
    std::fflush(stdout);
    seconds += product.count * timing.wall;
    cached_seconds += product.count * cached.wall;
    cpu_seconds += product.count * timing.cpu;
    flop += product.count * each;
  }
  std::printf(
      "{\"bench\":\"products\",\"what\":\"guided step\",\"precision\":\"%s\",\"threads\":%d,\"gflop\":%.1f,"
      "\"seconds\":%.6g,\"gflops\":%.1f,\"cached_seconds\":%.6g,\"cached_gflops\":%.1f,\"cpu_seconds\":%.6g}\n",
      precision, settings.threads, flop * 1e-9, seconds, flop / seconds * 1e-9, cached_seconds,
      flop / cached_seconds * 1e-9, cpu_seconds);
}

}  // namespace paella::bench
