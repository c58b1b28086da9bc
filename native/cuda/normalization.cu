// Normalisation.
#include "cuda/kernels/normalization.cuh"

#include <algorithm>

#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

namespace {

// LayerNorm if there is no weight, RMS norm otherwise.
template <typename Out, bool centred>
void normalise(Runtime& runtime, const Tensor& x, const float* weight, float epsilon, const Tensor& out) {
  const std::int64_t rows = x.shape.rows(), channels = x.shape[-1];
  if (x.elements() == 0) return;
  const bool whole = channels % 4 == 0 && common_bytes({}, {x.data, out.data, weight}) == 16;
  const auto start = [&](auto* kernel, std::int64_t blocks, std::int64_t threads) {
    launch(runtime, kernel, grid(blocks), static_cast<int>(threads), 0, x.as<float>(), weight, rows, channels, epsilon,
           out.as<Out>());
  };
  const std::int64_t by_warp = ceil_div(rows, warp_rows), warp_threads = 32 * warp_rows;
  const auto block_threads = [&](int steps) { return ceil_div(channels, 4 * 32 * steps) * 32; };
  if (!whole || channels > 4 * 4 * 1024) return start(norm_any_kernel<Out, centred>, by_warp, warp_threads);
  if (channels <= 256) return start(norm_kernel<Out, centred, false, 2>, by_warp, warp_threads);
  if (channels <= 640) return start(norm_kernel<Out, centred, false, 5>, by_warp, warp_threads);
  if (channels <= 1024) return start(norm_kernel<Out, centred, false, 8>, by_warp, warp_threads);
  if (channels <= 2560) return start(norm_kernel<Out, centred, true, 2>, rows, block_threads(2));
  start(norm_kernel<Out, centred, true, 4>, rows, block_threads(4));
}

}  // namespace

void CudaOps::do_layer_norm(const Tensor& x, float epsilon, const Tensor& out) {
  with_type(out.dtype,
            [&](auto type) { normalise<typename decltype(type)::type, true>(runtime(), x, nullptr, epsilon, out); });
}

void CudaOps::do_rms_norm(const Tensor& x, const Constant& weight, float epsilon, const Tensor& out) {
  with_type(out.dtype, [&](auto type) {
    normalise<typename decltype(type)::type, false>(runtime(), x, cuda(weight).as<float>(), epsilon, out);
  });
}

// The workspace holds factors [images, C] and sums [images, runs, C] of as many images and runs as fit. How the work is
// cut up does not change the order of additions.
void CudaOps::do_grn(const Tensor& h, const Constant& gamma) {
  const std::int64_t images = h.shape[0], pixels = h.shape[1] * h.shape[2], channels = h.shape[3];
  if (h.elements() == 0) return;
  const std::int64_t runs = ceil_div(pixels, grn_run);
  const auto lines = static_cast<std::int64_t>(context_.workspace_bytes() / sizeof(float)) / channels;
  expect(lines >= 2, "grn: ", channels, " channels are too many for the working memory");
  const std::int64_t most_images = std::min<std::int64_t>(images, 65535);
  const std::int64_t images_at_once = std::clamp<std::int64_t>(lines / (runs + 1), 1, most_images);
  const std::int64_t runs_at_once = std::min({runs, lines / images_at_once - 1, std::int64_t{65535}});
  auto* factors = static_cast<float*>(context_.workspace.data());
  float* sums = factors + images_at_once * channels;

  with_type(h.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_width<T>(channels, {h.data}, [&](auto width) {
      constexpr int n = decltype(width)::value;
      for (std::int64_t image = 0; image < images; image += images_at_once) {
        const std::int64_t count = std::min(images_at_once, images - image);
        T* data = h.as<T>() + image * pixels * channels;
        for (std::int64_t run = 0; run < runs; run += runs_at_once) {
          const std::int64_t some = std::min(runs_at_once, runs - run);
          launch(runtime(), square_sums_kernel<T, n>, grid(ceil_div(channels, 32 * n), some, count), 256, 0, data,
                 pixels, run, channels, sums);
          launch(runtime(), response_factors_kernel, grid(count), 1024, 0, sums, some, channels,
                 cuda(gamma).as<float>(), run == 0, run + some == runs, factors);
        }
        const std::int64_t per_row = channels / n, pieces = pixels * per_row;
        Grid blocks = flat_grid(pieces);
        blocks.y = static_cast<unsigned>(count);
        launch(runtime(), scale_channels_kernel<T, n>, blocks, flat_threads, 0, data, factors, pieces, per_row);
      }
    });
  });
}

}  // namespace paella::cuda
