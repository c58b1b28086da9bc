#include "onnx/onnx_ops.h"

#include "core/error.h"
#include "onnx/schema.h"

namespace paella::onnx {

OnnxOps::OnnxOps(const Signature& signature, const std::map<std::string, std::int64_t>& sizes, DType operand,
                 Graph& graph, const RecordOptions& options)
    : signature_(signature),
      sizes_(sizes),
      operand_(operand),
      graph_(graph),
      options_(options),
      values_(graph, sizes) {}

OnnxOps::Weight OnnxOps::weight(const Constant& constant) {
  std::shared_ptr<const OnnxConstant> found;
  if (options_.resolve) {
    found = options_.resolve(constant);
  } else if (const auto* ours = dynamic_cast<const OnnxConstant*>(&constant)) {
    found = ours->shared_from_this();
  }
  expect(found != nullptr, "recording: expected constants of the ONNX backend, got others");
  return {graph_.initializer(found), found->type()};
}

std::string OnnxOps::cast(const std::string& value, DType from, DType to) {
  if (from == to) return value;
  return graph_.node("Cast", {value}, {{"to", std::int64_t{schema::data_type(to)}}});
}

void OnnxOps::store(const Tensor& out, const std::string& value, DType type, const Dims& dims) {
  values_.write(out, {cast(value, type, out.dtype), dims, out.dtype});
}

std::string OnnxOps::transpose(const std::string& x, const std::vector<std::int64_t>& order) {
  return graph_.node("Transpose", {x}, {{"perm", order}});
}

std::string OnnxOps::size(const Dim& dim) {
  if (dim.constant()) return graph_.integers({dim.offset});
  return once("size " + dim.text(), [&]() -> std::string {
    if (dim != Dim(dim.symbol)) {
      std::string value = size(Dim(dim.symbol));
      if (dim.numerator != 1) value = binary("Mul", value, graph_.integers({dim.numerator}));
      if (dim.denominator != 1) value = binary("Div", value, graph_.integers({dim.denominator}));
      if (dim.offset != 0) value = binary("Add", value, graph_.integers({dim.offset}));
      return value;
    }
    for (const Port& input : signature_.inputs)
      for (std::size_t axis = 0; axis < input.dims.size(); ++axis)
        if (input.dims[axis] == dim) {
          const auto at = static_cast<std::int64_t>(axis);
          return graph_.node("Shape", {input.name}, {{"start", at}, {"end", at + 1}});
        }
    fail(ErrorCode::internal, "recording: the size ", dim.symbol, " is no size of an input by itself");
  });
}

std::string OnnxOps::number(const Dim& dim) {
  if (dim.constant()) return graph_.scalar(dim.offset);
  return once("number " + dim.text(), [&] { return graph_.node("Squeeze", {size(dim), graph_.integers({0})}); });
}

std::string OnnxOps::range(const Dim& dim) {
  return once("range " + dim.text(), [&] {
    return graph_.node("Range", {graph_.scalar(std::int64_t{0}), number(dim), graph_.scalar(std::int64_t{1})});
  });
}

std::string OnnxOps::image_of_rows(const Dim& rows, const Dim& images) {
  return once("image of " + rows.text() + " rows, " + images.text(),
              [&] { return binary("Mod", range(rows), number(images)); });
}

std::string OnnxOps::for_rows(const std::string& x, const Dim& from, const Dim& rows) {
  if (from == rows) return x;
  return graph_.node("Gather", {x, image_of_rows(rows, from)}, {{"axis", std::int64_t{0}}});
}

}  // namespace paella::onnx
