// Resampling: one thread per piece of the result, which it gathers; nothing is added by two threads.
#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/kernels/flat.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

namespace {

// Between the fine grid [B, 2h, 2w, C] and the coarse one [B, h, w, 4C]: channel order (2·dy + dx)·C + c makes two
// neighbouring fine pixels, `per_pair` units, one half of a coarse one. Threads follow the order of the coarse grid.
template <typename Unit>
__global__ void __launch_bounds__(flat_threads)
    fine_coarse_kernel(const Unit* from, Unit* to, bool to_coarse, unsigned pieces, unsigned width, unsigned per_pair) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  const unsigned half = i / per_pair, pixel = half / 2, line = pixel / width;
  // Lines 2y and 2y + 1 fill the first and second half of the coarse pixels of line y.
  const unsigned fine = ((2 * line + half % 2) * width + pixel % width) * per_pair + i % per_pair;
  if (to_coarse)
    to[i] = from[fine];
  else
    to[fine] = from[i];
}

void move_fine_coarse(Runtime& runtime, const Tensor& from, const Tensor& to, bool to_coarse) {
  const Tensor& fine = to_coarse ? from : to;
  if (fine.elements() == 0) return;
  const std::int64_t pair = 2 * fine.shape[3] * static_cast<std::int64_t>(size_of(fine.dtype));
  const int bytes = common_bytes({pair}, {from.data, to.data});
  with_unit(bytes, [&](auto unit) {
    using Unit = decltype(unit);
    const std::int64_t pieces = static_cast<std::int64_t>(fine.bytes()) / bytes;
    launch(runtime, fine_coarse_kernel<Unit>, flat_grid(pieces), flat_threads, 0, from.as<Unit>(), to.as<Unit>(),
           to_coarse, pieces, fine.shape[2] / 2, pair / bytes);
  });
}

// x [B, 2h, 2w, C] → [B, h, w, 16, C]; pieces of N channels.
template <int N, typename Out>
__global__ void __launch_bounds__(flat_threads)
    patches_kernel(const float* x, int height, int width, Out* out, unsigned pieces, unsigned per_row) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  const unsigned row = i / per_row, pixel = row / 16, columns = static_cast<unsigned>(width) / 2;
  const int tap = static_cast<int>(row % 16);
  const unsigned line = pixel / columns, lines = static_cast<unsigned>(height) / 2, image = line / lines;
  const int sy = static_cast<int>(line % lines) * 2 + tap / 4 - 1;
  const int sx = static_cast<int>(pixel % columns) * 2 + tap % 4 - 1;
  float v[N] = {};
  if (sy >= 0 && sy < height && sx >= 0 && sx < width)
    load_floats<N>(x + (((static_cast<std::size_t>(image) * height + sy) * width + sx) * per_row + i % per_row) * N, v);
  store_floats<N>(out + static_cast<std::size_t>(i) * N, v);
}

// patches [B, h, w, 16, C] → [B, 2h, 2w, C]. Pixel y is tap ky of patch j where y = 2j + ky − 1: two patches at most in
// each direction, added in the order of patches.
template <int N>
__global__ void __launch_bounds__(flat_threads)
    overlap_add_kernel(const float* patches, const float* __restrict__ bias, int lines, int columns, float* out,
                       unsigned pieces, unsigned per_row) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  const unsigned pixel = i / per_row, piece = i % per_row, line = pixel / (2 * columns), image = line / (2 * lines);
  const int x = static_cast<int>(pixel % (2 * columns)), y = static_cast<int>(line % (2 * lines));
  float parts[4][N] = {}, sum[N];
  bool there[4];
#pragma unroll
  for (int term = 0; term < 4; ++term) {
    const int j = (y + 1) / 2 - 1 + term / 2, k = (x + 1) / 2 - 1 + term % 2;
    there[term] = j >= 0 && j < lines && k >= 0 && k < columns;
    if (!there[term]) continue;
    const int tap = 4 * (y + 1 - 2 * j) + (x + 1 - 2 * k);
    load_floats<N>(
        patches + ((((static_cast<std::size_t>(image) * lines + j) * columns + k) * 16 + tap) * per_row + piece) * N,
        parts[term]);
  }
  load_floats<N>(bias + piece * N, sum);
#pragma unroll
  for (int term = 0; term < 4; ++term)
#pragma unroll
    for (int c = 0; c < N; ++c) sum[c] = there[term] ? sum[c] + parts[term][c] : sum[c];
  store_floats<N>(out + static_cast<std::size_t>(i) * N, sum);
}

}  // namespace

void CudaOps::do_space_to_depth(const Tensor& x, const Tensor& out) { move_fine_coarse(runtime(), x, out, true); }

void CudaOps::do_depth_to_space(const Tensor& x, const Tensor& out) { move_fine_coarse(runtime(), x, out, false); }

void CudaOps::do_patches_4x4(const Tensor& x, const Tensor& out) {
  const std::int64_t channels = x.shape[3];
  if (out.elements() == 0) return;
  with_type(out.dtype, [&](auto type) {
    using Out = typename decltype(type)::type;
    with_width<float, Out>(channels, {x.data, out.data}, [&](auto width) {
      constexpr int n = decltype(width)::value;
      const std::int64_t pieces = out.elements() / n;
      launch(runtime(), patches_kernel<n, Out>, flat_grid(pieces), flat_threads, 0, x.as<float>(), x.shape[1],
             x.shape[2], out.as<Out>(), pieces, channels / n);
    });
  });
}

void CudaOps::do_overlap_add_4x4(const Tensor& patches, const Constant& bias, const Tensor& out) {
  const std::int64_t channels = out.shape[3];
  if (out.elements() == 0) return;
  with_width<float>(channels, {patches.data, cuda(bias).data, out.data}, [&](auto width) {
    constexpr int n = decltype(width)::value;
    const std::int64_t pieces = out.elements() / n;
    launch(runtime(), overlap_add_kernel<n>, flat_grid(pieces), flat_threads, 0, patches.as<float>(),
           cuda(bias).as<float>(), patches.shape[1], patches.shape[2], out.as<float>(), pieces, channels / n);
  });
}

}  // namespace paella::cuda
