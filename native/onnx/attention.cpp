#include <cmath>

#include "onnx/onnx_ops.h"

namespace paella::onnx {

namespace {

// Finite, so that no difference of scores is undefined; its exponential is 0.
constexpr float never = -1e30f;

const Attributes first_axis = {{"axis", std::int64_t{0}}};
Attributes parts(std::int64_t axis, std::int64_t count) { return {{"axis", axis}, {"num_outputs", count}}; }

}  // namespace

std::string OnnxOps::softmax(const std::string& scores) {
  return graph_.node("Softmax", {scores}, {{"axis", std::int64_t{-1}}});
}

std::string OnnxOps::valid_keys(const Value& length, const Dim& padded) {
  return once("valid keys " + length.name + ' ' + padded.text(), [&] {
    const std::string wide =
        graph_.node("Unsqueeze", {cast(length.name, DType::i32, DType::i64), graph_.integers({1})});
    return graph_.node("Unsqueeze", {binary("Less", range(padded), wide), graph_.integers({2})});
  });
}

std::string OnnxOps::key_bias(const Value& length, const Value& index, const Dim& pixels_h, const Dim& pixels_w,
                              const Dim& padded) {
  const std::string key = "key bias " + length.name + ' ' + index.name + ' ' + pixels_h.text() + ' ' + pixels_w.text() +
                          ' ' + padded.text();
  return once(key, [&] {
    const std::string pixels = binary("Mul", number(pixels_h), number(pixels_w));
    const std::string all = binary("Add", pixels, number(padded));
    const std::string position =
        graph_.node("Range", {graph_.scalar(std::int64_t{0}), all, graph_.scalar(std::int64_t{1})});
    const std::string own = graph_.node("Gather", {cast(length.name, DType::i32, DType::i64), index.name}, first_axis);
    const std::string end = graph_.node("Unsqueeze", {binary("Add", own, pixels), graph_.integers({1})});  // [R, 1]
    const std::string bias = graph_.node(
        "Where", {binary("Less", position, end), graph_.scalar(0.0f), graph_.scalar(never)});  // [R, N + Smax]
    return graph_.node("Unsqueeze", {bias, graph_.integers({1, 2})});
  });
}

void OnnxOps::do_image_attention(const Tensor& qkv, const ConditionKeys& condition, int heads, const Tensor& out) {
  const Value from = values_.read(qkv), kv = values_.read(condition.kv);
  const Value length = values_.read(condition.length), index = values_.read(condition.index);
  const std::int64_t channels = out.shape[3], d = channels / heads;
  const Dim &rows = index.dims[0], &height = from.dims[1], &width = from.dims[2], &padded = kv.dims[1];

  // Padding may hold anything, NaN too: 0 · NaN would reach every pixel.
  const std::string clean = graph_.node("Where", {valid_keys(length, padded), kv.name, graph_.zero(kv.type)});
  const std::string text = graph_.node("Gather", {clean, index.name}, first_axis);  // [R, Smax, 2c]
  const auto text_parts = graph_.nodes("Split", {text}, 2, parts(-1, 2));
  const auto image_parts = graph_.nodes("Split", {for_rows(from.name, from.dims[0], rows)}, 3, parts(-1, 3));
  // → [R, heads, N or Smax, d]
  const auto by_head = [&](const std::string& x) {
    return transpose(graph_.node("Reshape", {x, graph_.integers({0, -1, heads, d})}), {0, 2, 1, 3});
  };
  const auto joined = [&](const std::string& image, const std::string& words) {
    return graph_.node("Concat", {by_head(image), by_head(words)}, {{"axis", std::int64_t{2}}});
  };
  const std::string keys = joined(image_parts[1], text_parts[0]), contents = joined(image_parts[2], text_parts[1]);
  std::string scores = binary("MatMul", by_head(image_parts[0]), transpose(keys, {0, 1, 3, 2}));
  scores = cast(scores, from.type, DType::f32);
  scores = binary("Mul", scores, graph_.scalar(1.0f / std::sqrt(static_cast<float>(d))));
  scores = binary("Add", scores, key_bias(length, index, height, width, padded));
  const std::string attended = binary("MatMul", cast(softmax(scores), DType::f32, from.type), contents);
  const std::string shape =
      graph_.node("Concat", {graph_.integers({0}), size(height), size(width), graph_.integers({channels})}, first_axis);
  // [R, heads, N, d] → [R, H, W, c]
  store(out, graph_.node("Reshape", {transpose(attended, {0, 2, 1, 3}), shape}), from.type,
        {rows, height, width, Dim(channels)});
}

void OnnxOps::do_text_attention(const Tensor& qkv, const Tensor& bias, int heads, const Tensor& out) {
  const Value from = values_.read(qkv), biases = values_.read(bias);
  const std::int64_t channels = out.shape[1], d = channels / heads;
  const Dim& tokens = from.dims[0];
  const auto qkv_parts = graph_.nodes("Split", {from.name}, 3, parts(-1, 3));
  const auto by_head = [&](const std::string& x, const std::vector<std::int64_t>& order) {
    return transpose(graph_.node("Reshape", {x, graph_.integers({0, heads, d})}), order);
  };
  // Entry (query, key) of every head: T − 1 + key − query.
  const std::string expanded = once("position bias " + biases.name, [&] {
    const std::string query = graph_.node("Unsqueeze", {range(tokens), graph_.integers({1})});
    const std::string distance = binary("Sub", range(tokens), query);  // [T, T]
    const std::string entry = binary("Add", distance, number(tokens.plus(-1)));
    return graph_.node("Gather", {biases.name, entry}, {{"axis", std::int64_t{1}}});  // [heads, T, T]
  });
  std::string scores = binary("MatMul", by_head(qkv_parts[0], {1, 0, 2}), by_head(qkv_parts[1], {1, 2, 0}));
  scores = binary("Add", cast(scores, from.type, DType::f32), expanded);
  const std::string attended =
      binary("MatMul", cast(softmax(scores), DType::f32, from.type), by_head(qkv_parts[2], {1, 0, 2}));
  store(out, graph_.node("Reshape", {transpose(attended, {1, 0, 2}), graph_.integers({0, channels})}), from.type,
        {tokens, Dim(channels)});
}

}  // namespace paella::onnx
