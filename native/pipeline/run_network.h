// A network run once, from host memory to host memory.
#pragma once

#include <memory>
#include <vector>

#include "core/backend.h"

namespace paella {

struct HostInput {
  const void* data;
  TensorSpec spec;
};

// Output f32 of the given shape.
inline std::vector<float> run_network(Backend& backend, std::shared_ptr<const Description> description,
                                      const std::vector<HostInput>& inputs, const Shape& shape) {
  std::vector<Buffer> memory;
  std::vector<TensorSpec> specs;
  std::vector<Tensor> tensors;
  for (const HostInput& input : inputs) {
    memory.push_back(backend.allocate(input.spec.bytes()));
    specs.push_back(input.spec);
    tensors.push_back(memory.back().tensor(input.spec.shape, input.spec.dtype));
    backend.upload(input.data, tensors.back());
  }
  const TensorSpec out_spec{shape, DType::f32};
  const Buffer out_memory = backend.allocate(out_spec.bytes());
  const Tensor out = out_memory.tensor(shape, DType::f32);
  backend.compile(std::move(description), specs, {&out_spec, 1})->run(tensors, {&out, 1});
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  backend.download(out, values.data());
  return values;
}

}  // namespace paella
