#include "core/ops.h"

#include "core/backend.h"
#include "core/error.h"

namespace paella {

namespace {

void check(bool condition, const char* operation, const char* what, const std::string& expected,
           const std::string& found) {
  expect(condition, operation, ": expected ", what, " ", expected, ", got ", found);
}

void check_rank(const char* operation, const Tensor& x, int rank) {
  check(x.shape.rank() == rank, operation, "rank", std::to_string(rank), x.shape.text());
}

void check_channels(const char* operation, const Tensor& x, std::int64_t channels) {
  check(x.shape.rank() > 0 && x.shape[-1] == channels, operation, "channels", std::to_string(channels), x.shape.text());
}

void check_type(const char* operation, const Tensor& x, DType type) {
  check(x.dtype == type, operation, "type", name_of(type), name_of(x.dtype));
}

void check_shape(const char* operation, const Shape& found, const Shape& expected) {
  check(found == expected, operation, "shape", expected.text(), found.text());
}

void check_even(const char* operation, const Tensor& x) {
  check(x.shape[1] % 2 == 0 && x.shape[2] % 2 == 0, operation, "even height and width in", "[B, H, W, C]",
        x.shape.text());
}

void check_product(const char* operation, const Tensor& x, const Linear& weights) {
  expect(weights.weight != nullptr, operation, ": no weights");
  check_channels(operation, x, weights.weight->shape[1]);
  if (weights.bias) check_shape(operation, weights.bias->shape, {weights.weight->shape[0]});
}

}  // namespace

Tensor Ops::linear(const Tensor& x, const Linear& weights, Activation activation, DType out) {
  check_product("linear", x, weights);
  Tensor result = allocate(x.shape.with_last(weights.weight->shape[0]), out);
  if (!measuring()) do_linear(x, weights, activation, result);
  return result;
}

void Ops::linear_add(const Tensor& residual, const Tensor& x, const Linear& weights) {
  check_product("linear_add", x, weights);
  check_type("linear_add", residual, DType::f32);
  check_shape("linear_add", residual.shape, x.shape.with_last(weights.weight->shape[0]));
  if (!measuring()) do_linear_add(residual, x, weights);
}

Tensor Ops::layer_norm(const Tensor& x, float epsilon, DType out) {
  check_type("layer_norm", x, DType::f32);
  Tensor result = allocate(x.shape, out);
  if (!measuring()) do_layer_norm(x, epsilon, result);
  return result;
}

Tensor Ops::rms_norm(const Tensor& x, const ConstantPtr& weight, float epsilon, DType out) {
  check_type("rms_norm", x, DType::f32);
  check_channels("rms_norm", x, weight->shape[0]);
  Tensor result = allocate(x.shape, out);
  if (!measuring()) do_rms_norm(x, *weight, epsilon, result);
  return result;
}

void Ops::grn(const Tensor& h, const ConstantPtr& gamma) {
  check_rank("grn", h, 4);
  check_channels("grn", h, gamma->shape[0]);
  if (!measuring()) do_grn(h, *gamma);
}

Tensor Ops::depthwise_conv(const Tensor& x, const Tensor* skip, const ConstantPtr& weight, const ConstantPtr& bias,
                           Padding padding) {
  check_rank("depthwise_conv", x, 4);
  check_type("depthwise_conv", x, DType::f32);
  const std::int64_t inputs = skip == nullptr ? 1 : 2;
  check_shape("depthwise_conv weight", weight->shape, {x.shape[3], inputs, 3, 3});
  check_shape("depthwise_conv bias", bias->shape, {x.shape[3]});
  if (skip != nullptr) {
    check_shape("depthwise_conv skip", skip->shape, x.shape.with_first(skip->shape[0]));
    check(x.shape[0] % skip->shape[0] == 0, "depthwise_conv skip", "a count that divides", x.shape.text(),
          skip->shape.text());
    check(x.shape[3] % 2 == 0, "depthwise_conv skip", "an even number of channels in", "[B, H, W, C]", x.shape.text());
  }
  Tensor result = allocate(x.shape, DType::f32);
  if (!measuring()) do_depthwise_conv(x, skip, *weight, *bias, padding, result);
  return result;
}

Tensor Ops::space_to_depth(const Tensor& x) {
  check_rank("space_to_depth", x, 4);
  check_even("space_to_depth", x);
  Tensor result = allocate({x.shape[0], x.shape[1] / 2, x.shape[2] / 2, x.shape[3] * 4}, x.dtype);
  if (!measuring()) do_space_to_depth(x, result);
  return result;
}

Tensor Ops::depth_to_space(const Tensor& x) {
  check_rank("depth_to_space", x, 4);
  check(x.shape[3] % 4 == 0, "depth_to_space", "channels divisible by", "4", x.shape.text());
  Tensor result = allocate({x.shape[0], x.shape[1] * 2, x.shape[2] * 2, x.shape[3] / 4}, x.dtype);
  if (!measuring()) do_depth_to_space(x, result);
  return result;
}

Tensor Ops::patches_4x4(const Tensor& x, DType out) {
  check_rank("patches_4x4", x, 4);
  check_even("patches_4x4", x);
  check_type("patches_4x4", x, DType::f32);
  Tensor result = allocate({x.shape[0], x.shape[1] / 2, x.shape[2] / 2, x.shape[3] * 16}, out);
  if (!measuring()) do_patches_4x4(x, result);
  return result;
}

Tensor Ops::overlap_add_4x4(const Tensor& patches, const ConstantPtr& bias) {
  check_rank("overlap_add_4x4", patches, 4);
  check_type("overlap_add_4x4", patches, DType::f32);
  check(patches.shape[3] == bias->shape[0] * 16, "overlap_add_4x4", "channels", std::to_string(bias->shape[0] * 16),
        patches.shape.text());
  Tensor result = allocate({patches.shape[0], patches.shape[1] * 2, patches.shape[2] * 2, bias->shape[0]}, DType::f32);
  if (!measuring()) do_overlap_add_4x4(patches, *bias, result);
  return result;
}

Tensor Ops::image_attention(const Tensor& qkv, const ConditionKeys& condition, int heads) {
  check_rank("image_attention", qkv, 4);
  const std::int64_t channels = qkv.shape[3] / 3;
  check(qkv.shape[3] % 3 == 0 && channels % heads == 0, "image_attention", "channels divisible by", concat("3·", heads),
        qkv.shape.text());
  check_rank("image_attention condition", condition.kv, 3);
  check_channels("image_attention condition", condition.kv, 2 * channels);
  check_type("image_attention condition", condition.kv, qkv.dtype);
  check_shape("image_attention lengths", condition.length.shape, {condition.kv.shape[0]});
  const std::int64_t rows = condition.index.shape[0];
  check(rows % qkv.shape[0] == 0, "image_attention", "a row count divisible by", std::to_string(qkv.shape[0]),
        std::to_string(rows));
  Tensor result = allocate({rows, qkv.shape[1], qkv.shape[2], channels}, qkv.dtype);
  if (!measuring()) do_image_attention(qkv, condition, heads, result);
  return result;
}

Tensor Ops::text_attention(const Tensor& qkv, const Tensor& bias, int heads) {
  check_rank("text_attention", qkv, 2);
  check(qkv.shape[1] % (3 * heads) == 0, "text_attention", "channels divisible by", concat("3·", heads),
        qkv.shape.text());
  check_shape("text_attention bias", bias.shape, {heads, 2 * qkv.shape[0] - 1});
  check_type("text_attention bias", bias, DType::f32);
  Tensor result = allocate({qkv.shape[0], qkv.shape[1] / 3}, qkv.dtype);
  if (!measuring()) do_text_attention(qkv, bias, heads, result);
  return result;
}

Tensor Ops::gather(const ConstantPtr& table, const Tensor& indices) {
  check_type("gather", indices, DType::i32);
  std::vector<std::int64_t> dims;
  for (int axis = 0; axis < indices.shape.rank(); ++axis) dims.push_back(indices.shape[axis]);
  dims.push_back(table->shape[1]);
  Tensor result = allocate(Shape(dims), DType::f32);
  if (!measuring()) do_gather(*table, indices, result);
  return result;
}

Tensor Ops::gather_patches(std::span<const ConstantPtr, 4> tables, const ConstantPtr& bias, const Tensor& tokens) {
  check_rank("gather_patches", tokens, 3);
  check_type("gather_patches", tokens, DType::i32);
  check(tokens.shape[1] % 2 == 0 && tokens.shape[2] % 2 == 0, "gather_patches", "even height and width in", "[B, H, W]",
        tokens.shape.text());
  const std::int64_t channels = tables[0]->shape[1];
  check_shape("gather_patches bias", bias->shape, {channels});
  Tensor result = allocate({tokens.shape[0], tokens.shape[1] / 2, tokens.shape[2] / 2, channels}, DType::f32);
  if (!measuring()) do_gather_patches(tables, *bias, tokens, result);
  return result;
}

void Ops::modulate(const Tensor& x, const Tensor& modulation) {
  check_type("modulate", x, DType::f32);
  check_shape("modulate", modulation.shape, {2 * x.shape[-1]});
  if (!measuring()) do_modulate(x, modulation);
}

Tensor Ops::gated(const Tensor& x, Activation activation) {
  check(x.shape[-1] % 2 == 0, "gated", "an even number of channels in", "x", x.shape.text());
  Tensor result = allocate(x.shape.with_last(x.shape[-1] / 2), operand_type());
  if (!measuring()) do_gated(x, activation, result);
  return result;
}

Tensor Ops::tensor_of(const ConstantPtr& constant) {
  expect(constant != nullptr, "tensor_of: expected a constant");
  return do_tensor_of(*constant);
}

void Ops::scale_rows(const Tensor& x, const Tensor& weights, std::int64_t first) {
  check_rank("scale_rows", x, 2);
  check_type("scale_rows", x, operand_type());
  check_type("scale_rows", weights, DType::f32);
  check_shape("scale_rows", weights.shape, {x.shape[0]});
  expect(first >= 0 && first <= x.shape[1], "scale_rows: expected a first column from 0 to ", x.shape[1], ", got ",
         first);
  if (!measuring()) do_scale_rows(x, weights, first);
}

Tensor Ops::activate(const Tensor& x, Activation activation, DType out) {
  check_type("activate", x, DType::f32);
  Tensor result = allocate(x.shape, out);
  if (!measuring()) do_activate(x, activation, result);
  return result;
}

void Ops::add(const Tensor& x, const Tensor& y) {
  check_type("add", x, DType::f32);
  check_type("add", y, DType::f32);
  check_shape("add", y.shape, x.shape);
  if (!measuring()) do_add(x, y);
}

Tensor Ops::columns(const Tensor& x, std::int64_t first, std::int64_t count) {
  expect(first >= 0 && count > 0 && first + count <= x.shape[-1], "columns: ", first, " + ", count, " is outside of ",
         x.shape.text());
  Tensor result = allocate(x.shape.with_last(count), x.dtype);
  if (!measuring()) do_columns(x, first, result);
  return result;
}

Tensor Ops::repeat(const Tensor& x, std::int64_t times) {
  Tensor result = allocate(x.shape.with_first(x.shape[0] * times), x.dtype);
  if (!measuring()) do_repeat(x, result);
  return result;
}

void Ops::copy(const Tensor& from, const Tensor& to) {
  check_shape("copy", to.shape, from.shape);
  if (!measuring()) do_copy(from, to);
}

Tensor Ops::convert(const Tensor& x, DType out) {
  if (x.dtype == out) return x;
  Tensor result = allocate(x.shape, out);
  copy(x, result);
  return result;
}

Tensor Ops::select_row(const Tensor& table, const Tensor& row) {
  check_type("select_row", row, DType::i32);
  expect(table.shape.rank() >= 2, "select_row: expected rank 2 or more, got ", table.shape.text());
  std::vector<std::int64_t> entry;
  for (int axis = 1; axis < table.shape.rank(); ++axis) entry.push_back(table.shape[axis]);
  Tensor result = allocate(Shape(entry), table.dtype);
  if (!measuring()) do_select_row(table, row, result);
  return result;
}

void Ops::to_pixels(const Tensor& x, const Tensor& out) {
  check_type("to_pixels", x, DType::f32);
  check_type("to_pixels", out, DType::u8);
  check_shape("to_pixels", out.shape, x.shape);
  if (!measuring()) do_to_pixels(x, out);
}

Tensor Ops::from_pixels(const Tensor& x) {
  check_type("from_pixels", x, DType::u8);
  Tensor result = allocate(x.shape, DType::f32);
  if (!measuring()) do_from_pixels(x, result);
  return result;
}

void Ops::nearest_code(const Tensor& x, const ConstantPtr& codebook, const Tensor& out) {
  check_type("nearest_code", x, DType::f32);
  check_channels("nearest_code", x, codebook->shape[1]);
  check_type("nearest_code", out, DType::i32);
  expect(out.elements() == x.shape.rows(), "nearest_code: expected ", x.shape.rows(), " results, got ",
         out.shape.text());
  if (!measuring()) do_nearest_code(x, *codebook, out);
}

Tensor Ops::depthwise_norm(const Tensor& x, const Tensor* skip, const ConstantPtr& weight, const ConstantPtr& bias,
                           Padding padding, float epsilon) {
  Tensor result = allocate(x.shape, operand_type());
  Arena::Scope scope(arena_);
  copy(layer_norm(depthwise_conv(x, skip, weight, bias, padding), epsilon, operand_type()), result);
  return result;
}

void Ops::res_block_tail(const Tensor& residual, const Tensor& operand, const ResBlockTail& weights,
                         const Tensor* modulation) {
  Arena::Scope scope(arena_);
  const Tensor hidden = linear(operand, weights.expand, Activation::gelu_erf, operand.dtype);
  grn(hidden, weights.gamma);
  linear_add(residual, hidden, weights.contract);
  if (modulation != nullptr) modulate(residual, *modulation);
}

void Ops::norm_depthwise_add(const Tensor& x, const ConstantPtr& weight, const ConstantPtr& bias, Padding padding,
                             float epsilon) {
  Arena::Scope scope(arena_);
  add(x, depthwise_conv(layer_norm(x, epsilon, DType::f32), nullptr, weight, bias, padding));
}

void Ops::mlp_add(const Tensor& residual, const Tensor& operand, const Linear& expand, const Linear& contract) {
  Arena::Scope scope(arena_);
  linear_add(residual, linear(operand, expand, Activation::gelu_erf, operand.dtype), contract);
}

}  // namespace paella
