// Weights of 8 bits: w[n, k] ≈ scales[n]·q[n, k] with q a whole number in [−127, 127]. See docs/int8.md.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace paella {

// Rows whose largest weight is below this become zeros: 127 over it would not be a finite f32.
inline constexpr float smallest_scaled = 1e-35f;

// The row's scale, chosen so that its largest weight is met exactly; `integers` receives as many numbers as the row
// has, rounded to nearest, ties to even. Integer: std::int8_t, or float for who goes on calculating with them. The row
// may be rounded in place. Weights are finite: to_f32() has seen to that.
template <typename Integer>
float round_to_8_bits(std::span<const float> row, Integer* integers) {
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  const float inverse = largest >= smallest_scaled ? 127 / largest : 0;
  for (std::size_t k = 0; k < row.size(); ++k) integers[k] = static_cast<Integer>(std::nearbyint(row[k] * inverse));
  return largest / 127;
}

}  // namespace paella
