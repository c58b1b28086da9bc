#include "tensorrt/constants.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "core/error.h"

namespace paella::tensorrt {

namespace {

// Runs a description without computing anything, and hands on the constants that it reads. Composites take their
// default bodies.
class Constants final : public Ops {
 public:
  Constants(DType operand, std::function<void(const Constant&)> found) : operand_(operand), found_(std::move(found)) {
    // Addresses that nobody dereferences.
    arena().use(reinterpret_cast<void*>(std::uintptr_t{Arena::alignment}), std::numeric_limits<std::size_t>::max() / 4);
  }
  DType operand_type() const override { return operand_; }

 protected:
  void do_linear(const Tensor&, const Linear& weights, Activation, const Tensor&) override { use(weights); }
  void do_linear_add(const Tensor&, const Tensor&, const Linear& weights) override { use(weights); }
  void do_layer_norm(const Tensor&, float, const Tensor&) override {}
  void do_rms_norm(const Tensor&, const Constant& weight, float, const Tensor&) override { found_(weight); }
  void do_grn(const Tensor&, const Constant& gamma) override { found_(gamma); }
  void do_depthwise_conv(const Tensor&, const Tensor*, const Constant& weight, const Constant& bias, Padding,
                         const Tensor&) override {
    found_(weight);
    found_(bias);
  }
  void do_space_to_depth(const Tensor&, const Tensor&) override {}
  void do_depth_to_space(const Tensor&, const Tensor&) override {}
  void do_patches_4x4(const Tensor&, const Tensor&) override {}
  void do_overlap_add_4x4(const Tensor&, const Constant& bias, const Tensor&) override { found_(bias); }
  void do_image_attention(const Tensor&, const ConditionKeys&, int, const Tensor&) override {}
  void do_text_attention(const Tensor&, const Tensor&, int, const Tensor&) override {}
  void do_gather(const Constant& table, const Tensor&, const Tensor&) override { found_(table); }
  void do_gather_patches(std::span<const ConstantPtr, 4> tables, const Constant& bias, const Tensor&,
                         const Tensor&) override {
    for (const ConstantPtr& table : tables) found_(*table);
    found_(bias);
  }
  void do_modulate(const Tensor&, const Tensor&) override {}
  Tensor do_tensor_of(const Constant& constant) override {
    found_(constant);
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
  void do_nearest_code(const Tensor&, const Constant& codebook, const Tensor&) override { found_(codebook); }

 private:
  void use(const Linear& weights) {
    found_(*weights.weight);
    if (weights.bias) found_(*weights.bias);
  }
  DType operand_;
  std::function<void(const Constant&)> found_;
};

ConstantPtr upload(const onnx::OnnxConstant& constant, Backend& cuda) {
  const auto bytes = static_cast<std::size_t>(constant.shape.elements()) * size_of(constant.type());
  std::vector<std::uint8_t> converted;
  const void* data = constant.data();
  if (data == nullptr) {
    converted.resize(bytes);
    constant.read(0, converted);
    data = converted.data();
  }
  return cuda.constant({constant.name(), constant.shape, constant.type(), data, nullptr}, constant.layout());
}

}  // namespace

const Constant& TwinConstant::made() const {
  expect(on_cuda != nullptr, "constant ", on_host ? on_host->name() : "", ": expected it to be on the GPU");
  return *on_cuda;
}

ConstantPtr make_twin(const HostTensor& tensor, Layout layout, Backend& cuda) {
  auto made = std::make_shared<TwinConstant>();
  const bool quantized = layout == Layout::matrix_w8;
  if (!quantized) made->on_host = onnx::make_constant(tensor, layout, cuda.operand_type());
  made->shape = tensor.shape;
  if (layout == Layout::matrix_f32 || quantized) {
    made->on_cuda = cuda.constant(tensor, layout);
    made->bytes = made->on_cuda->bytes;
  }
  return made;
}

void upload_constants(const Description& description, std::span<const TensorSpec> inputs,
                      std::span<const TensorSpec> outputs, DType operand, Backend& cuda) {
  Constants ops(operand, [&](const Constant& constant) {
    const TwinConstant& found = twin(constant);
    if (!found.on_cuda) found.on_cuda = upload(*found.on_host, cuda);
  });
  std::vector<Tensor> ins, outs;
  // Distinct addresses that nobody dereferences: descriptions may compare them.
  std::uintptr_t address = std::uintptr_t{1} << 46;
  const auto place = [&](std::span<const TensorSpec> specs, std::vector<Tensor>& tensors) {
    for (const TensorSpec& spec : specs) {
      tensors.push_back({reinterpret_cast<void*>(address), spec.shape, spec.dtype});
      address += (spec.bytes() / Arena::alignment + 1) * Arena::alignment;
    }
  };
  place(inputs, ins);
  place(outputs, outs);
  description.run(ops, ins, outs);
}

}  // namespace paella::tensorrt
