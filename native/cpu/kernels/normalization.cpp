#include "cpu/kernels/family.h"
#include "cpu/kernels/simd.h"

namespace paella::cpu::PAELLA_ISA {

namespace {

PAELLA_KERNEL float inverse_root(float value) { return 1.0f / __builtin_sqrtf(value); }

// Four accumulators hide the latency of the additions.
template <typename Term>
PAELLA_KERNEL float sum_over(const float* x, std::int64_t channels, const Term& term) {
  Floats sums[4] = {};
  std::int64_t c = 0;
  for (; c + 4 * lanes <= channels; c += 4 * lanes)
    for (int i = 0; i < 4; ++i) sums[i] += term(load(x + c + i * lanes));
  for (; c + lanes <= channels; c += lanes) sums[0] += term(load(x + c));
  Floats total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float rest = 0;
  if (c < channels) {
    float parts[lanes];
    store(parts, term(load_part(x + c, channels - c)));
    for (std::int64_t i = 0; i < channels - c; ++i) rest += parts[i];  // not the padding: term(0) need not be 0
  }
  return horizontal_sum(total) + rest;
}

template <typename Out>
void layer_norm_rows(const float* x, std::int64_t rows, std::int64_t channels, float epsilon, Out* out) {
  const float scale = 1.0f / static_cast<float>(channels);
  for (std::int64_t row = 0; row < rows; ++row, x += channels, out += channels) {
    const float mean = sum_over(x, channels, [](Floats v) { return v; }) * scale;
    const float variance = sum_over(x, channels, [mean](Floats v) { return (v - mean) * (v - mean); }) * scale;
    const float factor = inverse_root(variance + epsilon);
    for_vectors(channels, [&](std::int64_t c, auto part) { part.write(out + c, (part.read(x + c) - mean) * factor); });
  }
}

template <typename Out>
void rms_norm_rows(const float* x, std::int64_t rows, std::int64_t channels, const float* weight, float epsilon,
                   Out* out) {
  const float scale = 1.0f / static_cast<float>(channels);
  for (std::int64_t row = 0; row < rows; ++row, x += channels, out += channels) {
    const float factor = inverse_root(sum_over(x, channels, [](Floats v) { return v * v; }) * scale + epsilon);
    for_vectors(channels, [&](std::int64_t c, auto part) {
      part.write(out + c, part.read(x + c) * factor * part.read(weight + c));
    });
  }
}

template <typename In>
void square_sums_rows(const In* h, std::int64_t rows, std::int64_t stride, std::int64_t channels, float* sums) {
  for (std::int64_t c = 0; c < channels; ++c) sums[c] = 0;
  std::int64_t row = 0;
  for (; row + 4 <= rows; row += 4, h += 4 * stride) {
    for_vectors(channels, [&](std::int64_t c, auto part) {
      const Floats a = part.read(h + c), b = part.read(h + stride + c);
      const Floats d = part.read(h + 2 * stride + c), e = part.read(h + 3 * stride + c);
      part.write(sums + c, part.read(sums + c) + ((a * a + b * b) + (d * d + e * e)));
    });
  }
  for (; row < rows; ++row, h += stride) {
    for_vectors(channels, [&](std::int64_t c, auto part) {
      const Floats a = part.read(h + c);
      part.write(sums + c, part.read(sums + c) + a * a);
    });
  }
}

template <typename T>
void scale_channels_rows(const T* h, std::int64_t rows, std::int64_t channels, const float* factors, T* out) {
  for (std::int64_t row = 0; row < rows; ++row, h += channels, out += channels)
    for_vectors(channels,
                [&](std::int64_t c, auto part) { part.write(out + c, part.read(h + c) * part.read(factors + c)); });
}

}  // namespace

void layer_norm(const float* x, std::int64_t rows, std::int64_t channels, float epsilon, void* out, Element type) {
  if (type == Element::bf16)
    layer_norm_rows(x, rows, channels, epsilon, static_cast<Bf16*>(out));
  else
    layer_norm_rows(x, rows, channels, epsilon, static_cast<float*>(out));
}

void rms_norm(const float* x, std::int64_t rows, std::int64_t channels, const float* weight, float epsilon, void* out,
              Element type) {
  if (type == Element::bf16)
    rms_norm_rows(x, rows, channels, weight, epsilon, static_cast<Bf16*>(out));
  else
    rms_norm_rows(x, rows, channels, weight, epsilon, static_cast<float*>(out));
}

void square_sums(const void* h, Element type, std::int64_t rows, std::int64_t stride, std::int64_t channels,
                 float* sums) {
  if (type == Element::bf16)
    square_sums_rows(static_cast<const Bf16*>(h), rows, stride, channels, sums);
  else
    square_sums_rows(static_cast<const float*>(h), rows, stride, channels, sums);
}

void scale_channels(const void* h, Element type, std::int64_t rows, std::int64_t channels, const float* factors,
                    void* out) {
  if (type == Element::bf16)
    scale_channels_rows(static_cast<const Bf16*>(h), rows, channels, factors, static_cast<Bf16*>(out));
  else
    scale_channels_rows(static_cast<const float*>(h), rows, channels, factors, static_cast<float*>(out));
}

}  // namespace paella::cpu::PAELLA_ISA
