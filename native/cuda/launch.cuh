// Starts kernels: launch(runtime, kernel, grid, threads, shared bytes, arguments…); launch_clusters(runtime, kernel,
// cluster, grid, …) in clusters of so many blocks, neighbours along x (compute capability 9.0 and later).
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "cuda/device.cuh"
#include "cuda/runtime.h"

namespace paella::cuda {

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

inline Grid grid(std::int64_t x, std::int64_t y = 1, std::int64_t z = 1) {
  expect(x >= 1 && x <= 0x7fffffff && y >= 1 && y <= 65535 && z >= 1 && z <= 65535, "launch: expected a grid up to ",
         0x7fffffff, "×65535×65535, got ", x, "×", y, "×", z);
  return {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

#if defined(PAELLA_SIMT)

template <typename... Parameters, typename... Arguments>
void launch_clusters(Runtime& runtime, void (*kernel)(Parameters...), int cluster, Grid blocks, int threads,
                     std::size_t shared_bytes, Arguments&&... arguments) {
  simt::run_or_record(runtime, {{blocks.x, blocks.y, blocks.z}, threads, cluster, shared_bytes, [=]() {
                                  kernel(static_cast<Parameters>(arguments)...);
                                }});
}

#else

// In runtime.cu: the shared-memory limit of a kernel is raised once, launch attributes are chosen by device.
void launch_kernel(Runtime& runtime, const void* kernel, int cluster, Grid blocks, int threads,
                   std::size_t shared_bytes, void** arguments);

template <typename... Parameters, typename... Arguments>
void launch_clusters(Runtime& runtime, void (*kernel)(Parameters...), int cluster, Grid blocks, int threads,
                     std::size_t shared_bytes, Arguments&&... arguments) {
  std::tuple<std::decay_t<Parameters>...> values(static_cast<Parameters>(arguments)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {static_cast<void*>(&value)..., nullptr};
        launch_kernel(runtime, reinterpret_cast<const void*>(kernel), cluster, blocks, threads, shared_bytes, pointers);
      },
      values);
}

#endif

template <typename... Parameters, typename... Arguments>
void launch(Runtime& runtime, void (*kernel)(Parameters...), Grid blocks, int threads, std::size_t shared_bytes,
            Arguments&&... arguments) {
  launch_clusters(runtime, kernel, 1, blocks, threads, shared_bytes, std::forward<Arguments>(arguments)...);
}

}  // namespace paella::cuda
