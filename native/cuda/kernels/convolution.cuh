// 3×3 depthwise convolutions. A thread computes L lines × P columns of N neighbouring input channels, whose 9·N weights
// it keeps in registers; every input of the (L + 2) × (P + 2) field is loaded once. `inputs` input channels make one
// output channel: with a skip, pairs of the channels of concat(x, skip).
//
// A result is the sum over its taps column by column, top to bottom, then the bias: the same for every L, P and N, and
// wherever in its field a pixel lies.
#pragma once

#include "cuda/kernels/flat.cuh"

namespace paella::cuda {

namespace {

struct Convolution {
  const float* x;       // [B, H, W, C]
  const float* skip;    // [skip_images, H, W, C], or null
  const float* weight;  // [9, inputs·C]
  const float* bias;    // [C]
  int skip_images, height, width, channels;
  bool replicate;
};

// Where a thread's field lies: image, first line and first column.
struct Place {
  int image, line, column;
};

// The field `index` of fields of L × P pixels, in the order of images, lines and columns.
template <int L, int P>
PAELLA_DEVICE Place place_of(const Convolution& c, unsigned index) {
  const unsigned across = (static_cast<unsigned>(c.width) + P - 1) / P;
  const unsigned down = (static_cast<unsigned>(c.height) + L - 1) / L;
  const unsigned row = index / across;
  return {static_cast<int>(row / down), static_cast<int>(row % down) * L, static_cast<int>(index % across) * P};
}

template <int N>
struct Taps {
  float w[9][N];
};

// Weights of the input channels [channel, channel + N) of inputs·C; constants, so before wait_for_previous().
template <int inputs, int N>
PAELLA_DEVICE void load_taps(const Convolution& c, int channel, Taps<N>& taps) {
#pragma unroll
  for (int tap = 0; tap < 9; ++tap) load_floats<N>(c.weight + tap * inputs * c.channels + channel, taps.w[tap]);
}

// sums [L·P][N / inputs]: without bias.
template <int L, int P, int inputs, int N>
PAELLA_DEVICE void convolve(const Convolution& c, const Place& place, int channel, const Taps<N>& taps,
                            float (&sums)[L * P][N / inputs]) {
  // Channels of the skip follow those of x; N neighbours come from one of the two.
  const bool skipped = inputs == 2 && channel >= c.channels;
  const float* base = skipped ? c.skip : c.x;
  const int image = skipped ? place.image % c.skip_images : place.image;
  const int line_size = c.width * c.channels;  // images have less than 2^31 elements
  base += static_cast<std::int64_t>(image) * c.height * line_size + (skipped ? channel - c.channels : channel);

  // Every load is made, at a place inside the image; zeros are put in afterwards. So no load waits for a branch.
  int lines[L + 2];
  bool line_counts[L + 2];
#pragma unroll
  for (int j = 0; j < L + 2; ++j) {
    const int line = place.line + j - 1;
    lines[j] = clamped(line, c.height) * line_size;
    line_counts[j] = c.replicate || (line >= 0 && line < c.height);
  }
  float acc[L * P][N] = {};
#pragma unroll
  for (int i = 0; i < P + 2; ++i) {
    const int column = place.column + i - 1, offset = clamped(column, c.width) * c.channels;
    const bool column_counts = c.replicate || (column >= 0 && column < c.width);
    float v[L + 2][N];
#pragma unroll
    for (int j = 0; j < L + 2; ++j) {
      load_floats<N>(base + (lines[j] + offset), v[j]);
#pragma unroll
      for (int n = 0; n < N; ++n) v[j][n] = line_counts[j] && column_counts ? v[j][n] : 0.0f;
    }
#pragma unroll
    for (int dx = 0; dx < 3; ++dx) {
      const int p = i - dx;
      if (p < 0 || p >= P) continue;
#pragma unroll
      for (int l = 0; l < L; ++l)
#pragma unroll
        for (int dy = 0; dy < 3; ++dy)
#pragma unroll
          for (int n = 0; n < N; ++n) acc[l * P + p][n] = fmaf(v[l + dy][n], taps.w[dy * 3 + dx][n], acc[l * P + p][n]);
    }
  }
#pragma unroll
  for (int pixel = 0; pixel < L * P; ++pixel)
#pragma unroll
    for (int n = 0; n < N / inputs; ++n)
      sums[pixel][n] = inputs == 2 ? acc[pixel][n * inputs] + acc[pixel][n * inputs + inputs - 1] : acc[pixel][n];
}

// out [B, H, W, C] f32 = conv, or += conv if `add`. One thread per field and N input channels: `pieces` in all,
// `groups` = inputs·C / N per field.
template <bool add, int L, int P, int inputs, int N>
__global__ void __launch_bounds__(128) convolution_kernel(Convolution c, float* out, unsigned pieces, unsigned groups) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= pieces) return;
  constexpr int M = N / inputs;
  const int group = static_cast<int>(i % groups);
  Taps<N> taps;
  float bias[M];
  load_taps<inputs>(c, group * N, taps);
  load_floats<M>(c.bias + group * M, bias);
  const Place place = place_of<L, P>(c, i / groups);
  wait_for_previous();
  float sums[L * P][M];
  convolve<L, P, inputs>(c, place, group * N, taps, sums);
  let_next_begin();
#pragma unroll
  for (int l = 0; l < L; ++l)
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int line = place.line + l, column = place.column + p;
      if (line >= c.height || column >= c.width) continue;
      float* to = out + ((static_cast<std::int64_t>(place.image) * c.height + line) * c.width + column) * c.channels +
                  group * M;
      float v[M] = {};
      if constexpr (add) load_floats<M>(to, v);
#pragma unroll
      for (int m = 0; m < M; ++m) v[m] += sums[l * P + p][m] + bias[m];
      store_floats<M>(to, v);
    }
}

// Sums over the warp of M values per lane, M a power of two: halves of the values change sides at every step, so that
// M values cost M − 1 + log2(32 / M) shuffles. Lane i gets the sum of value i · M / 32.
template <int M>
PAELLA_DEVICE float warp_sums(float (&v)[M]) {
  static_assert(M == 1 || M == 2 || M == 4 || M == 8);
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  int distance = warp_size / 2;
#pragma unroll
  for (int half = M / 2; half > 0; half /= 2, distance /= 2) {
    const bool upper = (lane & distance) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float sent = upper ? v[i] : v[i + half], kept = upper ? v[i + half] : v[i];
      v[i] = kept + __shfl_xor_sync(0xffffffffu, sent, distance);
    }
  }
#pragma unroll
  for (; distance > 0; distance /= 2) v[0] += __shfl_xor_sync(0xffffffffu, v[0], distance);
  return v[0];
}

// Totals of M values over the `warps` warps of a group, of which this is number `warp`; all threads of the block call.
// `scratch` [warps][M] belongs to the group and is used once. Warps are added in order.
template <int M>
PAELLA_DEVICE void group_sums(float (&v)[M], float* scratch, int warp, int warps) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const float own = warp_sums(v);
  if (lane % (warp_size / M) == 0) scratch[warp * M + lane / (warp_size / M)] = own;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < M; ++i) v[i] = 0;
#pragma unroll 2
  for (int w = 0; w < warps; ++w) {
    float part[M];
    load_floats<M>(scratch + w * M, part);
#pragma unroll
    for (int i = 0; i < M; ++i) v[i] += part[i];
  }
}

// Warps of a block of convolution_norm_kernel at most, so that its registers suffice.
template <int L>
inline constexpr int most_warps = L == 2 ? 12 : 20;

// out [B, H, W, C] = layer_norm(conv). A block has blockDim.x / (32·warps) groups of `warps` warps; a group takes one
// field with all its channels, 4 inputs per thread: inputs·C ≤ 128·warps.
template <typename Out, int L, int P, int inputs>
__global__ void __launch_bounds__(32 * most_warps<L>)
    convolution_norm_kernel(Convolution c, float epsilon, Out* out, unsigned fields, int warps) {
  constexpr int N = 4, M = N / inputs, pixels = L * P;
  alignas(16) __shared__ float scratch[2][most_warps<L> * pixels];
  const int warp = static_cast<int>(threadIdx.x) / warp_size, group_at = warp / warps * warps;
  const int thread = static_cast<int>(threadIdx.x) - group_at * warp_size, channel = thread * N;
  const unsigned field = blockIdx.x * (blockDim.x / (warp_size * warps)) + warp / warps;
  const bool active = field < fields && channel < inputs * c.channels;
  const Place place = place_of<L, P>(c, field);
  Taps<N> taps;
  float bias[M], v[pixels][M] = {}, sums[pixels];
  if (active) {
    load_taps<inputs>(c, channel, taps);
    load_floats<M>(c.bias + thread * M, bias);
  }
  wait_for_previous();
  if (active) {
    convolve<L, P, inputs>(c, place, channel, taps, v);
#pragma unroll
    for (int i = 0; i < pixels; ++i)
#pragma unroll
      for (int m = 0; m < M; ++m) v[i][m] += bias[m];
  }
  let_next_begin();

#pragma unroll
  for (int i = 0; i < pixels; ++i) {
    sums[i] = 0;
#pragma unroll
    for (int m = 0; m < M; ++m) sums[i] += v[i][m];
  }
  group_sums<pixels>(sums, scratch[0] + group_at * pixels, warp - group_at, warps);
  const float scale = 1.0f / static_cast<float>(c.channels);
  float squares[pixels];
#pragma unroll
  for (int i = 0; i < pixels; ++i) {
    const float mean = sums[i] * scale;
    squares[i] = 0;
#pragma unroll
    for (int m = 0; m < M; ++m) {
      v[i][m] = active ? v[i][m] - mean : 0.0f;
      squares[i] = fmaf(v[i][m], v[i][m], squares[i]);
    }
  }
  group_sums<pixels>(squares, scratch[1] + group_at * pixels, warp - group_at, warps);
  if (!active) return;
#pragma unroll
  for (int l = 0; l < L; ++l)
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const int line = place.line + l, column = place.column + p, i = l * P + p;
      if (line >= c.height || column >= c.width) continue;
      const float factor = 1.0f / sqrtf(fmaf(squares[i], scale, epsilon));
#pragma unroll
      for (int m = 0; m < M; ++m) v[i][m] *= factor;
      store_floats<M>(out +
                          ((static_cast<std::int64_t>(place.image) * c.height + line) * c.width + column) * c.channels +
                          thread * M,
                      v[i]);
    }
}

}  // namespace

}  // namespace paella::cuda
