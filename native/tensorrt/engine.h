// A plan that is ready to run.
#pragma once

#include <memory>
#include <span>

#include "tensorrt/plugin.h"

namespace paella::tensorrt {

// See Plugin::load.
std::unique_ptr<Engine> load_engine(std::span<const std::uint8_t> plan, const Graph& graph, bool stripped,
                                    const Log& log);

}  // namespace paella::tensorrt
