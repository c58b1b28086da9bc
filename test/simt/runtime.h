#pragma once

#include <cstddef>
#include <memory>

#include "cuda/runtime.h"

namespace paella::simt {

// A device with so much memory.
std::unique_ptr<cuda::Runtime> make_runtime(std::size_t memory_bytes);

}  // namespace paella::simt
