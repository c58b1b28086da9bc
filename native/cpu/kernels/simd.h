// Vectors of the width that the instruction set of this translation unit offers, as GCC and Clang extensions.
//
// Everything here has internal linkage, and kernels use nothing of the standard library that is more than a type: an
// inline function compiled for AVX-512 must not become the one copy that the linker keeps for all.
#pragma once

#include <cstdint>

#include "cpu/kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define PAELLA_KERNEL static inline __attribute__((always_inline))

namespace paella::cpu::PAELLA_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * lanes)));
typedef std::int32_t Ints __attribute__((vector_size(4 * lanes)));
typedef std::uint32_t Words __attribute__((vector_size(4 * lanes)));
typedef std::uint16_t Halves __attribute__((vector_size(2 * lanes)));
typedef std::uint8_t Bytes __attribute__((vector_size(lanes)));

using Bf16 = std::uint16_t;  // the upper half of a float

PAELLA_KERNEL Floats splat(float value) { return value - Floats{}; }
PAELLA_KERNEL Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
PAELLA_KERNEL Floats minimum(Floats a, Floats b) { return a < b ? a : b; }

PAELLA_KERNEL Floats load(const float* from) {
  Floats v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}

PAELLA_KERNEL void store(float* to, Floats v) { __builtin_memcpy(to, &v, sizeof(v)); }

PAELLA_KERNEL Floats load(const Bf16* from) {
  Halves h;
  __builtin_memcpy(&h, from, sizeof(h));
  return (Floats)(__builtin_convertvector(h, Words) << 16);
}

// Round to nearest, ties to even; NaN stays NaN.
PAELLA_KERNEL Halves to_bf16(Floats v) {
#if defined(__AVX512BF16__)
  return (Halves)_mm512_cvtneps_pbh((__m512)v);
#else
  const Words bits = (Words)v;
  const Words rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
  const Words quiet = (bits >> 16) | 0x40u;
  return __builtin_convertvector((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded, Halves);
#endif
}

PAELLA_KERNEL void store(Bf16* to, Floats v) {
  const Halves h = to_bf16(v);
  __builtin_memcpy(to, &h, sizeof(h));
}

PAELLA_KERNEL float to_float(float v) { return v; }
PAELLA_KERNEL float to_float(Bf16 v) {
  const std::uint32_t bits = static_cast<std::uint32_t>(v) << 16;
  float out;
  __builtin_memcpy(&out, &bits, sizeof(out));
  return out;
}

// The last `count` < lanes elements; what is missing reads as zero and is not written.
template <typename T>
PAELLA_KERNEL Floats load_part(const T* from, std::int64_t count) {
  T padded[lanes] = {};
  for (std::int64_t i = 0; i < count; ++i) padded[i] = from[i];
  return load(padded);
}

template <typename T>
PAELLA_KERNEL void store_part(T* to, Floats v, std::int64_t count) {
  T padded[lanes];
  store(padded, v);
  for (std::int64_t i = 0; i < count; ++i) to[i] = padded[i];
}

// Calls body(index, load, store) for each whole vector and once for the rest, so that a kernel is written once.
struct Whole {
  template <typename T>
  PAELLA_KERNEL Floats read(const T* from) {
    return load(from);
  }
  template <typename T>
  PAELLA_KERNEL void write(T* to, Floats v) {
    store(to, v);
  }
};
struct Part {
  std::int64_t count;
  template <typename T>
  __attribute__((always_inline)) inline Floats read(const T* from) const {
    return load_part(from, count);
  }
  template <typename T>
  __attribute__((always_inline)) inline void write(T* to, Floats v) const {
    store_part(to, v, count);
  }
};
template <typename Body>
PAELLA_KERNEL void for_vectors(std::int64_t count, const Body& body) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(i, Whole{});
  if (i < count) body(i, Part{count - i});
}

PAELLA_KERNEL float horizontal_sum(Floats v) {
  float parts[lanes];
  store(parts, v);
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
  return parts[0];
}

PAELLA_KERNEL float horizontal_maximum(Floats v) {
  float parts[lanes];
  store(parts, v);
  for (int width = lanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) parts[i] = parts[i] > parts[i + width] ? parts[i] : parts[i + width];
  return parts[0];
}

// e^x to about 1e-7 relative for x in [−87, 88]; 0 below, e^88 above.
PAELLA_KERNEL Floats exponential(Floats x) {
  const Floats clamped = minimum(maximum(x, splat(-87.0f)), splat(88.0f));
  // Adding 1.5·2^23 rounds to an integer, which then lies in the low bits.
  const Floats shifted = clamped * 1.44269504f + 12582912.0f;
  const Floats n = shifted - 12582912.0f;
  Floats r = clamped - n * 0x1.62e4p-1f;
  r = r - n * 0x1.7f7d1cp-20f;
  Floats p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Words power = ((Words)shifted + 127u) << 23;
  return x < -87.0f ? Floats{} : p * (Floats)power;
}

}  // namespace
}  // namespace paella::cpu::PAELLA_ISA
