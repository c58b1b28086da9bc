// What libpaella_cuda.so exports: one function, `paella_cuda_plugin`. The addon opens the library on demand, so that it
// loads on machines without CUDA, and a build without CUDA is the same addon.
#pragma once

#include <memory>
#include <vector>

#include "core/backend.h"
#include "cuda/cuda_backend.h"
#include "cuda/runtime.h"
#include "cuda/tuning.h"

namespace paella::cuda {

// C++ objects and exceptions cross between the two sides. Both must come from the same headers and the same kind of
// compiler: `abi` says so, and nothing behind it may be looked at before it was compared.
struct Plugin {
  const char* abi;
  const char* architectures;  // "80 86 89 90a 120, PTX 90"
  Survey (*survey)();
  std::unique_ptr<Backend> (*make_backend)(const Options& options);
  // Of a backend that make_backend() made: the cudaStream_t that it enqueues on.
  void* (*stream_of)(Backend& backend);
  // For the tuner, on device 0; see tuning.h.
  std::vector<WayTiming> (*time_product)(DType operand, std::int64_t rows, std::int64_t columns, std::int64_t inner,
                                         bool accumulate);
};

inline constexpr const char* plugin_file = "libpaella_cuda.so";
inline constexpr const char* plugin_entry = "paella_cuda_plugin";

// Version, compiler, and a hash over the headers that both sides share: see native/cuda/CMakeLists.txt.
inline constexpr const char* plugin_abi = PAELLA_VERSION " " PAELLA_CUDA_ABI;

}  // namespace paella::cuda

extern "C" __attribute__((visibility("default"))) const paella::cuda::Plugin* paella_cuda_plugin();
