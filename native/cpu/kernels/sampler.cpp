// Drawing one token from one row of logits. docs/randomness.md is the contract; this file is compiled without contraction
// of multiplications and additions, and every instruction set gives the same bits.
#include "core/gumbel.h"
#include "core/philox.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/simd.h"

namespace paella::cpu::PAELLA_ISA {

namespace {

constexpr float minus_infinity = -__builtin_inff();

PAELLA_KERNEL bool is_finite(float x) { return (bits_of_float(x) & 0x7F800000u) != 0x7F800000u; }

// Logits that are not finite count as −∞.
PAELLA_KERNEL Floats finite_or_least(Floats x) {
  return ((Words)x & 0x7F800000u) == 0x7F800000u ? splat(minus_infinity) : x;
}

// --- Philox, several blocks at once -----------------------------------------------------------------------------------

// 64-bit lanes with a 32-bit number each, which is what the multiplier of a vector unit takes.
constexpr int blocks_at_once = lanes / 2;
typedef std::uint64_t Longs __attribute__((vector_size(4 * lanes)));

PAELLA_KERNEL Longs multiply_low_halves(Longs a, Longs b) {
#if defined(__AVX512F__)
  // The form with a mask of all ones is the same instruction; GCC 12 warns about its own header at the other one.
  return (Longs)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (Longs)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (Longs)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

struct WordVectors {
  Longs word[4];  // the upper half of each lane is not zero
};

struct PhiloxKeys {
  std::uint32_t key_0[10], key_1[10];
};

PAELLA_KERNEL PhiloxKeys philox_keys(std::uint64_t seed) {
  PhiloxKeys keys;
  std::uint32_t key_0 = static_cast<std::uint32_t>(seed), key_1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, key_0 += philox_weyl_0, key_1 += philox_weyl_1) {
    keys.key_0[round] = key_0;
    keys.key_1[round] = key_1;
  }
  return keys;
}

// Words of the blocks `block`, `block` + 1, … of one position.
PAELLA_KERNEL WordVectors draw_words(const PhiloxKeys& keys, std::uint32_t step, std::uint32_t position,
                                     std::uint32_t block) {
  Longs c0 = Longs{} + position, c1, c2 = Longs{} + step;
  Longs c3 = Longs{} + static_cast<std::uint64_t>(Purpose::draw);
  for (int i = 0; i < blocks_at_once; ++i) c1[i] = block + static_cast<std::uint32_t>(i);
  for (int round = 0; round < 10; ++round) {
    const Longs product_0 = multiply_low_halves(c0, Longs{} + philox_multiplier_0);
    const Longs product_1 = multiply_low_halves(c2, Longs{} + philox_multiplier_1);
    c0 = (product_1 >> 32) ^ c1 ^ keys.key_0[round];
    c1 = product_1;
    c2 = (product_0 >> 32) ^ c3 ^ keys.key_1[round];
    c3 = product_0;
  }
  return {{c0, c1, c2, c3}};
}

// --- best so far --------------------------------------------------------------------------------------------------------

struct Best {
  float score = minus_infinity;
  std::int32_t code = -1;
  PAELLA_KERNEL void take(Best& best, float score, std::int64_t code) {
    if (best.code < 0 || score > best.score || (score == best.score && code < best.code)) {
      best.score = score;
      best.code = static_cast<std::int32_t>(code);
    }
  }
};

PAELLA_KERNEL void take_code(const DrawTask& task, std::int64_t code, std::uint32_t word, Best& best) {
  if (is_finite(task.logits[code]))
    Best::take(best, task.logits[code] / task.temperature + gumbel_from_word(word), code);
}

// Not inlined from the header, whose inline functions the linker might share between instruction sets.
PAELLA_KERNEL std::uint32_t word_of_code(const DrawTask& task, const PhiloxKeys& keys, std::int64_t code) {
  std::uint32_t c[4] = {task.position, static_cast<std::uint32_t>(code >> 2), task.step,
                        static_cast<std::uint32_t>(Purpose::draw)};
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product_0 = static_cast<std::uint64_t>(philox_multiplier_0) * c[0];
    const std::uint64_t product_1 = static_cast<std::uint64_t>(philox_multiplier_1) * c[2];
    c[0] = static_cast<std::uint32_t>(product_1 >> 32) ^ c[1] ^ keys.key_0[round];
    c[1] = static_cast<std::uint32_t>(product_1);
    c[2] = static_cast<std::uint32_t>(product_0 >> 32) ^ c[3] ^ keys.key_1[round];
    c[3] = static_cast<std::uint32_t>(product_0);
  }
  return c[code & 3];
}

// A power of two's exponent interpolated linearly is never below 2^x.
PAELLA_KERNEL float power_of_two_from_above(float x) {
  if (x < -120.0f) return 0x1p-120f;
  return float_of_bits(static_cast<std::uint32_t>((x + 127.0f) * 8388608.0f) + 16u);
}

// Words above this cannot lift a code of a group with largest scaled logit `top` over `best`. The word would have to give
// g >= best − top, that is v <= 1 − e^(−e^−(best − top)) < e^−(best − top); the margins cover all rounding.
PAELLA_KERNEL std::uint32_t largest_useful_word(float best, float top) {
  const float size = (best < 0 ? -best : best) + (top < 0 ? -top : top);
  const float gap = best - top - 1e-5f * size - 1e-3f;
  if (!(gap > 0.0f)) return 0xFFFFFFFFu;
  const float words = power_of_two_from_above(gap * -1.44269504f + 32.0f) * 1.001f + 2.0f;
  return words < 4294967040.0f ? static_cast<std::uint32_t>(words) : 0xFFFFFFFFu;
}

constexpr std::int64_t group = 4 * blocks_at_once;  // codes whose words are made together

}  // namespace

std::int32_t argmax(const float* logits, std::int64_t codes) {
  Floats top = splat(minus_infinity);
  std::int64_t k = 0;
  for (; k + lanes <= codes; k += lanes) top = maximum(finite_or_least(load(logits + k)), top);
  float best = horizontal_maximum(top);
  for (; k < codes; ++k)
    if (is_finite(logits[k]) && logits[k] > best) best = logits[k];
  if (best == minus_infinity) return -1;
  for (k = 0; k < codes; ++k)
    if (logits[k] == best) break;
  return static_cast<std::int32_t>(k);
}

void gumbel(const std::uint32_t* words, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = gumbel_from_word(words[i]);
}

std::int32_t draw_plain(const DrawTask& task) {
  const PhiloxKeys keys = philox_keys(task.seed);
  Best best;
  for (std::int64_t k = 0; k < task.codes; ++k) take_code(task, k, word_of_code(task, keys, k), best);
  return best.code;
}

std::int32_t draw(const DrawTask& task) {
  const PhiloxKeys keys = philox_keys(task.seed);
  const float* logits = task.logits;
  Best best;
  // A good first candidate makes most of the rest impossible at once.
  const std::int32_t likely = argmax(logits, task.codes);
  if (likely < 0) return -1;
  take_code(task, likely, word_of_code(task, keys, likely), best);

  std::int64_t first = 0;
  for (; first + group <= task.codes; first += group) {
    Floats tops = finite_or_least(load(logits + first));
    for (std::int64_t i = lanes; i < group; i += lanes) tops = maximum(finite_or_least(load(logits + first + i)), tops);
    const float top = horizontal_maximum(tops) / task.temperature;  // rounding keeps the order
    if (top + gumbel_max < best.score) continue;
    const std::uint32_t limit = largest_useful_word(best.score, top);
    const WordVectors words = draw_words(keys, task.step, task.position, static_cast<std::uint32_t>(first >> 2));
    Longs any = {};
    for (int w = 0; w < 4; ++w) any |= (Longs)((words.word[w] & 0xFFFFFFFFu) <= Longs{} + limit);
    bool found = false;
    for (int i = 0; i < blocks_at_once; ++i) found |= any[i] != 0;
    if (!found) continue;
    std::uint32_t plain[4][blocks_at_once];
    for (int w = 0; w < 4; ++w)
      for (int i = 0; i < blocks_at_once; ++i) plain[w][i] = static_cast<std::uint32_t>(words.word[w][i]);
    for (int i = 0; i < blocks_at_once; ++i)
      for (int w = 0; w < 4; ++w)
        if (plain[w][i] <= limit) take_code(task, first + 4 * i + w, plain[w][i], best);
  }
  for (; first < task.codes; ++first) take_code(task, first, word_of_code(task, keys, first), best);
  return best.code;
}

// --- typical filtering --------------------------------------------------------------------------------------------------

// Keep the codes whose information −log p is closest to the entropy: the smallest set, in order of that distance, whose
// probability reaches `mass`; codes as close as its last one stay too.
void typical_filter(const float* logits, std::int64_t codes, float mass, float* out, float* scratch) {
  const std::int32_t likely = argmax(logits, codes);
  if (likely < 0 || mass >= 1.0f) {
    __builtin_memmove(out, logits, static_cast<std::size_t>(codes) * sizeof(float));
    return;
  }
  const float top = logits[likely];
  float* weights = scratch;
  float* distances = scratch + codes;
  // Sums in double and in a fixed order.
  double total = 0, weighted = 0;
  for_vectors(codes, [&](std::int64_t k, auto part) {
    const Floats shifted = finite_or_least(part.read(logits + k)) - top;
    part.write(weights + k, exponential(shifted));
    part.write(distances + k, shifted);
  });
  for (std::int64_t k = 0; k < codes; ++k) {
    total += static_cast<double>(weights[k]);
    if (weights[k] > 0.0f) weighted += static_cast<double>(weights[k]) * static_cast<double>(distances[k]);
  }
  // log of the total through the same function as the noise: no libm.
  const float log_total = log_corrected(static_cast<float>(total), 0.0f);
  const float entropy = log_total - static_cast<float>(weighted / total);
  const double wanted = static_cast<double>(mass) * total;
  for_vectors(codes, [&](std::int64_t k, auto part) {
    const Floats away = (log_total - part.read(distances + k)) - entropy;
    part.write(distances + k, (Floats)((Words)away & 0x7FFFFFFFu));
  });

  // The distance at which the mass is reached. Distances are not negative, so their bits are ordered as they are: find
  // them from the top, some bits at a time.
  constexpr int shifts[] = {20, 9, 0};
  constexpr std::uint32_t masks[] = {0xFFFu, 0x7FFu, 0x1FFu};
  std::uint32_t prefix = 0;
  double before = 0;
  for (int level = 0; level < 3; ++level) {
    double bins[0x1000] = {};
    bool present[0x1000] = {};
    for (std::int64_t k = 0; k < codes; ++k) {
      const std::uint32_t bits = bits_of_float(distances[k]) >> shifts[level];
      if (level > 0 && bits / (masks[level] + 1) != prefix) continue;
      bins[bits & masks[level]] += static_cast<double>(weights[k]);
      present[bits & masks[level]] = true;
    }
    std::uint32_t chosen = 0;
    double skipped = 0;  // of the bins before the chosen one
    double sum = 0;
    for (std::uint32_t bin = 0; bin <= masks[level]; ++bin) {
      if (!present[bin]) continue;
      chosen = bin;  // the last one there is, if rounding keeps the sum below what is wanted
      skipped = sum;
      sum += bins[bin];
      if (before + sum >= wanted) break;
    }
    before += skipped;
    prefix = prefix * (masks[level] + 1) + chosen;
  }
  const float limit = float_of_bits(prefix);
  for (std::int64_t k = 0; k < codes; ++k) out[k] = distances[k] <= limit ? logits[k] : minus_infinity;
}

}  // namespace paella::cpu::PAELLA_ISA
