// The head's product with the draw behind it: logits of a tile of rows × codes stay in registers, where each row keeps
// its best code so far. A block goes through a stretch of the codes; a second kernel joins the stretches. Both kernels
// take a sink, which gets four neighbouring logits of a row at a time: it draws from them, or stores them for typical
// filtering, which needs the whole row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/kernels/sampler.cuh"

namespace paella::cuda {
namespace {

constexpr int head_threads = 256;

// --- sinks ---
// rows_per_thread: how many rows of its block's tile a thread holds codes of.

// Draws. candidates: [rows, places] of the workspace.
template <bool noisy>
struct DrawSink {
  DrawTask task;
  Best* candidates;
  int places;

  template <int tile_rows, int rows_per_thread>
  struct State {
    DrawRow* rows;
    Best best[rows_per_thread];
  };
  template <int tile_rows, int rows_per_thread>
  PAELLA_DEVICE State<tile_rows, rows_per_thread> begin(int first_row) const {
    __shared__ DrawRow rows[tile_rows];
    for (int i = static_cast<int>(threadIdx.x); i < tile_rows; i += head_threads)
      rows[i] = draw_row(task, min(first_row + i, task.rows - 1));
    __syncthreads();
    State<tile_rows, rows_per_thread> state;
    state.rows = rows;
#pragma unroll
    for (int i = 0; i < rows_per_thread; ++i) state.best[i] = nothing_yet();
    return state;
  }
  // `slot`: which of the thread's rows; `row`: of the tile.
  template <typename State>
  PAELLA_DEVICE void take(State& state, int slot, int, int row, std::int32_t code, float (&logits)[4]) const {
    if (code + 4 > task.codes) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (code + i >= task.codes) logits[i] = NAN;
    }
    consider<noisy>(state.rows[row], logits, code, state.best[slot]);
  }
  // Slot 1 becomes slot 0, and so on; slot 0 the last.
  template <typename State>
  PAELLA_DEVICE void turn(State& state) const {
    constexpr int rows = sizeof(state.best) / sizeof(Best);
    const Best front = state.best[0];
#pragma unroll
    for (int i = 0; i + 1 < rows; ++i) state.best[i] = state.best[i + 1];
    state.best[rows - 1] = front;
  }
  // After a tile of codes: the lanes that hold codes of the same rows learn each other's best, so that
  // more can be left out.
  template <int lanes, typename State>
  PAELLA_DEVICE void share(State& state) const {
#pragma unroll
    for (Best& best : state.best) best.share(lanes);
  }
  template <typename State>
  PAELLA_DEVICE void end(const State& state, int slot, int row, int place) const {
    if (row < task.rows) candidates[static_cast<std::int64_t>(row) * places + place] = state.best[slot];
  }
};

struct StoreSink {
  float* logits;  // [rows, codes]
  int rows, codes;

  template <int tile_rows, int rows_per_thread>
  struct State {};
  template <int tile_rows, int rows_per_thread>
  PAELLA_DEVICE State<tile_rows, rows_per_thread> begin(int) const {
    return {};
  }
  template <typename State>
  PAELLA_DEVICE void take(State&, int, int first_row, int row, std::int32_t code, float (&four)[4]) const {
    if (first_row + row >= rows) return;
    float* to = logits + static_cast<std::int64_t>(first_row + row) * codes + code;
    // Both conditions in one: the other way round a register spills on sm_120.
    if (code + 4 <= codes && codes % 4 == 0) return store_floats<4>(to, four);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (code + i < codes) to[i] = four[i];
  }
  template <typename State>
  PAELLA_DEVICE void turn(State&) const {}
  template <int lanes, typename State>
  PAELLA_DEVICE void share(State&) const {}
  template <typename State>
  PAELLA_DEVICE void end(const State&, int, int, int) const {}
};

// One thread per row.
__global__ void __launch_bounds__(head_threads) join_kernel(DrawTask task, const Best* candidates, int places) {
  wait_for_previous();
  let_next_begin();
  const int row = static_cast<int>(blockIdx.x * head_threads + threadIdx.x);
  if (row >= task.rows) return;
  const Best* mine = candidates + static_cast<std::int64_t>(row) * places;
  Best best = mine[0];
  for (int i = 1; i < places; ++i) best.take(mine[i].score, mine[i].code);
  write_token(task, row, best);
}

// --- tensor cores ---
// f32 as the sum of two bf16, of which three of the four products matter: a relative error of about 2^-16 in each
// term, where f32 operands rounded to bf16 would have 2^-9.

// features [count] f32 → two parts; four elements per thread.
__global__ void __launch_bounds__(head_threads)
    split_kernel(const float* features, std::int64_t count, bf16* high, bf16* low) {
  wait_for_previous();
  let_next_begin();
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * head_threads + threadIdx.x) * 4;
  if (i >= count) return;
  float x[4], rest[4];
  load_floats<4>(features + i, x);
#pragma unroll
  for (int j = 0; j < 4; ++j) rest[j] = x[j] - to_float(from_float<bf16>(x[j]));
  store_floats<4>(high + i, x);
  store_floats<4>(low + i, rest);
}

// high and low parts of features [rows, depth] and head [codes, depth]; depth is a multiple of 16.
struct SplitProduct {
  const bf16 *row_high, *row_low, *code_high, *code_low;
  int rows, codes, depth;
  int tiles_per_block;  // of codes
};

constexpr int split_rows = 128, split_codes = 128, split_depth = 32, split_stages = 3;
constexpr int split_part = split_rows * split_depth;  // elements of one part in one stage
static_assert(split_rows == split_codes);
constexpr std::size_t split_shared_bytes = std::size_t{split_stages} * 4 * split_part * 2;

// 8 warps: 4 × 2 of 32 rows × 64 codes. Lines of shared memory are 64 bytes; their four units are exchanged so that the
// eight lines of a matrix load lie in different banks: for rows these are neighbours, for codes every other pair.
template <typename Sink>
__global__ void __launch_bounds__(head_threads, 2) split_product_kernel(SplitProduct product, Sink sink) {
  bf16* const stages = reinterpret_cast<bf16*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x), lane = thread % warp_size, warp = thread / warp_size;
  const int warp_row = warp / 2 * 32, warp_code = warp % 2 * 64;
  const int first_row = static_cast<int>(blockIdx.x) * split_rows;
  const int first_tile = static_cast<int>(blockIdx.y) * product.tiles_per_block;
  const int all_tiles = (product.codes + split_codes - 1) / split_codes;
  const int tiles = min(product.tiles_per_block, all_tiles - first_tile);
  const int steps = (product.depth + split_depth - 1) / split_depth;  // of one tile

  wait_for_previous();
  auto state = sink.template begin<split_rows, 4>(first_row);

  // What is copied next: two lines of each part per thread, 64 apart.
  int copied_code = first_tile * split_codes, copied_step = 0, left = tiles;
  const int unit = thread % 4, line = thread / 4;
  const int row_to = line * split_depth + (unit ^ line / 2 % 4) * 8;
  const int code_to = line * split_depth + (unit ^ line / 4 % 4) * 8;
  const auto copy_next = [&](int to_stage) {
    if (left > 0) {
      bf16* const to = stages + to_stage * 4 * split_part;
      const int channel = copied_step * split_depth + unit * 8;
      const int row = first_row + line, code = copied_code + line;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const bool row_there = row + i * 64 < product.rows && channel < product.depth;
        const bool code_there = code + i * 64 < product.codes && channel < product.depth;
        const int row_from = row_there ? (row + i * 64) * product.depth + channel : 0;
        const int code_from = code_there ? (code + i * 64) * product.depth + channel : 0;
        bf16* const row_place = to + row_to + i * 64 * split_depth;
        bf16* const code_place = to + 2 * split_part + code_to + i * 64 * split_depth;
        cp_async_16(row_place, product.row_high + row_from, row_there);
        cp_async_16(row_place + split_part, product.row_low + row_from, row_there);
        cp_async_16(code_place, product.code_high + code_from, code_there);
        cp_async_16(code_place + split_part, product.code_low + code_from, code_there);
      }
      if (++copied_step == steps) {
        copied_step = 0;
        copied_code += split_codes;
        --left;
      }
    }
    cp_async_commit();  // maybe an empty group: what is waited for is counted
  };
  for (int i = 0; i < split_stages - 1; ++i) copy_next(i);

  // Where this lane's lines of matrix loads lie; the second half of a line is 16 elements off, exclusive or.
  const int row_line = (warp_row + lane % 16) * split_depth + (lane / 16 ^ lane % 16 / 2 % 4) * 8;
  const int code_line = 2 * split_part + (warp_code + lane % 8 / 2 * 4 + lane % 2 + lane / 16 * 2) * split_depth +
                        (lane / 8 % 2 ^ lane % 8 / 2) * 8;
  int stage = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    // [16 rows][8 codes]; see mma_16x8x16. Of 16 neighbouring codes, columns 2t and 2t + 1 of the first are codes 4t
    // and 4t + 1, those of the second 4t + 2 and 4t + 3: a thread has four neighbours, which share their random words.
    float sums[2][8][4] = {};
    for (int step = 0; step < steps; ++step) {
      cp_async_wait<split_stages - 2>();
      __syncthreads();  // the stage is here, and nobody reads the one before it any more
      copy_next(stage == 0 ? split_stages - 1 : stage - 1);
      const bf16* const from = stages + stage * 4 * split_part;
#pragma unroll 1
      for (int k = 0; k < split_depth / 16; ++k) {
        std::uint32_t high[2][4], low[2][4];
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          const bf16* place = from + (row_line ^ k * 16) + m * 16 * split_depth;
          ldmatrix_x4(high[m], place);
          ldmatrix_x4(low[m], place + split_part);
        }
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          const bf16* place = from + (code_line ^ k * 16) + n * 16 * split_depth;
          std::uint32_t b[4], c[4];
          ldmatrix_x4(b, place);
          ldmatrix_x4(c, place + split_part);
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            mma_16x8x16<bf16>(sums[m][2 * n], low[m], {b[0], b[1]});
            mma_16x8x16<bf16>(sums[m][2 * n + 1], low[m], {b[2], b[3]});
          }
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            mma_16x8x16<bf16>(sums[m][2 * n], high[m], {c[0], c[1]});
            mma_16x8x16<bf16>(sums[m][2 * n + 1], high[m], {c[2], c[3]});
          }
#pragma unroll
          for (int m = 0; m < 2; ++m) {
            mma_16x8x16<bf16>(sums[m][2 * n], high[m], {b[0], b[1]});
            mma_16x8x16<bf16>(sums[m][2 * n + 1], high[m], {b[2], b[3]});
          }
        }
      }
      stage = stage + 1 == split_stages ? 0 : stage + 1;
    }
    // One copy of the sink's code for all four rows, which take turns at the front: it is long, and instructions have
    // to be fetched, too.
    const int first_code = (first_tile + tile) * split_codes + warp_code + lane % 4 * 4;
#pragma unroll 1
    for (int slot = 0; slot < 4; ++slot) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        float four[4] = {sums[0][2 * n][0], sums[0][2 * n][1], sums[0][2 * n + 1][0], sums[0][2 * n + 1][1]};
        sink.take(state, 0, first_row, warp_row + slot * 8 + lane / 4, first_code + n * 16, four);
      }
#pragma unroll
      for (int n = 0; n < 8; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          sums[0][n][i] = sums[0][n][2 + i];
          sums[0][n][2 + i] = sums[1][n][i];
          sums[1][n][i] = sums[1][n][2 + i];
        }
      sink.turn(state);
    }
    sink.template share<4>(state);
  }
  let_next_begin();
  if (lane % 4 == 0) {
#pragma unroll
    for (int slot = 0; slot < 4; ++slot)
      sink.end(state, slot, first_row + warp_row + slot * 8 + lane / 4, static_cast<int>(blockIdx.y) * 2 + warp % 2);
  }
}

// --- f32 ---
// 64 rows × 64 codes a tile; a thread has 4 × 4 of them.

struct PlainProduct {
  const float *features, *head;
  int rows, codes, depth;
  int tiles_per_block;
};

constexpr int plain_tile = 64, plain_depth = 16, plain_stride = plain_tile + 4;

template <typename Sink>
__global__ void __launch_bounds__(head_threads, 2) plain_product_kernel(PlainProduct product, Sink sink) {
  // Read four at a time, which arrays of floats are not aligned for.
  constexpr int fours = plain_depth * plain_stride / 4;
  __shared__ Vector<float, 4> feature_memory[fours], head_memory[fours];
  float *features = feature_memory[0].v, *head = head_memory[0].v;
  const int thread = static_cast<int>(threadIdx.x), code_at = thread % 16 * 4, row_at = thread / 16 * 4;
  const int first_row = static_cast<int>(blockIdx.x) * plain_tile;
  const int first_tile = static_cast<int>(blockIdx.y) * product.tiles_per_block;
  const int last_tile = min(first_tile + product.tiles_per_block, (product.codes + plain_tile - 1) / plain_tile);
  wait_for_previous();
  auto state = sink.template begin<plain_tile, 4>(first_row);
  for (int tile = first_tile; tile < last_tile; ++tile) {
    const int first_code = tile * plain_tile;
    float sums[4][4] = {};
    for (int step = 0; step < product.depth; step += plain_depth) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int line = thread / 16 + i * 16, k = thread % 16, channel = step + k;
        const bool there = channel < product.depth;
        features[k * plain_stride + line] =
            there && first_row + line < product.rows
                ? product.features[static_cast<std::int64_t>(first_row + line) * product.depth + channel]
                : 0.0f;
        head[k * plain_stride + line] =
            there && first_code + line < product.codes
                ? product.head[static_cast<std::int64_t>(first_code + line) * product.depth + channel]
                : 0.0f;
      }
      __syncthreads();
#pragma unroll
      for (int k = 0; k < plain_depth; ++k) {
        float a[4], b[4];
        load_floats<4>(features + k * plain_stride + row_at, a);
        load_floats<4>(head + k * plain_stride + code_at, b);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sums[i][j] = fused_multiply_add(a[i], b[j], sums[i][j]);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) sink.take(state, i, first_row, row_at + i, first_code + code_at, sums[i]);
    sink.template share<16>(state);
  }
  let_next_begin();
  if (thread % 16 == 0) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sink.end(state, i, first_row + row_at + i, static_cast<int>(blockIdx.y));
  }
}

}  // namespace
}  // namespace paella::cuda
