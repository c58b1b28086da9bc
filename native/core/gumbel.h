// Gumbel noise from one Philox word, docs/randomness.md: v, E = −log1p(−v), g = −log(E).
//
// Only integer operations, additions, multiplications and fused multiply-adds, in a fixed order: every compiler, vector
// width and device gives the same bits. No libm. Within 2 units in the last place of E and g (measured over all orders
// of magnitude in test/native/sampler_test.cpp). Compile with -ffp-contract=off.
#pragma once

#include <cstdint>

#include "core/portable.h"

namespace paella {

// Largest g: no code can win by more than this over another one's logit.
inline constexpr float gumbel_max = 22.9f;

PAELLA_NUMERIC float fused_multiply_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

PAELLA_NUMERIC float float_of_bits(std::uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

PAELLA_NUMERIC std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// log(x + correction) for a normal positive x and a correction below half a unit in its last place:
// x = 2^e · (1 + f) with √½ <= 1 + f < √2, log1p(f) = f − f²/2 + f³·P(f).
PAELLA_NUMERIC float log_corrected(float x, float correction) {
  const std::uint32_t bits = bits_of_float(x);
  const std::int32_t exponent = static_cast<std::int32_t>(bits - 0x3F3504F3u) >> 23;
  const float f = float_of_bits(bits - (static_cast<std::uint32_t>(exponent) << 23)) - 1.0f;
  const float e = static_cast<float>(exponent);
  const float square = f * f;
  // Minimax of (log1p(f) − f + f²/2)/f³ on [√½ − 1, √2 − 1], relative to log1p.
  float p = 0x1.1457a6p-4f;
  p = fused_multiply_add(p, f, -0x1.de3c16p-4f);
  p = fused_multiply_add(p, f, 0x1.e6f06ap-4f);
  p = fused_multiply_add(p, f, -0x1.fc2208p-4f);
  p = fused_multiply_add(p, f, 0x1.233768p-3f);
  p = fused_multiply_add(p, f, -0x1.555c4ep-3f);
  p = fused_multiply_add(p, f, 0x1.99a4b6p-3f);
  p = fused_multiply_add(p, f, -0x1.000006p-2f);
  p = fused_multiply_add(p, f, 0x1.555548p-2f);
  // ln 2 in two parts; the first has few enough bits for e·part to be exact.
  float small = fused_multiply_add(p * f, square, correction);
  small = fused_multiply_add(e, 0x1.7f7d1cp-20f, small);
  small = fused_multiply_add(-0.5f, square, small);
  return fused_multiply_add(e, 0x1.62e4p-1f, f + small);
}

// E = −log1p(−v), exponentially distributed.
PAELLA_NUMERIC float exponential_from_word(std::uint32_t word) {
  const float raw = fused_multiply_add(static_cast<float>(word), 0x1p-32f, 0x1p-33f);
  const float v = raw < 1.0f - 0x1p-24f ? raw : 1.0f - 0x1p-24f;
  const float u = 1.0f - v;
  const float lost = (1.0f - u) - v;  // what rounding took from u; exact
  // d log(u) = lost/u, and 1/u = 1 + v + … where lost matters at all.
  return -log_corrected(u, fused_multiply_add(lost, v, lost));
}

PAELLA_NUMERIC float gumbel_from_word(std::uint32_t word) { return -log_corrected(exponential_from_word(word), 0.0f); }

}  // namespace paella
