// The operations of core/ops.h as nodes of a graph. Bodies: one source file per family, named like the CPU's.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/ops.h"
#include "onnx/graph.h"
#include "onnx/values.h"

namespace paella::onnx {

class OnnxOps final : public Ops {
 public:
  OnnxOps(const Signature& signature, const std::map<std::string, std::int64_t>& sizes, DType operand, Graph& graph,
          const RecordOptions& options);
  DType operand_type() const override { return operand_; }
  Values& values() { return values_; }

 private:
  void do_linear(const Tensor& x, const Linear& weights, Activation activation, const Tensor& out) override;
  void do_linear_add(const Tensor& residual, const Tensor& x, const Linear& weights) override;
  void do_layer_norm(const Tensor& x, float epsilon, const Tensor& out) override;
  void do_rms_norm(const Tensor& x, const Constant& weight, float epsilon, const Tensor& out) override;
  void do_grn(const Tensor& h, const Constant& gamma) override;
  void do_depthwise_conv(const Tensor& x, const Tensor* skip, const Constant& weight, const Constant& bias,
                         Padding padding, const Tensor& out) override;
  void do_space_to_depth(const Tensor& x, const Tensor& out) override;
  void do_depth_to_space(const Tensor& x, const Tensor& out) override;
  void do_patches_4x4(const Tensor& x, const Tensor& out) override;
  void do_overlap_add_4x4(const Tensor& patches, const Constant& bias, const Tensor& out) override;
  void do_image_attention(const Tensor& qkv, const ConditionKeys& condition, int heads, const Tensor& out) override;
  void do_text_attention(const Tensor& qkv, const Tensor& bias, int heads, const Tensor& out) override;
  void do_gather(const Constant& table, const Tensor& indices, const Tensor& out) override;
  void do_gather_patches(std::span<const ConstantPtr, 4> tables, const Constant& bias, const Tensor& tokens,
                         const Tensor& out) override;
  void do_modulate(const Tensor& x, const Tensor& modulation) override;
  void do_gated(const Tensor& x, Activation activation, const Tensor& out) override;
  void do_activate(const Tensor& x, Activation activation, const Tensor& out) override;
  void do_add(const Tensor& x, const Tensor& y) override;
  void do_columns(const Tensor& x, std::int64_t first, const Tensor& out) override;
  void do_repeat(const Tensor& x, const Tensor& out) override;
  void do_copy(const Tensor& from, const Tensor& to) override;
  void do_select_row(const Tensor& table, const Tensor& row, const Tensor& out) override;
  void do_to_pixels(const Tensor& x, const Tensor& out) override;
  void do_from_pixels(const Tensor& x, const Tensor& out) override;
  void do_nearest_code(const Tensor& x, const Constant& codebook, const Tensor& out) override;

  // --- pieces ---
  struct Weight {
    std::string name;
    DType type = DType::f32;
  };
  Weight weight(const Constant& constant);
  std::string cast(const std::string& value, DType from, DType to);
  // Writes a value whose type is `type` to `out`, whose shape in symbols is `dims`.
  void store(const Tensor& out, const std::string& value, DType type, const Dims& dims);
  // x·Wᵀ + b in f32.
  std::string product(const Value& x, const Linear& weights);
  std::string activated(const std::string& x, Activation activation);  // f32
  std::string binary(const char* op, const std::string& a, const std::string& b) { return graph_.node(op, {a, b}); }
  std::string transpose(const std::string& x, const std::vector<std::int64_t>& order);
  std::string normalised(const std::string& x, float epsilon, std::int64_t channels);
  std::string softmax(const std::string& scores);  // f32, over the last axis

  // --- sizes in the graph ---
  std::string size(const Dim& dim);    // i64 [1]
  std::string number(const Dim& dim);  // i64 scalar
  std::string range(const Dim& dim);   // i64 [dim]: 0, 1, …
  // [rows] i64: the image of each row, r mod images.
  std::string image_of_rows(const Dim& rows, const Dim& images);
  // `x`, whose first size is `from`, with `rows` of it: row r is x[r mod from].
  std::string for_rows(const std::string& x, const Dim& from, const Dim& rows);

  // What one set of conditions needs, whichever block asks for it.
  std::string valid_keys(const Value& length, const Dim& padded);  // bool [P, Smax, 1]
  // f32 [R, 1, 1, N + Smax]: 0 for keys that are attended, else very negative.
  std::string key_bias(const Value& length, const Value& index, const Dim& pixels_h, const Dim& pixels_w,
                       const Dim& padded);
  template <typename Make>
  std::string once(const std::string& key, const Make& make);

  const Signature& signature_;
  const std::map<std::string, std::int64_t>& sizes_;
  DType operand_;
  Graph& graph_;
  const RecordOptions& options_;
  Values values_;
  std::map<std::string, std::string> made_;  // what once() has made
};

template <typename Make>
std::string OnnxOps::once(const std::string& key, const Make& make) {
  const auto found = made_.find(key);
  if (found != made_.end()) return found->second;
  return made_[key] = make();
}

}  // namespace paella::onnx
