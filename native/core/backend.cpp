#include "core/backend.h"

#include "core/error.h"

namespace paella {

void check_specs(const char* network, const char* kind, std::span<const Tensor> found,
                 std::span<const TensorSpec> expected) {
  expect(found.size() == expected.size(), network, ": expected ", expected.size(), " ", kind, ", got ", found.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    expect(found[i].shape == expected[i].shape && found[i].dtype == expected[i].dtype, network, ": expected ", kind,
           " ", i, " to be ", name_of(expected[i].dtype), " ", expected[i].shape.text(), ", got ",
           name_of(found[i].dtype), " ", found[i].shape.text());
}

Error no_finite_logit() {
  return {ErrorCode::numeric, "sample: a position has no finite logit",
          "The weights may be damaged or unsuitable for this precision; try precision fp32."};
}

}  // namespace paella
