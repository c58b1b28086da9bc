// Times every way to compute a product, for the table in product_table.h.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "cuda/products.h"
#include "cuda/runtime.h"

namespace paella::cuda {

struct WayTiming {
  ProductWay way;
  ProductTile tile{};
  double seconds = 0;  // median, with the sum of the parts
};

// x [rows, inner] · wᵀ [inner, columns] of `operand` type, bias added, f32 results added to a residual if `accumulate`.
// Weights rotate through more memory than the L2 cache holds.
std::vector<WayTiming> time_product(std::shared_ptr<Runtime> runtime, DType operand, std::int64_t rows,
                                    std::int64_t columns, std::int64_t inner, bool accumulate);

}  // namespace paella::cuda
