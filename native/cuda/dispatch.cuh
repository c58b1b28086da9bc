// From the element types and layouts of tensors to template parameters.
#pragma once

#include "core/error.h"
#include "core/tensor.h"
#include "cuda/device.cuh"

namespace paella::cuda {

template <typename T>
struct Type {
  using type = T;
};

// Calls body(Type<float>), body(Type<bf16>) or body(Type<f16>).
template <typename Body>
void with_type(DType type, const Body& body) {
  switch (type) {
    case DType::f32:
      return body(Type<float>{});
    case DType::bf16:
      return body(Type<bf16>{});
    case DType::f16:
      return body(Type<f16>{});
    default:
      fail(ErrorCode::internal, "cuda: expected f32, bf16 or f16, got ", name_of(type));
  }
}

}  // namespace paella::cuda
