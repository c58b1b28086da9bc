// The prior (spec 4.4): denoises a CLIP image embedding, given a CLIP text embedding. Residual blocks of two products
// on one vector.
//
// Three networks come from one set of weights, split by what their results depend on:
//   condition   once per prompt   → what the text embedding adds in every block; zeros for the unconditional pass
//   noise       once per job      → what the noise level adds in every block, for every step
//   denoise     once per step     → predicted noise, guided rows and unguided ones together
//   update      once per step     → the next, less noisy embedding
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/json.h"
#include "models/loader.h"

namespace paella {

struct PriorConfig {
  std::int64_t c_in = 1024;  // of the image embedding
  std::int64_t c_hidden = 1280;
  std::int64_t c_inner = 5120;  // inside a block; a configuration may leave it out if it is 4·c_hidden
  std::int64_t c_cond = 1024;   // of the text embedding
  std::int64_t c_r = 64;        // of the noise level's embedding
  std::int64_t num_layers = 48;
  float epsilon = 1e-5f;

  static PriorConfig from_json(const Json& json, const std::string& label);
};

class Prior {
 public:
  Prior(const PriorConfig& config, Loader& loader);

  const PriorConfig& config() const { return config_; }
  // Input: text embeddings f32 [R, c_cond]. Outputs: per block f32 [R, c_inner].
  std::shared_ptr<const Description> condition() const;
  // Input: embeddings of noise levels f32 [N, c_r], see noise_embedding(). Outputs: per block f32 [N, 2·c_inner], zeros
  // and what is added, as Ops::modulate takes them.
  std::shared_ptr<const Description> noise() const;
  // Inputs: x f32 [R, c_in]; step i32 [1]; then per block what condition() gives [2R, c_inner], zeros for the second
  // half, then per block what noise() gives. Output: predicted noise f32 [2R, 1, 1, c_in], conditional rows first.
  std::shared_ptr<const Description> denoise() const;
  // Inputs: x f32 [R, c_in]; predicted noise f32 [R, 1, 1, c_in]; step i32 [1]; tables of the sampler: f32 [N, 2·c_in]
  // for x and for the predicted noise, as Ops::modulate takes them, and f32 [N, R, c_in] that is added.
  // Output: f32 [R, c_in], which may be x itself.
  std::shared_ptr<const Description> update() const;

  struct Weights;

 private:
  PriorConfig config_;
  std::shared_ptr<const Weights> weights_;
};

}  // namespace paella
