#include "cpu/kernels/curves.h"
#include "cpu/kernels/family.h"
#include "cpu/kernels/simd.h"

namespace paella::cpu::PAELLA_ISA {

namespace {

typedef std::int8_t Chars __attribute__((vector_size(lanes)));

// Adding 1.5·2^23 rounds to the nearest integer, ties to even; the integer then lies in the low bits.
PAELLA_KERNEL Ints nearest_integer(Floats x) { return (Ints)(x + 12582912.0f) - 0x4B400000; }

PAELLA_KERNEL void store(std::uint8_t* to, Ints values) {
  const Bytes bytes = __builtin_convertvector(values, Bytes);
  __builtin_memcpy(to, &bytes, sizeof(bytes));
}

PAELLA_KERNEL std::int32_t horizontal_maximum(Ints v) {
  std::int32_t most = 0;
  for (int i = 0; i < lanes; ++i) most = v[i] > most ? v[i] : most;
  return most;
}

template <bool scaled, typename In>
float quantize_row(const In* x, const float* factors, std::int64_t columns, std::uint8_t* out) {
  const auto read = [&](std::int64_t i, auto part) {
    if constexpr (scaled)
      return part.read(x + i) * part.read(factors + i);
    else
      return part.read(x + i);
  };
  // Sizes of floats compare like the integers of the same bits, and what is not finite is the largest of all.
  Ints most = {};
  for_vectors(columns, [&](std::int64_t i, auto part) {
    const Ints bits = (Ints)read(i, part) & 0x7FFFFFFF;
    most = bits > most ? bits : most;
  });
  const std::int32_t bits = horizontal_maximum(most);
  float largest;
  __builtin_memcpy(&largest, &bits, sizeof(largest));
  const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
  std::int64_t i = 0;
  for (; i + lanes <= columns; i += lanes) store(out + i, nearest_integer(read(i, Whole{}) * inverse) + 128);
  if (i < columns) {
    std::uint8_t rest[lanes];
    store(rest, nearest_integer(read(i, Part{columns - i}) * inverse) + 128);
    for (std::int64_t k = 0; i + k < columns; ++k) out[i + k] = rest[k];
  }
  return bits < 0x7F800000 ? largest / 127.0f : __builtin_nanf("");
}

template <typename In>
void quantize_all(const In* x, const float* factors, std::int64_t rows, std::int64_t columns, std::uint8_t* out,
                  float* scales) {
  for (std::int64_t row = 0; row < rows; ++row, x += columns, out += columns)
    scales[row] = factors != nullptr ? quantize_row<true>(x, factors, columns, out)
                                     : quantize_row<false>(x, factors, columns, out);
}

template <typename Out>
void widen_all(const std::int8_t* from, std::int64_t count, Out* to) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    Chars chars;
    __builtin_memcpy(&chars, from + i, sizeof(chars));
    store(to + i, __builtin_convertvector(chars, Floats));
  }
  if (i == count) return;
  float rest[lanes] = {};
  for (std::int64_t k = 0; i + k < count; ++k) rest[k] = static_cast<float>(from[i + k]);
  store_part(to + i, load(rest), count - i);
}

PAELLA_KERNEL Ints load(const std::int32_t* from) {
  Ints values;
  __builtin_memcpy(&values, from, sizeof(values));
  return values;
}
PAELLA_KERNEL Ints load_part(const std::int32_t* from, std::int64_t count) {
  std::int32_t padded[lanes] = {};
  for (std::int64_t i = 0; i < count; ++i) padded[i] = from[i];
  return load(padded);
}

template <typename Part>
PAELLA_KERNEL Floats read_sums(const FinishTask&, const float* from, std::int64_t, Part part) {
  return part.read(from);
}
PAELLA_KERNEL Floats read_sums(const FinishTask& task, const std::int32_t* from, std::int64_t c, Whole) {
  return __builtin_convertvector(load(from) - load(task.offsets + c), Floats);
}
PAELLA_KERNEL Floats read_sums(const FinishTask& task, const std::int32_t* from, std::int64_t c, Part part) {
  return __builtin_convertvector(load_part(from, part.count) - load_part(task.offsets + c, part.count), Floats);
}

template <Curve curve, typename Sum, typename Out>
void finish_row(const FinishTask& task, const Sum* sums, float row_scale, Out* out) {
  for_vectors(task.columns, [&](std::int64_t c, auto part) {
    Floats value = read_sums(task, sums + c, c, part) * (part.read(task.column_scales + c) * row_scale);
    if (task.bias != nullptr) value += part.read(task.bias + c);
    value = curved<curve>(value);
    if (task.accumulate) value += part.read(out + c);
    if (task.factor != nullptr) value = value * part.read(task.factor + c) + part.read(task.shift + c);
    part.write(out + c, value);
  });
}

template <Curve curve, typename Sum, typename Out>
void finish_rows(const FinishTask& task) {
  for (std::int64_t row = 0; row < task.rows; ++row)
    finish_row<curve>(task, static_cast<const Sum*>(task.sums) + row * task.columns,
                      task.row_scales != nullptr ? task.row_scales[row] : 1.0f,
                      static_cast<Out*>(task.out) + row * task.out_stride);
}

template <typename Sum, typename Out>
void finish_by_curve(const FinishTask& task) {
  switch (task.curve) {
    case Curve::none:
      return finish_rows<Curve::none, Sum, Out>(task);
    case Curve::gelu_erf:
      return finish_rows<Curve::gelu_erf, Sum, Out>(task);
    case Curve::gelu_tanh:
      return finish_rows<Curve::gelu_tanh, Sum, Out>(task);
    case Curve::silu:
      return finish_rows<Curve::silu, Sum, Out>(task);
  }
}

}  // namespace

void quantize_rows(const void* x, Element type, const float* factors, std::int64_t rows, std::int64_t columns,
                   std::uint8_t* out, float* scales) {
  if (type == Element::bf16)
    quantize_all(static_cast<const Bf16*>(x), factors, rows, columns, out, scales);
  else
    quantize_all(static_cast<const float*>(x), factors, rows, columns, out, scales);
}

void widen(const std::int8_t* from, std::int64_t count, void* to, Element type) {
  if (type == Element::bf16)
    widen_all(from, count, static_cast<Bf16*>(to));
  else
    widen_all(from, count, static_cast<float*>(to));
}

void finish_product(const FinishTask& task) {
  if (task.offsets != nullptr) {
    if (task.type == Element::bf16)
      finish_by_curve<std::int32_t, Bf16>(task);
    else
      finish_by_curve<std::int32_t, float>(task);
  } else {
    if (task.type == Element::bf16)
      finish_by_curve<float, Bf16>(task);
    else
      finish_by_curve<float, float>(task);
  }
}

}  // namespace paella::cpu::PAELLA_ISA
