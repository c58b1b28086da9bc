// The table of one instruction set.
#include "cpu/kernels/family.h"

namespace paella::cpu::PAELLA_ISA {

const Kernels& table() {
  static constexpr Kernels kernels = {
      .layer_norm = layer_norm,
      .rms_norm = rms_norm,
      .square_sums = square_sums,
      .scale_channels = scale_channels,
      .depthwise_row = depthwise_row,
      .pair_sums = pair_sums,
      .attention_scratch = attention_scratch,
      .attention = attention,
      .convert = convert,
      .activate = activate,
      .gated = gated,
      .modulate = modulate,
      .add = add,
      .blend = blend,
      .sum_rows = sum_rows,
      .to_pixels = to_pixels,
      .from_pixels = from_pixels,
      .nearest = nearest,
      .quantize_rows = quantize_rows,
      .widen = widen,
      .finish_product = finish_product,
      .argmax = argmax,
      .draw_plain = draw_plain,
      .draw = draw,
      .typical_filter = typical_filter,
      .gumbel = gumbel,
  };
  return kernels;
}

}  // namespace paella::cpu::PAELLA_ISA
