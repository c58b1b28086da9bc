// Products on Hopper's warpgroup instructions, beside those of products.cu. Compiled for sm_90a only, with PAELLA_WGMMA
// defined for all of the executor.
#pragma once

#include "cuda/kernels/products.cuh"
#include "cuda/runtime.h"

namespace paella::cuda {

// Whether the device is a Hopper GPU and the environment says PAELLA_CUDA_PRODUCTS=wgmma.
bool wgmma_wanted(const DeviceInfo& device);

void launch_wgmma(Runtime& runtime, const ProductArguments<bf16>& arguments, int parts);
void launch_wgmma(Runtime& runtime, const ProductArguments<f16>& arguments, int parts);

}  // namespace paella::cuda
