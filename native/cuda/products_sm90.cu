// Products on Hopper's own instructions: tiles come by the tensor copy engine (TMA), are multiplied by warpgroups
// (wgmma), and the blocks of a cluster share what they read: those one above the other the tile of the weights, those
// side by side the tile of x; each fetches a part of it for all.
//
// One thread, of a warpgroup that gives its registers to the others, asks for tiles; the others multiply: 64 rows of
// the tile a warpgroup. Two barriers a stage: `full`, when the bytes of a stage have come, `empty`, when all warps have
// read it into whose blocks this one writes. Factors (GRN) are applied on the way from shared memory to registers, from
// where wgmma takes x, too.
//
// NEVER RUN ON HARDWARE. The emulation in test/simt/ runs it with copies and products that are done at the first or at
// the last moment. Taken instead of products.cu's if PAELLA_CUDA_PRODUCTS=wgmma, see products_of().
#include "cuda/products_sm90.h"

#include "cuda/kernels/wgmma.cuh"
#include "cuda/launch.cuh"
#include "cuda/product_table.h"

namespace paella::cuda {

namespace {

template <int Rows, int Columns, int Stages, int Down, int Across>
struct HopperTile {
  static constexpr int rows = Rows, columns = Columns, step = tile_width, stages = Stages;
  static constexpr int down = Down, across = Across, cluster = Down * Across;
  static constexpr int x_share = Rows / Across, w_share = Columns / Down;  // rows that a block fetches
  static constexpr int warps = Rows / 16, threads = 32 * warps;            // that multiply
  static_assert(Rows % 64 == 0 && Rows % sum_run == 0 && Columns % 8 == 0);
  // 384 threads begin with 168 registers each; 256 have all that a thread can have.
  static constexpr bool moves_registers = threads + 128 > 256;
  static constexpr int x_bytes = Rows * step * 2, w_bytes = Columns * step * 2, stage_bytes = x_bytes + w_bytes;
  static constexpr int out_stride = Columns + 8;  // as in products.cuh
  static constexpr int ring_bytes = Stages * stage_bytes, out_bytes = Rows * out_stride * 4;
  static constexpr int barriers_at = ring_bytes > out_bytes ? ring_bytes : out_bytes;
  static constexpr int alignment = 1024;
  static constexpr int shared_bytes = alignment + barriers_at + 2 * Stages * 8;
  static_assert(x_share * Across == Rows && w_share * Down == Columns && barriers_at % 8 == 0);
  static_assert(x_share * 128 % alignment == 0 && w_share * 128 % alignment == 0);
  static_assert(shared_bytes <= 227 * 1024);
};

template <typename T>
struct HopperArguments {
  TensorMap x, w;  // boxes of a block's share
  ProductArguments<T> product;
};

// The ring of stages, as both sides see it.
template <typename Shape>
struct Ring {
  unsigned char* stages;
  Barrier* full;
  Barrier* empty;

  PAELLA_DEVICE explicit Ring(unsigned char* memory)
      : stages(memory), full(reinterpret_cast<Barrier*>(memory + Shape::barriers_at)), empty(full + Shape::stages) {}
  PAELLA_DEVICE unsigned char* x(int slot) const { return stages + slot * Shape::stage_bytes; }
  PAELLA_DEVICE unsigned char* w(int slot) const { return x(slot) + Shape::x_bytes; }
};

// Stage after stage: the slot in the ring, and the parity of its barriers' phases.
template <typename Shape>
struct Turn {
  int slot = 0;
  unsigned parity = 0;
  PAELLA_DEVICE void next() {
    if (++slot < Shape::stages) return;
    slot = 0;
    parity ^= 1;
  }
};

// Where a block is in its cluster.
template <typename Shape>
struct Seat {
  int down, across;
  PAELLA_DEVICE Seat() {
    const int rank = Shape::cluster > 1 ? static_cast<int>(cluster_rank()) : 0;
    down = rank % Shape::down;
    across = rank / Shape::down;
  }
  // The blocks beside this one and itself, and those above and below and itself: one bit each.
  PAELLA_DEVICE unsigned beside() const {
    unsigned blocks = 0;
    for (int i = 0; i < Shape::across; ++i) blocks |= 1u << (i * Shape::down + down);
    return blocks;
  }
  PAELLA_DEVICE unsigned above() const { return ((1u << Shape::down) - 1) << (across * Shape::down); }
};

// The asking side: one thread.
template <typename T, typename Shape>
class Fetcher {
 public:
  PAELLA_DEVICE Fetcher(const HopperArguments<T>& a, const Ring<Shape>& ring, int first_row, int first_column)
      : a_(a), ring_(ring) {
    const Seat<Shape> seat;
    x_part_ = seat.across * Shape::x_share;
    w_part_ = seat.down * Shape::w_share;
    x_row_ = first_row + x_part_;
    w_row_ = first_column + w_part_;
    beside_ = seat.beside();
    above_ = seat.above();
  }

  // K from `begin` on, `count` stages.
  PAELLA_DEVICE void run(int begin, int count) const {
    // Weights never change: their first stages need not wait for the kernel before.
    const int ahead = count < Shape::stages ? count : Shape::stages;
    for (int i = 0; i < ahead; ++i) {
      barrier_expect(ring_.full + i, Shape::stage_bytes);
      fetch_w(i, begin + i * Shape::step);
    }
    wait_for_previous();
    for (int i = 0; i < ahead; ++i) fetch_x(i, begin + i * Shape::step);
    Turn<Shape> turn;
    for (int i = ahead; i < count; ++i) {
      barrier_wait(ring_.empty + turn.slot, turn.parity);
      barrier_expect(ring_.full + turn.slot, Shape::stage_bytes);
      fetch_w(turn.slot, begin + i * Shape::step);
      fetch_x(turn.slot, begin + i * Shape::step);
      turn.next();
    }
  }

 private:
  PAELLA_DEVICE void fetch_x(int slot, int k) const {
    unsigned char* to = ring_.x(slot) + x_part_ * 128;
    if constexpr (Shape::across > 1)
      tma_load(to, a_.x, k, x_row_, ring_.full + slot, static_cast<std::uint16_t>(beside_));
    else
      tma_load(to, a_.x, k, x_row_, ring_.full + slot);
  }
  PAELLA_DEVICE void fetch_w(int slot, int k) const {
    unsigned char* to = ring_.w(slot) + w_part_ * 128;
    if constexpr (Shape::down > 1)
      tma_load(to, a_.w, k, w_row_, ring_.full + slot, static_cast<std::uint16_t>(above_));
    else
      tma_load(to, a_.w, k, w_row_, ring_.full + slot);
  }

  const HopperArguments<T>& a_;
  const Ring<Shape>& ring_;
  int x_part_, w_part_, x_row_, w_row_;
  unsigned beside_, above_;
};

// This warp has read a slot: every block that writes into it hears of it.
template <typename Shape>
PAELLA_DEVICE void release(const Ring<Shape>& ring, int slot) {
  const unsigned lane = threadIdx.x % warp_size;
  const Seat<Shape> seat;
  if (lane < Shape::cluster && ((seat.beside() | seat.above()) >> lane & 1) != 0)
    barrier_arrive(ring.empty + slot, lane);
}

// x as it is: both operands from shared memory, one stage's products in flight while the next is waited for.
template <typename T, typename Shape>
PAELLA_DEVICE void multiply_tiles(const Ring<Shape>& ring, int count, float (&sums)[Shape::columns / 2]) {
  const int group = static_cast<int>(threadIdx.x) / 128;
  Turn<Shape> turn;
  int before = 0;
  hold(sums);
  for (int i = 0; i < count; ++i) {
    barrier_wait(ring.full + turn.slot, turn.parity);
    const std::uint64_t x = wgmma_descriptor(ring.x(turn.slot) + group * 64 * Shape::step * 2);
    const std::uint64_t w = wgmma_descriptor(ring.w(turn.slot));
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < Shape::step / 16; ++k) wgmma<T>(sums, x + 2 * k, w + 2 * k);
    wgmma_commit();
    wgmma_wait<1>();
    if (i > 0) release(ring, before);
    before = turn.slot;
    turn.next();
  }
  wgmma_wait<0>();
  hold(sums);
}

// A warp's 16 rows of x in registers, multiplied by the factors of their images.
template <typename T, typename Shape>
class ScaledRows {
 public:
  static constexpr int steps = Shape::step / 16;
  using Registers = std::uint32_t[steps][4];

  PAELLA_DEVICE ScaledRows(const ProductArguments<T>& a, int first_row, int begin, int end) : a_(a), end_(end) {
    const int warp = static_cast<int>(threadIdx.x) / warp_size, lane = static_cast<int>(threadIdx.x) % warp_size;
    row_ = warp * 16 + lane % 16;  // given to ldmatrix
    piece_ = lane / 16;
    column_ = begin + lane % 4 * 2;
    upper_ = image_of(first_row + warp * 16 + lane / 4);
    lower_ = image_of(first_row + warp * 16 + lane / 4 + 8);
    read_factors();
  }

  // The next stage, which has arrived.
  PAELLA_DEVICE void read(const unsigned char* tile, Registers& x) {
    const T* row = reinterpret_cast<const T*>(tile) + row_ * Shape::step;
#pragma unroll
    for (int k = 0; k < steps; ++k) {
      ldmatrix_x4(x[k], row + swizzled<Shape::step>(row_, 2 * k + piece_));
      float lower[4];
      if (lower_ != upper_) {
        read_factors_of(lower_, column_ + k * 16, lower);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) lower[j] = factors_[k][j];
      }
      x[k][0] = scaled(x[k][0], factors_[k][0], factors_[k][1]);
      x[k][1] = scaled(x[k][1], lower[0], lower[1]);
      x[k][2] = scaled(x[k][2], factors_[k][2], factors_[k][3]);
      x[k][3] = scaled(x[k][3], lower[2], lower[3]);
    }
    column_ += Shape::step;
    read_factors();
  }

 private:
  PAELLA_DEVICE int image_of(int row) const {
    return (a_.pixel_offset + (row < a_.rows ? row : a_.rows - 1)) / a_.pixels;
  }
  // Of columns `at`, the next, and both 8 further.
  PAELLA_DEVICE void read_factors_of(int image, int at, float (&to)[4]) const {
    const float* from = a_.factors + static_cast<std::int64_t>(image) * a_.inner + at;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Vector<float, 2> pair{};
      if (at + half * 8 < end_) pair = load<2>(from + half * 8);
      to[half * 2] = pair.v[0];
      to[half * 2 + 1] = pair.v[1];
    }
  }
  PAELLA_DEVICE void read_factors() {
#pragma unroll
    for (int k = 0; k < steps; ++k) read_factors_of(upper_, column_ + k * 16, factors_[k]);
  }
  PAELLA_DEVICE static std::uint32_t scaled(std::uint32_t pair, float left, float right) {
    return pack2<T>(to_float(T{static_cast<std::uint16_t>(pair & 0xffff)}) * left,
                    to_float(T{static_cast<std::uint16_t>(pair >> 16)}) * right);
  }

  const ProductArguments<T>& a_;
  int end_, row_, piece_, column_, upper_, lower_;
  float factors_[steps][4];  // of the next stage, for the upper row's image
};

// x multiplied by factors: the next stage's x is prepared while this one's products run.
template <typename T, typename Shape>
PAELLA_DEVICE void multiply_scaled_tiles(const Ring<Shape>& ring, ScaledRows<T, Shape>& rows, int count,
                                         float (&sums)[Shape::columns / 2]) {
  using Rows = ScaledRows<T, Shape>;
  typename Rows::Registers x, next;
  Turn<Shape> turn;
  barrier_wait(ring.full, 0);
  rows.read(ring.x(0), x);
  hold(sums);
  for (int i = 0; i < count; ++i) {
    const int slot = turn.slot;
    const std::uint64_t w = wgmma_descriptor(ring.w(slot));
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < Rows::steps; ++k) wgmma<T>(sums, x[k], w + 2 * k);
    wgmma_commit();
    turn.next();
    if (i + 1 < count) {
      barrier_wait(ring.full + turn.slot, turn.parity);
      rows.read(ring.x(turn.slot), next);
    }
    wgmma_wait<0>();
#pragma unroll
    for (int k = 0; k < Rows::steps; ++k) {
      hold(x[k]);
#pragma unroll
      for (int j = 0; j < 4; ++j) x[k][j] = next[k][j];
    }
    release(ring, slot);
  }
  hold(sums);
}

// Where a block is in the result, and which part of K is its own.
struct Place {
  int first_row, first_column, part, begin, end, count;  // `count` stages
};
template <typename T, typename Shape>
PAELLA_DEVICE Place place_of(const ProductArguments<T>& a) {
  // Whole clusters: the last may reach beyond the matrix, where copies bring zeros and nothing is written.
  constexpr int rows = Shape::rows * Shape::down, columns = Shape::columns * Shape::across;
  const int down = (a.rows + rows - 1) / rows, across = (a.columns + columns - 1) / columns;
  const TileAt cluster = tile_at(static_cast<int>(blockIdx.x) / Shape::cluster, down, across);
  const Seat<Shape> seat;
  const int part = static_cast<int>(blockIdx.y), begin = part * a.split;
  const int end = begin + a.split < a.inner ? begin + a.split : a.inner;
  return {cluster.row * rows + seat.down * Shape::rows,
          cluster.column * columns + seat.across * Shape::columns,
          part,
          begin,
          end,
          (end - begin + Shape::step - 1) / Shape::step};
}

template <typename Shape>
PAELLA_DEVICE void meet_cluster() {
  if constexpr (Shape::cluster > 1)
    cluster_barrier();
  else
    __syncthreads();
}

// From the sums to the results: the multiplying threads only.
template <typename T, typename Shape>
PAELLA_DEVICE void write_tile(const ProductArguments<T>& a, const Place& place, unsigned char* memory,
                              const float (&sums)[Shape::columns / 2]) {
  const int warp = static_cast<int>(threadIdx.x) / warp_size, lane = static_cast<int>(threadIdx.x) % warp_size;
  auto* out = reinterpret_cast<float*>(memory);
#pragma unroll
  for (int j = 0; j < Shape::columns / 8; ++j) {
    float* at = out + (warp * 16 + lane / 4) * Shape::out_stride + j * 8 + lane % 4 * 2;
    store<2>(at, Vector<float, 2>{{sums[4 * j], sums[4 * j + 1]}});
    store<2>(at + 8 * Shape::out_stride, Vector<float, 2>{{sums[4 * j + 2], sums[4 * j + 3]}});
  }
  barrier_of<Shape::threads>();
  Finish finish = a.finish;
  if (finish.output == Output::partial)
    finish.out = static_cast<float*>(finish.out) + static_cast<std::int64_t>(place.part) * a.rows * a.columns;
  finish_tile<T, Shape>(finish, out, place.first_row, place.first_column, a.rows, a.columns,
                        [] { barrier_of<Shape::threads>(); });
}

template <typename T, typename Shape, Way way>
__global__ void __launch_bounds__(Shape::threads + 128, 1)
    hopper_product_kernel(const __grid_constant__ HopperArguments<T> arguments) {
  const ProductArguments<T>& a = arguments.product;
  unsigned char* memory = shared_memory();
  memory += (Shape::alignment - shared_address(memory) % Shape::alignment) % Shape::alignment;
  const Ring<Shape> ring(memory);
  const Place place = place_of<T, Shape>(a);
  if (threadIdx.x == 0) {
    prefetch_map(arguments.x);
    prefetch_map(arguments.w);
    for (int i = 0; i < Shape::stages; ++i) {
      barrier_init(ring.full + i, 1);
      barrier_init(ring.empty + i, Shape::warps * (Shape::down + Shape::across - 1));
    }
    fence_barrier_init();
  }
  meet_cluster<Shape>();

  // The end of both sides: all have read all stages, and nobody's copies or arrivals come here any more.
  if (threadIdx.x >= Shape::threads) {
    if constexpr (Shape::moves_registers) keep_registers<40>();
    if (threadIdx.x == Shape::threads)
      Fetcher<T, Shape>(arguments, ring, place.first_row, place.first_column).run(place.begin, place.count);
    __syncwarp();
    let_next_begin();
    meet_cluster<Shape>();
  } else {
    if constexpr (Shape::moves_registers) take_registers<232>();
    wait_for_previous();
    float sums[Shape::columns / 2] = {};
    if constexpr (way == Way::scaled) {
      ScaledRows<T, Shape> rows(a, place.first_row, place.begin, place.end);
      multiply_scaled_tiles(ring, rows, place.count, sums);
    } else {
      multiply_tiles<T>(ring, place.count, sums);
    }
    let_next_begin();
    meet_cluster<Shape>();
    write_tile<T, Shape>(a, place, memory, sums);
  }
}

template <typename T, int index = 0>
void launch_tile(Runtime& runtime, const ProductArguments<T>& a, int tile, int parts) {
  if constexpr (index < static_cast<int>(std::size(product_tile_list))) {
    constexpr ProductTile one = product_tile_list[index];
    if constexpr (one.instruction == Instruction::wgmma) {
      if (tile == index) {
        using Shape = HopperTile<one.rows, one.columns, one.stages, one.cluster_down, one.cluster_across>;
        const std::int64_t clusters =
            ceil_div(a.rows, Shape::rows * Shape::down) * ceil_div(a.columns, Shape::columns * Shape::across);
        const HopperArguments<T> arguments{tensor_map(a.x, a.rows, a.inner, Shape::x_share),
                                           tensor_map(a.w, a.columns, a.inner, Shape::w_share), a};
        const auto kernel = a.factors != nullptr ? hopper_product_kernel<T, Shape, Way::scaled>
                                                 : hopper_product_kernel<T, Shape, Way::plain>;
        return launch_clusters(runtime, kernel, Shape::cluster, grid(clusters * Shape::cluster, parts),
                               Shape::threads + 128, Shape::shared_bytes, arguments);
      }
    }
    launch_tile<T, index + 1>(runtime, a, tile, parts);
  } else {
    fail(ErrorCode::internal, "product: expected a tile of wgmma, got ", tile);
  }
}

}  // namespace

void launch_wgmma(Runtime& runtime, const ProductArguments<bf16>& arguments, int tile, int parts) {
  launch_tile(runtime, arguments, tile, parts);
}
void launch_wgmma(Runtime& runtime, const ProductArguments<f16>& arguments, int tile, int parts) {
  launch_tile(runtime, arguments, tile, parts);
}

}  // namespace paella::cuda
