// Matrix products on a GPU, for the operations and for what times them. One product can be computed in several ways
// (tile shape, parts that K is split into); product_table.h says which is taken.
//
// A row has the same bits whatever the number of rows: per element, K is summed in ascending steps of 16 for every tile
// shape of one kind of instruction, and the number of parts depends on the weights' shape only.
#pragma once

#include <cstdint>
#include <span>

#include "core/ops.h"
#include "cuda/cuda_ops.h"

namespace paella::cuda {

// What multiplies: a warp's instructions (products.cu), or Hopper's of four warps (products_sm90.cu).
enum class Instruction { mma, wgmma };

// A tile shape of a tensor-core kernel: rows × columns of the result, `step` of K at a time. With wgmma tiles of a
// cluster share what they read: `cluster_down` of them one above the other the weights, `cluster_across` side by side
// the rows.
struct ProductTile {
  int rows, columns, step, stages;
  int warps_down, warps_across;
  Instruction instruction = Instruction::mma;
  int cluster_down = 1, cluster_across = 1;
};
std::span<const ProductTile> product_tiles();

// A way to compute a product: index into product_tiles(), parts of K.
struct ProductWay {
  int tile = 0, splits = 1;
};

// out [M, N] = activation(x [M, K] · wᵀ + b), or out += x · wᵀ + b and then out·(1 + scale) + shift.
struct Product {
  const void* x = nullptr;
  DType x_type = DType::bf16;
  std::int64_t rows = 0;
  const Constant* weight = nullptr;
  const float* bias = nullptr;  // [N]
  Activation activation = Activation::none;
  bool accumulate = false;
  const float* scale = nullptr;  // [N], with `accumulate`
  const float* shift = nullptr;  // [N]
  void* out = nullptr;
  DType out_type = DType::f32;
  // If given, x is multiplied by factors [images, K] and rounded before the product; `pixels` rows are one image.
  const float* factors = nullptr;
  std::int64_t pixels = 1;
  // If given, receives sums of squares of the rounded results per column and run of 64 rows, [M / 64, N]; see
  // can_sum_squares().
  float* sums = nullptr;
};

// Whether the weights' shape and type allow products on tensor cores.
bool on_tensor_cores(const Product& product);
// Whether `sums` can be had from the product itself. Depends on the weights' shape and `pixels` only.
bool can_sum_squares(const Context& context, const Product& product);

// The instructions that products of this device use: one kind for all, because they round differently. wgmma on Hopper
// if PAELLA_CUDA_PRODUCTS=wgmma.
Instruction products_of(const DeviceInfo& device);
// Whether this build and this device have them.
bool can_run(const DeviceInfo& device, Instruction instruction);

ProductWay choose_way(const DeviceInfo& device, std::int64_t rows, std::int64_t columns, std::int64_t inner);

void run_product(const Context& context, const Product& product);
// For tuning and tests: products on tensor cores only.
void run_product(const Context& context, const Product& product, ProductWay way);

}  // namespace paella::cuda
