// Declares the kernels of the instruction set PAELLA_ISA; kernels.h says what each does.
#pragma once

#include "cpu/kernels/kernels.h"

namespace paella::cpu::PAELLA_ISA {

void layer_norm(const float* x, std::int64_t rows, std::int64_t channels, float epsilon, void* out, Element type);
void rms_norm(const float* x, std::int64_t rows, std::int64_t channels, const float* weight, float epsilon, void* out,
              Element type);
void square_sums(const void* h, Element type, std::int64_t rows, std::int64_t stride, std::int64_t channels,
                 float* sums);
void scale_channels(const void* h, Element type, std::int64_t rows, std::int64_t channels, const float* factors,
                    void* out);
void depthwise_row(const float* const lines[3], std::int64_t width, std::int64_t channels, std::int64_t line_stride,
                   const float* weight, std::int64_t weight_stride, const float* bias, bool replicate, float* out,
                   std::int64_t out_stride);
void pair_sums(const float* x, std::int64_t channels, const float* bias, float* out);
std::size_t attention_scratch(std::int64_t keys, std::int64_t dimension, Element type);
void attention(const AttentionTask& task);
void convert(const void* from, Element from_type, std::int64_t count, void* to, Element to_type);
void activate(const float* x, std::int64_t count, Curve curve, void* out, Element type);
void gated(const void* x, Element x_type, std::int64_t rows, std::int64_t columns, Curve curve, void* out,
           Element type);
void modulate(float* x, std::int64_t rows, std::int64_t channels, const float* modulation);
void add(float* x, const float* y, std::int64_t count);
void blend(const float* a, const float* b, std::int64_t count, float s, float* out);
void sum_rows(const void* const* rows, Element type, int terms, const float* bias, std::int64_t channels, float* out);
void to_pixels(const float* x, std::int64_t count, std::uint8_t* out);
void from_pixels(const std::uint8_t* x, std::int64_t count, float* out);
std::int32_t nearest(const float* x, std::int64_t channels, const float* codes, std::int64_t count);
void quantize_rows(const void* x, Element type, const float* factors, std::int64_t rows, std::int64_t columns,
                   std::uint8_t* out, float* scales);
void widen(const std::int8_t* from, std::int64_t count, void* to, Element type);
void finish_product(const FinishTask& task);
std::int32_t argmax(const float* logits, std::int64_t codes);
std::int32_t draw_plain(const DrawTask& task);
std::int32_t draw(const DrawTask& task);
void typical_filter(const float* logits, std::int64_t codes, float mass, float* out, float* scratch);
void gumbel(const std::uint32_t* words, std::int64_t count, float* out);

const Kernels& table();

}  // namespace paella::cpu::PAELLA_ISA
