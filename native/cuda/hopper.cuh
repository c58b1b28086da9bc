// What Hopper adds to device.cuh: the tensor copy engine (TMA), barriers in shared memory that count bytes, and
// clusters of blocks that see each other's shared memory. For kernels compiled for sm_90a; test/simt/ emulates all of
// it.
//
// A tile: rows of 64 elements of 16 bits (128 bytes), whose 16-byte pieces are exchanged by row % 8 (the swizzle of 128
// bytes), at a multiple of 1024 bytes: what wgmma reads without meeting a bank twice.
#pragma once

#include "cuda/device.cuh"

#if !defined(PAELLA_SIMT)
#include <cuda.h>
#endif

namespace paella::cuda {

inline constexpr int tile_width = 64;

// In shared memory. A phase ends when all arrivals and all bytes that are expected in it have come.
using Barrier = std::uint64_t;

#if defined(PAELLA_SIMT)

using TensorMap = simt::TensorMap;

// By one thread; before others use it, fence_barrier_init() and a barrier of the block or the cluster.
PAELLA_DEVICE void barrier_init(Barrier* barrier, unsigned arrivals) { simt::barrier_init(barrier, arrivals); }
PAELLA_DEVICE void fence_barrier_init() {}
// Arrives, and expects so many bytes more in this phase.
PAELLA_DEVICE void barrier_expect(Barrier* barrier, unsigned bytes) { simt::barrier_expect(barrier, bytes); }
// Arrives at the same place in the shared memory of the cluster's block `rank`.
PAELLA_DEVICE void barrier_arrive(Barrier* barrier, unsigned rank) { simt::barrier_arrive(barrier, rank); }
// Until the phase of this parity has ended; the phases are 0, 1, 0, …, and the one "before" the first has ended.
PAELLA_DEVICE void barrier_wait(Barrier* barrier, unsigned parity) { simt::barrier_wait(barrier, parity); }

// Starts the copy of a tile, from column `inner` of row `row` on, into the shared memory of every block of the cluster
// whose bit is set in `blocks`, at the same place; each one's barrier at the same place hears of its bytes. What lies
// outside the matrix arrives as zeros, and counts.
PAELLA_DEVICE void tma_load(void* shared, const TensorMap& map, int inner, int row, Barrier* barrier,
                            std::uint16_t blocks) {
  simt::tma_load(shared, map, inner, row, barrier, blocks);
}
// The same into this block only, which need not know its rank.
PAELLA_DEVICE void tma_load(void* shared, const TensorMap& map, int inner, int row, Barrier* barrier) {
  simt::tma_load(shared, map, inner, row, barrier, 1u << simt::cluster_rank());
}
PAELLA_DEVICE void prefetch_map(const TensorMap&) {}

PAELLA_DEVICE unsigned cluster_rank() { return simt::cluster_rank(); }
// For all threads of the cluster; what was written to shared memory before is seen after.
PAELLA_DEVICE void cluster_barrier() { simt::cluster_barrier(); }
// For the block's first `threads` threads, a multiple of 32.
template <int threads>
PAELLA_DEVICE void barrier_of() {
  simt::barrier_of(threads);
}
// What a warpgroup needs of the registers that the launch gave to all alike: multiples of 8. All its threads, at the
// beginning of its branch of the kernel.
template <int count>
PAELLA_DEVICE void keep_registers() {}
template <int count>
PAELLA_DEVICE void take_registers() {}

#else

using TensorMap = CUtensorMap;

PAELLA_DEVICE void barrier_init(Barrier* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
PAELLA_DEVICE void fence_barrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
PAELLA_DEVICE void barrier_expect(Barrier* barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
PAELLA_DEVICE void barrier_arrive(Barrier* barrier, unsigned rank) {
  asm volatile(
      "{\n\t"
      ".reg .b32 there;\n\t"
      "mapa.shared::cluster.u32 there, %0, %1;\n\t"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n\t"
      "}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}
PAELLA_DEVICE void barrier_wait(Barrier* barrier, unsigned parity) {
  asm volatile(
      "{\n\t"
      ".reg .pred done;\n\t"
      "again:\n\t"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n\t"
      "@!done bra again;\n\t"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
PAELLA_DEVICE void tma_load(void* shared, const TensorMap& map, int inner, int row, Barrier* barrier,
                            std::uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(shared)),
      "l"(&map), "r"(inner), "r"(row), "r"(shared_address(barrier)), "h"(blocks)
      : "memory");
}
PAELLA_DEVICE void tma_load(void* shared, const TensorMap& map, int inner, int row, Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::
          "r"(shared_address(shared)),
      "l"(&map), "r"(inner), "r"(row), "r"(shared_address(barrier))
      : "memory");
}
PAELLA_DEVICE void prefetch_map(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
PAELLA_DEVICE unsigned cluster_rank() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
PAELLA_DEVICE void cluster_barrier() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n\t"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}
template <int threads>
PAELLA_DEVICE void barrier_of() {
  asm volatile("bar.sync 1, %0;" ::"n"(threads) : "memory");
}
template <int count>
PAELLA_DEVICE void keep_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
PAELLA_DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

#endif

// Boxes of `box_rows` rows and 64 columns of data [rows, inner], 16-bit elements; `inner` is a multiple of 8, `data`
// aligned to 16 bytes. In tensor_map.cu, and below for the CPU.
#if defined(PAELLA_SIMT)
inline TensorMap tensor_map(const void* data, std::int64_t rows, std::int64_t inner, int box_rows) {
  return {data, inner, rows, box_rows};
}
#else
TensorMap tensor_map(const void* data, std::int64_t rows, std::int64_t inner, int box_rows);
#endif

}  // namespace paella::cuda
