#include <algorithm>

#include "core/error.h"
#include "cpu/cpu_ops.h"

namespace paella::cpu {

namespace {

// The three lines around line y of an image [height, width, channels]; null where zeros are outside.
struct Lines {
  const float* line[3];
  Lines(const float* image, std::int64_t y, std::int64_t height, std::int64_t line_size, bool replicate) {
    for (int dy = 0; dy < 3; ++dy) {
      std::int64_t at = y + dy - 1;
      if (replicate) at = std::clamp<std::int64_t>(at, 0, height - 1);
      line[dy] = at >= 0 && at < height ? image + at * line_size : nullptr;
    }
  }
};

}  // namespace

void CpuOps::convolve(const Tensor& x, const Tensor* skip, const Constant& weight, const Constant& bias,
                      Padding padding, Then then, float epsilon, const Tensor& out) {
  const std::int64_t height = x.shape[1], width = x.shape[2], channels = x.shape[3], line_size = width * channels;
  const std::int64_t inputs = skip == nullptr ? 1 : 2;
  const bool replicate = padding == Padding::replicate;
  const float* w = cpu(weight).as<float>();  // [9, inputs·C]
  const float* b = cpu(bias).as<float>();
  // Per thread: a line of results, and for the skip case a line of both inputs' channels.
  const std::int64_t per_thread = (line_size * (inputs == 2 ? 3 : 1) + 15) / 16 * 16;
  float* scratch = context_.scratch_of<float>(per_thread * threads());
  const auto out_width = static_cast<std::int64_t>(size_of(out.dtype));
  parallel_range(
      threads(), x.shape[0] * height, 1.5 * static_cast<double>(line_size * inputs),
      [&](std::int64_t begin, std::int64_t end, int thread) {
        for (std::int64_t item = begin; item < end; ++item) {
          const std::int64_t image = item / height, y = item % height;
          std::uint8_t* to = out.as<std::uint8_t>() + item * line_size * out_width;
          float* line = then == Then::store ? reinterpret_cast<float*>(to) : scratch + thread * per_thread;
          const Lines own(x.as<float>() + image * height * line_size, y, height, line_size, replicate);
          if (skip == nullptr) {
            kernels().depthwise_row(own.line, width, channels, channels, w, channels, b, replicate, line, channels);
          } else {
            // Output g reads channels 2g and 2g + 1 of concat(x, skip): a depthwise convolution of all 2C channels,
            // whose neighbours are then added in pairs.
            float* both = scratch + thread * per_thread + line_size;
            const std::int64_t other = image % skip->shape[0];
            const Lines skipped(skip->as<float>() + other * height * line_size, y, height, line_size, replicate);
            kernels().depthwise_row(own.line, width, channels, channels, w, 2 * channels, nullptr, replicate, both,
                                    2 * channels);
            kernels().depthwise_row(skipped.line, width, channels, channels, w + channels, 2 * channels, nullptr,
                                    replicate, both + channels, 2 * channels);
            for (std::int64_t pixel = 0; pixel < width; ++pixel)
              kernels().pair_sums(both + pixel * 2 * channels, channels, b, line + pixel * channels);
          }
          if (then == Then::normalise) kernels().layer_norm(line, width, channels, epsilon, to, element_of(out.dtype));
          if (then == Then::add) kernels().add(reinterpret_cast<float*>(to), line, line_size);
        }
      });
}

void CpuOps::do_depthwise_conv(const Tensor& x, const Tensor* skip, const Constant& weight, const Constant& bias,
                               Padding padding, const Tensor& out) {
  convolve(x, skip, weight, bias, padding, Then::store, 0, out);
}

}  // namespace paella::cpu
