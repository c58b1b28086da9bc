// Elementwise kernels and gathers. Each thread takes N neighbours, 16 bytes of the narrowest type where alignment
// allows; what is left over at the end of a flat array is taken one by one by the last thread.
#pragma once

#include "core/ops.h"
#include "cuda/kernels/flat.cuh"

namespace paella::cuda {

namespace {

PAELLA_DEVICE float activated(Activation activation, float x) {
  switch (activation) {
    case Activation::gelu_erf:
      return 0.5f * x * (1.0f + erff(x * 0.707106781f));
    case Activation::gelu_tanh: {
      // 0.5·(1 + tanh(u)) = 1/(1 + e^(−2u))
      const float u = 0.797884561f * x * fmaf(0.044715f * x, x, 1.0f);
      return x / (1.0f + expf(-2.0f * u));
    }
    case Activation::silu:
      return x / (1.0f + expf(-x));
    case Activation::none:
      break;
  }
  return x;
}

// --- flat: `count` elements, N per thread ---

// Calls body(Width<N>, i) for the elements of this thread.
template <int N, typename Body>
PAELLA_DEVICE void for_elements(std::int64_t count, const Body& body) {
  const std::int64_t first = static_cast<std::int64_t>(flat_index()) * N;
  if (first + N <= count) {
    body(Width<N>{}, first);
  } else {
#pragma unroll 1
    for (std::int64_t i = first; i < count; ++i) body(Width<1>{}, i);
  }
}

template <int N, typename In, typename Out>
__global__ void __launch_bounds__(flat_threads)
    activate_kernel(const In* x, std::int64_t count, Activation activation, Out* out) {
  begin_flat();
  for_elements<N>(count, [&](auto width, std::int64_t i) {
    constexpr int n = decltype(width)::value;
    float v[n];
    load_floats<n>(x + i, v);
#pragma unroll
    for (int j = 0; j < n; ++j) v[j] = activated(activation, v[j]);
    store_floats<n>(out + i, v);
  });
}

// x [S, columns], from column `first` on; `count` elements in all. Once per prompt: one element per thread.
template <typename T>
__global__ void __launch_bounds__(flat_threads)
    scale_rows_kernel(T* x, const float* weights, int count, int columns, int first) {
  begin_flat();
  const int i = static_cast<int>(flat_index());
  if (i >= count) return;
  const int width = columns - first, row = i / width;
  T* at = x + static_cast<std::int64_t>(row) * columns + first + i % width;
  assign(*at, to_float(*at) * weights[row]);
}

template <int N>
__global__ void __launch_bounds__(flat_threads) add_kernel(float* x, const float* y, std::int64_t count) {
  begin_flat();
  for_elements<N>(count, [&](auto width, std::int64_t i) {
    constexpr int n = decltype(width)::value;
    float a[n], b[n];
    load_floats<n>(x + i, a);
    load_floats<n>(y + i, b);
#pragma unroll
    for (int j = 0; j < n; ++j) a[j] += b[j];
    store_floats<n>(x + i, a);
  });
}

template <int N, typename In, typename Out>
__global__ void __launch_bounds__(flat_threads) convert_kernel(const In* from, std::int64_t count, Out* to) {
  begin_flat();
  for_elements<N>(count, [&](auto width, std::int64_t i) {
    constexpr int n = decltype(width)::value;
    float v[n];
    load_floats<n>(from + i, v);
    store_floats<n>(to + i, v);
  });
}

template <int N>
__global__ void __launch_bounds__(flat_threads)
    to_pixels_kernel(const float* x, std::int64_t count, std::uint8_t* out) {
  begin_flat();
  for_elements<N>(count, [&](auto width, std::int64_t i) {
    constexpr int n = decltype(width)::value;
    float v[n];
    load_floats<n>(x + i, v);
    Vector<std::uint8_t, n> bytes;
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const float value = v[j] > 0.0f ? (v[j] < 1.0f ? v[j] : 1.0f) : 0.0f;             // NaN becomes 0
      bytes.v[j] = static_cast<std::uint8_t>(static_cast<int>(rintf(value * 255.0f)));  // half to even
    }
    store<n>(out + i, bytes);
  });
}

template <int N>
__global__ void __launch_bounds__(flat_threads)
    from_pixels_kernel(const std::uint8_t* x, std::int64_t count, float* out) {
  begin_flat();
  for_elements<N>(count, [&](auto width, std::int64_t i) {
    constexpr int n = decltype(width)::value;
    const auto bytes = load<n>(x + i);
    float v[n];
#pragma unroll
    for (int j = 0; j < n; ++j) v[j] = static_cast<float>(bytes.v[j]) / 255.0f;
    store_floats<n>(out + i, v);
  });
}

// --- rows of `columns` elements: `pieces` of N elements in all, `per_row` = columns / N ---

// x ← x·(1 + a) + b, modulation = (a, b).
template <int N>
__global__ void __launch_bounds__(flat_threads)
    modulate_kernel(float* x, const float* modulation, unsigned pieces, unsigned per_row) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  const unsigned column = i % per_row * N;
  float v[N], a[N], b[N];
  load_floats<N>(x + static_cast<std::size_t>(i) * N, v);
  load_floats<N>(modulation + column, a);
  load_floats<N>(modulation + per_row * N + column, b);
#pragma unroll
  for (int j = 0; j < N; ++j) v[j] = fmaf(v[j], 1.0f + a[j], b[j]);
  store_floats<N>(x + static_cast<std::size_t>(i) * N, v);
}

template <int N, typename In, typename Out>
__global__ void __launch_bounds__(flat_threads)
    gated_kernel(const In* x, Activation activation, Out* out, unsigned pieces, unsigned per_row) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  const In* from = x + (static_cast<std::size_t>(i / per_row) * 2 * per_row + i % per_row) * N;
  float gate[N], value[N];
  load_floats<N>(from, gate);
  load_floats<N>(from + per_row * N, value);
#pragma unroll
  for (int j = 0; j < N; ++j) value[j] *= activated(activation, gate[j]);
  store_floats<N>(out + static_cast<std::size_t>(i) * N, value);
}

template <int N, typename T>
__global__ void __launch_bounds__(flat_threads)
    gather_kernel(const T* __restrict__ table, int rows, const std::int32_t* indices, float* out, unsigned pieces,
                  unsigned per_row) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  const int row = clamped(indices[i / per_row], rows);
  float v[N];
  load_floats<N>(table + (static_cast<std::size_t>(row) * per_row + i % per_row) * N, v);
  store_floats<N>(out + static_cast<std::size_t>(i) * N, v);
}

template <typename T>
struct Tables {
  const T* table[4];
};

// tokens [B, 2h, 2w] → [B, h, w, C]: bias + the tables' rows of the four tokens, in order.
template <int N, typename T>
__global__ void __launch_bounds__(flat_threads)
    gather_patches_kernel(Tables<T> tables, int rows, const float* __restrict__ bias, const std::int32_t* tokens,
                          int width, float* out, unsigned pieces, unsigned per_row) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  const unsigned pixel = i / per_row, piece = i % per_row, line = pixel / width, x = pixel % width;
  // Line y of an image of results has the lines 2y and 2y + 1 of its tokens, in all images alike.
  const std::int32_t* corner = tokens + static_cast<std::size_t>(line) * 4 * width + 2 * x;
  float sum[N], parts[4][N];
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    const int row = clamped(corner[s / 2 * 2 * width + s % 2], rows);
    load_floats<N>(tables.table[s] + (static_cast<std::size_t>(row) * per_row + piece) * N, parts[s]);
  }
  load_floats<N>(bias + piece * N, sum);
#pragma unroll
  for (int s = 0; s < 4; ++s)
#pragma unroll
    for (int j = 0; j < N; ++j) sum[j] += parts[s][j];
  store_floats<N>(out + static_cast<std::size_t>(i) * N, sum);
}

// --- bytes, in units ---

// out [rows, per_row] ← x [rows, stride] from unit `first` on.
template <typename Unit>
__global__ void __launch_bounds__(flat_threads)
    columns_kernel(const Unit* x, unsigned stride, unsigned first, Unit* out, unsigned pieces, unsigned per_row) {
  begin_flat();
  const unsigned i = flat_index();
  if (i < pieces) out[i] = x[static_cast<std::size_t>(i / per_row) * stride + first + i % per_row];
}

// `pieces` units, written `times` times.
template <typename Unit>
__global__ void __launch_bounds__(flat_threads) repeat_kernel(const Unit* x, Unit* out, unsigned pieces, int times) {
  begin_flat();
  const unsigned i = flat_index();
  if (i >= pieces) return;
  const Unit value = x[i];
  for (int copy = 0; copy < times; ++copy) out[static_cast<std::size_t>(copy) * pieces + i] = value;
}

template <typename Unit>
__global__ void __launch_bounds__(flat_threads)
    select_row_kernel(const Unit* table, int rows, const std::int32_t* row, Unit* out, unsigned pieces) {
  begin_flat();
  const unsigned i = flat_index();
  if (i < pieces) out[i] = table[static_cast<std::size_t>(clamped(row[0], rows)) * pieces + i];
}

// --- nearest code ---

struct Nearest {
  float distance;
  std::int32_t code;
  PAELLA_DEVICE void take(float other, std::int32_t index) {
    if (other < distance || (other == distance && index < code)) {
      distance = other;
      code = index;
    }
  }
};

// One warp for R rows of x [rows, C], a code per lane at a time. C = 4 if `narrow`: rows stay in registers.
template <int R, bool narrow>
__global__ void __launch_bounds__(128)
    nearest_code_kernel(const float* x, std::int64_t rows, int channels, const float* __restrict__ codes, int count,
                        std::int32_t* out) {
  wait_for_previous();
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / warp_size) + warp) * R;
  float own[R][4] = {};
  if constexpr (narrow) {
#pragma unroll
    for (int r = 0; r < R; ++r)
      if (first + r < rows) load_floats<4>(x + (first + r) * 4, own[r]);
  }
  Nearest best[R];
#pragma unroll
  for (int r = 0; r < R; ++r) best[r] = {INFINITY, 0};
#pragma unroll 2
  for (int k = lane; k < count; k += warp_size) {
    float distance[R] = {};
    if constexpr (narrow) {
      float code[4];
      load_floats<4>(codes + static_cast<std::size_t>(k) * 4, code);
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const float difference = code[c] - own[r][c];
          distance[r] = fmaf(difference, difference, distance[r]);
        }
    } else {
      for (int c = 0; c < channels; ++c) {
        const float code = codes[static_cast<std::size_t>(k) * channels + c];
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const float difference = code - (first + r < rows ? x[(first + r) * channels + c] : 0.0f);
          distance[r] = fmaf(difference, difference, distance[r]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < R; ++r)
      if (distance[r] < best[r].distance) best[r] = {distance[r], k};
  }
  let_next_begin();
#pragma unroll
  for (int r = 0; r < R; ++r) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      const float distance = __shfl_xor_sync(0xffffffffu, best[r].distance, step);
      const std::int32_t code = __shfl_xor_sync(0xffffffffu, best[r].code, step);
      best[r].take(distance, code);
    }
    if (lane == 0 && first + r < rows) out[first + r] = best[r].code;
  }
}

}  // namespace

}  // namespace paella::cuda
