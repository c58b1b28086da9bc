#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "cpu/cpu_ops.h"

namespace paella::cpu {

namespace {

// Calls body(fine offset, coarse offset, bytes) for each pair of pixels of the fine grid [B, 2h, 2w, C] and the coarse
// one [B, h, w, 4C]: channel order (2·dy + dx)·C + c makes two neighbouring fine pixels one half of a coarse one.
template <typename Body>
void for_fine_pairs(int threads, const Tensor& fine, const Body& body) {
  const std::int64_t lines = fine.shape[0] * fine.shape[1], pairs = fine.shape[2] / 2;
  const std::int64_t bytes = 2 * fine.shape[3] * static_cast<std::int64_t>(size_of(fine.dtype));
  parallel_range(threads, lines, 0.1 * static_cast<double>(pairs * bytes),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t line = begin; line < end; ++line)
                     for (std::int64_t pair = 0; pair < pairs; ++pair) {
                       // Lines 2y and 2y + 1 fill the first and second half of the coarse pixels of line y.
                       const std::int64_t fine_at = (line * pairs + pair) * bytes;
                       const std::int64_t coarse_at = ((line / 2 * pairs + pair) * 2 + line % 2) * bytes;
                       body(fine_at, coarse_at, static_cast<std::size_t>(bytes));
                     }
                 });
}

}  // namespace

void CpuOps::do_space_to_depth(const Tensor& x, const Tensor& out) {
  for_fine_pairs(threads(), x, [&](std::int64_t fine, std::int64_t coarse, std::size_t bytes) {
    std::memcpy(out.as<std::uint8_t>() + coarse, x.as<std::uint8_t>() + fine, bytes);
  });
}

void CpuOps::do_depth_to_space(const Tensor& x, const Tensor& out) {
  for_fine_pairs(threads(), out, [&](std::int64_t fine, std::int64_t coarse, std::size_t bytes) {
    std::memcpy(out.as<std::uint8_t>() + fine, x.as<std::uint8_t>() + coarse, bytes);
  });
}

void CpuOps::do_patches_4x4(const Tensor& x, const Tensor& out) {
  const std::int64_t height = x.shape[1], width = x.shape[2], channels = x.shape[3];
  const std::int64_t lines = height / 2, columns = width / 2;
  const auto size = static_cast<std::int64_t>(size_of(out.dtype));
  parallel_range(threads(), x.shape[0] * lines, 0.3 * static_cast<double>(columns * 16 * channels),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t line = begin; line < end; ++line) {
                     const float* image = x.as<float>() + line / lines * height * width * channels;
                     for (std::int64_t column = 0; column < columns; ++column)
                       for (std::int64_t tap = 0; tap < 16; ++tap) {
                         const std::int64_t sy = line % lines * 2 + tap / 4 - 1, sx = column * 2 + tap % 4 - 1;
                         std::uint8_t* to =
                             out.as<std::uint8_t>() + ((line * columns + column) * 16 + tap) * channels * size;
                         if (sy < 0 || sy >= height || sx < 0 || sx >= width)
                           std::memset(to, 0, static_cast<std::size_t>(channels * size));
                         else
                           kernels().convert(image + (sy * width + sx) * channels, Element::f32, channels, to,
                                             element_of(out.dtype));
                       }
                   }
                 });
}

void CpuOps::do_overlap_add_4x4(const Tensor& patches, const Constant& bias, const Tensor& out) {
  const std::int64_t lines = patches.shape[1], columns = patches.shape[2], channels = out.shape[3];
  parallel_range(
      threads(), out.shape.rows(), 0.6 * static_cast<double>(channels), [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t pixel = begin; pixel < end; ++pixel) {
          const std::int64_t x = pixel % (2 * columns), y = pixel / (2 * columns) % (2 * lines);
          const std::int64_t image = pixel / (4 * columns * lines);
          // Pixel y is tap ky of patch j where y = 2j + ky − 1: at most two patches in each direction.
          const void* terms[4];
          int count = 0;
          for (std::int64_t j = y / 2 - (y % 2 == 0 ? 1 : 0); j <= y / 2 + (y % 2); ++j)
            for (std::int64_t i = x / 2 - (x % 2 == 0 ? 1 : 0); i <= x / 2 + (x % 2); ++i) {
              if (j < 0 || j >= lines || i < 0 || i >= columns) continue;
              const std::int64_t tap = 4 * (y + 1 - 2 * j) + (x + 1 - 2 * i);
              terms[count++] = patches.as<float>() + (((image * lines + j) * columns + i) * 16 + tap) * channels;
            }
          kernels().sum_rows(terms, Element::f32, count, cpu(bias).as<float>(), channels,
                             out.as<float>() + pixel * channels);
        }
      });
}

}  // namespace paella::cpu
