// A network run once, from host memory to host memory.
#pragma once

#include <memory>
#include <vector>

#include "core/backend.h"
#include "core/error.h"

namespace paella {

struct HostInput {
  const void* data;
  TensorSpec spec;
};

// Its one output, T being what `out` says.
template <typename T>
std::vector<T> run_network(Backend& backend, std::shared_ptr<const Description> description,
                           const std::vector<HostInput>& inputs, const TensorSpec& out_spec) {
  std::vector<Buffer> memory;
  std::vector<TensorSpec> specs;
  std::vector<Tensor> tensors;
  for (const HostInput& input : inputs) {
    memory.push_back(backend.allocate(input.spec.bytes()));
    specs.push_back(input.spec);
    tensors.push_back(memory.back().tensor(input.spec.shape, input.spec.dtype));
    backend.upload(input.data, tensors.back());
  }
  const Buffer out_memory = backend.allocate(out_spec.bytes());
  const Tensor out = out_memory.tensor(out_spec.shape, out_spec.dtype);
  backend.compile(std::move(description), specs, {&out_spec, 1})->run(tensors, {&out, 1});
  std::vector<T> values(static_cast<std::size_t>(out_spec.shape.elements()));
  expect(values.size() * sizeof(T) == out_spec.bytes(), "run_network: expected another type of result");
  backend.download(out, values.data());
  return values;
}

}  // namespace paella
