// A GPU on the CPU: what kernels in native/cuda/ need of CUDA, for tests on machines without one.
//
// Every thread of a block is a fiber; blocks run one after another on each core. Collectives (barriers, shuffles,
// matrix loads and products) wait for all threads of the block or the warp, as the hardware's do; one that some thread
// never reaches is an error that names the kernel's block, not a hang. Shared memory begins as NaN, asynchronous copies
// arrive only when they are waited for, and threads take turns from the first or from the last on, by block and
// launch: so that what a GPU shows now and then (a barrier that is missing), tests show always. What this cannot show:
// memory that is not coherent, kernels that overlap, timing.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

namespace paella::cuda {
class Runtime;
}

namespace paella::simt {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// Where the running thread is. Read at every turn, hence no functions of simt.cpp.
struct Place {
  Index thread, block, block_size, grid_size;
};
extern constinit thread_local Place place;
inline const Index& this_thread() { return place.thread; }
inline const Index& this_block() { return place.block; }
inline const Index& block_size() { return place.block_size; }
inline const Index& grid_size() { return place.grid_size; }

void block_barrier();
unsigned char* dynamic_shared();

// What the lanes of a warp show each other in one collective.
using Slot = std::array<std::uint32_t, 8>;
// Shows `mine`, waits for the warp, and gives everybody's: [32].
const Slot* exchange(const Slot& mine);

float half_to_float(std::uint16_t bits);
std::uint16_t float_to_half(float value);
std::uint16_t float_to_bfloat(float value);

// Ends the process if `pointer` is no multiple of `bytes`.
void misaligned(const void* pointer, std::size_t bytes);
inline void check_aligned(const void* pointer, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % bytes != 0) misaligned(pointer, bytes);
}

void cp_async_16(void* shared, const void* global, bool valid);
void cp_async_commit();
void cp_async_wait(int groups_in_flight);
void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared, bool transposed);

template <typename ToFloat>
void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], ToFloat to_float) {
  const Slot* lanes = exchange({a[0], a[1], a[2], a[3], b[0], b[1]});
  const unsigned lane = this_thread().x % 32, group = lane / 4, pair = lane % 4;
  // Tiles reach beyond the matrix: most of what small tests multiply is zeros. Not skipped: zero times what was never
  // written, which is NaN here as it may be there.
  std::uint32_t rows = 0, columns = 0;
  bool poison = false;
  const auto look = [&](std::uint32_t word, std::uint32_t& all) {
    all |= word;
    poison = poison || (word & 0xffff) == 0xffff || word >> 16 == 0xffff;
  };
  for (unsigned i = 0; i < 4; ++i) {
    for (unsigned j = 0; j < 4; ++j) look(lanes[group * 4 + i][j], rows);
    for (unsigned j = 0; j < 2; ++j)
      for (unsigned column = 0; column < 2; ++column) look(lanes[(pair * 2 + column) * 4 + i][4 + j], columns);
  }
  if ((rows == 0 || columns == 0) && !poison) return;
  const auto half = [&](std::uint32_t word, unsigned high) {
    return to_float(static_cast<std::uint16_t>(high ? word >> 16 : word & 0xffff));
  };
  for (unsigned k = 0; k < 16; ++k) {
    const unsigned owner = k % 8 / 2, upper = k / 8;
    for (unsigned row = 0; row < 2; ++row) {
      const float left = half(lanes[group * 4 + owner][upper * 2 + row], k % 2);
      for (unsigned column = 0; column < 2; ++column)
        d[row * 2 + column] += left * half(lanes[(pair * 2 + column) * 4 + owner][4 + upper], k % 2);
    }
  }
}

// --- Hopper: see native/cuda/hopper.cuh. Copies of tiles and warpgroup products are done at once or at the last moment,
// by block and launch: what is read too early, or overwritten too early, shows in one of both. ---

// A matrix [rows, inner] of 16-bit elements, of which boxes of 64 columns are copied.
struct TensorMap {
  const void* data = nullptr;
  std::int64_t inner = 0, rows = 0;
  int box_rows = 0;
};
std::uint32_t shared_address(const void* pointer);
const unsigned char* shared_memory_at(std::uint32_t address);
// Where a byte of a tile with rows of 128 bytes lies.
inline std::uint32_t swizzled_128(std::uint32_t address) { return address ^ (address >> 7 & 7) << 4; }
void barrier_init(const void* barrier, unsigned arrivals);
void barrier_expect(const void* barrier, unsigned bytes);
void barrier_arrive(const void* barrier, unsigned rank);
void barrier_wait(const void* barrier, unsigned parity);
void tma_load(void* shared, const TensorMap& map, int inner, int row, const void* barrier, unsigned mask);
unsigned cluster_rank();
void cluster_barrier();
void barrier_of(unsigned threads);
void product_begin(std::function<void()> product);
void product_commit();
void product_wait(int groups_in_flight);

template <typename T>
T shuffle(T value, unsigned source) {
  static_assert(sizeof(T) <= sizeof(Slot));
  Slot mine{};
  std::memcpy(&mine, &value, sizeof(T));
  T result;
  std::memcpy(&result, exchange(mine) + source % 32, sizeof(T));
  return result;
}

// A kernel with its arguments.
struct Kernel {
  Index grid;
  int threads = 1, cluster = 1;  // `cluster` blocks, neighbours along x, run together
  std::size_t shared_bytes = 0;
  std::function<void()> body;
};
void run_now(const Kernel& kernel);
// Runs the kernel now, or adds it to the graph that `runtime` is capturing.
void run_or_record(cuda::Runtime& runtime, Kernel kernel);

}  // namespace paella::simt

// --- CUDA's words ---

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static thread_local
#define threadIdx (::paella::simt::this_thread())
#define blockIdx (::paella::simt::this_block())
#define blockDim (::paella::simt::block_size())
#define gridDim (::paella::simt::grid_size())

inline void __syncthreads() { ::paella::simt::block_barrier(); }
inline void __syncwarp() { ::paella::simt::exchange({}); }
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return ::paella::simt::shuffle(value, threadIdx.x ^ static_cast<unsigned>(mask));
}
template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  return ::paella::simt::shuffle(value, static_cast<unsigned>(lane));
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
using std::max;
using std::memcpy;
using std::min;
