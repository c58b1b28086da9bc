// Drawing one token from one row of logits. docs/randomness.md is the contract; this file is compiled without
// contraction of multiplications and additions, and every instruction set gives the same bits.
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

// --- Philox, several blocks at once ---

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

struct PhiloxKeys {
  std::uint64_t key_0[10], key_1[10];
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

// Several vectors side by side: a round is a chain of slow instructions.
constexpr int chains = 4;

// Words of the blocks `block`, `block` + 1, … of one position: words[chain][word], one block per lane. The upper half
// of a lane is not zero.
PAELLA_KERNEL void draw_words(const PhiloxKeys& keys, std::uint32_t step, std::uint32_t position, std::uint32_t block,
                              Longs (&words)[chains][4]) {
  Longs lane;
  for (int i = 0; i < blocks_at_once; ++i) lane[i] = static_cast<std::uint64_t>(i);
#pragma GCC unroll 4
  for (int chain = 0; chain < chains; ++chain) {
    words[chain][0] = Longs{} + position;
    words[chain][1] = lane + block + static_cast<std::uint64_t>(chain * blocks_at_once);
    words[chain][2] = Longs{} + step;
    words[chain][3] = Longs{} + static_cast<std::uint64_t>(Purpose::draw);
  }
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 4
    for (int chain = 0; chain < chains; ++chain) {
      Longs(&c)[4] = words[chain];
      const Longs product_0 = multiply_low_halves(c[0], Longs{} + philox_multiplier_0);
      const Longs product_1 = multiply_low_halves(c[2], Longs{} + philox_multiplier_1);
      c[0] = (product_1 >> 32) ^ c[1] ^ keys.key_0[round];
      c[1] = product_1;
      c[2] = (product_0 >> 32) ^ c[3] ^ keys.key_1[round];
      c[3] = product_0;
    }
  }
}

// Whether any lane has a bit set.
PAELLA_KERNEL bool any_bit(Longs v) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask((__m512i)v, (__m512i)v) != 0;
#else
  std::uint64_t all = 0;
  for (int i = 0; i < blocks_at_once; ++i) all |= v[i];
  return all != 0;
#endif
}

// --- best so far ---

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
    c[0] = static_cast<std::uint32_t>(product_1 >> 32) ^ c[1] ^ static_cast<std::uint32_t>(keys.key_0[round]);
    c[1] = static_cast<std::uint32_t>(product_1);
    c[2] = static_cast<std::uint32_t>(product_0 >> 32) ^ c[3] ^ static_cast<std::uint32_t>(keys.key_1[round]);
    c[3] = static_cast<std::uint32_t>(product_0);
  }
  return c[code & 3];
}

// A power of two's exponent interpolated linearly is never below 2^x.
PAELLA_KERNEL float power_of_two_from_above(float x) {
  if (x < -120.0f) return 0x1p-120f;
  return float_of_bits(static_cast<std::uint32_t>((x + 127.0f) * 8388608.0f) + 16u);
}

// Words above this cannot lift a code of a group with largest scaled logit `top` over `best`. The word would have to
// give g >= best − top, that is v <= 1 − e^(−e^−(best − top)) < e^−(best − top); the margins cover all rounding.
PAELLA_KERNEL std::uint32_t largest_useful_word(float best, float top) {
  const float size = (best < 0 ? -best : best) + (top < 0 ? -top : top);
  const float gap = best - top - 1e-5f * size - 1e-3f;
  if (!(gap > 0.0f)) return 0xFFFFFFFFu;
  const float words = power_of_two_from_above(gap * -1.44269504f + 32.0f) * 1.001f + 2.0f;
  return words < 4294967040.0f ? static_cast<std::uint32_t>(words) : 0xFFFFFFFFu;
}

// Whether a word may lift a scaled logit over `best`: g < −log v, and log2 v is at least exponent plus fraction of v's
// bits.
PAELLA_KERNEL bool may_win(float scaled, std::uint32_t word, float best) {
  const float v = static_cast<float>(word) * 0x1p-32f + 0x1p-33f;
  const float log2_from_below = static_cast<float>(static_cast<std::int32_t>(bits_of_float(v))) * 0x1p-23f - 127.0f;
  const float size = (best < 0 ? -best : best) + (scaled < 0 ? -scaled : scaled);
  const float bound = scaled - 0.693148f * log2_from_below + (1e-5f * size + 1e-3f);
  return !(bound < best);
}

constexpr std::int64_t group = 4 * blocks_at_once * chains;  // codes whose words are made together

}  // namespace

std::int32_t argmax(const float* logits, std::int64_t codes) {
  // Block by block, so that afterwards only one block is searched for the place.
  constexpr std::int64_t block = 32 * lanes;
  float best = minus_infinity;
  std::int64_t place = 0;
  for (std::int64_t first = 0; first < codes; first += block) {
    const std::int64_t end = codes - first < block ? codes : first + block;
    Floats tops = splat(minus_infinity);
    std::int64_t k = first;
    for (; k + lanes <= end; k += lanes) tops = maximum(finite_or_least(load(logits + k)), tops);
    float top = horizontal_maximum(tops);
    for (; k < end; ++k)
      if (is_finite(logits[k]) && logits[k] > top) top = logits[k];
    if (top > best) {
      best = top;
      place = first;
    }
  }
  if (best == minus_infinity) return -1;
  while (logits[place] != best) ++place;
  return static_cast<std::int32_t>(place);
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
    Longs words[chains][4];
    draw_words(keys, task.step, task.position, static_cast<std::uint32_t>(first >> 2), words);
    Longs useful = {};
#pragma GCC unroll 4
    for (int chain = 0; chain < chains; ++chain)
#pragma GCC unroll 4
      for (int w = 0; w < 4; ++w) useful |= (Longs)((words[chain][w] & 0xFFFFFFFFu) <= Longs{} + limit);
    if (!any_bit(useful)) continue;
    for (int chain = 0; chain < chains; ++chain)
      for (int w = 0; w < 4; ++w) {
        const Longs plain = words[chain][w] & 0xFFFFFFFFu;
        if (!any_bit((Longs)(plain <= Longs{} + limit))) continue;
        for (int i = 0; i < blocks_at_once; ++i)
          if (plain[i] <= limit) {
            const std::int64_t code = first + 4 * (chain * blocks_at_once + i) + w;
            const auto word = static_cast<std::uint32_t>(plain[i]);
            if (may_win(logits[code] / task.temperature, word, best.score)) take_code(task, code, word, best);
          }
      }
  }
  for (; first < task.codes; ++first) take_code(task, first, word_of_code(task, keys, first), best);
  return best.code;
}

// --- typical filtering ---

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
  for_vectors(codes, [&](std::int64_t k, auto part) {
    const Floats shifted = finite_or_least(part.read(logits + k)) - top;
    part.write(weights + k, exponential(shifted));
    part.write(distances + k, shifted);
  });
  // In double and in a fixed order: code k is added to sum k mod 8, whatever the width of the vectors.
  double totals[8] = {}, products[8] = {};
  std::int64_t whole = 0;
  for (; whole + 8 <= codes; whole += 8)
    for (int i = 0; i < 8; ++i) {
      const auto weight = static_cast<double>(weights[whole + i]);
      totals[i] += weight;
      products[i] += weight > 0.0 ? weight * static_cast<double>(distances[whole + i]) : 0.0;
    }
  for (int i = 0; whole + i < codes; ++i) {
    const auto weight = static_cast<double>(weights[whole + i]);
    totals[i] += weight;
    products[i] += weight > 0.0 ? weight * static_cast<double>(distances[whole + i]) : 0.0;
  }
  double total = 0, weighted = 0;
  for (int i = 0; i < 8; ++i) {
    total += totals[i];
    weighted += products[i];
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
