// Constants of the TensorRT backend: one side is what the graph refers to, the other what CUDA's operations read. The
// weights of networks that run as engines never go to the GPU twice.
#pragma once

#include <memory>
#include <span>

#include "core/backend.h"
#include "onnx/onnx_model.h"

namespace paella::tensorrt {

class TwinConstant final : public Constant {
 public:
  // Null for weights of 8 bits, which no engine reads.
  std::shared_ptr<const onnx::OnnxConstant> on_host;
  // Null until a network that CUDA runs needs it.
  mutable ConstantPtr on_cuda;
  const Constant& made() const override;
};

inline const TwinConstant& twin(const Constant& constant) { return static_cast<const TwinConstant&>(constant); }

// Constants that stay f32 as matrices go to `cuda` at once: the sampler takes the head within a captured step, where
// nothing can be uploaded. So do weights of 8 bits: those are of networks that CUDA runs. Errors as of
// onnx::make_constant and Backend::constant.
ConstantPtr make_twin(const HostTensor& tensor, Layout layout, Backend& cuda);

// Uploads what the description reads and CUDA does not have yet.
void upload_constants(const Description& description, std::span<const TensorSpec> inputs,
                      std::span<const TensorSpec> outputs, DType operand, Backend& cuda);

}  // namespace paella::tensorrt
