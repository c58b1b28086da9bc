// Products without tensor cores: f32, and 16-bit operands of sizes that tensor cores do not take. T is the type of x
// and w; sums are f32, in ascending order of k.
#pragma once

#include "cuda/kernels/finish.cuh"

namespace paella::cuda {

template <typename T>
struct PlainArguments {
  const T* x;
  const T* w;
  const float* factors;  // [images, K] or null
  int rows, columns, inner;
  int pixels;  // rows of one image
  Finish finish;
};

namespace {

// 64×64 results a block of 256 threads, 4×4 a thread, 16 of K at a time; the next 16 are read meanwhile.
template <typename T, typename Out>
__global__ void __launch_bounds__(256) plain_product_kernel(const PlainArguments<T> a) {
  constexpr int size = 64, step = 16, stride = size + 4;
  __shared__ Vector<float, 4> x_memory[step * stride / 4], w_memory[step * stride / 4];
  float *x_tile = x_memory[0].v, *w_tile = w_memory[0].v;
  const int thread = static_cast<int>(threadIdx.x);
  const int first_row = static_cast<int>(blockIdx.x) * size, first_column = static_cast<int>(blockIdx.y) * size;
  const int line = thread / 4, k_in = thread % 4 * 4;  // 4 neighbours in K that this thread copies
  const int x_row = first_row + line, w_row = first_column + line;
  const bool whole = a.inner % 4 == 0;  // aligned for accesses of four
  const float* factors = nullptr;
  if (a.factors != nullptr && x_row < a.rows)
    factors = a.factors + static_cast<std::int64_t>(x_row / a.pixels) * a.inner;

  const auto read = [&](const T* from, int row, int limit, int k, float(&to)[4]) {
    const int count = row < limit ? a.inner - k : 0;
    read_columns<4>(count > 0 ? from + static_cast<std::int64_t>(row) * a.inner + k : from, count, whole && count > 0,
                    to);
  };
  const auto read_x = [&](int k, float(&to)[4]) {
    read(a.x, x_row, a.rows, k, to);
    if (factors == nullptr) return;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (k + i < a.inner) to[i] = to_float(from_float<T>(to[i] * factors[k + i]));
  };

  float sums[4][4] = {}, x_next[4], w_next[4];
  const int down = thread / 16 * 4, across = thread % 16 * 4;
  read(a.w, w_row, a.columns, k_in, w_next);
  wait_for_previous();
  read_x(k_in, x_next);
  for (int k = 0; k < a.inner; k += step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      x_tile[(k_in + i) * stride + line] = x_next[i];
      w_tile[(k_in + i) * stride + line] = w_next[i];
    }
    __syncthreads();
    if (k + step < a.inner) {
      read_x(k + step + k_in, x_next);
      read(a.w, w_row, a.columns, k + step + k_in, w_next);
    }
#pragma unroll
    for (int i = 0; i < step; ++i) {
      float x[4], w[4];
      load_floats<4>(x_tile + i * stride + down, x);
      load_floats<4>(w_tile + i * stride + across, w);
#pragma unroll
      for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) sums[r][c] = fmaf(x[r], w[c], sums[r][c]);
    }
    __syncthreads();
  }
  let_next_begin();
  if (first_column + across >= a.columns) return;
  const Finisher<4, Out> finisher(a.finish, first_column + across, a.columns);
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int row = first_row + down + r;
    if (row >= a.rows) break;
    float residual[4] = {};
    finisher.read_residual(row, residual);
    finisher.finish(row, sums[r], residual);
  }
}

}  // namespace

}  // namespace paella::cuda
