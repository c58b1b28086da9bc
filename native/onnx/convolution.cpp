#include "core/error.h"
#include "onnx/onnx_ops.h"

namespace paella::onnx {

void OnnxOps::do_depthwise_conv(const Tensor& x, const Tensor* skip, const Constant& weights, const Constant& bias,
                                Padding padding, const Tensor& out) {
  const Value from = values_.read(x);
  std::string value = from.name;
  if (skip != nullptr) {
    const Value other = values_.read(*skip);
    expect(Dims(other.dims.begin() + 1, other.dims.end()) == Dims(from.dims.begin() + 1, from.dims.end()),
           "recording: depthwise_conv: expected a skip like ", text_of(from.dims), ", got ", text_of(other.dims));
    value =
        graph_.node("Concat", {value, for_rows(other.name, other.dims[0], from.dims[0])}, {{"axis", std::int64_t{-1}}});
  }
  // ONNX convolutions are [B, C, H, W].
  value = transpose(value, {0, 3, 1, 2});
  std::vector<std::int64_t> pads(4, 1);
  if (padding == Padding::replicate) {
    value = graph_.node("Pad", {value, graph_.integers({0, 0, 1, 1, 0, 0, 1, 1})}, {{"mode", std::string("edge")}});
    pads.assign(4, 0);
  }
  const Weight kernel = weight(weights);
  value = graph_.node("Conv", {value, kernel.name, weight(bias).name},
                      {{"group", out.shape[3]}, {"kernel_shape", std::vector<std::int64_t>{3, 3}}, {"pads", pads}},
                      kernel.name);
  store(out, transpose(value, {0, 2, 3, 1}), DType::f32, from.dims);
}

}  // namespace paella::onnx
