// cuBLAS is opened by name: it is nothing that this project needs, builds with or ships.
#include "benchmark_cublas.h"

#include <dlfcn.h>

#include <chrono>
#include <vector>

#include "benchmark.h"

namespace paella::bench {

namespace {

// From cublas_api.h and library_types.h.
constexpr int op_none = 0, op_transposed = 1, compute_f32 = 68, default_algorithm = -1;
constexpr int type_f32 = 0, type_f16 = 2, type_bf16 = 14;

struct Cublas {
  using Create = int (*)(void**);
  using Gemm = int (*)(void*, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
                       const void*, void*, int, int, int, int);
  Gemm gemm = nullptr;
  int (*synchronize)() = nullptr;  // of the driver: everything of this context
  void* handle = nullptr;

  Cublas() {
    void* library = nullptr;
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"})
      if ((library = dlopen(name, RTLD_NOW)) != nullptr) break;
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == nullptr || driver == nullptr) return;
    const auto create = reinterpret_cast<Create>(dlsym(library, "cublasCreate_v2"));
    synchronize = reinterpret_cast<int (*)()>(dlsym(driver, "cuCtxSynchronize"));
    if (create == nullptr || synchronize == nullptr || create(&handle) != 0) return;
    gemm = reinterpret_cast<Gemm>(dlsym(library, "cublasGemmEx"));
  }
};

}  // namespace

double cublas_seconds(Backend& backend, std::int64_t m, std::int64_t n, std::int64_t k, int copies) {
  if (copies <= 0 || backend.name() != "cuda") return 0;
  static const Cublas cublas;
  if (cublas.gemm == nullptr) return 0;
  const DType type = backend.operand_type();
  const int kind = type == DType::bf16 ? type_bf16 : type == DType::f16 ? type_f16 : type_f32;
  const std::size_t size = size_of(type);
  const auto bytes = [&](std::int64_t rows, std::int64_t columns) {
    return static_cast<std::size_t>(rows * columns) * size;
  };
  const Buffer x = backend.allocate(bytes(m, k)), out = backend.allocate(bytes(m, n));
  const Buffer w = backend.allocate(bytes(n, k) * static_cast<std::size_t>(copies));
  const Tensor sources[] = {x.tensor({static_cast<std::int64_t>(x.bytes())}, DType::u8),
                            w.tensor({static_cast<std::int64_t>(w.bytes())}, DType::u8)};
  for (const Tensor& tensor : sources) {  // small numbers: zeros would be faster
    std::vector<std::uint8_t> pattern(tensor.bytes());
    for (std::size_t i = 0; i < pattern.size(); ++i)
      pattern[i] = static_cast<std::uint8_t>(i % size == size - 1 ? 0x3c + (i * 7919 >> 4 & 1) * 0x80 : i * 7919 >> 3);
    backend.upload(pattern.data(), tensor);
  }
  backend.synchronize();
  const float one = 1, zero = 0;
  const auto run = [&](int i) {
    const void* weights =
        static_cast<const std::uint8_t*>(w.data()) + bytes(n, k) * static_cast<std::size_t>(i % copies);
    // Column-major there: outᵀ [n, m] = w · xᵀ.
    return cublas.gemm(cublas.handle, op_transposed, op_none, static_cast<int>(n), static_cast<int>(m),
                       static_cast<int>(k), &one, weights, kind, static_cast<int>(k), x.data(), kind,
                       static_cast<int>(k), &zero, out.data(), kind, static_cast<int>(n), compute_f32,
                       default_algorithm);
  };
  constexpr int repeats = 20;
  std::vector<double> times;
  for (int round = 0; round < 8; ++round) {
    cublas.synchronize();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i)
      if (run(i) != 0) return 0;
    cublas.synchronize();
    if (round >= 2)
      times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats);
  }
  return median(times);
}

}  // namespace paella::bench
