#include "onnx/onnx_ops.h"

namespace paella::onnx {

std::string OnnxOps::normalised(const std::string& x, float epsilon, std::int64_t channels) {
  return graph_.node("LayerNormalization", {x, graph_.ones(channels)},
                     {{"axis", std::int64_t{-1}}, {"epsilon", epsilon}});
}

void OnnxOps::do_layer_norm(const Tensor& x, float epsilon, const Tensor& out) {
  const Value from = values_.read(x);
  store(out, normalised(from.name, epsilon, x.shape[-1]), DType::f32, from.dims);
}

void OnnxOps::do_rms_norm(const Tensor& x, const Constant& weights, float epsilon, const Tensor& out) {
  const Value from = values_.read(x);
  const std::string mean = graph_.node("ReduceMean", {binary("Mul", from.name, from.name), graph_.integers({-1})});
  const std::string root = graph_.node("Sqrt", {binary("Add", mean, graph_.scalar(epsilon))});
  store(out, binary("Mul", binary("Div", from.name, root), weight(weights).name), DType::f32, from.dims);
}

// Spec 1.4, GRN, without beta.
void OnnxOps::do_grn(const Tensor& h, const Constant& gamma) {
  const Value from = values_.read(h);
  const std::string wide = cast(from.name, from.type, DType::f32);
  const std::string norm = graph_.node("ReduceL2", {wide, graph_.integers({1, 2})});  // [B, 1, 1, C]
  const std::string mean = graph_.node("ReduceMean", {norm, graph_.integers({-1})});  // [B, 1, 1, 1]
  const std::string relative = binary("Div", norm, binary("Add", mean, graph_.scalar(1e-6f)));
  const std::string factor = binary("Add", binary("Mul", relative, weight(gamma).name), graph_.scalar(1.0f));
  store(h, binary("Mul", wide, factor), DType::f32, from.dims);
}

}  // namespace paella::onnx
