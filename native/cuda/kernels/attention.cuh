// Attention of one head: queries of an image over its own keys, then over those of a condition; or text over text with
// a bias per distance. Scores never reach memory: keys pass in tiles of a fixed order, and the softmax is kept online
// in f32. What a query gets depends on its own keys only, not on the batch, the grid of blocks or the padding.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/device.cuh"

namespace paella::cuda {
namespace {

constexpr float log2_e = 1.44269504f;

// What a block of threads works on: one row and head.
template <typename T>
struct AttentionPart {
  const T* query;  // of the first query; `row_stride` from one to the next
  const T* first;  // the first `first_count` keys, `row_stride` apart
  const T* second;
  std::int64_t row_stride, second_stride;
  int first_count, count;
  const float* bias;  // bias[key − query]; null: none

  PAELLA_DEVICE const T* key(int i) const {
    return i < first_count ? first + i * row_stride : second + (i - first_count) * second_stride;
  }
};

// All heads of all rows. Without a condition, `index` is null.
template <typename T>
struct AttentionTask {
  const T* qkv;  // [images, queries, 3·channels]
  const T* kv;   // [P, padded, 2·channels]
  const std::int32_t* length;
  const std::int32_t* index;
  const float* bias;  // [heads, 2·queries − 1], or null
  T* out;             // [rows, queries, channels]
  int images, queries, padded, channels;
  int width;    // of a head
  float scale;  // of scores before the softmax

  // Values lie `channels` after their keys.
  PAELLA_DEVICE AttentionPart<T> part(int row, int head) const {
    AttentionPart<T> part;
    part.row_stride = 3 * channels;
    part.second_stride = 2 * channels;
    part.query = qkv + static_cast<std::int64_t>(row % images) * queries * part.row_stride + head * width;
    part.first = part.query + channels;
    part.first_count = part.count = queries;
    part.second = part.first;
    if (index != nullptr) {
      const std::int32_t condition = index[row];
      part.second = kv + static_cast<std::int64_t>(condition) * padded * part.second_stride + head * width;
      part.count += length[condition];
    }
    part.bias = bias == nullptr ? nullptr : bias + static_cast<std::int64_t>(head) * (2 * queries - 1) + queries - 1;
    return part;
  }
  PAELLA_DEVICE T* result(int row, int query, int head) const {
    return out + (static_cast<std::int64_t>(row) * queries + query) * channels + head * width;
  }
};

// --- tensor cores ---
// 4 warps, 16 queries each. A tile of keys and values is computed with while the next one is copied.

constexpr int flash_queries = 64, flash_keys = 64, flash_threads = 128;

// Rows in shared memory: an odd number of 16-byte units, so that the eight rows of a matrix load touch all banks.
template <int width>
constexpr int flash_stride = width + 8;
template <int width>
constexpr std::size_t flash_shared_bytes = std::size_t{flash_queries + 4 * flash_keys} * flash_stride<width> * 2;

// `width`: the head's, rounded up to a multiple of 16; the rest is zeros.
template <typename T, int width>
__global__ void __launch_bounds__(flash_threads, width <= 80 ? 3 : 2) flash_kernel(AttentionTask<T> task) {
  constexpr int stride = flash_stride<width>, chunks = width / 8, tile = flash_keys * stride;
  static_assert(flash_queries == flash_keys && flash_threads == 2 * flash_keys);
  T* const queries = reinterpret_cast<T*>(shared_memory());
  T* const stages = queries + tile;  // keys, values; keys, values
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int row = static_cast<int>(blockIdx.z), head = static_cast<int>(blockIdx.y);
  const int first_query = static_cast<int>(blockIdx.x) * flash_queries;

  wait_for_previous();
  const AttentionPart<T> part = task.part(row, head);
  const int tiles = (part.count + flash_keys - 1) / flash_keys;

  // Two threads copy a line, so that addresses are made once a tile.
  const int line = static_cast<int>(threadIdx.x) / 2, column = static_cast<int>(threadIdx.x) % 2 * 8;
  const auto copy_tile = [&](int index, T* keys) {
    const int key = index * flash_keys + line;
    const bool present = key < part.count;
    const T* from = part.key(present ? key : 0) + column;
    T* to = keys + line * stride + column;
#pragma unroll
    for (int i = 0; i < width; i += 16) {
      const bool valid = present && column + i < task.width;
      cp_async_16(to + i, valid ? from + i : part.first, valid);
      cp_async_16(to + i + tile, valid ? from + i + task.channels : part.first, valid);
    }
    cp_async_commit();
  };
  {
    const int query = first_query + line;
    const bool present = query < task.queries;
    const T* from = part.query + (present ? query : 0) * part.row_stride + column;
#pragma unroll
    for (int i = 0; i < width; i += 16) {
      const bool valid = present && column + i < task.width;
      cp_async_16(queries + line * stride + column + i, valid ? from + i : part.query, valid);
    }
  }
  copy_tile(0, stages);
  cp_async_wait<0>();
  __syncthreads();
  std::uint32_t q[width / 16][4];
#pragma unroll
  for (int k = 0; k < width / 16; ++k)
    ldmatrix_x4(q[k], queries + (warp * 16 + lane % 16) * stride + k * 16 + lane / 16 * 8);

  // This thread's queries: lane / 4 of its warp's sixteen, and eight further.
  const float factor = task.scale * log2_e;
  float out[width / 8][4] = {};
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  for (int index = 0; index < tiles; ++index) {
    cp_async_wait<0>();
    __syncthreads();  // the tile is here, and nobody reads the other one any more
    const T* keys = stages + index % 2 * 2 * tile;
    if (index + 1 < tiles) copy_tile(index + 1, stages + (index + 1) % 2 * 2 * tile);

    float s[flash_keys / 8][4] = {};
#pragma unroll
    for (int k = 0; k < width / 16; ++k)
#pragma unroll
      for (int j = 0; j < flash_keys / 16; ++j) {
        std::uint32_t b[4];
        ldmatrix_x4(b, keys + (j * 16 + lane / 16 * 8 + lane % 8) * stride + k * 16 + lane / 8 % 2 * 8);
        mma_16x8x16<T>(s[2 * j], q[k], {b[0], b[1]});
        mma_16x8x16<T>(s[2 * j + 1], q[k], {b[2], b[3]});
      }

    const int first_key = index * flash_keys;
    if (part.bias != nullptr) {
#pragma unroll
      for (int j = 0; j < flash_keys / 8; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = first_key + j * 8 + lane % 4 * 2 + i % 2;
          const int query = min(first_query + warp * 16 + lane / 4 + i / 2 * 8, task.queries - 1);
          if (key < part.count) s[j][i] += part.bias[key - query];
        }
    }
    if (first_key + flash_keys > part.count) {
#pragma unroll
      for (int j = 0; j < flash_keys / 8; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (first_key + j * 8 + lane % 4 * 2 + i % 2 >= part.count) s[j][i] = -INFINITY;
    }

    // The softmax of a row lies in the four lanes of a quad.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = top[half];
#pragma unroll
      for (int j = 0; j < flash_keys / 8; ++j) most = fmaxf(most, fmaxf(s[j][2 * half], s[j][2 * half + 1]));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
      const float shrink = fast_exp2((top[half] - most) * factor), offset = most * factor;
      top[half] = most;
      sum[half] *= shrink;
#pragma unroll
      for (int n = 0; n < width / 8; ++n) {
        out[n][2 * half] *= shrink;
        out[n][2 * half + 1] *= shrink;
      }
#pragma unroll
      for (int j = 0; j < flash_keys / 8; ++j)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          s[j][i] = fast_exp2(s[j][i] * factor - offset);
          sum[half] += s[j][i];
        }
    }

    const T* values = keys + tile;
#pragma unroll
    for (int k = 0; k < flash_keys / 16; ++k) {
      const std::uint32_t p[4] = {pack2<T>(s[2 * k][0], s[2 * k][1]), pack2<T>(s[2 * k][2], s[2 * k][3]),
                                  pack2<T>(s[2 * k + 1][0], s[2 * k + 1][1]),
                                  pack2<T>(s[2 * k + 1][2], s[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < width / 16; ++n) {
        std::uint32_t b[4];
        ldmatrix_x4_transposed(b, values + (k * 16 + lane % 16) * stride + n * 16 + lane / 16 * 8);
        mma_16x8x16<T>(out[2 * n], p, {b[0], b[1]});
        mma_16x8x16<T>(out[2 * n + 1], p, {b[2], b[3]});
      }
    }
  }
  let_next_begin();

  // Through the queries' place in shared memory, of which each warp has its own part, to whole 16-byte accesses.
  T* const mine = queries + warp * 16 * stride;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 1);
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 2);
    const float inverse = 1.0f / sum[half];
#pragma unroll
    for (int n = 0; n < width / 8; ++n) {
      const Vector<T, 2> pair = {from_float<T>(out[n][2 * half] * inverse),
                                 from_float<T>(out[n][2 * half + 1] * inverse)};
      store<2>(mine + (lane / 4 + 8 * half) * stride + n * 8 + lane % 4 * 2, pair);
    }
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 16 * chunks / warp_size; ++i) {
    const int at = lane + i * warp_size, own = at / chunks, channel = at % chunks * 8;
    const int query = first_query + warp * 16 + own;
    if (query < task.queries && channel < task.width)
      store<8>(task.result(row, query, head) + channel, load<8>(mine + own * stride + channel));
  }
}

// --- plain: f32, and widths that tensor cores do not take ---
// 8 warps, two queries each; a lane has a key, then channels.

constexpr int plain_queries = 16, plain_keys = 32, plain_threads = 256, plain_warps = plain_threads / warp_size;

inline std::size_t plain_shared_bytes(int width) {
  return sizeof(float) *
         static_cast<std::size_t>(2 * plain_queries * width + plain_keys * (2 * width + 1) + plain_warps * plain_keys);
}

template <typename T>
__global__ void __launch_bounds__(plain_threads) plain_attention_kernel(AttentionTask<T> task) {
  const int width = task.width, key_stride = width + 1;
  float* const queries = reinterpret_cast<float*>(shared_memory());
  float* const outs = queries + plain_queries * width;
  float* const keys = outs + plain_queries * width;
  float* const values = keys + plain_keys * key_stride;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % warp_size, warp = thread / warp_size;
  float* const p = values + plain_keys * width + warp * plain_keys;
  const int row = static_cast<int>(blockIdx.z), head = static_cast<int>(blockIdx.y);
  const int first_query = static_cast<int>(blockIdx.x) * plain_queries;

  wait_for_previous();
  const AttentionPart<T> part = task.part(row, head);
  for (int i = thread; i < plain_queries * width; i += plain_threads) {
    const int query = first_query + i / width;
    queries[i] = query < task.queries ? to_float(part.query[query * part.row_stride + i % width]) : 0.0f;
    outs[i] = 0;
  }
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
  for (int first_key = 0; first_key < part.count; first_key += plain_keys) {
    __syncthreads();
    for (int i = thread; i < plain_keys * width; i += plain_threads) {
      const int line = i / width, channel = i % width;
      const bool valid = first_key + line < part.count;
      const T* from = part.key(valid ? first_key + line : 0) + channel;
      keys[line * key_stride + channel] = valid ? to_float(from[0]) : 0.0f;
      values[i] = valid ? to_float(from[task.channels]) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int line = warp * 2 + i, query = first_query + line;
      if (query >= task.queries) continue;  // the whole warp
      float score = -INFINITY;
      if (first_key + lane < part.count) {
        score = 0;
        for (int c = 0; c < width; ++c) score += queries[line * width + c] * keys[lane * key_stride + c];
        score *= task.scale;
        if (part.bias != nullptr) score += part.bias[first_key + lane - query];
      }
      const float most = fmaxf(top[i], warp_max(score));
      const float shrink = expf(top[i] - most), mine = expf(score - most);
      top[i] = most;
      sum[i] = sum[i] * shrink + warp_sum(mine);
      p[lane] = mine;
      __syncwarp();
      for (int c = lane; c < width; c += warp_size) {
        float out = outs[line * width + c] * shrink;
        for (int key = 0; key < plain_keys; ++key) out += p[key] * values[key * width + c];
        outs[line * width + c] = out;
      }
      __syncwarp();
    }
  }
  let_next_begin();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int line = warp * 2 + i, query = first_query + line;
    if (query >= task.queries) continue;
    const float inverse = 1.0f / sum[i];
    T* to = task.result(row, query, head);
    for (int c = lane; c < width; c += warp_size) to[c] = from_float<T>(outs[line * width + c] * inverse);
  }
}

}  // namespace
}  // namespace paella::cuda
