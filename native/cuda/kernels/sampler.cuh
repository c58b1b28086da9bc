// Drawing one token from one row of logits, and what is elementwise around it. docs/randomness.md is the contract; the
// bits are those of native/cpu/kernels/sampler.cpp. Compiled without contraction of multiplications and additions.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/gumbel.h"
#include "core/philox.h"
#include "cuda/device.cuh"

namespace paella::cuda {
namespace {

PAELLA_DEVICE bool is_finite(float x) { return (bits_of_float(x) & 0x7F800000u) != 0x7F800000u; }

// --- best so far ---

// Which of two wins does not depend on the order in which they meet: any partition of the codes gives the same token.
struct alignas(8) Best {
  float score;
  std::int32_t code;  // -1: none yet
  PAELLA_DEVICE void take(float other_score, std::int32_t other_code) {
    if (other_code >= 0 && (code < 0 || other_score > score || (other_score == score && other_code < code))) {
      score = other_score;
      code = other_code;
    }
  }
  // The best of the lanes whose numbers differ in the bits below `lanes`, a power of two.
  PAELLA_DEVICE void share(int lanes) {
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, score, distance);
      take(other, __shfl_xor_sync(0xffffffffu, code, distance));
    }
  }
};

PAELLA_DEVICE Best nothing_yet() { return {-INFINITY, -1}; }

// The best of the block, for thread 0; `scratch`: one for each warp.
PAELLA_DEVICE Best best_of_block(Best best, Best* scratch) {
  best.share(warp_size);
  __syncthreads();  // scratch may still be read from an earlier call
  if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = best;
  __syncthreads();
  for (int i = 1; i < static_cast<int>(blockDim.x) / warp_size; ++i) best.take(scratch[i].score, scratch[i].code);
  return best;
}

// --- one draw ---

// What the draws of one call share. One entry per image.
struct DrawTask {
  const std::int64_t* seed;
  const std::int32_t* step;
  const float* temperature;
  const float* typical_mass;
  std::int32_t* tokens;
  std::int32_t* fault;  // null: nobody asks
  int codes;
  int pixels;          // of one image
  std::int64_t first;  // position of the first row, counted through all images
  int rows;
};

// Of one position.
struct DrawRow {
  std::uint64_t seed;
  std::uint32_t step, position;
  float temperature, inverse;  // the latter only decides what need not be computed
};

PAELLA_DEVICE DrawRow draw_row(const DrawTask& task, int row) {
  const std::int64_t at = task.first + row, image = at / task.pixels;
  const float temperature = task.temperature[image];
  return {static_cast<std::uint64_t>(task.seed[image]), static_cast<std::uint32_t>(task.step[0]),
          static_cast<std::uint32_t>(at % task.pixels), temperature, 1.0f / temperature};
}

// A power of two's exponent interpolated linearly is never below 2^x.
PAELLA_DEVICE float power_of_two_from_above(float x) {
  if (x < -120.0f) return 0x1p-120f;
  return float_of_bits(static_cast<std::uint32_t>((x + 127.0f) * 8388608.0f) + 16u);
}

// Four neighbouring codes from `code`, a multiple of four, share one Philox block. Codes that are not there, or whose
// logit is not finite, have NaN or infinity and are passed over.
template <bool noisy>
PAELLA_DEVICE void consider(const DrawRow& row, const float (&logits)[4], std::int32_t code, Best& best) {
  const float top = fmaxf(fmaxf(logits[0], logits[1]), fmaxf(logits[2], logits[3]));
  if constexpr (!noisy) {
    if (top < best.score) return;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (is_finite(logits[i])) best.take(logits[i], code + i);
    return;
  }
  // Exact where it can matter: what follows only leaves out codes that are certain to lose. A code's noise would have
  // to reach `gap`; the margins cover the rounding of every term.
  const float scaled = top * row.inverse;
  const float size = fabsf(best.score) + fabsf(scaled);
  const float gap = best.score - scaled - 1e-5f * size - 1e-3f;
  if (gap > gumbel_max) return;
  const PhiloxWords block =
      random_words(row.seed, Purpose::draw, row.step, row.position, static_cast<std::uint32_t>(code) >> 2);
  std::uint32_t limit = 0xFFFFFFFFu;  // g >= gap takes v <= 1 − e^(−e^−gap) < e^−gap
  if (gap > 0.0f) {
    const float words = power_of_two_from_above(gap * -1.44269504f + 32.0f) * 1.001f + 2.0f;
    if (words < 4294967040.0f) limit = static_cast<std::uint32_t>(words);
  }
  const std::uint32_t words[4] = {block[0], block[1], block[2], block[3]};
  if (min(min(words[0], words[1]), min(words[2], words[3])) > limit) return;
  // One copy of the code for all four.
#pragma unroll 1
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t word = i == 0 ? words[0] : i == 1 ? words[1] : i == 2 ? words[2] : words[3];
    const float logit = i == 0 ? logits[0] : i == 1 ? logits[1] : i == 2 ? logits[2] : logits[3];
    if (word <= limit && is_finite(logit)) best.take(logit / row.temperature + gumbel_from_word(word), code + i);
  }
}

PAELLA_DEVICE void write_token(const DrawTask& task, int row, const Best& best) {
  task.tokens[task.first + row] = max(best.code, 0);
  if (best.code < 0 && task.fault != nullptr) *task.fault = 1;
}

// --- typical filtering ---

// As native/cpu/kernels/simd.h computes it, operation by operation.
PAELLA_DEVICE float exponential(float x) {
  if (x < -87.0f) return 0.0f;
  const float clamped = x < 88.0f ? x : 88.0f;
  const float shifted = clamped * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  float r = clamped - n * 0x1.62e4p-1f;
  r = r - n * 0x1.7f7d1cp-20f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * float_of_bits((bits_of_float(shifted) + 127u) << 23);
}

constexpr int draw_threads = 256, draw_warps = draw_threads / warp_size;

// A number from 0 to 1 in units of 2^-50: sums of integers are the same in every order.
PAELLA_DEVICE std::uint64_t fixed_point(float weight) {
  const std::uint32_t bits = bits_of_float(weight), mantissa = (bits & 0x7FFFFFu) | 0x800000u;
  const int shift = static_cast<int>(bits >> 23) - 100;
  if (shift >= 0) return static_cast<std::uint64_t>(mantissa) << shift;
  return shift > -24 ? mantissa >> -shift : 0;
}

struct Kept {
  std::uint64_t weight;  // of codes up to a distance
  std::int32_t beyond;   // how many lie beyond it, but within what is searched
};

// Sums over the block, the same for every thread.
PAELLA_DEVICE Kept sum_of_block(Kept mine, Kept* scratch) {
  for (int distance = 16; distance > 0; distance /= 2) {
    mine.weight += __shfl_xor_sync(0xffffffffu, mine.weight, distance);
    mine.beyond += __shfl_xor_sync(0xffffffffu, mine.beyond, distance);
  }
  __syncthreads();
  if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = mine;
  __syncthreads();
  Kept sum = scratch[0];
  for (int i = 1; i < draw_warps; ++i) {
    sum.weight += scratch[i].weight;
    sum.beyond += scratch[i].beyond;
  }
  return sum;
}

// Codes whose information −log p is closest to the entropy are kept: the smallest set, in order of that distance, whose
// probability reaches `mass`, and all that are as close as its last one. Returns a distance that parts them
// from the rest, for the whole block; distances[codes] is left behind. `top`: the largest finite logit.
PAELLA_DEVICE float typical_limit(const float* logits, int codes, float top, float mass, float* weights,
                                  float* distances) {
  __shared__ double sums[2][8];
  __shared__ Kept scratch[draw_warps];
  const int thread = static_cast<int>(threadIdx.x);
  for (int k = thread; k < codes; k += draw_threads) {
    const float logit = logits[k], shifted = (is_finite(logit) ? logit : -INFINITY) - top;
    weights[k] = exponential(shifted);
    distances[k] = shifted;
  }
  __syncthreads();
  // In the order of the CPU: code k is added to sum k mod 8. Totals by one warp, products by another.
  if (thread % warp_size < 8 && thread < 2 * warp_size) {
    const int which = thread / warp_size;
    double sum = 0;
    for (int k = thread % warp_size; k < codes; k += 8) {
      const auto weight = static_cast<double>(weights[k]);
      sum += which == 0 ? weight : weight > 0.0 ? weight * static_cast<double>(distances[k]) : 0.0;
    }
    sums[which][thread % warp_size] = sum;
  }
  __syncthreads();
  double total = 0, weighted = 0;
  for (int i = 0; i < 8; ++i) {
    total += sums[0][i];
    weighted += sums[1][i];
  }
  const float log_total = log_corrected(static_cast<float>(total), 0.0f);
  const float entropy = log_total - static_cast<float>(weighted / total);
  const double wanted = static_cast<double>(mass) * total * 0x1p50;
  for (int k = thread; k < codes; k += draw_threads) distances[k] = fabsf((log_total - distances[k]) - entropy);
  __syncthreads();

  // Distances are not negative, so their bits are ordered as they are: halve the range (low, high] of bits that holds
  // the limit until only one code is inside; then its upper end parts the codes as the limit itself would. If rounding
  // keeps all codes together below what is wanted, all are kept.
  const auto up_to = [&](std::uint32_t middle, std::uint32_t high) {
    Kept sum{0, 0};
    for (int k = thread; k < codes; k += draw_threads) {
      const std::uint32_t bits = bits_of_float(distances[k]);
      if (bits <= middle)
        sum.weight += fixed_point(weights[k]);
      else if (bits <= high)
        ++sum.beyond;
    }
    return sum_of_block(sum, scratch);
  };
  std::uint32_t low = 0, high = 0x7F800000u;
  Kept sum = up_to(low, high);
  if (static_cast<double>(sum.weight) >= wanted) return 0.0f;
  int inside = sum.beyond;
  while (inside > 1 && high - low > 1) {
    const std::uint32_t middle = low + (high - low) / 2;
    sum = up_to(middle, high);
    if (static_cast<double>(sum.weight) >= wanted) {
      high = middle;
      inside -= sum.beyond;
    } else {
      low = middle;
      inside = sum.beyond;
    }
  }
  return float_of_bits(high);
}

// --- rows of logits that exist ---

// One block per row. `spare`: 2·codes floats per row, or null: shared memory has that much.
template <bool noisy, bool typical>
__global__ void __launch_bounds__(draw_threads) draw_kernel(DrawTask task, const float* logits, float* spare) {
  __shared__ Best scratch[draw_warps];
  __shared__ float shared_top;
  wait_for_previous();
  const int row = static_cast<int>(blockIdx.x), codes = task.codes;
  const float* mine = logits + static_cast<std::int64_t>(row) * codes;
  const bool aligned = codes % 4 == 0;
  const auto pass = [&](auto with_noise, const DrawRow& draw, const float* distances, float limit) {
    Best best = nothing_yet();
    for (int code = static_cast<int>(threadIdx.x) * 4; code < codes; code += draw_threads * 4) {
      float four[4];
      if (aligned) {
        load_floats<4>(mine + code, four);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) four[i] = code + i < codes ? mine[code + i] : NAN;
      }
      if (distances != nullptr) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (code + i < codes && !(distances[code + i] <= limit)) four[i] = NAN;
      }
      consider<decltype(with_noise)::value>(draw, four, code, best);
    }
    return best_of_block(best, scratch);
  };

  const DrawRow draw = draw_row(task, row);
  const float* distances = nullptr;
  float limit = 0;
  if constexpr (typical) {
    const float mass = task.typical_mass[(task.first + row) / task.pixels];
    const Best likely = pass(std::false_type{}, draw, nullptr, 0.0f);
    if (threadIdx.x == 0) shared_top = likely.code < 0 ? NAN : likely.score;
    __syncthreads();
    const float top = shared_top;
    if (is_finite(top) && !(mass >= 1.0f)) {
      float* weights = spare == nullptr ? reinterpret_cast<float*>(shared_memory())
                                        : spare + static_cast<std::int64_t>(row) * 2 * codes;
      limit = typical_limit(mine, codes, top, mass, weights, weights + codes);
      distances = weights + codes;
    }
  }
  const Best best = pass(std::bool_constant<noisy>{}, draw, distances, limit);
  let_next_begin();
  if (threadIdx.x == 0) write_token(task, row, best);
}

// --- elementwise ---

constexpr int plain_threads = 256;

__global__ void __launch_bounds__(plain_threads)
    initial_noise_kernel(const std::int64_t* seed, std::int32_t codes, int pixels, std::int64_t count,
                         std::int32_t* tokens) {
  wait_for_previous();
  let_next_begin();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * plain_threads + threadIdx.x;
  if (i >= count) return;
  tokens[i] =
      initial_token(static_cast<std::uint64_t>(seed[i / pixels]), static_cast<std::uint32_t>(i % pixels), codes);
}

__global__ void __launch_bounds__(plain_threads)
    start_kernel(const std::int32_t* first, const std::int32_t* noise, std::int64_t count, std::int32_t* tokens) {
  wait_for_previous();
  let_next_begin();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * plain_threads + threadIdx.x;
  if (i < count) tokens[i] = first[i] >= 0 ? first[i] : noise[i];
}

__global__ void __launch_bounds__(warp_size) advance_kernel(std::int32_t* step) {
  wait_for_previous();
  let_next_begin();
  if (threadIdx.x == 0) ++*step;
}

__global__ void __launch_bounds__(plain_threads)
    renoise_kernel(const std::int64_t* seed, const std::int32_t* step, const float* level, int pixels,
                   std::int64_t count, const std::int32_t* noise, std::int32_t* tokens) {
  wait_for_previous();
  let_next_begin();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * plain_threads + threadIdx.x;
  if (i >= count) return;
  const std::int64_t image = i / pixels;
  const float uniform = renoise_uniform(static_cast<std::uint64_t>(seed[image]), static_cast<std::uint32_t>(step[0]),
                                        static_cast<std::uint32_t>(i % pixels));
  if (uniform < level[image]) tokens[i] = noise[i];
}

// `each`: elements of an image; a multiple of N, as `count` is.
template <int N>
__global__ void __launch_bounds__(plain_threads)
    guide_kernel(const float* features, const float* guidance, std::int64_t each, std::int64_t count, float* out) {
  wait_for_previous();
  let_next_begin();
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * plain_threads + threadIdx.x) * N;
  if (i >= count) return;
  float conditional[N], unconditional[N];
  load_floats<N>(features + i, conditional);
  load_floats<N>(features + count + i, unconditional);
  const float s = guidance[i / each];
#pragma unroll
  for (int j = 0; j < N; ++j) conditional[j] = s * conditional[j] + (1.0f - s) * unconditional[j];
  store_floats<N>(out + i, conditional);
}

}  // namespace
}  // namespace paella::cuda
