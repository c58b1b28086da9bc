// Hopper's warpgroup products: sums [64, N] f32 of 4 warps += x [64, 16] · wᵀ, w [N, 16] read from shared memory
// through a descriptor, x too, or from registers. Written out for the widths that tiles have. For sm_90a only.
//
// They run beside the threads: between wgmma_begin() and the wgmma_wait() that ends them, nobody may touch the sums,
// the registers of x or what the descriptors point to.
#pragma once

#include "cuda/hopper.cuh"

namespace paella::cuda {

// `tile`: rows as tma_load() leaves them, groups of 8 rows one after another. 16 elements further along K are 32 bytes,
// that is 2 more.
PAELLA_DEVICE std::uint64_t wgmma_descriptor(const void* tile) {
  constexpr std::uint64_t swizzle_128 = std::uint64_t{1} << 62, groups = std::uint64_t{1024 >> 4} << 32;
  return swizzle_128 | groups | std::uint64_t{1} << 16 | (shared_address(tile) & 0x3ffff) >> 4;
}

// With warp w of the group, g = lane / 4, t = lane % 4: d[4j..] is (16w + g, 8j + 2t), the next column, and both 8 rows
// further, and x in registers is rows 16w.. as mma_16x8x16 has them. The columns are the size of `d` · 2.
template <typename T, int N>
PAELLA_DEVICE void wgmma(float (&d)[N], std::uint64_t x, std::uint64_t w);
template <typename T, int N>
PAELLA_DEVICE void wgmma(float (&d)[N], const std::uint32_t (&x)[4], std::uint64_t w);

#if defined(PAELLA_SIMT)

PAELLA_DEVICE void wgmma_begin() {}
PAELLA_DEVICE void wgmma_commit() { simt::product_commit(); }
template <int N>
PAELLA_DEVICE void wgmma_wait() {
  simt::product_wait(N);
}
template <typename T, int N>
PAELLA_DEVICE void hold(T (&)[N]) {}

// Where element `k` of a tile's row lies, by its descriptor.
template <typename T>
PAELLA_DEVICE float tile_element(std::uint64_t descriptor, int row, int k) {
  const auto start = static_cast<std::uint32_t>(descriptor & 0x3fff) << 4;
  const auto groups = static_cast<std::uint32_t>(descriptor >> 32 & 0x3fff) << 4;
  const std::uint32_t at =
      start + static_cast<std::uint32_t>(row / 8) * groups + static_cast<std::uint32_t>(row % 8 * 128 + k * 2);
  T value;
  memcpy(&value, simt::shared_memory_at(simt::swizzled_128(at)), 2);
  return to_float(value);
}
// One thread's sums of x, rows g and g + 8 of its warp, by element(row, k).
template <typename T, int N, typename Element>
PAELLA_DEVICE void multiply(float (&d)[N], std::uint64_t w, int pair, Element x) {
  for (int k = 0; k < 16; ++k) {
    const float left[2] = {x(0, k), x(1, k)};
    for (int i = 0; i < N / 2; ++i) {
      const float right = tile_element<T>(w, i / 2 * 8 + 2 * pair + i % 2, k);
      for (int row = 0; row < 2; ++row) d[i / 2 * 4 + row * 2 + i % 2] += left[row] * right;
    }
  }
}
template <typename T, int N>
PAELLA_DEVICE void wgmma(float (&d)[N], std::uint64_t x, std::uint64_t w) {
  const int lane = static_cast<int>(threadIdx.x) % 32, row = static_cast<int>(threadIdx.x) / 32 % 4 * 16 + lane / 4;
  simt::product_begin([&d, x, w, row, pair = lane % 4] {
    multiply<T>(d, w, pair, [&](int lower, int k) { return tile_element<T>(x, row + lower * 8, k); });
  });
}
template <typename T, int N>
PAELLA_DEVICE void wgmma(float (&d)[N], const std::uint32_t (&x)[4], std::uint64_t w) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const simt::Slot* lanes = simt::exchange({x[0], x[1], x[2], x[3]});
  std::array<simt::Slot, 4> rows;
  for (int i = 0; i < 4; ++i) rows[i] = lanes[lane / 4 * 4 + i];
  simt::product_begin([&d, rows, w, pair = lane % 4] {
    multiply<T>(d, w, pair, [&](int lower, int k) {
      const std::uint32_t word = rows[k % 8 / 2][k / 8 * 2 + lower];
      return to_float(T{static_cast<std::uint16_t>(k % 2 ? word >> 16 : word & 0xffff)});
    });
  });
}

#else

PAELLA_DEVICE void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
PAELLA_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
PAELLA_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// The compiler may not move uses of these registers over this, nor give them away before.
template <int N>
PAELLA_DEVICE void hold(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int N>
PAELLA_DEVICE void hold(std::uint32_t (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+r"(x[i])::"memory");
}

// clang-format off
#define PAELLA_SUMS_32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PAELLA_SUMS_64 \
  PAELLA_SUMS_32 \
  ", " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define PAELLA_SUMS_80 \
  PAELLA_SUMS_64 \
  ", " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define PAELLA_SUMS_128 \
  PAELLA_SUMS_80 \
  ", " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define PAELLA_D_32 \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
  "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
  "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
  "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define PAELLA_D_64 \
  PAELLA_D_32, \
  "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), \
  "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), \
  "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
  "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define PAELLA_D_80 \
  PAELLA_D_64, \
  "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), \
  "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
#define PAELLA_D_128 \
  PAELLA_D_80, \
  "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), \
  "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), \
  "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), \
  "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]), \
  "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), \
  "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
#define PAELLA_WGMMA_OF(TYPE, WIDTH, COUNT, SHARED, REGISTERS)                                                        \
  template <>                                                                                                      \
  PAELLA_DEVICE void wgmma<TYPE>(float (&d)[COUNT], std::uint64_t x, std::uint64_t w) {                            \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" WIDTH "k16.f32." #TYPE "." #TYPE " {" PAELLA_SUMS_##COUNT     \
                 "}, " SHARED ", 1, 1, 1, 0, 0;"                                                                   \
                 : PAELLA_D_##COUNT                                                                                \
                 : "l"(x), "l"(w));                                                                                \
  }                                                                                                                \
  template <>                                                                                                      \
  PAELLA_DEVICE void wgmma<TYPE>(float (&d)[COUNT], const std::uint32_t (&x)[4], std::uint64_t w) {                \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" WIDTH "k16.f32." #TYPE "." #TYPE " {" PAELLA_SUMS_##COUNT     \
                 "}, " REGISTERS ", 1, 1, 1, 0;"                                                                   \
                 : PAELLA_D_##COUNT                                                                                \
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "l"(w));                                            \
  }
#define PAELLA_WGMMA_WIDTH(WIDTH, COUNT, SHARED, REGISTERS)   \
  PAELLA_WGMMA_OF(bf16, WIDTH, COUNT, SHARED, REGISTERS)         \
  PAELLA_WGMMA_OF(f16, WIDTH, COUNT, SHARED, REGISTERS)

PAELLA_WGMMA_WIDTH("64", 32, "%32, %33", "{%32, %33, %34, %35}, %36")
PAELLA_WGMMA_WIDTH("128", 64, "%64, %65", "{%64, %65, %66, %67}, %68")
PAELLA_WGMMA_WIDTH("160", 80, "%80, %81", "{%80, %81, %82, %83}, %84")
PAELLA_WGMMA_WIDTH("256", 128, "%128, %129", "{%128, %129, %130, %131}, %132")

#undef PAELLA_D_128
#undef PAELLA_D_32
#undef PAELLA_D_64
#undef PAELLA_D_80
#undef PAELLA_SUMS_128
#undef PAELLA_SUMS_32
#undef PAELLA_SUMS_64
#undef PAELLA_SUMS_80
#undef PAELLA_WGMMA_OF
#undef PAELLA_WGMMA_WIDTH
// clang-format on

#endif

}  // namespace paella::cuda
