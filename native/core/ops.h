// The vocabulary in which every network is described once.
//
// Public functions check shapes, infer the result, allocate it from the arena and then call a pure virtual do_*; while
// a network is being measured (see Network in backend.h) nothing is computed. Composites are virtual with a default
// body made of plain operations: the default is their specification and their test oracle.
//
// Types: residual streams, statistics and accumulators are f32; what a matrix product reads is `operand_type()` (f32 or
// bf16), and operations that feed a product write that type directly.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/arena.h"
#include "core/tensor.h"

namespace paella {

// A constant that a backend has taken over: packed, converted, uploaded. Made by Backend::constant().
class Constant {
 public:
  virtual ~Constant() = default;
  // What an executor reads: itself, or what it stands for where a backend hands its constants to another's executor.
  virtual const Constant& made() const { return *this; }
  Shape shape;
  std::size_t bytes = 0;
};
using ConstantPtr = std::shared_ptr<const Constant>;

enum class Activation { none, gelu_erf, gelu_tanh, silu };
enum class Padding { zero, replicate };

struct Linear {
  ConstantPtr weight;  // Layout::matrix [N, K]
  ConstantPtr bias;    // Layout::vector [N]; null: none
};

// Second half of a ResBlock, spec 1.4: Linear(c → 4c), erf GELU, GRN, Linear(4c → c), residual, timestep modulation.
struct ResBlockTail {
  Linear expand;      // [4c, c]
  ConstantPtr gamma;  // [4c]
  Linear contract;    // [c, 4c]; its bias holds GRN's beta: b + W·beta
};

// Keys and values that do not depend on the image: P distinct conditions, of which row r of the U-Net attends to
// condition `index[r]`, to its first `length[index[r]]` entries. Padding is never attended.
struct ConditionKeys {
  Tensor kv;      // [P, Smax, 2c] operand type: keys, then values
  Tensor length;  // [P] i32
  Tensor index;   // [R] i32
};

class Ops {
 public:
  virtual ~Ops() = default;

  // --- memory ---
  Arena& arena() { return arena_; }
  Tensor allocate(Shape shape, DType type) { return {arena_.allocate(TensorSpec{shape, type}.bytes()), shape, type}; }
  bool measuring() const { return arena_.measuring(); }
  virtual DType operand_type() const = 0;

  // --- products ---
  // x [..., K] operand type → [..., N] of type `out`: activation(x·Wᵀ + b).
  Tensor linear(const Tensor& x, const Linear& weights, Activation activation, DType out);
  // residual [..., N] f32 += x·Wᵀ + b, in place.
  void linear_add(const Tensor& residual, const Tensor& x, const Linear& weights);

  // --- normalisation ---
  // Over the last axis, no affine, biased variance. x f32 → `out`.
  Tensor layer_norm(const Tensor& x, float epsilon, DType out);
  // x·rsqrt(mean(x²) + ε)·weight. x f32 → `out`.
  Tensor rms_norm(const Tensor& x, const ConstantPtr& weight, float epsilon, DType out);
  // Global response normalisation without beta (folded into the next bias): h·(1 + γ·G/(mean G + 1e-6)), G the norm of
  // a channel over all pixels of an image. h [B, H, W, C] operand type, in place.
  void grn(const Tensor& h, const ConstantPtr& gamma);

  // --- convolution and resampling ---

  // 3×3, stride 1, f32. Without skip: one input channel per output channel, weights [C, 1, 3, 3]. With skip (spec 1.5):
  // weights [C, 2, 3, 3], output g reads channels 2g and 2g + 1 of concat(x, skip). The skip may have fewer images than
  // x, if its count divides x's: image b reads skip[b mod count].
  Tensor depthwise_conv(const Tensor& x, const Tensor* skip, const ConstantPtr& weight, const ConstantPtr& bias,
                        Padding padding);
  // [B, H, W, C] → [B, H/2, W/2, 4C], channel (2·dy + dx)·C + c: the operand of a 2×2 stride-2 convolution.
  Tensor space_to_depth(const Tensor& x);
  // [B, H, W, 4C] → [B, 2H, 2W, C], the inverse: after the product of a 2×2 stride-2 transposed convolution. PyTorch's
  // pixel (un)shuffle has another channel order, c·4 + 2·dy + dx: models reorder the weights beside it at load.
  Tensor depth_to_space(const Tensor& x);
  // Patches of a 4×4 convolution, stride 2, zero padding 1: [B, H, W, C] → [B, H/2, W/2, 16C], channel
  // (4·ky + kx)·C + c.
  Tensor patches_4x4(const Tensor& x, DType out);
  // Sum of overlapping 4×4 patches, stride 2, padding 1: [B, H, W, 16C] f32 → [B, 2H, 2W, C], after the product of a
  // transposed convolution; plus bias [C].
  Tensor overlap_add_4x4(const Tensor& patches, const ConstantPtr& bias);

  // --- attention ---

  // Image queries over image keys, then condition keys (spec 1.4, A). qkv [Bq, H, W, 3c] operand type (Q, K, V), R rows
  // out: row r uses image r mod Bq. → [R, H, W, c] operand type.
  Tensor image_attention(const Tensor& qkv, const ConditionKeys& condition, int heads);
  // T5 self-attention: scores are not scaled, plus a bias per head and distance. qkv [T, 3·heads·d], bias [heads, 2T −
  // 1] f32 where entry (h, T − 1 + key − query). → [T, heads·d] operand type.
  Tensor text_attention(const Tensor& qkv, const Tensor& bias, int heads);

  // --- elementwise, gather ---

  // table [V, C], indices i32 [...] → [..., C] f32. Indices outside [0, V) are refused before they get here.
  Tensor gather(const ConstantPtr& table, const Tensor& indices);
  // Spec 1.8.5: sum over the four sub-pixels of tables[s][token] + bias. tokens [B, H, W] → [B, H/2, W/2, C] f32;
  // s = 2·dy + dx.
  Tensor gather_patches(std::span<const ConstantPtr, 4> tables, const ConstantPtr& bias, const Tensor& tokens);
  // x [R, H, W, C] f32 ← x·(1 + a) + b with modulation [2C] f32 = (a, b), in place.
  void modulate(const Tensor& x, const Tensor& modulation);
  // a [..., 2N] f32 or operand type: act(first half)·second half → [..., N] operand type.
  Tensor gated(const Tensor& x, Activation activation);
  // A constant of Layout::vector as a tensor, f32, to be read only.
  Tensor tensor_of(const ConstantPtr& constant);
  // Columns [first, C) of row s of x [S, C], operand type, times weights [S] f32, in place.
  void scale_rows(const Tensor& x, const Tensor& weights, std::int64_t first);
  // Activation of x f32 → `out`.
  Tensor activate(const Tensor& x, Activation activation, DType out);
  // x [..., N] f32 += y, in place.
  void add(const Tensor& x, const Tensor& y);
  // Channels [first, first + count) of the last axis.
  Tensor columns(const Tensor& x, std::int64_t first, std::int64_t count);
  // [B, ...] → [times·B, ...]: the whole batch repeated.
  Tensor repeat(const Tensor& x, std::int64_t times);
  // Same elements in another type or place. `to` is caller's memory of the same shape.
  void copy(const Tensor& from, const Tensor& to);
  Tensor convert(const Tensor& x, DType out);
  // table [N, ...], row [1] i32 → table[row] [...]: parameters that change per step, chosen by a number in device
  // memory.
  Tensor select_row(const Tensor& table, const Tensor& row);
  // f32 in [0, 1] → u8: clamp, ·255, round half to even. NaN becomes 0 and is reported by the caller's check.
  void to_pixels(const Tensor& x, const Tensor& out);
  // u8 → f32 / 255.
  Tensor from_pixels(const Tensor& x);
  // Nearest row of the codebook by squared distance, the lowest index on ties. x [B, H, W, C] f32 → i32 [B, H, W].
  void nearest_code(const Tensor& x, const ConstantPtr& codebook, const Tensor& out);

  // --- composites ---
  // layer_norm(depthwise_conv(x, skip)) as operand.
  virtual Tensor depthwise_norm(const Tensor& x, const Tensor* skip, const ConstantPtr& weight, const ConstantPtr& bias,
                                Padding padding, float epsilon);
  // residual += contract(grn(gelu(expand(operand)))), then modulate if given. In place on residual [R, H, W, c] f32.
  virtual void res_block_tail(const Tensor& residual, const Tensor& operand, const ResBlockTail& weights,
                              const Tensor* modulation);
  // x += depthwise_conv(layer_norm(x)), in place: first half of the VQGAN's block, its scalars folded into the weights.
  virtual void norm_depthwise_add(const Tensor& x, const ConstantPtr& weight, const ConstantPtr& bias, Padding padding,
                                  float epsilon);
  // residual += contract(gelu(expand(operand))): second half of the VQGAN's block, which has no GRN.
  virtual void mlp_add(const Tensor& residual, const Tensor& operand, const Linear& expand, const Linear& contract);

 protected:
  virtual void do_linear(const Tensor& x, const Linear& weights, Activation activation, const Tensor& out) = 0;
  virtual void do_linear_add(const Tensor& residual, const Tensor& x, const Linear& weights) = 0;
  virtual void do_layer_norm(const Tensor& x, float epsilon, const Tensor& out) = 0;
  virtual void do_rms_norm(const Tensor& x, const Constant& weight, float epsilon, const Tensor& out) = 0;
  virtual void do_grn(const Tensor& h, const Constant& gamma) = 0;
  virtual void do_depthwise_conv(const Tensor& x, const Tensor* skip, const Constant& weight, const Constant& bias,
                                 Padding padding, const Tensor& out) = 0;
  virtual void do_space_to_depth(const Tensor& x, const Tensor& out) = 0;
  virtual void do_depth_to_space(const Tensor& x, const Tensor& out) = 0;
  virtual void do_patches_4x4(const Tensor& x, const Tensor& out) = 0;
  virtual void do_overlap_add_4x4(const Tensor& patches, const Constant& bias, const Tensor& out) = 0;
  virtual void do_image_attention(const Tensor& qkv, const ConditionKeys& condition, int heads, const Tensor& out) = 0;
  virtual void do_text_attention(const Tensor& qkv, const Tensor& bias, int heads, const Tensor& out) = 0;
  virtual void do_gather(const Constant& table, const Tensor& indices, const Tensor& out) = 0;
  virtual void do_gather_patches(std::span<const ConstantPtr, 4> tables, const Constant& bias, const Tensor& tokens,
                                 const Tensor& out) = 0;
  virtual void do_modulate(const Tensor& x, const Tensor& modulation) = 0;
  virtual Tensor do_tensor_of(const Constant& constant) = 0;
  virtual void do_scale_rows(const Tensor& x, const Tensor& weights, std::int64_t first) = 0;
  virtual void do_gated(const Tensor& x, Activation activation, const Tensor& out) = 0;
  virtual void do_activate(const Tensor& x, Activation activation, const Tensor& out) = 0;
  virtual void do_add(const Tensor& x, const Tensor& y) = 0;
  virtual void do_columns(const Tensor& x, std::int64_t first, const Tensor& out) = 0;
  virtual void do_repeat(const Tensor& x, const Tensor& out) = 0;
  virtual void do_copy(const Tensor& from, const Tensor& to) = 0;
  virtual void do_select_row(const Tensor& table, const Tensor& row, const Tensor& out) = 0;
  virtual void do_to_pixels(const Tensor& x, const Tensor& out) = 0;
  virtual void do_from_pixels(const Tensor& x, const Tensor& out) = 0;
  virtual void do_nearest_code(const Tensor& x, const Constant& codebook, const Tensor& out) = 0;

  Arena arena_;
};

}  // namespace paella
