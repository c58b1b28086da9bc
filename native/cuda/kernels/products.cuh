// Tensor-core products of 16-bit operands: out [M, N] = finish(x [M, K] · wᵀ), w [N, K].
//
// A block computes one tile of the result, or a part of its K. Tiles of x and w come through a ring of stages in shared
// memory (cp.async, 16 bytes a thread), rows of `step` elements whose 16-byte pieces are swizzled so that ldmatrix
// meets no bank twice. Sums stay in registers, in ascending steps of 16 along K whatever the tile's shape. At the end
// they go through shared memory, so that results, residuals and biases are accessed 16 bytes at a time.
#pragma once

#include "cuda/kernels/finish.cuh"

namespace paella::cuda {

// What is done to the operands on their way.
enum class Way {
  plain,
  scaled,  // x is multiplied by a factor per image and k: by the thread that copied a piece, before others see it
  parts,   // x and w are sums of two bf16 matrices: x_low·w + x·w_low + x·w, one after another
};

template <typename T>
struct ProductArguments {
  const T* x;
  const T* w;
  const T* x_low;
  const T* w_low;
  const float* factors;  // [images, K]
  int rows, columns, inner;
  int split;                 // K of one part, a multiple of 64; blockIdx.y counts parts
  int pixels, pixel_offset;  // row r belongs to image (pixel_offset + r) / pixels
  Finish finish;
};

template <int Rows, int Columns, int Step, int Stages, int WarpsDown, int WarpsAcross>
struct Tile {
  static constexpr int rows = Rows, columns = Columns, step = Step, stages = Stages;
  static constexpr int warps_down = WarpsDown, warps_across = WarpsAcross, threads = 32 * WarpsDown * WarpsAcross;
  static constexpr int warp_rows = Rows / WarpsDown, warp_columns = Columns / WarpsAcross;
  static_assert(warp_rows % 16 == 0 && warp_columns % 16 == 0 && Rows % sum_run == 0 && 64 % Step == 0);
  static constexpr int pieces = Step / 8;               // 16-byte pieces of a row
  static constexpr int rows_a_pass = threads / pieces;  // rows that all threads copy at once
  static constexpr int x_passes = Rows / rows_a_pass;
  static constexpr int w_passes = (Columns + rows_a_pass - 1) / rows_a_pass;
  static_assert(Rows % rows_a_pass == 0 && rows_a_pass % 8 == 0);
  static constexpr int stage = (Rows + Columns) * Step;  // elements
  // Result rows in shared memory: 8 words more than a multiple of 32, so that the fragments' pairs meet no bank twice.
  static constexpr int out_stride = Columns + 8;
  static constexpr int ring_bytes = Stages * stage * 2, out_bytes = Rows * out_stride * 4;
  static constexpr int shared_bytes = ring_bytes > out_bytes ? ring_bytes : out_bytes;
  // What registers allow: sums take a quarter to a half of them.
  static constexpr int sums_a_thread = Rows * Columns / threads;
  static constexpr int blocks = threads == 128 ? (sums_a_thread > 64 ? 2 : 3) : (sums_a_thread > 64 ? 1 : 2);
};

// Where piece p of a row begins, in elements of the row.
template <int Step>
PAELLA_DEVICE int swizzled(int row, int piece) {
  static_assert(Step == 32 || Step == 64);
  return (piece ^ (Step == 64 ? row & 7 : row >> 1 & 3)) * 8;
}

// Up to `group` rows of tiles are done together, so that what runs at one time shares operands in L2.
struct TileAt {
  int row, column;
};
PAELLA_DEVICE TileAt tile_at(int index, int down, int across) {
  constexpr int group = 8;
  const int first = index / (group * across) * group;
  const int height = down - first < group ? down - first : group;
  const int inside = index - first * across;
  return {first + inside % height, inside / height};
}

// The copying side of one thread: piece `piece_` of rows `row_`, `row_` + rows_a_pass, …. Addresses of rows that do not
// exist are formed, but not read.
template <typename T, typename Shape, Way way>
class Loader {
 public:
  PAELLA_DEVICE Loader(const ProductArguments<T>& a, T* ring, int first_row, int first_column) : a_(a), ring_(ring) {
    row_ = static_cast<int>(threadIdx.x) / Shape::pieces;
    piece_ = static_cast<int>(threadIdx.x) % Shape::pieces;
    x_rows_ = a.rows - first_row - row_;
    w_rows_ = a.columns - first_column - row_;
    x_at_ = static_cast<std::int64_t>(first_row + row_) * a.inner + piece_ * 8;
    w_at_ = static_cast<std::int64_t>(first_column + row_) * a.inner + piece_ * 8;
    if constexpr (way == Way::scaled) {
#pragma unroll
      for (int i = 0; i < Shape::x_passes; ++i) images_[i] = image_of(first_row + row_ + i * Shape::rows_a_pass);
    }
  }

  // `k`: where the stage begins; `end`: where this part of K ends.
  PAELLA_DEVICE void load_x(const T* x, int slot, int k, int end) const {
    copy<Shape::x_passes, Shape::rows>(x + x_at_ + k, ring_ + slot * Shape::stage, x_rows_, k, end);
  }
  PAELLA_DEVICE void load_w(const T* w, int slot, int k, int end) const {
    copy<Shape::w_passes, Shape::columns>(w + w_at_ + k, ring_ + slot * Shape::stage + Shape::rows * Shape::step,
                                          w_rows_, k, end);
  }

  // Factors of the stage at k, for the image of this thread's first row.
  PAELLA_DEVICE void read_factors(int k, int end, float (&factors)[8]) const {
    const int at = k + piece_ * 8;
    if (at < end) load_floats<8>(a_.factors + static_cast<std::int64_t>(images_[0]) * a_.inner + at, factors);
  }
  // This thread's own pieces of x have arrived: multiplied in place.
  PAELLA_DEVICE void scale(int slot, int k, int end, const float (&first)[8]) const {
    const int at = k + piece_ * 8;
    if (at >= end) return;
    T* first_piece = ring_ + slot * Shape::stage + row_ * Shape::step + swizzled<Shape::step>(row_, piece_);
#pragma unroll
    for (int i = 0; i < Shape::x_passes; ++i) {
      T* piece = first_piece + i * Shape::rows_a_pass * Shape::step;
      float values[8];
      load_floats<8>(piece, values);
      if (images_[i] == images_[0]) {
#pragma unroll
        for (int j = 0; j < 8; ++j) values[j] *= first[j];
      } else {
        float own[8];
        load_floats<8>(a_.factors + static_cast<std::int64_t>(images_[i]) * a_.inner + at, own);
#pragma unroll
        for (int j = 0; j < 8; ++j) values[j] *= own[j];
      }
      Vector<std::uint32_t, 4> packed;
#pragma unroll
      for (int j = 0; j < 4; ++j) packed.v[j] = pack2<T>(values[2 * j], values[2 * j + 1]);
      store<4>(reinterpret_cast<std::uint32_t*>(piece), packed);
    }
  }

 private:
  PAELLA_DEVICE int image_of(int row) const {
    return (a_.pixel_offset + (row < a_.rows ? row : a_.rows - 1)) / a_.pixels;
  }
  // `existing`: rows from this thread's first one on.
  template <int passes, int height>
  PAELLA_DEVICE void copy(const T* from, T* tile, int existing, int k, int end) const {
    const int rows = k + piece_ * 8 < end ? existing : 0;
    // rows_a_pass is a multiple of 8, so that all rows of a thread are swizzled alike.
    T* to = tile + row_ * Shape::step + swizzled<Shape::step>(row_, piece_);
    const std::int64_t stride = static_cast<std::int64_t>(Shape::rows_a_pass) * a_.inner;
#pragma unroll
    for (int i = 0; i < passes; ++i) {
      if (height % Shape::rows_a_pass != 0 && row_ + i * Shape::rows_a_pass >= height) break;
      cp_async_16(to + i * Shape::rows_a_pass * Shape::step, from + i * stride, i * Shape::rows_a_pass < rows);
    }
  }

  const ProductArguments<T>& a_;
  T* ring_;
  int row_, piece_, x_rows_, w_rows_;
  std::int64_t x_at_, w_at_;
  int images_[Shape::x_passes];
};

// The multiplying side: one warp's part of a tile.
template <typename T, typename Shape>
class Accumulator {
 public:
  static constexpr int tiles_down = Shape::warp_rows / 16, tiles_across = Shape::warp_columns / 8;

  PAELLA_DEVICE Accumulator() {
    const int warp = static_cast<int>(threadIdx.x) / warp_size, lane = static_cast<int>(threadIdx.x) % warp_size;
    row_ = warp / Shape::warps_across * Shape::warp_rows;
    column_ = warp % Shape::warps_across * Shape::warp_columns;
    // Rows that this lane gives to ldmatrix, of the first fragments; the others lie multiples of 16 rows further.
    const int x_row = row_ + lane % 16, w_row = column_ + lane / 16 * 8 + lane % 8;
    x_at_ = x_row * Shape::step;
    w_at_ = (Shape::rows + w_row) * Shape::step;
    x_piece_ = lane / 16;
    w_piece_ = lane / 8 % 2;
    swizzle_ = Shape::step == 64 ? lane & 7 : lane >> 1 & 3;  // of x_row and w_row alike
#pragma unroll
    for (int i = 0; i < tiles_down; ++i)
#pragma unroll
      for (int j = 0; j < tiles_across; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums_[i][j][e] = 0.0f;
  }

  // All steps of 16 of one stage.
  PAELLA_DEVICE void multiply(const T* stage) {
#pragma unroll
    for (int k = 0; k < Shape::step / 16; ++k) {
      std::uint32_t x[tiles_down][4], w[tiles_across / 2][4];
      const int x_offset = x_at_ + ((2 * k + x_piece_) ^ swizzle_) * 8;
      const int w_offset = w_at_ + ((2 * k + w_piece_) ^ swizzle_) * 8;
#pragma unroll
      for (int i = 0; i < tiles_down; ++i) ldmatrix_x4(x[i], stage + x_offset + i * 16 * Shape::step);
#pragma unroll
      for (int j = 0; j < tiles_across / 2; ++j) ldmatrix_x4(w[j], stage + w_offset + j * 16 * Shape::step);
#pragma unroll
      for (int j = 0; j < tiles_across / 2; ++j) {
        const std::uint32_t left[2] = {w[j][0], w[j][1]}, right[2] = {w[j][2], w[j][3]};
#pragma unroll
        for (int i = 0; i < tiles_down; ++i) {
          mma_16x8x16<T>(sums_[i][2 * j], x[i], left);
          mma_16x8x16<T>(sums_[i][2 * j + 1], x[i], right);
        }
      }
    }
  }

  PAELLA_DEVICE void write(float* out) const {
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
#pragma unroll
    for (int i = 0; i < tiles_down; ++i)
#pragma unroll
      for (int j = 0; j < tiles_across; ++j) {
        float* at = out + (row_ + i * 16 + lane / 4) * Shape::out_stride + column_ + j * 8 + lane % 4 * 2;
        store<2>(at, Vector<float, 2>{{sums_[i][j][0], sums_[i][j][1]}});
        store<2>(at + 8 * Shape::out_stride, Vector<float, 2>{{sums_[i][j][2], sums_[i][j][3]}});
      }
  }

 private:
  int row_, column_, x_at_, w_at_, x_piece_, w_piece_, swizzle_;
  float sums_[tiles_down][tiles_across][4];
};

// From sums in shared memory to results, by the block's first Shape::threads threads, which meet in `barrier`. Each
// keeps to 8 columns.
template <typename T, typename Shape, typename Meet>
PAELLA_DEVICE void finish_tile(const Finish& finish, float* tile, int first_row, int first_column, int rows,
                               int columns, Meet barrier) {
  constexpr int across = Shape::columns / 8, down = Shape::threads / across;
  const int thread = static_cast<int>(threadIdx.x), column = thread % across * 8;
  const int height = rows - first_row < Shape::rows ? rows - first_row : Shape::rows;
  if (thread < across * down && first_column + column < columns) {
    const Finisher<8, T> finisher(finish, first_column + column, columns);
    int row = thread / across;
    float residual[8] = {};
    if (row < height) finisher.read_residual(first_row + row, residual);
    for (; row < height; row += down) {
      float v[8], next[8] = {};
      if (row + down < height) finisher.read_residual(first_row + row + down, next);
      float* at = tile + row * Shape::out_stride + column;
      load_floats<8>(at, v);
      finisher.finish(first_row + row, v, residual);
      if (finish.sums != nullptr) store_floats<8>(at, v);
#pragma unroll
      for (int i = 0; i < 8; ++i) residual[i] = next[i];
    }
  }
  if (finish.sums == nullptr) return;
  barrier();
  for (int task = thread; task < Shape::rows / sum_run * Shape::columns; task += Shape::threads) {
    const int run = task / Shape::columns, c = task % Shape::columns;
    if (run * sum_run >= height || first_column + c >= columns) continue;
    const float* at = tile + run * sum_run * Shape::out_stride + c;
    float sum = 0;
#pragma unroll 8
    for (int row = 0; row < sum_run; ++row) sum = fmaf(at[row * Shape::out_stride], at[row * Shape::out_stride], sum);
    finish.sums[static_cast<std::int64_t>(first_row / sum_run + run) * columns + first_column + c] = sum;
  }
}

namespace {

template <typename T, typename Shape, Way way>
__global__ void __launch_bounds__(Shape::threads, Shape::blocks) product_kernel(const ProductArguments<T> a) {
  T* ring = reinterpret_cast<T*>(shared_memory());
  const int down = (a.rows + Shape::rows - 1) / Shape::rows, across = (a.columns + Shape::columns - 1) / Shape::columns;
  const TileAt tile = tile_at(static_cast<int>(blockIdx.x), down, across);
  const int first_row = tile.row * Shape::rows, first_column = tile.column * Shape::columns;
  const int part = static_cast<int>(blockIdx.y), begin = part * a.split;
  const int end = begin + a.split < a.inner ? begin + a.split : a.inner;
  const int pass = (end - begin + Shape::step - 1) / Shape::step;  // stages of one run along K
  const int count = way == Way::parts ? 3 * pass : pass;
  const Loader<T, Shape, way> loader(a, ring, first_row, first_column);

  const auto load_x = [&](int index, int slot) {
    if constexpr (way == Way::parts)
      loader.load_x(index < pass ? a.x_low : a.x, slot, begin + index % pass * Shape::step, end);
    else
      loader.load_x(a.x, slot, begin + index * Shape::step, end);
  };
  const auto load_w = [&](int index, int slot) {
    if constexpr (way == Way::parts)
      loader.load_w(index >= pass && index < 2 * pass ? a.w_low : a.w, slot, begin + index % pass * Shape::step, end);
    else
      loader.load_w(a.w, slot, begin + index * Shape::step, end);
  };

  // Weights never change: their first stages need not wait for the kernel before.
#pragma unroll
  for (int i = 0; i < Shape::stages - 1; ++i)
    if (i < count) load_w(i, i);
  wait_for_previous();
#pragma unroll
  for (int i = 0; i < Shape::stages - 1; ++i) {
    if (i < count) load_x(i, i);
    cp_async_commit();
  }
  float factors[8] = {};
  if constexpr (way == Way::scaled) loader.read_factors(begin, end, factors);

  Accumulator<T, Shape> sums;
  int slot = 0;
  for (int i = 0; i < count; ++i) {
    cp_async_wait<Shape::stages - 2>();
    if constexpr (way == Way::scaled) {
      loader.scale(slot, begin + i * Shape::step, end, factors);
      loader.read_factors(begin + (i + 1) * Shape::step, end, factors);
    }
    __syncthreads();  // stage i is there for all, and stage i − 1 has been read by all
    const int next = i + Shape::stages - 1;
    if (next < count) {
      const int free_slot = slot == 0 ? Shape::stages - 1 : slot - 1;
      load_x(next, free_slot);
      load_w(next, free_slot);
    }
    cp_async_commit();
    sums.multiply(ring + slot * Shape::stage);
    slot = slot + 1 == Shape::stages ? 0 : slot + 1;
  }
  cp_async_wait<0>();
  let_next_begin();
  __syncthreads();

  auto* out = reinterpret_cast<float*>(shared_memory());
  sums.write(out);
  __syncthreads();
  Finish finish = a.finish;
  if (finish.output == Output::partial)
    finish.out = static_cast<float*>(finish.out) + static_cast<std::int64_t>(part) * a.rows * a.columns;
  finish_tile<T, Shape>(finish, out, first_row, first_column, a.rows, a.columns, [] { __syncthreads(); });
}

// Adds up the parts of K in order: parts [count, M, N]. One thread per 8 columns of a row.
template <typename T>
__global__ void __launch_bounds__(256)
    add_parts_kernel(const float* parts, int count, int rows, int columns, const Finish finish) {
  wait_for_previous();
  let_next_begin();
  const int across = (columns + 7) / 8;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= static_cast<std::int64_t>(rows) * across) return;
  const std::int64_t row = index / across;
  const int column = static_cast<int>(index % across) * 8;
  const Finisher<8, T> finisher(finish, column, columns);
  float v[8], residual[8] = {};
  finisher.read_residual(row, residual);
  const float* from = parts + row * columns + column;
  read_columns<8>(from, columns - column, columns % 8 == 0, v);
#pragma unroll 4
  for (int part = 1; part < count; ++part) {
    float more[8];
    read_columns<8>(from + static_cast<std::int64_t>(part) * rows * columns, columns - column, columns % 8 == 0, more);
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] += more[i];
  }
  finisher.finish(row, v, residual);
}

// x = high + low, to 16 bits.
template <typename T>
__global__ void __launch_bounds__(256) split_kernel(const float* x, std::int64_t count, T* high, T* low) {
  wait_for_previous();
  let_next_begin();
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
  if (at >= count) return;
  float v[8], rest[8];
  load_floats<8>(x + at, v);
#pragma unroll
  for (int i = 0; i < 8; ++i) rest[i] = v[i] - to_float(from_float<T>(v[i]));
  store_floats<8>(high + at, v);
  store_floats<8>(low + at, rest);
}

}  // namespace

}  // namespace paella::cuda
