// Normalisation over rows of channels, and global response normalisation over the pixels of an image.
#pragma once

#include "cuda/kernels/flat.cuh"

namespace paella::cuda {

namespace {

inline constexpr int warp_rows = 4;          // rows of a block, where a warp takes a row
inline constexpr std::int64_t grn_run = 64;  // pixels whose squares are added up by one block

// LayerNorm without affine (`centred`), or RMS norm with weights [C]: x [rows, C] → out. A row's channels stay in the
// registers of a warp, or of a block if `block`: C is a multiple of 4 and at most 4 · steps · threads of a row.
template <typename Out, bool centred, bool block, int steps>
__global__ void __launch_bounds__(block ? 1024 : 32 * warp_rows)
    norm_kernel(const float* x, const float* __restrict__ weight, std::int64_t rows, int channels, float epsilon,
                Out* out) {
  __shared__ float scratch[32];
  const int threads = block ? static_cast<int>(blockDim.x) : warp_size;
  const int thread = static_cast<int>(threadIdx.x) % threads;
  const std::int64_t row = block ? blockIdx.x : static_cast<std::int64_t>(blockIdx.x) * warp_rows + threadIdx.x / 32;
  const bool there = row < rows;
  const auto total = [&](float part) { return block ? block_sum(part, scratch) : warp_sum(part); };
  const float scale = 1.0f / static_cast<float>(channels);
  wait_for_previous();

  float v[steps][4] = {};
#pragma unroll
  for (int i = 0; i < steps; ++i) {
    const int column = (i * threads + thread) * 4;
    if (there && column < channels) load_floats<4>(x + row * channels + column, v[i]);
  }
  float mean = 0;
  if constexpr (centred) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < steps; ++i) sum += (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
    mean = total(sum) * scale;
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < steps; ++i)
    if ((i * threads + thread) * 4 < channels) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        v[i][j] -= mean;
        squares = fmaf(v[i][j], v[i][j], squares);
      }
    }
  const float factor = 1.0f / sqrtf(fmaf(total(squares), scale, epsilon));
  let_next_begin();
#pragma unroll
  for (int i = 0; i < steps; ++i) {
    const int column = (i * threads + thread) * 4;
    if (!there || column >= channels) continue;
    float w[4] = {1, 1, 1, 1};
    if constexpr (!centred) load_floats<4>(weight + column, w);
#pragma unroll
    for (int j = 0; j < 4; ++j) v[i][j] = v[i][j] * factor * w[j];
    store_floats<4>(out + row * channels + column, v[i]);
  }
}

// The same for any number of channels: a warp per row, which is read from memory each time.
template <typename Out, bool centred>
__global__ void __launch_bounds__(32 * warp_rows)
    norm_any_kernel(const float* x, const float* __restrict__ weight, std::int64_t rows, int channels, float epsilon,
                    Out* out) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * warp_rows + threadIdx.x / warp_size;
  if (row >= rows) return;  // whole warps
  const float scale = 1.0f / static_cast<float>(channels);
  wait_for_previous();
  x += row * channels;
  out += row * channels;
  float mean = 0;
  if constexpr (centred) {
    float sum = 0;
    for (int c = lane; c < channels; c += warp_size) sum += x[c];
    mean = warp_sum(sum) * scale;
  }
  float squares = 0;
  for (int c = lane; c < channels; c += warp_size) squares = fmaf(x[c] - mean, x[c] - mean, squares);
  const float factor = 1.0f / sqrtf(fmaf(warp_sum(squares), scale, epsilon));
  for (int c = lane; c < channels; c += warp_size)
    assign(out[c], centred ? (x[c] - mean) * factor : x[c] * factor * weight[c]);
}

// h [pixels, C] of one image (blockIdx.z) → sums [runs, C]: squares added up over one run of 64 pixels. A lane takes N
// neighbouring channels, a warp every eighth pixel; the warps' sums are added in order.
template <typename T, int N>
__global__ void __launch_bounds__(256)
    square_sums_kernel(const T* h, std::int64_t pixels, int first_run, int channels, float* sums) {
  constexpr int warps = 8, steps = static_cast<int>(grn_run) / warps;
  constexpr int stride = 32 + 32 / N;  // so that reads in the order of channels meet all banks
  __shared__ float partial[warps][N * stride];
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int block_column = static_cast<int>(blockIdx.x) * 32 * N, column = block_column + lane * N;
  const std::int64_t first = (first_run + static_cast<std::int64_t>(blockIdx.y)) * grn_run;
  wait_for_previous();
  const T* image = h + static_cast<std::int64_t>(blockIdx.z) * pixels * channels;
  // Every load is made, inside the image, and what does not count becomes zero: no load waits for a branch.
  float v[steps][N];
#pragma unroll
  for (int i = 0; i < steps; ++i) {
    const std::int64_t pixel = first + i * warps + warp, at = pixel < pixels ? pixel : pixels - 1;
    load_floats<N>(image + at * channels + (column < channels ? column : 0), v[i]);
#pragma unroll
    for (int j = 0; j < N; ++j) v[i][j] = pixel < pixels ? v[i][j] : 0.0f;
  }
  let_next_begin();
  float sum[N] = {};
#pragma unroll
  for (int i = 0; i < steps; ++i)
#pragma unroll
    for (int j = 0; j < N; ++j) sum[j] = fmaf(v[i][j], v[i][j], sum[j]);
#pragma unroll
  for (int j = 0; j < N; ++j) partial[warp][j * stride + lane] = sum[j];
  __syncthreads();
  // Place j·stride + lane of `partial` is channel lane·N + j: neighbouring threads write neighbouring channels.
  for (int c = static_cast<int>(threadIdx.x); c < 32 * N && block_column + c < channels; c += 32 * warps) {
    float all = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) all += partial[w][c % N * stride + c / N];
    sums[(static_cast<std::int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * channels + block_column + c] = all;
  }
}

// Adds `runs` sums of each image (blockIdx.x) in order, to what factors [images, C] holds already unless `begin`; if
// `end`, these totals become the factors 1 + γ·G/(mean G + 1e-6).
__global__ void __launch_bounds__(1024)
    response_factors_kernel(const float* sums, int runs, int channels, const float* __restrict__ gamma, bool begin,
                            bool end, float* factors) {
  __shared__ float scratch[32];
  begin_flat();
  sums += static_cast<std::int64_t>(blockIdx.x) * runs * channels;
  factors += static_cast<std::int64_t>(blockIdx.x) * channels;
  float norms = 0;
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += static_cast<int>(blockDim.x)) {
    float total = begin ? 0.0f : factors[c];
#pragma unroll 8
    for (int run = 0; run < runs; ++run) total += sums[static_cast<std::int64_t>(run) * channels + c];
    if (end) norms += total = sqrtf(total);
    factors[c] = total;  // read again by this thread only
  }
  if (!end) return;
  const float scale = 1.0f / (block_sum(norms, scratch) / static_cast<float>(channels) + 1e-6f);
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += static_cast<int>(blockDim.x))
    factors[c] = fmaf(gamma[c], factors[c] * scale, 1.0f);
}

// h ← h·factors, in pieces of N channels of one image (blockIdx.y).
template <typename T, int N>
__global__ void __launch_bounds__(flat_threads)
    scale_channels_kernel(T* h, const float* factors, unsigned pieces, unsigned per_row) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  T* at = h + (static_cast<std::size_t>(blockIdx.y) * pieces + i) * N;
  float v[N], factor[N];
  load_floats<N>(at, v);
  load_floats<N>(factors + (static_cast<std::size_t>(blockIdx.y) * per_row + i % per_row) * N, factor);
#pragma unroll
  for (int j = 0; j < N; ++j) v[j] *= factor[j];
  store_floats<N>(at, v);
}

}  // namespace

}  // namespace paella::cuda
