#include "cpu/kernels/family.h"
#include "cpu/kernels/simd.h"

namespace paella::cpu::PAELLA_ISA {

namespace {

// One pixel at a left or right edge, or anywhere in a row narrower than the tile below.
void edge_pixel(const float* const lines[3], std::int64_t x, std::int64_t width, std::int64_t channels,
                std::int64_t line_stride, const float* weight, std::int64_t weight_stride, const float* bias,
                bool replicate, float* out) {
  const float* sources[9];
  for (int tap = 0; tap < 9; ++tap) {
    std::int64_t column = x + tap % 3 - 1;
    if (replicate) column = column < 0 ? 0 : column >= width ? width - 1 : column;
    const bool inside = lines[tap / 3] != nullptr && column >= 0 && column < width;
    sources[tap] = inside ? lines[tap / 3] + column * line_stride : nullptr;
  }
  for_vectors(channels, [&](std::int64_t c, auto part) {
    Floats sum = bias == nullptr ? Floats{} : part.read(bias + c);
    for (int tap = 0; tap < 9; ++tap)
      if (sources[tap] != nullptr) sum += part.read(sources[tap] + c) * part.read(weight + tap * weight_stride + c);
    part.write(out + c, sum);
  });
}

// Four neighbouring pixels away from the edges share the loads of weights and of the columns between them.
constexpr int tile = 4;

void inner_pixels(const float* const lines[3], std::int64_t x, std::int64_t channels, std::int64_t line_stride,
                  const float* weight, std::int64_t weight_stride, const float* bias, float* out,
                  std::int64_t out_stride) {
  for_vectors(channels, [&](std::int64_t c, auto part) {
    Floats sums[tile];
    for (int i = 0; i < tile; ++i) sums[i] = bias == nullptr ? Floats{} : part.read(bias + c);
    for (int dy = 0; dy < 3; ++dy) {
      if (lines[dy] == nullptr) continue;
      Floats columns[tile + 2];
      for (int i = 0; i < tile + 2; ++i) columns[i] = part.read(lines[dy] + (x - 1 + i) * line_stride + c);
      for (int dx = 0; dx < 3; ++dx) {
        const Floats w = part.read(weight + (3 * dy + dx) * weight_stride + c);
        for (int i = 0; i < tile; ++i) sums[i] += columns[i + dx] * w;
      }
    }
    for (int i = 0; i < tile; ++i) part.write(out + i * out_stride + c, sums[i]);
  });
}

}  // namespace

// Every pixel adds its taps in the same order, so a pixel's bits do not depend on where the tiles begin.
void depthwise_row(const float* const lines[3], std::int64_t width, std::int64_t channels, std::int64_t line_stride,
                   const float* weight, std::int64_t weight_stride, const float* bias, bool replicate, float* out,
                   std::int64_t out_stride) {
  std::int64_t x = 0;
  while (x < width) {
    if (x > 0 && x + tile < width) {
      inner_pixels(lines, x, channels, line_stride, weight, weight_stride, bias, out + x * out_stride, out_stride);
      x += tile;
    } else {
      edge_pixel(lines, x, width, channels, line_stride, weight, weight_stride, bias, replicate, out + x * out_stride);
      ++x;
    }
  }
}

void pair_sums(const float* x, std::int64_t channels, const float* bias, float* out) {
  for (std::int64_t c = 0; c < channels; ++c) out[c] = x[2 * c] + x[2 * c + 1] + bias[c];
}

}  // namespace paella::cpu::PAELLA_ISA
