// ByT5's encoder: T5 v1.1 over UTF-8 bytes (spec 5.1).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/json.h"
#include "models/loader.h"

namespace paella {

struct Byt5Config {
  std::int64_t d_model = 2560;
  std::int64_t d_kv = 64;
  std::int64_t d_ff = 6720;
  std::int64_t num_layers = 36;
  std::int64_t num_heads = 32;
  std::int64_t vocab_size = 384;
  std::int64_t relative_buckets = 32;
  std::int64_t relative_max_distance = 128;
  float epsilon = 1e-6f;

  static Byt5Config from_json(const Json& json, const std::string& label);
};

class Byt5Encoder {
 public:
  Byt5Encoder(const Byt5Config& config, Loader& loader);

  const Byt5Config& config() const { return config_; }
  // Inputs: ids i32 [T]; position bias f32 [heads, 2T − 1], see position_bias(). Output: last hidden states f32 [T,
  // d_model].
  std::shared_ptr<const Description> network() const;
  // Bias of head h for key − query = d at entry (h, T − 1 + d); shared by all layers.
  std::vector<float> position_bias(std::int64_t length) const;
  // What it is made of: [relative_buckets, num_heads].
  const std::vector<float>& relative_biases() const;

  struct Weights;

 private:
  Byt5Config config_;
  std::shared_ptr<const Weights> weights_;
};

// Bucket of a distance key − query, bidirectional.
std::int64_t relative_bucket(std::int64_t distance, std::int64_t buckets, std::int64_t max_distance);

}  // namespace paella
