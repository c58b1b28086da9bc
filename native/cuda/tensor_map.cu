// Descriptions of matrices for Hopper's tensor copy engine. The driver writes them; it is asked by name, so that the
// plug-in does not depend on libcuda.
#include <cuda.h>
#include <cuda_runtime.h>

#include "core/error.h"
#include "cuda/hopper.cuh"

namespace paella::cuda {

TensorMap tensor_map(const void* data, std::int64_t rows, std::int64_t inner, int box_rows) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t status =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    return status == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
  }();
  expect(encode != nullptr, "cuda: expected a driver with cuTensorMapEncodeTiled (CUDA 12.0 or later), found none");
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(inner), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(inner) * 2};
  const cuuint32_t box[] = {tile_width, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  // Bits are copied, so bf16 and f16 are one type here. Zeros outside, and whole lines of L2.
  TensorMap map;
  const CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, const_cast<void*>(data), sizes, strides, box,
                                 steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  expect(status == CUDA_SUCCESS, "cuda: cuTensorMapEncodeTiled: error ", static_cast<int>(status), " for a matrix [",
         rows, ", ", inner, "], boxes of ", box_rows, " rows");
  return map;
}

}  // namespace paella::cuda
