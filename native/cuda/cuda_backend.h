// The engine on NVIDIA GPUs of compute capability 8.0 and later.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"
#include "cuda/runtime.h"

namespace paella::cuda {

struct Options {
  std::string precision = "auto";  // auto (bf16), bf16, fp16 or fp32
  int device = 0;
  bool fused = true;  // for tests: composites by their default bodies
};

// ERR_INVALID_OPTION if the precision is unknown; ERR_BACKEND_UNAVAILABLE if there is no such device.
std::unique_ptr<Backend> make_backend(const Options& options);
// On a runtime that the caller made: tests bring one that runs kernels on the CPU.
std::unique_ptr<Backend> make_backend(const Options& options, std::shared_ptr<Runtime> runtime);

// The cudaStream_t of a backend that one of these functions made.
void* stream_of(Backend& backend);

}  // namespace paella::cuda
