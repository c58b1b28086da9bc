// The yardstick: the same matrix product by cuBLAS, where that is installed.
#pragma once

#include <cstdint>

#include "core/backend.h"

namespace paella::bench {

// Median seconds of out [m, n] = x [m, k] · wᵀ [k, n] in the backend's operand type, weights rotating through `copies`
// places; 0 if cuBLAS is not here, or `copies` is 0.
double cublas_seconds(Backend& backend, std::int64_t m, std::int64_t n, std::int64_t k, int copies);

}  // namespace paella::bench
