// Functions that the host, every instruction set of the CPU kernels and the GPU compile alike.
#pragma once

// Internal linkage: the same function is compiled with several instruction sets, and the linker must not mix them.
#if defined(__CUDACC__)
#define PAELLA_NUMERIC static __host__ __device__ __forceinline__
#else
#define PAELLA_NUMERIC static inline __attribute__((always_inline))
#endif
