// Seeded random weights for `random:<configuration>`.
#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/philox.h"
#include "core/weights.h"

namespace paella {

namespace {

// FNV-1a: gives each tensor its own stream.
std::uint32_t hash(const std::string& text) {
  std::uint32_t value = 2166136261u;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 16777619u;
  return value;
}

bool ends_with(const std::string& name, const char* suffix) { return name.ends_with(suffix); }

// Uniform in [-range, range] around centre.
struct Distribution {
  float centre = 0;
  float range = 0;
};

Distribution distribution_of(const std::string& name, const Shape& shape) {
  if (ends_with(name, "running_var")) return {1.0f, 0.5f};
  // LayerNorms of ByT5, CLIP and the prior.
  const bool norm = name.find("ln_") != std::string::npos || name.starts_with("blocks.");
  if (ends_with(name, "layer_norm.weight") || (norm && shape.rank() == 1 && ends_with(name, ".weight")))
    return {1.0f, 0.1f};
  if (shape.rank() == 1) return {0.0f, 0.1f};
  std::int64_t fan_in = 1;
  for (int axis = 1; axis < shape.rank(); ++axis) fan_in *= shape[axis];
  const float unit = std::sqrt(3.0f / static_cast<float>(fan_in));
  // Embeddings are gathered, not multiplied: rows of unit variance.
  if (ends_with(name, "in_mapper.0.weight") || ends_with(name, "shared.weight") || ends_with(name, "codebook.weight"))
    return {0.0f, std::sqrt(3.0f)};
  return {0.0f, unit};
}

class RandomWeights final : public WeightSource {
 public:
  explicit RandomWeights(std::uint64_t seed) : seed_(seed) {}

  bool has(const std::string&) const override { return true; }

  HostTensor get(const std::string& name, const Shape& shape) override {
    std::vector<float>& values = values_[name];
    values.resize(static_cast<std::size_t>(shape.elements()));
    const Distribution distribution = distribution_of(name, shape);
    const std::uint32_t stream = hash(name);
    const float scale = distribution.range * 0x1p-23f;
#pragma omp parallel for schedule(static)
    for (std::size_t block = 0; block < (values.size() + 3) / 4; ++block) {
      const PhiloxWords words =
          random_words(seed_, Purpose::random_weights, stream, static_cast<std::uint32_t>(block), 0);
      for (std::size_t i = block * 4; i < std::min(values.size(), block * 4 + 4); ++i)
        values[i] = distribution.centre + scale * (static_cast<float>(words[i - block * 4] >> 8) - 0x1p23f);
    }
    return {name, shape, DType::f32, values.data()};
  }

  void release(const HostTensor& tensor) override { values_.erase(tensor.name); }
  void check_all_used() const override {}

 private:
  std::uint64_t seed_;
  std::map<std::string, std::vector<float>> values_;
};

class NoValues final : public WeightSource {
 public:
  bool has(const std::string&) const override { return true; }
  HostTensor get(const std::string& name, const Shape& shape) override { return {name, shape, DType::f32, nullptr}; }
  void release(const HostTensor&) override {}
  void check_all_used() const override {}
};

}  // namespace

std::unique_ptr<WeightSource> weights_without_values() { return std::make_unique<NoValues>(); }

std::unique_ptr<WeightSource> random_weights(std::uint64_t seed) { return std::make_unique<RandomWeights>(seed); }

}  // namespace paella
