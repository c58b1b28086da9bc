// Drawing: literal tokens, equality of the fused and the plain draw, frequencies, filtering, bad input.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "core/gumbel.h"
#include "core/philox.h"
#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// One entry per image.
struct Numbers {
  std::vector<std::int64_t> seed;
  std::vector<float> temperature, renoise_level, typical_mass;
  std::int32_t step = 0;
  Numbers(std::vector<std::int64_t> seeds, float warmth, std::int32_t number = 0, float mass = 1, float level = 0)
      : seed(std::move(seeds)),
        temperature(seed.size(), warmth),
        renoise_level(seed.size(), level),
        typical_mass(seed.size(), mass),
        step(number) {}
};

class Session {
 public:
  explicit Session(const Variant& variant) : backend(make(variant)) {
    fault = tensor(std::vector<std::int32_t>{0}, {1}, DType::i32);
  }

  template <typename T>
  Tensor tensor(const std::vector<T>& values, const Shape& shape, DType type) {
    memory_.push_back(backend->allocate(values.size() * sizeof(T)));
    const Tensor tensor = memory_.back().tensor(shape, type);
    backend->upload(values.data(), tensor);
    return tensor;
  }

  StepInputs inputs(const Numbers& numbers) {
    const Shape images{static_cast<std::int64_t>(numbers.seed.size())};
    StepInputs step;
    step.seed = tensor(numbers.seed, images, DType::i64);
    step.step = tensor(std::vector<std::int32_t>{numbers.step}, {1}, DType::i32);
    step.temperature = tensor(numbers.temperature, images, DType::f32);
    step.renoise_level = tensor(numbers.renoise_level, images, DType::f32);
    step.typical_mass = tensor(numbers.typical_mass, images, DType::f32);
    if (backend->asynchronous()) step.fault = fault;
    return step;
  }

  std::vector<std::int32_t> draw(const std::vector<float>& logits, const Shape& shape, const Numbers& numbers,
                                 SampleMode mode = SampleMode::multinomial, bool typical = false) {
    const Shape grid{shape[0], shape[1], shape[2]};
    const Tensor tokens =
        tensor(std::vector<std::int32_t>(static_cast<std::size_t>(grid.elements())), grid, DType::i32);
    backend->sampler().sample_logits(tensor(logits, shape, DType::f32), inputs(numbers), mode, typical, tokens);
    return download(tokens);
  }

  // The fused draw of the same logits: features times the unit matrix.
  std::vector<std::int32_t> draw_fused(const std::vector<float>& logits, const Shape& shape, const Numbers& numbers,
                                       SampleMode mode = SampleMode::multinomial, bool typical = false) {
    const Shape grid{shape[0], shape[1], shape[2]};
    const std::int64_t codes = shape[3];
    std::vector<float> unit(static_cast<std::size_t>(codes * codes));
    for (std::int64_t k = 0; k < codes; ++k) unit[static_cast<std::size_t>(k * codes + k)] = 1;
    const auto head = constant(*backend, unit, {codes, codes}, Layout::matrix_f32);
    const Tensor tokens =
        tensor(std::vector<std::int32_t>(static_cast<std::size_t>(grid.elements())), grid, DType::i32);
    backend->sampler().sample(tensor(logits, shape, DType::f32), head, inputs(numbers), mode, typical, tokens);
    return download(tokens);
  }

  std::vector<std::int32_t> download(const Tensor& tokens) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(tokens.elements()));
    backend->download(tokens, values.data());
    return values;
  }

  // Whether the fault flag was raised since the last call; lowers it.
  bool faulty() {
    std::int32_t raised = -1;
    backend->download(fault, &raised);
    backend->upload(std::vector<std::int32_t>{0}.data(), fault);
    return raised == 1;
  }

  std::unique_ptr<Backend> backend;
  Tensor fault;

 private:
  std::vector<Buffer> memory_;
};

// Those whose draws are alike: the instruction sets of the CPU, and CUDA.
std::vector<Variant> samplers() {
  std::vector<Variant> all;
  for (const std::string& isa : instruction_sets()) all.push_back({.isa = isa});
  for (const Variant& variant : variants())
    if (variant.backend != "cpu") all.push_back(variant);
  return all;
}

bool on_tensor_cores(const Variant& variant, std::int64_t channels) {
  return variant.backend == "cuda" && variant.precision != "fp32" && channels % 16 == 0;
}

// What is left of numbers as the sum of two bf16: products on tensor cores keep that exactly.
std::vector<float> as_two_parts(std::vector<float> values) {
  const auto rounded = [](float value) {
    const std::uint32_t bits = bits_of_float(value);
    return std::isfinite(value) ? float_of_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u) : value;
  };
  for (float& value : values) {
    const float high = rounded(value);
    if (std::isfinite(high)) value = high + rounded(value - high);
  }
  return values;
}

// Straight from docs/randomness.md.
std::int32_t reference_draw(const float* logits, std::int64_t codes, float temperature, std::uint64_t seed,
                            std::uint32_t step, std::uint32_t position) {
  std::int32_t best = -1;
  float score = -infinity;
  for (std::int64_t k = 0; k < codes; ++k) {
    const auto words = random_words(seed, Purpose::draw, step, position, static_cast<std::uint32_t>(k >> 2));
    const float value = logits[k] / temperature + gumbel_from_word(words[static_cast<std::size_t>(k & 3)]);
    if (value > score) {
      score = value;
      best = static_cast<std::int32_t>(k);
    }
  }
  return best;
}

// Spec 3, in double precision.
std::vector<bool> typical_set(const float* logits, std::int64_t codes, double mass) {
  Doubles log_p(logits, logits + codes), p(log_p.size()), score(log_p.size());
  const double top = *std::max_element(log_p.begin(), log_p.end());
  double total = 0, entropy = 0;
  for (const double l : log_p) total += std::exp(l - top);
  for (std::size_t k = 0; k < p.size(); ++k) {
    log_p[k] -= top + std::log(total);
    p[k] = std::exp(log_p[k]);
    if (p[k] > 0) entropy -= p[k] * log_p[k];
  }
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t k = 0; k < p.size(); ++k) score[k] = std::abs(-log_p[k] - entropy);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] < score[b]; });
  double sum = 0;
  std::size_t last = 0;
  for (; last + 1 < order.size(); ++last)
    if ((sum += p[order[last]]) >= mass) break;
  std::vector<bool> kept(p.size());
  for (std::size_t k = 0; k < p.size(); ++k) kept[k] = score[k] <= score[order[last]];
  return kept;
}

double chi_square(const std::vector<std::int64_t>& counts, const Doubles& probabilities) {
  double sum = 0;
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  for (std::size_t k = 0; k < counts.size(); ++k) {
    const double expected = probabilities[k] * total, d = static_cast<double>(counts[k]) - expected;
    sum += d * d / expected;
  }
  return sum;
}

// Exceeded by chance once in about 10 000: mean n, variance 2n.
double chi_square_bound(std::size_t degrees) {
  return static_cast<double>(degrees) + 4 * std::sqrt(2.0 * static_cast<double>(degrees)) + 8;
}

}  // namespace

TEST("draw: equals the definition, whatever the instruction set, temperature and number of codes") {
  for (const Variant& variant : samplers()) {
    Session session(variant);
    const bool cpu = variant.backend == "cpu";
    for (const std::int64_t codes :
         cpu ? std::vector<std::int64_t>{1, 3, 31, 64, 257, 1024} : std::vector<std::int64_t>{1, 3, 31, 64, 144, 257})
      for (const float spread : {0.0f, 1.0f, 8.0f})
        for (const float temperature : {0.05f, 1.0f, 20.0f}) {
          const Shape shape{2, 5, 7, codes};
          Random random(20);
          auto logits = random.normal(shape.elements(), spread);
          if (on_tensor_cores(variant, codes)) logits = as_two_parts(logits);
          const Numbers numbers({3, (std::int64_t{1} << 53) - 1}, temperature, 11);
          const auto plain = session.draw(logits, shape, numbers), fused = session.draw_fused(logits, shape, numbers);
          bool same = true, right = true;
          for (std::size_t i = 0; i < plain.size(); ++i) {
            const auto seed = static_cast<std::uint64_t>(numbers.seed[i / 35]);
            same &= plain[i] == fused[i];
            right &= plain[i] == reference_draw(logits.data() + static_cast<std::int64_t>(i) * codes, codes,
                                                temperature, seed, 11, static_cast<std::uint32_t>(i % 35));
          }
          check(same && right, __FILE__, __LINE__,
                concat("tokens differ: ", variant.text(), ", ", codes, " codes, spread ", spread, ", temperature ",
                       temperature));
        }
  }
}

TEST("draw: the head's product keeps nearly f32 precision, in tiles that rows, codes and channels do not fill") {
  for (const Variant& variant : samplers()) {
    if (variant.backend == "cpu") continue;
    Session session(variant);
    for (const auto& [rows, codes, channels] :
         {std::tuple<std::int64_t, std::int64_t, std::int64_t>{150, 300, 48}, {40, 2100, 32}, {70, 70, 21}}) {
      Random random(24);
      const auto features = random.normal(rows * channels), head = random.normal(codes * channels);
      const auto weights = constant(*session.backend, head, {codes, channels}, Layout::matrix_f32);
      const Tensor tokens =
          session.tensor(std::vector<std::int32_t>(static_cast<std::size_t>(rows)), {1, 1, rows}, DType::i32);
      const StepInputs step = session.inputs(Numbers({4}, 0.5f, 2));
      const Tensor x = session.tensor(features, {1, 1, rows, channels}, DType::f32);
      for (const SampleMode mode : {SampleMode::multinomial, SampleMode::argmax}) {
        session.backend->sampler().sample(x, weights, step, mode, false, tokens);
        const auto found = session.download(tokens);
        double worst = 0;  // by how much the drawn code's score falls short of the best
        for (std::int64_t row = 0; row < rows; ++row) {
          double best = -1e30, drawn = -1e30;
          for (std::int64_t code = 0; code < codes; ++code) {
            double score = 0;
            for (std::int64_t c = 0; c < channels; ++c)
              score += static_cast<double>(features[static_cast<std::size_t>(row * channels + c)]) *
                       head[static_cast<std::size_t>(code * channels + c)];
            if (mode == SampleMode::multinomial)
              score = score / 0.5 + gumbel_from_word(random_words(
                                        4, Purpose::draw, 2, static_cast<std::uint32_t>(row),
                                        static_cast<std::uint32_t>(code >> 2))[static_cast<std::size_t>(code & 3)]);
            best = std::max(best, score);
            if (code == found[static_cast<std::size_t>(row)]) drawn = score;
          }
          worst = std::max(worst, best - drawn);
        }
        CHECK_BOUND(concat("short of the best score, ", variant.text(), ", ", codes, "×", channels), worst, 2e-3);
      }
    }
  }
}

TEST("draw: literal tokens") {
  for (const Variant& variant : samplers()) {
    Session session(variant);
    const Shape shape{1, 2, 4, 8192};
    const auto tokens = session.draw(std::vector<float>(8 * 8192), shape, Numbers({42}, 1, 5));
    const std::vector<std::int32_t> expected{7087, 6243, 3654, 118, 4579, 5213, 2385, 4201};
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK_EQUAL(tokens[i], expected[i]);
  }
}

TEST("draw: a token depends on its own seed, not on the batch, the threads or its neighbours") {
  std::vector<std::vector<Variant>> alike{{{.threads = 1}, {.threads = 2}, {.threads = 3}}};
  for (const Variant& variant : samplers())
    if (variant.backend != "cpu") alike.push_back({variant});
  for (const auto& group : alike) {
    const std::int64_t codes = group[0].backend == "cpu" ? 300 : 208;  // 208: on tensor cores
    Random random(21);
    const auto logits = random.normal(3 * 6 * 5 * codes, 2);
    std::vector<std::int32_t> all;
    for (const Variant& variant : group)
      for (const bool typical : {false, true}) {
        Session session(variant);
        Numbers numbers({1, 2, 3}, 0.7f, 0, 0.8f), own({3}, 0.7f, 0, 0.8f);
        const auto batch = session.draw_fused(logits, {3, 6, 5, codes}, numbers, SampleMode::multinomial, typical);
        if (!typical) {
          if (all.empty()) all = batch;
          CHECK(batch == all);
        }
        const auto alone = session.draw_fused({logits.end() - 30 * codes, logits.end()}, {1, 6, 5, codes}, own,
                                              SampleMode::multinomial, typical);
        CHECK(std::equal(alone.begin(), alone.end(), batch.end() - 30));
      }
  }
}

TEST("draw: frequencies follow the softmax") {
  for (const Variant& variant : samplers()) {
    Session session(variant);
    const std::int64_t codes = 9, positions = 200 * 200;
    const std::vector<float> row{0, 1, -1, 2, 0.5f, 0.5f, -3, 1.5f, 0};
    std::vector<float> logits;
    for (std::int64_t i = 0; i < positions; ++i) logits.insert(logits.end(), row.begin(), row.end());
    for (const float temperature : {0.5f, 1.0f, 3.0f}) {
      const auto tokens = session.draw_fused(logits, {1, 200, 200, codes}, Numbers({77}, temperature, 3));
      std::vector<std::int64_t> counts(row.size());
      for (const std::int32_t token : tokens) ++counts[static_cast<std::size_t>(token)];
      Doubles p(row.size());
      double total = 0;
      for (std::size_t k = 0; k < p.size(); ++k) total += p[k] = std::exp(row[k] / static_cast<double>(temperature));
      for (double& value : p) value /= total;
      CHECK_BOUND(concat("chi-square at temperature ", temperature, ", ", variant.text()), chi_square(counts, p),
                  chi_square_bound(8));
    }
  }
}

TEST("initial noise: uniform, and renoising hits the given part") {
  for (const Variant& variant : samplers()) {
    Session session(variant);
    const std::int32_t codes = 16;
    const Shape grid{2, 100, 100};
    const std::vector<std::int32_t> nothing(20000, -1);
    const Tensor noise = session.tensor(nothing, grid, DType::i32), tokens = session.tensor(nothing, grid, DType::i32);
    const Tensor seeds = session.tensor(std::vector<std::int64_t>{5, 6}, {2}, DType::i64);
    session.backend->sampler().initial_noise(seeds, codes, noise);
    const auto found = session.download(noise);
    std::vector<std::int64_t> counts(static_cast<std::size_t>(codes));
    for (const std::int32_t token : found) ++counts[static_cast<std::size_t>(token)];
    CHECK_BOUND("chi-square of the noise", chi_square(counts, Doubles(16, 1.0 / 16)), chi_square_bound(15));
    CHECK_EQUAL(found[123], initial_token(5, 123, codes));
    CHECK_EQUAL(found[10123], initial_token(6, 123, codes));

    Numbers numbers({5, 6}, 1, 4);
    numbers.renoise_level = {0.3f, 0.0f};
    session.backend->sampler().renoise(tokens, noise, session.inputs(numbers));
    const auto mixed = session.download(tokens);
    const auto hit =
        static_cast<double>(std::count_if(mixed.begin(), mixed.begin() + 10000, [](auto t) { return t >= 0; }));
    CHECK_BOUND("share of re-noised tokens, distance from 0.3", std::abs(hit / 10000 - 0.3), 0.02);
    CHECK(std::all_of(mixed.begin() + 10000, mixed.end(), [](auto t) { return t == -1; }));  // level 0: none
  }
}

TEST("start and advance: given tokens or noise; the count of steps") {
  for (const Variant& variant : samplers()) {
    Session session(variant);
    const Shape grid{2, 3, 47};
    Random random(26);
    auto first = random.integers(grid.elements(), 9);
    for (std::int32_t& token : first) token -= 4;
    const auto noise = random.integers(grid.elements(), 100);
    const Tensor tokens = session.tensor(std::vector<std::int32_t>(first.size(), -1), grid, DType::i32);
    session.backend->sampler().start(session.tensor(first, grid, DType::i32), session.tensor(noise, grid, DType::i32),
                                     tokens);
    const auto found = session.download(tokens);
    for (std::size_t i = 0; i < found.size(); ++i) CHECK_EQUAL(found[i], first[i] >= 0 ? first[i] : noise[i]);
    const Tensor step = session.tensor(std::vector<std::int32_t>{6}, {1}, DType::i32);
    session.backend->sampler().advance(step);
    session.backend->sampler().advance(step);
    CHECK_EQUAL(session.download(step)[0], 8);
  }
}

TEST("guide: s·conditional + (1 − s)·unconditional, per image") {
  for (const Variant& variant : samplers()) {
    Session session(variant);
    const Shape both{4, 3, 5, 17}, out{2, 3, 5, 17};
    Random random(22);
    const auto x = random.normal(both.elements());
    const std::vector<float> scales{8, 1.5f};
    const Tensor result = session.tensor(std::vector<float>(static_cast<std::size_t>(out.elements())), out, DType::f32);
    session.backend->sampler().guide(session.tensor(x, both, DType::f32), session.tensor(scales, {2}, DType::f32),
                                     result);
    std::vector<float> found(static_cast<std::size_t>(out.elements()));
    session.backend->download(result, found.data());
    Doubles expected(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double s = scales[i / (found.size() / 2)];
      expected[i] = s * x[i] + (1 - s) * x[i + found.size()];
    }
    CHECK_BOUND("guide, " + variant.text(), error_of(found, expected), 1e-6);
  }
}

TEST("argmax: the lowest index on ties") {
  for (const Variant& variant : samplers()) {
    Session session(variant);
    for (const std::int64_t codes : {1, 2, 37, 64, 100}) {
      std::vector<float> logits(static_cast<std::size_t>(2 * codes), -5.0f);
      const std::int64_t winner = codes / 3;
      for (std::int64_t k = winner; k < codes; k += 2) logits[static_cast<std::size_t>(k)] = -1;
      logits[static_cast<std::size_t>(codes)] = std::numeric_limits<float>::quiet_NaN();  // never wins
      logits.back() = -4;
      const auto tokens = session.draw(logits, {1, 1, 2, codes}, Numbers({1}, 1), SampleMode::argmax);
      CHECK_EQUAL(tokens[0], winner);
      CHECK_EQUAL(tokens[1], codes - 1);
    }
  }
}

TEST("typical filtering: the kept codes are those of the definition") {
  for (const Variant& variant : samplers()) {
    Session session(variant);
    const bool cpu = variant.backend == "cpu";
    if (variant.precision == "fp16") continue;  // as bf16
    std::int64_t outside = 0, kept_in_all = 0;
    for (const std::int64_t codes :
         cpu ? std::vector<std::int64_t>{5, 100, 1000} : std::vector<std::int64_t>{5, 96, 100})
      for (const float mass : {0.05f, 0.2f, 0.9f, 1.0f})
        for (const float spread : {0.5f, 3.0f}) {
          Random random(23);
          const std::int64_t side = cpu || codes == 5 ? 20 : 5, rows = side * side;
          auto row = random.normal(codes, spread);
          if (on_tensor_cores(variant, codes)) row = as_two_parts(row);
          std::vector<float> logits;
          for (std::int64_t i = 0; i < rows; ++i) logits.insert(logits.end(), row.begin(), row.end());
          const Numbers numbers({9}, 3, 1, mass);  // warm: every kept code is drawn some time
          const auto plain = session.draw(logits, {1, side, side, codes}, numbers, SampleMode::multinomial, true);
          CHECK(plain == session.draw_fused(logits, {1, side, side, codes}, numbers, SampleMode::multinomial, true));
          const auto kept = typical_set(row.data(), codes, mass);
          std::vector<bool> seen(kept.size());
          for (const std::int32_t token : plain) {
            seen[static_cast<std::size_t>(token)] = true;
            outside += kept[static_cast<std::size_t>(token)] ? 0 : 1;
          }
          if (codes == 5)  // few enough to see all
            for (std::size_t k = 0; k < kept.size(); ++k) kept_in_all += kept[k] && !seen[k] ? 1 : 0;
        }
    CHECK_EQUAL(outside, 0);
    CHECK_EQUAL(kept_in_all, 0);
  }
}

TEST("logits that are not finite: never drawn; a row without any is an error that names the stage") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Variant& variant : samplers()) {
    Session session(variant);
    const std::int64_t codes = 70;
    for (const bool typical : {false, true})
      for (const SampleMode mode : {SampleMode::multinomial, SampleMode::argmax}) {
        std::vector<float> logits(static_cast<std::size_t>(2 * codes), 0.0f);
        for (std::size_t k = 0; k < logits.size(); ++k)
          logits[k] = k % 3 == 0 ? nan : k % 3 == 1 ? static_cast<float>(k % 7) : k % 2 == 0 ? infinity : -infinity;
        const auto tokens = session.draw(logits, {1, 1, 2, codes}, Numbers({1}, 1, 0, 0.5f), mode, typical);
        for (std::size_t i = 0; i < 2; ++i)
          CHECK(std::isfinite(logits[i * static_cast<std::size_t>(codes) + static_cast<std::size_t>(tokens[i])]));
        std::fill(logits.begin(), logits.end(), nan);
        if (session.backend->asynchronous()) {
          CHECK(!session.faulty());
          CHECK_EQUAL(session.draw(logits, {1, 1, 2, codes}, Numbers({1}, 1, 0, 0.5f), mode, typical)[1], 0);
          CHECK(session.faulty());
          CHECK_EQUAL(session.draw_fused(logits, {1, 1, 2, codes}, Numbers({1}, 1, 0, 0.5f), mode, typical)[1], 0);
          CHECK(session.faulty());
          continue;
        }
        CHECK_THROWS(session.draw(logits, {1, 1, 2, codes}, Numbers({1}, 1, 0, 0.5f), mode, typical),
                     ErrorCode::numeric, "sample");
        CHECK_THROWS(session.draw_fused(logits, {1, 1, 2, codes}, Numbers({1}, 1, 0, 0.5f), mode, typical),
                     ErrorCode::numeric, "sample");
      }
    // So far apart that scores overflow.
    const auto tokens = session.draw({1e38f, -1e38f, 3e38f, 0}, {1, 1, 1, 4}, Numbers({1}, 1e-3f));
    CHECK(tokens[0] == 0 || tokens[0] == 2);
  }
}

TEST("typical filtering and argmax: the same tokens on every backend") {
  std::vector<std::vector<std::int32_t>> expected;
  for (const Variant& variant : samplers()) {
    if (variant.backend == "cuda" && variant.precision != "bf16") continue;  // logits are f32 in all
    Session session(variant);
    std::size_t at = 0;
    for (const std::int64_t codes : {1, 7, 333, 1024})
      for (const float spread : {0.0f, 0.3f, 4.0f, 60.0f})
        for (const float mass : {1e-4f, 0.3f, 0.5f, 0.95f, 0.9999999f})
          for (const SampleMode mode : {SampleMode::multinomial, SampleMode::argmax}) {
            Random random(25);
            auto logits = random.normal(6 * codes, spread);
            for (std::size_t k = 0; k < logits.size(); k += 3) logits[k] = std::round(logits[k] * 4) / 4;  // ties
            if (codes > 300) logits[301] = infinity, logits[302] = -infinity;
            const auto tokens = session.draw(logits, {2, 1, 3, codes}, Numbers({8, 9}, 2, 3, mass), mode, true);
            if (at == expected.size()) expected.push_back(tokens);
            check(tokens == expected[at], __FILE__, __LINE__,
                  concat("tokens differ: ", variant.text(), ", ", codes, " codes, spread ", spread, ", mass ", mass));
            ++at;
          }
  }
}

TEST("typical filtering: more codes than shared memory holds, more rows than the working memory holds") {
  const std::int64_t codes = 24001, channels = 16,
                     pixels = 125;  // 64 MiB hold the logits and distances of some 230 rows
  Random random(27);
  const auto features = random.normal(2 * pixels * channels), head = random.normal(codes * channels, 0.3f);
  const auto draw = [&](const Variant& variant, std::int64_t images) {
    Session session(variant);
    const auto weights = constant(*session.backend, head, {codes, channels}, Layout::matrix_f32);
    const Tensor tokens = session.tensor(std::vector<std::int32_t>(static_cast<std::size_t>(images * pixels)),
                                         {images, 1, pixels}, DType::i32);
    const std::vector<float> last(features.end() - images * pixels * channels, features.end());
    Numbers numbers({5, 6}, 1, 2, 0.3f);
    if (images == 1) numbers = Numbers({6}, 1, 2, 0.3f);
    session.backend->sampler().sample(session.tensor(last, {images, 1, pixels, channels}, DType::f32), weights,
                                      session.inputs(numbers), SampleMode::multinomial, true, tokens);
    return session.download(tokens);
  };
  const auto expected = draw({}, 2), found = draw({.backend = "cuda", .precision = "fp32"}, 2);
  std::int64_t different = 0;
  for (std::size_t i = 0; i < found.size(); ++i) different += found[i] != expected[i];
  CHECK_BOUND("tokens that differ from the CPU's, whose sums have another order", static_cast<double>(different), 3);
  const auto alone = draw({.backend = "cuda", .precision = "fp32"}, 1);
  CHECK(std::equal(alone.begin(), alone.end(), found.end() - pixels));
}
