#include "models/affine.h"

namespace paella {

Affine read_affine(Loader& loader, const std::string& name, std::int64_t channels) {
  return {loader.host(name + ".weight", {channels}), loader.host(name + ".bias", {channels})};
}

void fold_before(const Affine& affine, std::vector<float>& weight, std::vector<float>& bias) {
  const std::size_t channels = affine.weight.size();
  for (std::size_t n = 0; n < bias.size(); ++n) {
    float* row = weight.data() + n * channels;
    double sum = bias[n];
    for (std::size_t c = 0; c < channels; ++c) {
      sum += static_cast<double>(row[c]) * affine.bias[c];
      row[c] *= affine.weight[c];
    }
    bias[n] = static_cast<float>(sum);
  }
}

ConstantPtr modulation_of(Loader& loader, const Affine& affine, const std::string& name) {
  std::vector<float> values;
  for (const float weight : affine.weight) values.push_back(weight - 1);
  values.insert(values.end(), affine.bias.begin(), affine.bias.end());
  const auto count = static_cast<std::int64_t>(values.size());
  return loader.derived(name + " modulation", values, {count}, Layout::vector);
}

}  // namespace paella
