#pragma once

#include <cstddef>
#include <memory>

#include "cuda/runtime.h"

namespace paella::simt {

// While one of these lives, devices are made that have compute capability 9.0, else 8.0; with PAELLA_CUDA_PRODUCTS=wgmma
// all have 9.0.
class Hopper {
 public:
  Hopper();
  ~Hopper();
  Hopper(const Hopper&) = delete;
  Hopper& operator=(const Hopper&) = delete;

 private:
  bool before_;
};

// A device with so much memory.
std::unique_ptr<cuda::Runtime> make_runtime(std::size_t memory_bytes);

}  // namespace paella::simt
