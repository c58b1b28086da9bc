// What the parts of paella_bench share.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/unet.h"

namespace paella::bench {

struct Settings {
  int threads = 0;
  std::string precision = "auto";
  double seconds = 0.5;                        // spent on one measurement
  int rounds = 5;                              // of `step`
  std::string model = "random:paella-v3-256";  // of `generate`, `step` and `rate`
  std::int64_t height = 64, width = 64;        // of `step` and `rate`, in tokens
  std::int64_t batch = 1;                      // of `step` and `rate`, in images
  bool guided = true;                          // of `rate`: both passes of the guidance, or one
  bool smoke = false;                          // tiny shapes, to see that the program works
};

// Medians. `cpu` is the calling thread's own time, which with one thread does not see other load on the machine.
struct Timing {
  double wall = 0, cpu = 0;
};

double median(std::vector<double> values);
Timing measure(const Settings& settings, const std::function<void()>& body);

// A matrix product [rows, inner] · [inner, columns].
struct Product {
  std::string what;
  int count;  // in one step
  std::int64_t rows, columns, inner;
  bool f32 = false;  // whatever the precision
  double flop() const {
    return 2.0 * static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(inner);
  }
};

// Those of one step of a U-Net on `batch` images of height × width tokens.
std::vector<Product> step_products(const UnetConfig& config, std::int64_t height, std::int64_t width,
                                   std::int64_t batch = 1, bool guided = true);
// Seconds that all of them take by oneDNN alone, and their FLOPs.
struct PlainProducts {
  double seconds = 0, flop = 0;
};
PlainProducts plain_products(const Settings& settings, const std::vector<Product>& products, bool bf16);
// By oneDNN alone, its weights rotating through at least `weight_bytes` of memory.
Timing onednn_rate(const Settings& settings, const Product& product, bool bf16, std::size_t weight_bytes);

// The modes of the program; each prints JSON, one object per line.
void products(const Settings& settings);
void operations(const Settings& settings);
void step(const Settings& settings);
void rate(const Settings& settings);

}  // namespace paella::bench
