// From CLIP text embeddings to CLIP image embeddings (spec 4.4). The whole loop runs on the backend.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/backend.h"
#include "models/prior.h"

namespace paella {

enum class PriorMethod { ddpm, ddim };

struct PriorSettings {
  std::int64_t steps = 60;
  double guidance_scale = 3.0;
  PriorMethod method = PriorMethod::ddpm;
  friend bool operator==(const PriorSettings&, const PriorSettings&) = default;
};

// One step: x ← x·of_x + noise·of_noise + deviation·(normal numbers).
struct PriorStep {
  double noise_level;  // r of the network
  double of_x, of_noise, deviation;
};
// From pure noise; the first level, 1, is left out, as in the reference.
std::vector<PriorStep> prior_schedule(const PriorSettings& settings);

// text [R, c_cond], one seed for each row → [R, c_in]. A row's numbers depend on its own text and seed only.
// `keep_going` is asked before each step; false ends it with ERR_ABORTED.
std::vector<float> sample_prior(Backend& backend, const Prior& prior, const PriorSettings& settings,
                                std::span<const float> text, std::span<const std::uint64_t> seeds,
                                const std::function<bool()>& keep_going);

}  // namespace paella
