// The table of kernels: plain functions on plain memory, single-threaded, one table per instruction set. Who calls them
// splits the work among threads. They neither allocate nor throw.
//
// Rows are vectors of channels; `stride`s count elements. A row's result never depends on which other rows are handled
// in the same call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace paella::cpu {

enum class Isa;

// How an operand lies in memory.
enum class Element : int { f32, bf16 };
// Same order as paella::Activation.
enum class Curve : int { none, gelu_erf, gelu_tanh, silu };

// A run of keys and values: `count` rows, `stride` elements apart.
struct KeySegment {
  const void* keys = nullptr;
  const void* values = nullptr;
  std::int64_t stride = 0;
  std::int64_t count = 0;
};

// One head: `queries` rows of `dimension` elements against the keys of both segments, in order.
struct AttentionTask {
  const void* query = nullptr;
  std::int64_t query_stride = 0;
  std::int64_t queries = 0;
  KeySegment segments[2];
  std::int64_t dimension = 0;
  float scale = 1;
  // Optional: added to the scores of query i and key j is bias[j − i].
  const float* bias = nullptr;
  void* out = nullptr;
  std::int64_t out_stride = 0;
  Element type = Element::f32;
  void* scratch = nullptr;  // attention_scratch() bytes, aligned to 64
};

// What follows a product whose weights have 8 bits. sums [rows, columns] → out:
// curve((sums − offsets)·row_scales·column_scales + bias), then as Epilogue in products.h.
struct FinishTask {
  const void* sums = nullptr;             // i32 if there are offsets, else f32
  const std::int32_t* offsets = nullptr;  // [columns] or null
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const float* row_scales = nullptr;     // [rows]; null: 1
  const float* column_scales = nullptr;  // [columns]
  const float* bias = nullptr;           // [columns] or null
  Curve curve = Curve::none;
  bool accumulate = false;
  const float* factor = nullptr;  // [columns] or null
  const float* shift = nullptr;
  void* out = nullptr;
  Element type = Element::f32;
  std::int64_t out_stride = 0;
};

// One row of the draw: docs/randomness.md.
struct DrawTask {
  const float* logits = nullptr;
  std::int64_t codes = 0;
  float temperature = 1;
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  std::uint32_t position = 0;
};

struct Kernels {
  // --- normalization ---
  void (*layer_norm)(const float* x, std::int64_t rows, std::int64_t channels, float epsilon, void* out, Element type);
  void (*rms_norm)(const float* x, std::int64_t rows, std::int64_t channels, const float* weight, float epsilon,
                   void* out, Element type);
  // sums[c] = Σ over rows of h[row, c]².
  void (*square_sums)(const void* h, Element type, std::int64_t rows, std::int64_t stride, std::int64_t channels,
                      float* sums);
  // out = h·factors[c]; out may be h.
  void (*scale_channels)(const void* h, Element type, std::int64_t rows, std::int64_t channels, const float* factors,
                         void* out);
  // --- convolution ---
  // One row of pixels of a 3×3 depthwise convolution. lines: the rows above, at and below (null: zeros). weight [9, C].
  // bias may be null.
  void (*depthwise_row)(const float* const lines[3], std::int64_t width, std::int64_t channels,
                        std::int64_t line_stride, const float* weight, std::int64_t weight_stride, const float* bias,
                        bool replicate, float* out, std::int64_t out_stride);
  // out[c] = x[2c] + x[2c + 1] + bias[c].
  void (*pair_sums)(const float* x, std::int64_t channels, const float* bias, float* out);
  // --- attention ---
  std::size_t (*attention_scratch)(std::int64_t keys, std::int64_t dimension, Element type);
  void (*attention)(const AttentionTask& task);
  // --- elementwise ---
  void (*convert)(const void* from, Element from_type, std::int64_t count, void* to, Element to_type);
  void (*activate)(const float* x, std::int64_t count, Curve curve, void* out, Element type);
  // Rows of 2·columns: out = curve(first half)·second half.
  void (*gated)(const void* x, Element x_type, std::int64_t rows, std::int64_t columns, Curve curve, void* out,
                Element type);
  // x ← x·(1 + modulation[c]) + modulation[C + c].
  void (*modulate)(float* x, std::int64_t rows, std::int64_t channels, const float* modulation);
  void (*add)(float* x, const float* y, std::int64_t count);
  // out = s·a + (1 − s)·b.
  void (*blend)(const float* a, const float* b, std::int64_t count, float s, float* out);
  // out[c] = bias[c] + Σ of `terms` rows.
  void (*sum_rows)(const void* const* rows, Element type, int terms, const float* bias, std::int64_t channels,
                   float* out);
  void (*to_pixels)(const float* x, std::int64_t count, std::uint8_t* out);
  void (*from_pixels)(const std::uint8_t* x, std::int64_t count, float* out);
  // Index of the nearest column of codes [channels, count]: squared distance, lowest index on ties.
  std::int32_t (*nearest)(const float* x, std::int64_t channels, const float* codes, std::int64_t count);
  // --- quantization ---
  // Row by row out = 128 + round(x·factors/scale), scale = max |x·factors| / 127; factors [columns] or null. A row that
  // holds an infinite value or NaN gets a scale of NaN.
  void (*quantize_rows)(const void* x, Element type, const float* factors, std::int64_t rows, std::int64_t columns,
                        std::uint8_t* out, float* scales);
  void (*widen)(const std::int8_t* from, std::int64_t count, void* to, Element type);
  void (*finish_product)(const FinishTask& task);
  // --- sampler ---
  // All return −1 if no logit is finite. A logit that is not finite never wins.
  std::int32_t (*argmax)(const float* logits, std::int64_t codes);
  // The definition: every code's noise is computed.
  std::int32_t (*draw_plain)(const DrawTask& task);
  // The same token, without computing noise for codes that cannot win.
  std::int32_t (*draw)(const DrawTask& task);
  // Typical filtering (spec 3): logits that are filtered out become −∞ in `out` (may be `logits`). scratch: 2·codes
  // floats.
  void (*typical_filter)(const float* logits, std::int64_t codes, float mass, float* out, float* scratch);
  // out[k] = Gumbel noise of `count` words.
  void (*gumbel)(const std::uint32_t* words, std::int64_t count, float* out);
};

// The table for an instruction set that features.h says is supported.
const Kernels& kernels_for(Isa isa);

}  // namespace paella::cpu
