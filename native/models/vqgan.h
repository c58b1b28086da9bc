// The VQGAN (spec 2.1): tokens ↔ pixels.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/json.h"
#include "models/loader.h"

namespace paella {

struct VqganConfig {
  std::int64_t levels = 2;
  std::int64_t bottleneck_blocks = 12;
  std::int64_t c_hidden = 384;
  std::int64_t c_latent = 4;
  std::int64_t codebook_size = 8192;
  double scale_factor = 0.3764;  // of continuous latents; plays no part between tokens and pixels

  static VqganConfig from_json(const Json& json, const std::string& label);
  std::int64_t pixels_per_token() const { return std::int64_t{1} << levels; }
  // Channels of level i; the last one is the token level.
  std::int64_t width(std::int64_t level) const { return c_hidden >> (levels - 1 - level); }
};

class Vqgan {
 public:
  Vqgan(const VqganConfig& config, Loader& loader);

  const VqganConfig& config() const { return config_; }
  // Input: tokens i32 [B, H, W]. Output: RGB u8 [B, H·p, W·p, 3], p = pixels_per_token(); or the same as f32 before
  // clamping and rounding, nominally in [0, 1], if the output is f32.
  std::shared_ptr<const Description> decoder() const;
  // Input: RGB u8 [B, H·p, W·p, 3], or f32 in [0, 1]. Output: tokens i32 [B, H, W]; or the latents before quantisation,
  // [B, H, W, c_latent], if the output is f32. Computed in f32 whatever the precision: a token is the nearest of
  // thousands of codes, and rounding would change it.
  std::shared_ptr<const Description> encoder() const;

  struct Weights;

 private:
  VqganConfig config_;
  std::shared_ptr<const Weights> weights_;
};

}  // namespace paella
