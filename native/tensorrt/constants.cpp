#include "tensorrt/constants.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/shape_ops.h"

namespace paella::tensorrt {

namespace {

// Hands on the constants that a description reads.
class Constants final : public ShapeOps {
 public:
  Constants(DType operand, std::function<void(const Constant&)> found) : ShapeOps(operand), found_(std::move(found)) {
    // Addresses that nobody dereferences.
    arena().use(reinterpret_cast<void*>(std::uintptr_t{Arena::alignment}), std::numeric_limits<std::size_t>::max() / 4);
  }

 protected:
  void found(const Constant& constant) override { found_(constant); }

 private:
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
