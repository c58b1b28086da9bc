#include "core/error.h"
#include "onnx/onnx_ops.h"

namespace paella::onnx {

// The product in the type of its weights, which is that of x; what follows in f32, as everywhere. ONNX knows no product
// with a result of another type, so that it is rounded once more than on the other backends.
std::string OnnxOps::product(const Value& x, const Linear& weights) {
  const Weight matrix = weight(*weights.weight);
  expect(matrix.type == x.type, matrix.name, ": expected an operand of type ", name_of(matrix.type), ", got ",
         name_of(x.type));
  // [N, K] as in the weights' file, so that it can be mapped and refitted as it is; builders fold the transposition.
  const std::string turned = once("transposed " + matrix.name, [&] {
    return graph_.node("Transpose", {matrix.name}, {{"perm", std::vector<std::int64_t>{1, 0}}}, matrix.name);
  });
  std::string result = graph_.node("MatMul", {x.name, turned}, {}, matrix.name);
  result = cast(result, matrix.type, DType::f32);
  if (weights.bias) result = binary("Add", result, weight(*weights.bias).name);
  return result;
}

std::string OnnxOps::activated(const std::string& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu_erf:
      return graph_.node("Gelu", {x}, {{"approximate", std::string("none")}});
    case Activation::gelu_tanh:
      return graph_.node("Gelu", {x}, {{"approximate", std::string("tanh")}});
    case Activation::silu:
      return binary("Mul", x, graph_.node("Sigmoid", {x}));
  }
  fail(ErrorCode::internal, "recording: unknown activation ", static_cast<int>(activation));
}

void OnnxOps::do_linear(const Tensor& x, const Linear& weights, Activation activation, const Tensor& out) {
  const Value from = values_.read(x);
  Dims dims = from.dims;
  dims.back() = Dim(weights.weight->shape[0]);
  store(out, activated(product(from, weights), activation), DType::f32, dims);
}

void OnnxOps::do_linear_add(const Tensor& residual, const Tensor& x, const Linear& weights) {
  const Value before = values_.read(residual), from = values_.read(x);
  expect(Dims(before.dims.begin(), before.dims.end() - 1) == Dims(from.dims.begin(), from.dims.end() - 1),
         "recording: linear_add: expected equal rows, got ", text_of(before.dims), " and ", text_of(from.dims));
  store(residual, binary("Add", before.name, product(from, weights)), DType::f32, before.dims);
}

}  // namespace paella::onnx
