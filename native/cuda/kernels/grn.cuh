// Global response normalisation in parts: sums of squares per run of 64 pixels, then a factor per image and channel.
// Runs are added up in order: the same bits for an image alone and in any batch.
#pragma once

#include "cuda/kernels/finish.cuh"

namespace paella::cuda {

namespace {

// h [images, pixels, C] → sums [images, runs, C]. Blocks: (columns, runs, images); a thread takes W neighbours. The
// order is that of the product kernel, which makes the same sums where it can.
template <typename T, int W>
__global__ void __launch_bounds__(128) grn_sums_kernel(const T* h, int pixels, int channels, float* sums) {
  wait_for_previous();
  let_next_begin();
  const int column = (static_cast<int>(blockIdx.x * blockDim.x) + static_cast<int>(threadIdx.x)) * W;
  if (column >= channels) return;
  const int run = static_cast<int>(blockIdx.y), first = run * sum_run;
  const int count = pixels - first < sum_run ? pixels - first : sum_run;
  const T* from = h + (static_cast<std::int64_t>(blockIdx.z) * pixels + first) * channels + column;
  float sum[W] = {};
#pragma unroll 8
  for (int row = 0; row < count; ++row) {
    float v[W];
    load_floats<W>(from + static_cast<std::int64_t>(row) * channels, v);
#pragma unroll
    for (int i = 0; i < W; ++i) sum[i] = fmaf(v[i], v[i], sum[i]);
  }
  store_floats<W>(sums + (static_cast<std::int64_t>(blockIdx.z) * gridDim.y + run) * channels + column, sum);
}

// factors [images, C] = 1 + γ·G/(mean G + 1e-6), G the root of an image's sums. One block per image.
template <int threads>
__global__ void __launch_bounds__(threads)
    grn_factors_kernel(const float* sums, int runs, int channels, const float* gamma, float* factors) {
  __shared__ float scratch[32];
  wait_for_previous();
  let_next_begin();
  sums += static_cast<std::int64_t>(blockIdx.x) * runs * channels;
  factors += static_cast<std::int64_t>(blockIdx.x) * channels;
  float total = 0;
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += threads) {
    float sum = 0;
#pragma unroll 8
    for (int run = 0; run < runs; ++run) sum += sums[static_cast<std::int64_t>(run) * channels + c];
    const float norm = sqrtf(sum);
    factors[c] = norm;  // read again by this thread only
    total += norm;
  }
  total = block_sum(total, scratch);
  const float scale = 1.0f / (total / static_cast<float>(channels) + 1e-6f);
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += threads)
    factors[c] = fmaf(gamma[c], factors[c] * scale, 1.0f);
}

}  // namespace

}  // namespace paella::cuda
