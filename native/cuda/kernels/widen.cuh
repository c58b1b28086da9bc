// Weights of 8 bits, widened to operands: out [N, K] = q·scale[n].
#pragma once

#include "cuda/kernels/flat.cuh"

namespace paella::cuda {

namespace {

// W neighbours of a row per thread; 8 bytes at a time where K allows it. Adjacent threads write whole lines.
template <int W, typename T>
__global__ void __launch_bounds__(flat_threads)
    widen_kernel(const std::int8_t* __restrict__ q, const float* __restrict__ scales, std::int64_t count, int inner,
                 T* out) {
  begin_flat();
  const std::int64_t i = static_cast<std::int64_t>(flat_index()) * W;
  if (i >= count) return;
  const float scale = scales[i / inner];
  const Vector<std::int8_t, W> some = load<W>(q + i);
  float values[W];
#pragma unroll
  for (int j = 0; j < W; ++j) values[j] = static_cast<float>(some.v[j]) * scale;
  store_floats<W>(out + i, values);
}

}  // namespace

}  // namespace paella::cuda
