// Between TensorRT's words and ours.
#pragma once

#include <NvInfer.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace paella::tensorrt {

// NetworkDefinitionCreationFlag::kSTRONGLY_TYPED, which TensorRT 11 and TensorRT-RTX 1.5 call deprecated: there it is
// so anyway.
inline constexpr std::uint32_t strongly_typed_flag = NV_TENSORRT_MAJOR >= 11 ? 0u : 2u;

inline DType dtype_of(nvinfer1::DataType type, const std::string& name) {
  using nvinfer1::DataType;
  switch (type) {
    case DataType::kFLOAT:
      return DType::f32;
    case DataType::kHALF:
      return DType::f16;
    case DataType::kBF16:
      return DType::bf16;
    case DataType::kINT32:
      return DType::i32;
    case DataType::kINT64:
      return DType::i64;
    case DataType::kUINT8:
      return DType::u8;
    default:
      fail(ErrorCode::internal, "TensorRT: tensor ", name, " has a type that is not used here");
  }
}

inline std::vector<std::int64_t> dims_of(const nvinfer1::Dims& dims) {
  return {dims.d, dims.d + (dims.nbDims > 0 ? dims.nbDims : 0)};
}

}  // namespace paella::tensorrt
