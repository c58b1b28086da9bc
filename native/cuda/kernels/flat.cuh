// Kernels over a flat number of small pieces, one per thread: launch, and the widest access that fits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "cuda/launch.cuh"

namespace paella::cuda {

inline constexpr int flat_threads = 256;

// Pieces are counted in 32 bits inside kernels: divisions of 64 bits would cost more than the memory accesses.
inline Grid flat_grid(std::int64_t pieces, int threads = flat_threads) {
  expect(pieces >= 1 && pieces < 0x7fffffff, "expected 1 to ", 0x7ffffffe, " pieces of a tensor, got ", pieces);
  return grid(ceil_div(pieces, threads));
}

PAELLA_DEVICE int clamped(int index, int count) { return index < 0 ? 0 : index < count ? index : count - 1; }

PAELLA_DEVICE unsigned flat_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Pointers to what earlier kernels write are never `const … __restrict__`: the compiler would take it for constant, and
// may read it before wait_for_previous(). Weights may be.

// Flat kernels begin with this: they are too short for a better moment to let the next kernel begin.
PAELLA_DEVICE void begin_flat() {
  wait_for_previous();
  let_next_begin();
}

// The largest power of two up to 16 that divides all the byte counts and addresses.
inline int common_bytes(std::initializer_list<std::int64_t> byte_counts, std::initializer_list<const void*> addresses) {
  std::uintptr_t all = 16;
  for (const std::int64_t bytes : byte_counts) all |= static_cast<std::uintptr_t>(bytes);
  for (const void* address : addresses) all |= reinterpret_cast<std::uintptr_t>(address);
  return static_cast<int>(all & (~all + 1));
}

template <int N>
struct Width {
  static constexpr int value = N;
};

// Calls body(Width<W>), W elements of the narrowest type of `sizes` being 16 bytes, if rows of `columns` and the
// addresses allow that for all types; else body(Width<1>).
template <typename... Types, typename Body>
void with_width(std::int64_t columns, std::initializer_list<const void*> addresses, const Body& body) {
  constexpr int widest = std::max({per_access<Types>...});
  if (columns % widest == 0 && common_bytes({}, addresses) == 16)
    body(Width<widest>{});
  else
    body(Width<1>{});
}

// What moves bytes without looking at them: body(unit) with a type of `bytes` bytes, a result of common_bytes.
template <typename Body>
void with_unit(int bytes, const Body& body) {
  switch (bytes) {
    case 16:
      return body(Vector<std::uint32_t, 4>{});
    case 8:
      return body(Vector<std::uint32_t, 2>{});
    case 4:
      return body(std::uint32_t{});
    case 2:
      return body(std::uint16_t{});
    default:
      return body(std::uint8_t{});
  }
}

}  // namespace paella::cuda
