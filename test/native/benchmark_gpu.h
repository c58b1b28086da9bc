#pragma once

#include <memory>

#include "benchmark.h"
#include "core/backend.h"

namespace paella::bench {

// ERR_BACKEND_UNAVAILABLE without a plug-in or a device.
std::unique_ptr<Backend> gpu_backend(const Settings& settings);

// The modes of the program; each prints JSON, one object per line.
void gpu(const Settings& settings, Backend& backend);
void generate(const Settings& settings, Backend& backend);
// Every way to compute the products of the networks, for scripts/gpu/tune.mjs.
void tune(const Settings& settings);
// What product_table.h expects of the products of one guided step on Hopper, by both kinds of instruction; no GPU
// needed.
void predict();

}  // namespace paella::bench
