// What kernels are written in: element types, 16-byte accesses, warp and tensor-core primitives. One wrapper for each
// instruction that matters, so that the same kernel source runs on a GPU and, through test/simt/, on any CPU: there
// every thread is a fiber, and every collective below waits for its warp.
#pragma once

#include <cstdint>

#if defined(PAELLA_SIMT)
#include "simt/simt.h"
#else
#include <cuda_runtime.h>
#endif

namespace paella::cuda {

#define PAELLA_DEVICE __device__ __forceinline__

inline constexpr int warp_size = 32;

// Storage types; arithmetic is in f32.
struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};

// --- conversion ---

PAELLA_DEVICE float to_float(float value) { return value; }
PAELLA_DEVICE float to_float(bf16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  memcpy(&result, &bits, 4);
  return result;
}

#if defined(PAELLA_SIMT)

PAELLA_DEVICE float to_float(f16 value) { return simt::half_to_float(value.bits); }
PAELLA_DEVICE void assign(float& to, float value) { to = value; }
PAELLA_DEVICE void assign(bf16& to, float value) { to.bits = simt::float_to_bfloat(value); }
PAELLA_DEVICE void assign(f16& to, float value) { to.bits = simt::float_to_half(value); }

#else

PAELLA_DEVICE float to_float(f16 value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}
PAELLA_DEVICE void assign(float& to, float value) { to = value; }
PAELLA_DEVICE void assign(bf16& to, float value) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(value)); }
PAELLA_DEVICE void assign(f16& to, float value) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(value)); }

#endif

template <typename T>
PAELLA_DEVICE T from_float(float value) {
  T result;
  assign(result, value);
  return result;
}

// Two neighbours as the 32-bit register that a tensor core reads: `low` is the element of the lower index.
template <typename T>
PAELLA_DEVICE std::uint32_t pack2(float low, float high) {
  return static_cast<std::uint32_t>(from_float<T>(low).bits) | static_cast<std::uint32_t>(from_float<T>(high).bits)
                                                                   << 16;
}
#if !defined(PAELLA_SIMT)  // one instruction
template <>
PAELLA_DEVICE std::uint32_t pack2<bf16>(float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
template <>
PAELLA_DEVICE std::uint32_t pack2<f16>(float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
#endif

// --- vectors: one access of up to 16 bytes ---

template <typename T, int N>
struct alignas(sizeof(T) * N) Vector {
  T v[N];
};

// How many elements make 16 bytes.
template <typename T>
inline constexpr int per_access = 16 / static_cast<int>(sizeof(T));

// `from` is aligned to N elements: a GPU ends the process's context over one that is not.
template <int N, typename T>
PAELLA_DEVICE Vector<T, N> load(const T* from) {
#if defined(PAELLA_SIMT)
  simt::check_aligned(from, sizeof(Vector<T, N>));
#endif
  return *reinterpret_cast<const Vector<T, N>*>(from);
}
template <int N, typename T>
PAELLA_DEVICE void store(T* to, const Vector<T, N>& value) {
#if defined(PAELLA_SIMT)
  simt::check_aligned(to, sizeof(Vector<T, N>));
#endif
  *reinterpret_cast<Vector<T, N>*>(to) = value;
}
// N elements of any type as floats, and back. N·size ≤ 16 bytes for one access; more are split by the compiler.
template <int N, typename T>
PAELLA_DEVICE void load_floats(const T* from, float (&to)[N]) {
  constexpr int step = N < per_access<T> ? N : per_access<T>;
#pragma unroll
  for (int i = 0; i < N; i += step) {
    const Vector<T, step> part = load<step>(from + i);
#pragma unroll
    for (int j = 0; j < step; ++j) to[i + j] = to_float(part.v[j]);
  }
}
template <int N, typename T>
PAELLA_DEVICE void store_floats(T* to, const float (&from)[N]) {
  constexpr int step = N < per_access<T> ? N : per_access<T>;
#pragma unroll
  for (int i = 0; i < N; i += step) {
    Vector<T, step> part;
#pragma unroll
    for (int j = 0; j < step; ++j) assign(part.v[j], from[i + j]);
    store<step>(to + i, part);
  }
}

// --- warps and blocks ---

PAELLA_DEVICE float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}
PAELLA_DEVICE float warp_max(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

// Sum over the block, the same for every thread; `scratch` holds one float per warp, and may be reused after the call
// that follows the next barrier. blockDim.x is a multiple of 32, at most 1024.
PAELLA_DEVICE float block_sum(float value, float* scratch) {
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_sum(value);
  __syncthreads();  // scratch may still be read from an earlier call
  if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = value;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < warps; ++i) sum += scratch[i];  // in order: the same bits for every thread
  return sum;
}

// 2^x, within a few units in the last place; −∞ gives 0, results below the normal range become 0.
#if defined(PAELLA_SIMT)
PAELLA_DEVICE float fast_exp2(float x) { return std::exp2(x); }
#else
PAELLA_DEVICE float fast_exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
#endif

// --- dynamic shared memory, aligned to 128 bytes ---

#if defined(PAELLA_SIMT)
PAELLA_DEVICE unsigned char* shared_memory() { return simt::dynamic_shared(); }
#else
PAELLA_DEVICE unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char paella_shared[];
  return paella_shared;
}
#endif

// --- programmatic dependent launch ---
// Every kernel begins with wait_for_previous() before it touches what earlier kernels wrote, or writes what they read:
// the launch of a kernel may overlap the end of the one before it (sm_90 and later; a no-op elsewhere).

PAELLA_DEVICE void wait_for_previous() {
#if !defined(PAELLA_SIMT) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The next kernel may begin its prologue; what this one writes is seen after its end only. Small kernels say so at
// once: blocks of the next one that wait take no room that these need.
PAELLA_DEVICE void let_next_begin() {
#if !defined(PAELLA_SIMT) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// --- asynchronous copies and tensor cores (sm_80 and later) ---

#if defined(PAELLA_SIMT)

PAELLA_DEVICE std::uint32_t shared_address(const void* pointer) { return simt::shared_address(pointer); }
// 16 bytes from global to shared memory; zeros if not `valid`. Complete after cp_async_wait.
PAELLA_DEVICE void cp_async_16(void* shared, const void* global, bool valid) {
  simt::cp_async_16(shared, global, valid);
}
PAELLA_DEVICE void cp_async_commit() { simt::cp_async_commit(); }
// Waits until at most N groups of this thread are in flight.
template <int N>
PAELLA_DEVICE void cp_async_wait() {
  simt::cp_async_wait(N);
}

// Four 8×8 matrices of 16-bit elements: lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned).
// Register m of lane i: elements 2·(i % 4) and the next of row i / 4 of matrix m; `transposed`: of its transpose.
PAELLA_DEVICE void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared) { simt::ldmatrix_x4(r, shared, false); }
PAELLA_DEVICE void ldmatrix_x4_transposed(std::uint32_t (&r)[4], const void* shared) {
  simt::ldmatrix_x4(r, shared, true);
}

// d [16, 8] f32 += a [16, 16] · b [16, 8], T = bf16 or f16. With g = lane / 4, t = lane % 4:
// a: (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..); b: (2t.., g), (2t + 8.., g);
// d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
template <typename T>
PAELLA_DEVICE void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  simt::mma_16x8x16(d, a, b, [](std::uint16_t bits) { return to_float(T{bits}); });
}

#else

PAELLA_DEVICE std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}
PAELLA_DEVICE void cp_async_16(void* shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
}
PAELLA_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
PAELLA_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
PAELLA_DEVICE void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}
PAELLA_DEVICE void ldmatrix_x4_transposed(std::uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}
template <typename T>
PAELLA_DEVICE void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);
template <>
PAELLA_DEVICE void mma_16x8x16<bf16>(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
PAELLA_DEVICE void mma_16x8x16<f16>(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

}  // namespace paella::cuda
