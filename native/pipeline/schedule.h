// The numbers of a job's steps (spec 4.1).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace paella {

// `count` values from first to last; one value: first.
std::vector<float> linspace(double first, double last, std::int64_t count);

// Noise level t_0 … t_steps from 1 (pure noise) to 0; step i runs at t_i, so that the network never sees 0.
std::vector<float> noise_levels(std::int64_t steps);

}  // namespace paella
