#include "cpu/kernels/curves.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/simd.h"

namespace paella::cpu::PAELLA_ISA {

namespace {

template <typename In, typename Out>
void convert_all(const In* from, std::int64_t count, Out* to) {
  for_vectors(count, [&](std::int64_t i, auto part) { part.write(to + i, part.read(from + i)); });
}

template <Curve curve, typename Out>
void activate_all(const float* x, std::int64_t count, Out* out) {
  for_vectors(count, [&](std::int64_t i, auto part) { part.write(out + i, curved<curve>(part.read(x + i))); });
}

template <typename Out>
void activate_by_curve(const float* x, std::int64_t count, Curve curve, Out* out) {
  switch (curve) {
    case Curve::none:
      return activate_all<Curve::none>(x, count, out);
    case Curve::gelu_erf:
      return activate_all<Curve::gelu_erf>(x, count, out);
    case Curve::gelu_tanh:
      return activate_all<Curve::gelu_tanh>(x, count, out);
    case Curve::silu:
      return activate_all<Curve::silu>(x, count, out);
  }
}

template <Curve curve, typename In, typename Out>
void gated_rows(const In* x, std::int64_t rows, std::int64_t columns, Out* out) {
  for (std::int64_t row = 0; row < rows; ++row, x += 2 * columns, out += columns)
    for_vectors(columns, [&](std::int64_t c, auto part) {
      part.write(out + c, curved<curve>(part.read(x + c)) * part.read(x + columns + c));
    });
}

template <typename In, typename Out>
void gated_by_curve(const In* x, std::int64_t rows, std::int64_t columns, Curve curve, Out* out) {
  switch (curve) {
    case Curve::none:
      return gated_rows<Curve::none>(x, rows, columns, out);
    case Curve::gelu_erf:
      return gated_rows<Curve::gelu_erf>(x, rows, columns, out);
    case Curve::gelu_tanh:
      return gated_rows<Curve::gelu_tanh>(x, rows, columns, out);
    case Curve::silu:
      return gated_rows<Curve::silu>(x, rows, columns, out);
  }
}

template <typename In>
void sum_rows_of(const void* const* rows, int terms, const float* bias, std::int64_t channels, float* out) {
  for_vectors(channels, [&](std::int64_t c, auto part) {
    Floats sum = part.read(bias + c);
    for (int term = 0; term < terms; ++term) sum += part.read(static_cast<const In*>(rows[term]) + c);
    part.write(out + c, sum);
  });
}

}  // namespace

void convert(const void* from, Element from_type, std::int64_t count, void* to, Element to_type) {
  if (from_type == Element::f32 && to_type == Element::bf16)
    convert_all(static_cast<const float*>(from), count, static_cast<Bf16*>(to));
  else if (from_type == Element::bf16 && to_type == Element::f32)
    convert_all(static_cast<const Bf16*>(from), count, static_cast<float*>(to));
  else
    __builtin_memmove(to, from, static_cast<std::size_t>(count) * (from_type == Element::bf16 ? 2 : 4));
}

void activate(const float* x, std::int64_t count, Curve curve, void* out, Element type) {
  if (type == Element::bf16)
    activate_by_curve(x, count, curve, static_cast<Bf16*>(out));
  else
    activate_by_curve(x, count, curve, static_cast<float*>(out));
}

void gated(const void* x, Element x_type, std::int64_t rows, std::int64_t columns, Curve curve, void* out,
           Element type) {
  if (x_type == Element::bf16) {
    const auto* from = static_cast<const Bf16*>(x);
    if (type == Element::bf16)
      gated_by_curve(from, rows, columns, curve, static_cast<Bf16*>(out));
    else
      gated_by_curve(from, rows, columns, curve, static_cast<float*>(out));
  } else {
    const auto* from = static_cast<const float*>(x);
    if (type == Element::bf16)
      gated_by_curve(from, rows, columns, curve, static_cast<Bf16*>(out));
    else
      gated_by_curve(from, rows, columns, curve, static_cast<float*>(out));
  }
}

void modulate(float* x, std::int64_t rows, std::int64_t channels, const float* modulation) {
  for (std::int64_t row = 0; row < rows; ++row, x += channels)
    for_vectors(channels, [&](std::int64_t c, auto part) {
      part.write(x + c, part.read(x + c) * (1.0f + part.read(modulation + c)) + part.read(modulation + channels + c));
    });
}

void add(float* x, const float* y, std::int64_t count) {
  for_vectors(count, [&](std::int64_t i, auto part) { part.write(x + i, part.read(x + i) + part.read(y + i)); });
}

void blend(const float* a, const float* b, std::int64_t count, float s, float* out) {
  for_vectors(count, [&](std::int64_t i, auto part) {
    part.write(out + i, s * part.read(a + i) + (1.0f - s) * part.read(b + i));
  });
}

void sum_rows(const void* const* rows, Element type, int terms, const float* bias, std::int64_t channels, float* out) {
  if (type == Element::bf16)
    sum_rows_of<Bf16>(rows, terms, bias, channels, out);
  else
    sum_rows_of<float>(rows, terms, bias, channels, out);
}

void to_pixels(const float* x, std::int64_t count, std::uint8_t* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = x[i] > 0.0f ? (x[i] < 1.0f ? x[i] : 1.0f) : 0.0f;                            // NaN becomes 0
    out[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(__builtin_rintf(value * 255.0f)));  // half to even
  }
}

void from_pixels(const std::uint8_t* x, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(x[i]) / 255.0f;
}

std::int32_t nearest(const float* x, std::int64_t channels, const float* codes, std::int64_t count) {
  Floats best = splat(__builtin_inff());
  Ints best_index = {};
  Ints index;
  for (int i = 0; i < lanes; ++i) index[i] = i;
  std::int64_t k = 0;
  for (; k + lanes <= count; k += lanes, index += lanes) {
    Floats distance = {};
    for (std::int64_t c = 0; c < channels; ++c) {
      const Floats difference = load(codes + c * count + k) - x[c];
      distance += difference * difference;
    }
    const Ints closer = distance < best;
    best = closer ? distance : best;
    best_index = closer ? index : best_index;
  }
  float distance = __builtin_inff();
  std::int32_t winner = 0;
  for (int i = 0; i < lanes; ++i) {
    if (best[i] < distance || (best[i] == distance && best_index[i] < winner)) {
      distance = best[i];
      winner = best_index[i];
    }
  }
  if (k < count) {  // the same arithmetic, on a padded vector
    Floats rest = {};
    for (std::int64_t c = 0; c < channels; ++c) {
      const Floats difference = load_part(codes + c * count + k, count - k) - x[c];
      rest += difference * difference;
    }
    for (std::int64_t i = 0; i < count - k; ++i) {
      if (rest[i] < distance) {
        distance = rest[i];
        winner = static_cast<std::int32_t>(k + i);
      }
    }
  }
  return winner;
}

}  // namespace paella::cpu::PAELLA_ISA
