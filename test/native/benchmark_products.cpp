// paella_bench products: matrix products of one guided step by oneDNN alone. Weights rotate through more memory than
// the caches hold, as they do in a network; `cached_seconds` is the same with one set of weights. The last line sums
// up.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dnnl.hpp>
#include <random>
#include <utility>

#include "benchmark.h"
#include "core/error.h"
#include "pipeline/model_folder.h"

namespace paella::bench {

namespace {

// Collects the products of a network in its order; equal ones are one entry.
class ProductList {
 public:
  void add(const std::string& what, std::int64_t rows, std::int64_t columns, std::int64_t inner, bool f32 = false) {
    for (Product& known : all_)
      if (known.what == what && known.rows == rows && known.columns == columns && known.inner == inner) {
        ++known.count;
        return;
      }
    all_.push_back({what, 1, rows, columns, inner, f32});
  }
  std::vector<Product> take() { return std::move(all_); }

 private:
  std::vector<Product> all_;
};

}  // namespace

// Rows: R·H·W. Up to the first attention both passes of the guidance share everything (spec 1.8.2).
std::vector<Product> step_products(const UnetConfig& config, std::int64_t height, std::int64_t width,
                                   std::int64_t batch, bool guided) {
  ProductList list;
  const std::int64_t passes = guided ? 2 : 1;
  std::int64_t shown = 1;  // passes that are told apart by now
  const auto rows_of = [&](std::int64_t level) { return batch * (height * width / 4 >> (2 * level)); };
  const auto blocks = [&](std::int64_t level, const char* way) {
    const auto at = static_cast<std::size_t>(level);
    const std::int64_t c = config.c_hidden[at], rows = rows_of(level);
    const std::string& kinds = config.level_config[at];
    const bool attends = kinds.find('A') != std::string::npos;
    const auto name = [&](const char* what) {
      const bool first = attends && shown < passes;
      return "level " + std::to_string(level) + (attends ? (first ? " first" : "") : way) + what;
    };
    for (std::int64_t repeat = 0; repeat < config.blocks[at]; ++repeat)
      for (const char kind : kinds) {
        if (kind == 'C') {
          list.add(name(" expand"), shown * rows, 4 * c, c);
          list.add(name(" contract"), shown * rows, c, 4 * c);
        } else if (kind == 'A') {
          list.add(name(" qkv"), shown * rows, 3 * c, c);
          shown = passes;
          list.add("level " + std::to_string(level) + " attention out", shown * rows, c, c);
        }
      }
  };
  for (std::int64_t level = 0; level < config.levels(); ++level) {
    const auto at = static_cast<std::size_t>(level);
    if (level > 0)
      list.add("downsample " + std::to_string(level), shown * rows_of(level), config.c_hidden[at],
               4 * config.c_hidden[at - 1]);
    blocks(level, " down");
  }
  for (std::int64_t level = config.levels() - 1; level >= 0; --level) {
    const auto at = static_cast<std::size_t>(level);
    blocks(level, " up");
    if (level > 0)
      list.add("upsample " + std::to_string(level - 1), shown * rows_of(level), 4 * config.c_hidden[at - 1],
               config.c_hidden[at]);
  }
  list.add("clf", shown * rows_of(0), 4 * config.c_out, config.c_hidden[0]);
  // Both passes are mixed before the head, which is linear.
  list.add("head", 4 * rows_of(0), config.num_labels, config.c_out, true);
  return list.take();
}

PlainProducts plain_products(const Settings& settings, const std::vector<Product>& products, bool bf16) {
  // As in the network: weights of others come in between, beyond the caches where a step's weights are.
  std::size_t weight_bytes = 0;
  for (const Product& product : products)
    weight_bytes += static_cast<std::size_t>(product.count * product.columns * product.inner) * (bf16 ? 2 : 4);
  weight_bytes = std::min(weight_bytes, std::size_t{192} << 20);
  PlainProducts plain;
  for (const Product& product : products) {
    plain.seconds += product.count * onednn_rate(settings, product, bf16 && !product.f32, weight_bytes).wall;
    plain.flop += product.count * product.flop();
  }
  return plain;
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
  for (const Product& product : step_products({}, 64, 64)) {
    constexpr std::size_t beyond_caches = std::size_t{192} << 20;
    const Timing timing = onednn_rate(settings, product, bf16 && !product.f32, beyond_caches);
    const Timing cached = onednn_rate(settings, product, bf16 && !product.f32, 0);
    const double each = product.flop();
    std::printf(
        "{\"bench\":\"products\",\"what\":\"%s\",\"precision\":\"%s\",\"threads\":%d,\"count\":%d,\"m\":%lld,"
        "\"n\":%lld,\"k\":%lld,\"seconds\":%.6g,\"gflops\":%.1f,\"cached_seconds\":%.6g,\"cached_gflops\":%.1f,"
        "\"cpu_seconds\":%.6g}\n",
        product.what.c_str(), product.f32 ? "fp32" : precision, settings.threads, product.count,
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

void rate(const Settings& settings) {
  const UnetConfig config = read_model_config(settings.model).unet;
  const std::int64_t multiple = config.token_multiple();
  if (settings.height < 1 || settings.width < 1 || settings.height % multiple != 0 || settings.width % multiple != 0)
    fail(ErrorCode::invalid_option, "tokens: expected multiples of ", multiple, ", got ", settings.height, 'x',
         settings.width);
  const auto products = step_products(config, settings.height, settings.width, settings.batch, settings.guided);
  std::vector<double> seconds;
  double flop = 0;
  for (int round = 0; round < settings.rounds; ++round) {
    Settings brief = settings;
    brief.seconds = settings.seconds / static_cast<double>(products.size());
    const PlainProducts plain = plain_products(brief, products, settings.precision == "bf16");
    seconds.push_back(plain.seconds);
    flop = plain.flop;
  }
  const double middle = median(seconds);
  std::printf(
      "{\"bench\":\"rate\",\"model\":\"%s\",\"precision\":\"%s\",\"threads\":%d,\"tokens\":\"%lldx%lld\",\"batch\":%"
      "lld,"
      "\"guided\":%s,\"gflop\":%.6g,\"seconds\":%.6g,\"gflops\":%.4g}\n",
      settings.model.c_str(), settings.precision.c_str(), settings.threads, static_cast<long long>(settings.height),
      static_cast<long long>(settings.width), static_cast<long long>(settings.batch),
      settings.guided ? "true" : "false", flop * 1e-9, middle, flop / middle * 1e-9);
}

}  // namespace paella::bench
