#include "core/weights.h"

#include <bit>
#include <cstring>

#include "core/error.h"

namespace paella {

namespace {

float from_f16(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1Fu;
  const std::uint32_t mantissa = half & 0x3FFu;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero and subnormals
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace

std::vector<float> to_f32(const HostTensor& tensor) {
  const auto count = static_cast<std::size_t>(tensor.elements());
  std::vector<float> out(count);
  if (tensor.dtype == DType::f32) {
    std::memcpy(out.data(), tensor.data, count * sizeof(float));
  } else if (tensor.dtype == DType::bf16) {
    const auto* source = static_cast<const std::uint16_t*>(tensor.data);
    for (std::size_t i = 0; i < count; ++i) out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(source[i]) << 16);
  } else if (tensor.dtype == DType::f16) {
    const auto* source = static_cast<const std::uint16_t*>(tensor.data);
    for (std::size_t i = 0; i < count; ++i) out[i] = from_f16(source[i]);
  } else {
    fail(ErrorCode::model_format, tensor.name, ": expected F32, F16 or BF16 values, found ", name_of(tensor.dtype));
  }
  // All exponent bits set: infinite or NaN. Written without branches so that it vectorises.
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < count; ++i)
    bad |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(out[i]) & 0x7F800000u) == 0x7F800000u);
  if (bad != 0)
    fail(ErrorCode::numeric, tensor.name, ": expected finite weights, found an infinite or undefined value");
  return out;
}

}  // namespace paella
