#include "pipeline/schedule.h"

namespace paella {

std::vector<float> linspace(double first, double last, std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<float>(
        count == 1 ? first : first + (last - first) * static_cast<double>(i) / static_cast<double>(count - 1)));
  return values;
}

std::vector<float> noise_levels(std::int64_t steps) { return linspace(1.0, 0.0, steps + 1); }

}  // namespace paella
