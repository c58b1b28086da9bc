// Field numbers of onnx.proto (https://github.com/onnx/onnx, IR version 9 and 10): of the messages that are written
// here.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace paella::onnx::schema {

namespace model {
enum : std::uint32_t { ir_version = 1, producer_name = 2, producer_version = 3, graph = 7, opset_import = 8 };
}
namespace opset {
enum : std::uint32_t { version = 2 };
}
namespace graph {
enum : std::uint32_t { node = 1, name = 2, initializer = 5, input = 11, output = 12 };
}
namespace node {
enum : std::uint32_t { input = 1, output = 2, name = 3, op_type = 4, attribute = 5 };
}
namespace attribute {
enum : std::uint32_t { name = 1, f = 2, i = 3, s = 4, ints = 8, type = 20 };
enum Type : std::int32_t { float_type = 1, int_type = 2, string_type = 3, ints_type = 7 };
}  // namespace attribute
namespace tensor {
enum : std::uint32_t { dims = 1, data_type = 2, name = 8, raw_data = 9, external_data = 13, data_location = 14 };
constexpr std::int32_t external = 1;  // data_location
}  // namespace tensor
namespace entry {
enum : std::uint32_t { key = 1, value = 2 };
}
namespace value_info {
enum : std::uint32_t { name = 1, type = 2 };
}
namespace type {
enum : std::uint32_t { tensor = 1 };
}
namespace tensor_type {
enum : std::uint32_t { elem_type = 1, shape = 2 };
}
namespace shape {
enum : std::uint32_t { dim = 1 };
}
namespace dimension {
enum : std::uint32_t { value = 1, param = 2 };
}

// TensorProto.DataType
constexpr std::int32_t boolean = 9;
constexpr std::int32_t data_type(DType type) {
  switch (type) {
    case DType::f32:
      return 1;
    case DType::u8:
      return 2;
    case DType::i8:
      return 3;
    case DType::i32:
      return 6;
    case DType::i64:
      return 7;
    case DType::f16:
      return 10;
    case DType::bf16:
      return 16;
  }
  return 0;
}

}  // namespace paella::onnx::schema
