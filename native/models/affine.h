// LayerNorms with weight and bias. Ops::layer_norm has neither: they are folded into the product that follows, or
// applied as a modulation where something else does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/loader.h"

namespace paella {

struct Affine {
  std::vector<float> weight, bias;  // [C]
};

// `<name>.weight` and `<name>.bias`.
Affine read_affine(Loader& loader, const std::string& name, std::int64_t channels);
// W [N, C] and b [N] of a product of the affine's result become those of a product of what the affine takes.
void fold_before(const Affine& affine, std::vector<float>& weight, std::vector<float>& bias);
// [2C], as Ops::modulate takes it: weight − 1, bias.
ConstantPtr modulation_of(Loader& loader, const Affine& affine, const std::string& name);

}  // namespace paella
