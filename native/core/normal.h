// Normal numbers from Philox, docs/randomness.md: Box and Muller in f64, rounded once. On the host only.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/philox.h"

namespace paella {

// Element `index` of the vector of `step`.
inline float standard_normal(std::uint64_t seed, Purpose purpose, std::uint32_t step, std::uint32_t index) {
  const PhiloxWords words = random_words(seed, purpose, step, 0, index >> 2);
  const std::size_t pair = index & 2;
  const double u = (words[pair] + 0.5) * 0x1p-32, angle = 0x1.921fb54442d18p+2 * ((words[pair + 1] + 0.5) * 0x1p-32);
  const double radius = std::sqrt(-2.0 * std::log(u));
  return static_cast<float>(radius * ((index & 1) == 0 ? std::cos(angle) : std::sin(angle)));
}

}  // namespace paella
