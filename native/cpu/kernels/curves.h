// Activation functions on vectors.
#pragma once

#include "cpu/kernels/simd.h"

namespace paella::cpu::PAELLA_ISA {
namespace {

// erf by Abramowitz and Stegun 7.1.26: absolute error below 2e-7.
PAELLA_KERNEL Floats error_function(Floats x) {
  const Floats size = (Floats)((Ints)x & 0x7FFFFFFF);
  const Floats t = 1.0f / (1.0f + 0.3275911f * size);
  Floats p = splat(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const Floats result = 1.0f - p * t * exponential(-size * size);
  return (Floats)((Ints)result | ((Ints)x & (std::int32_t)0x80000000));
}

template <Curve curve>
PAELLA_KERNEL Floats curved(Floats x) {
  if constexpr (curve == Curve::gelu_erf) return 0.5f * x * (1.0f + error_function(x * 0.707106781f));
  if constexpr (curve == Curve::gelu_tanh) {
    // 0.5·(1 + tanh(u)) = 1/(1 + e^(−2u))
    const Floats u = 0.797884561f * x * (1.0f + 0.044715f * x * x);
    return x / (1.0f + exponential(-2.0f * u));
  }
  if constexpr (curve == Curve::silu) return x / (1.0f + exponential(-x));
  return x;
}

}  // namespace
}  // namespace paella::cpu::PAELLA_ISA
