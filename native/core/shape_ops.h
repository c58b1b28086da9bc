// Runs a description without computing anything: shapes, memory and constants are all that there is. Composites take
// their default bodies.
#pragma once

#include "core/ops.h"

namespace paella {

class ShapeOps : public Ops {
 public:
  explicit ShapeOps(DType operand) : operand_(operand) {}
  DType operand_type() const override { return operand_; }

 protected:
  // Told each constant that is read, unless the arena measures.
  virtual void found(const Constant& constant) { (void)constant; }

  void do_linear(const Tensor&, const Linear& weights, Activation, const Tensor&) override { use(weights); }
  void do_linear_add(const Tensor&, const Tensor&, const Linear& weights) override { use(weights); }
  void do_layer_norm(const Tensor&, float, const Tensor&) override {}
  void do_rms_norm(const Tensor&, const Constant& weight, float, const Tensor&) override { found(weight); }
  void do_grn(const Tensor&, const Constant& gamma) override { found(gamma); }
  void do_depthwise_conv(const Tensor&, const Tensor*, const Constant& weight, const Constant& bias, Padding,
                         const Tensor&) override {
    found(weight);
    found(bias);
  }
  void do_space_to_depth(const Tensor&, const Tensor&) override {}
  void do_depth_to_space(const Tensor&, const Tensor&) override {}
  void do_patches_4x4(const Tensor&, const Tensor&) override {}
  void do_overlap_add_4x4(const Tensor&, const Constant& bias, const Tensor&) override { found(bias); }
  void do_image_attention(const Tensor&, const ConditionKeys&, int, const Tensor&) override {}
  void do_text_attention(const Tensor&, const Tensor&, int, const Tensor&) override {}
  void do_gather(const Constant& table, const Tensor&, const Tensor&) override { found(table); }
  void do_gather_patches(std::span<const ConstantPtr, 4> tables, const Constant& bias, const Tensor&,
                         const Tensor&) override {
    for (const ConstantPtr& table : tables) found(*table);
    found(bias);
  }
  void do_modulate(const Tensor&, const Tensor&) override {}
  Tensor do_tensor_of(const Constant& constant) override {
    found(constant);
    return allocate(constant.shape, DType::f32);
  }
  void do_scale_rows(const Tensor&, const Tensor&, std::int64_t) override {}
  void do_gated(const Tensor&, Activation, const Tensor&) override {}
  void do_activate(const Tensor&, Activation, const Tensor&) override {}
  void do_add(const Tensor&, const Tensor&) override {}
  void do_columns(const Tensor&, std::int64_t, const Tensor&) override {}
  void do_repeat(const Tensor&, const Tensor&) override {}
  void do_copy(const Tensor&, const Tensor&) override {}
  void do_select_row(const Tensor&, const Tensor&, const Tensor&) override {}
  void do_to_pixels(const Tensor&, const Tensor&) override {}
  void do_from_pixels(const Tensor&, const Tensor&) override {}
  void do_nearest_code(const Tensor&, const Constant& codebook, const Tensor&) override { found(codebook); }

 private:
  void use(const Linear& weights) {
    found(*weights.weight);
    if (weights.bias) found(*weights.bias);
  }
  DType operand_;
};

}  // namespace paella
