// The CPU backend: reference and embedded default.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"

namespace paella::cpu {

struct Options {
  // Operands of matrix products: "fp32", "bf16", or "auto": bf16 where the CPU has instructions for it, else fp32.
  std::string precision = "auto";
  int threads = 0;    // 0: one per usable core
  bool fused = true;  // false: every composite runs as the plain operations that define it; for tests
};

// What `paella doctor` shows.
struct Description {
  std::string model;
  std::string isa;  // of our kernels; oneDNN chooses its own
  std::string onednn_version;
  std::vector<std::string> precisions;
  int cores = 0;  // usable by this process
  std::size_t memory_total = 0;
  std::size_t memory_available = 0;
};
Description describe();

// ERR_INVALID_OPTION for a precision that this CPU does not support.
// All calls of a backend, and of what it makes, come from one thread at a time; different backends are independent.
std::unique_ptr<Backend> make_backend(const Options& options);

}  // namespace paella::cpu
