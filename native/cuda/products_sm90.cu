// Products on Hopper's warpgroup instructions (wgmma), taken instead of products.cu's if PAELLA_CUDA_PRODUCTS=wgmma.
//
// NEVER RUN ON HARDWARE. It compiles for sm_90a; nothing more is known. It is not part of the tests that run kernels on
// the CPU, which know no wgmma. Before it becomes the default it has to pass those of products_test.cpp on a GPU.
//
// The same tiles in shared memory as products.cuh (steps of 64: the swizzle there is wgmma's swizzle of 128 bytes), the
// same copies, the same end; only the products between are the warpgroups' own. One product is in flight while the next
// stage is waited for. Copies are still the threads' (cp.async), not the tensor copy engine's, because factors are
// applied by the thread that copied; that, and clusters that share weights, are the next things to try.
#include "cuda/products_sm90.h"

#include <cstdlib>
#include <cstring>

#include "cuda/kernels/wgmma.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

namespace {

// Two warpgroups, one above the other: each warp owns 16 rows of all columns, as wgmma has it.
template <int Columns>
using WideTile = Tile<128, Columns, 64, 4, 8, 1>;
constexpr std::size_t alignment = 1024;

template <typename T, typename Shape, Way way>
__global__ void __launch_bounds__(Shape::threads, 1) wgmma_product_kernel(const ProductArguments<T> a) {
  static_assert(Shape::step == 64 && Shape::stages >= 3);
  unsigned char* memory = shared_memory();
  memory += (alignment - shared_address(memory) % alignment) % alignment;
  T* ring = reinterpret_cast<T*>(memory);
  const int down = (a.rows + Shape::rows - 1) / Shape::rows, across = (a.columns + Shape::columns - 1) / Shape::columns;
  const TileAt tile = tile_at(static_cast<int>(blockIdx.x), down, across);
  const int first_row = tile.row * Shape::rows, first_column = tile.column * Shape::columns;
  const int part = static_cast<int>(blockIdx.y), begin = part * a.split;
  const int end = begin + a.split < a.inner ? begin + a.split : a.inner;
  const int count = (end - begin + Shape::step - 1) / Shape::step;
  const Loader<T, Shape, way> loader(a, ring, first_row, first_column);

  // Two stages fewer than there are: the tensor cores may still read the last one.
  constexpr int ahead = Shape::stages - 2;
#pragma unroll
  for (int i = 0; i < ahead; ++i)
    if (i < count) loader.load_w(a.w, i, begin + i * Shape::step, end);
  wait_for_previous();
#pragma unroll
  for (int i = 0; i < ahead; ++i) {
    if (i < count) loader.load_x(a.x, i, begin + i * Shape::step, end);
    cp_async_commit();
  }
  float factors[8] = {};
  if constexpr (way == Way::scaled) loader.read_factors(begin, end, factors);

  float sums[Shape::columns / 2] = {};
  const int warp = static_cast<int>(threadIdx.x) / warp_size, lane = static_cast<int>(threadIdx.x) % warp_size;
  int slot = 0;
  hold(sums);
  for (int i = 0; i < count; ++i) {
    cp_async_wait<ahead - 1>();
    if constexpr (way == Way::scaled) {
      loader.scale(slot, begin + i * Shape::step, end, factors);
      loader.read_factors(begin + (i + 1) * Shape::step, end, factors);
    }
    fence_for_wgmma();
    __syncthreads();  // stage i is there for all, and the products of stage i − 2 are done for all
    const T* stage = ring + slot * Shape::stage;
    const std::uint64_t x = wgmma_descriptor(stage + warp / 4 * 64 * Shape::step);
    const std::uint64_t w = wgmma_descriptor(stage + Shape::rows * Shape::step);
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < Shape::step / 16; ++k) wgmma_64xNx16<T>(sums, x + 2 * k, w + 2 * k);
    wgmma_commit();
    wgmma_wait<1>();
    const int next = i + ahead;
    if (next < count) {
      const int free_slot = slot + ahead >= Shape::stages ? slot + ahead - Shape::stages : slot + ahead;
      loader.load_x(a.x, free_slot, begin + next * Shape::step, end);
      loader.load_w(a.w, free_slot, begin + next * Shape::step, end);
    }
    cp_async_commit();
    slot = slot + 1 == Shape::stages ? 0 : slot + 1;
  }
  wgmma_wait<0>();
  hold(sums);
  cp_async_wait<0>();
  let_next_begin();
  __syncthreads();

  auto* out = reinterpret_cast<float*>(memory);
#pragma unroll
  for (int j = 0; j < Shape::columns / 8; ++j) {
    float* at = out + (warp * 16 + lane / 4) * Shape::out_stride + j * 8 + lane % 4 * 2;
    store<2>(at, Vector<float, 2>{{sums[4 * j], sums[4 * j + 1]}});
    store<2>(at + 8 * Shape::out_stride, Vector<float, 2>{{sums[4 * j + 2], sums[4 * j + 3]}});
  }
  __syncthreads();
  Finish finish = a.finish;
  if (finish.output == Output::partial)
    finish.out = static_cast<float*>(finish.out) + static_cast<std::int64_t>(part) * a.rows * a.columns;
  finish_tile<T, Shape>(finish, out, first_row, first_column, a.rows, a.columns);
}

template <typename T, int columns>
void launch_tile(Runtime& runtime, const ProductArguments<T>& a, int parts) {
  using Shape = WideTile<columns>;
  const std::int64_t blocks = ceil_div(a.rows, Shape::rows) * ceil_div(a.columns, Shape::columns);
  const auto kernel =
      a.factors != nullptr ? wgmma_product_kernel<T, Shape, Way::scaled> : wgmma_product_kernel<T, Shape, Way::plain>;
  launch(runtime, kernel, grid(blocks, parts), Shape::threads, Shape::shared_bytes + alignment, a);
}

// The width whose waves cost least: a stage of a tile takes as long as its operands need from L2 or its products need
// (2,048 multiply-adds a clock). A prediction.
template <typename T>
void launch_best(Runtime& runtime, const ProductArguments<T>& a, int parts) {
  constexpr int widths[] = {128, 160, 256};
  int best = widths[0];
  double least = 0;
  for (const int width : widths) {
    const std::int64_t tiles = ceil_div(a.rows, 128) * ceil_div(a.columns, width) * parts;
    const double multiply = 128.0 * width / 2048, load = (128.0 + width) * 2 / 28;
    const double clocks = static_cast<double>(ceil_div(tiles, runtime.device().multiprocessors)) *
                          (a.split * (multiply > load ? multiply : load) + 1500);
    if (width == widths[0] || clocks < least) {
      best = width;
      least = clocks;
    }
  }
  if (best == 128) return launch_tile<T, 128>(runtime, a, parts);
  if (best == 160) return launch_tile<T, 160>(runtime, a, parts);
  launch_tile<T, 256>(runtime, a, parts);
}

}  // namespace

bool wgmma_wanted(const DeviceInfo& device) {
  static const bool asked = [] {
    const char* value = std::getenv("PAELLA_CUDA_PRODUCTS");
    return value != nullptr && std::strcmp(value, "wgmma") == 0;
  }();
  return asked && device.major == 9 && device.minor == 0;
}

void launch_wgmma(Runtime& runtime, const ProductArguments<bf16>& arguments, int parts) {
  launch_best(runtime, arguments, parts);
}
void launch_wgmma(Runtime& runtime, const ProductArguments<f16>& arguments, int parts) {
  launch_best(runtime, arguments, parts);
}

}  // namespace paella::cuda
