// Products on Hopper's own instructions, beside those of products.cu. Compiled for sm_90a only, with PAELLA_WGMMA
// defined for all of the executor.
#pragma once

#include "cuda/kernels/products.cuh"
#include "cuda/runtime.h"

namespace paella::cuda {

// `tile`: one of product_tiles() with wgmma.
void launch_wgmma(Runtime& runtime, const ProductArguments<bf16>& arguments, int tile, int parts);
void launch_wgmma(Runtime& runtime, const ProductArguments<f16>& arguments, int tile, int parts);

}  // namespace paella::cuda
