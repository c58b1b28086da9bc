// The operations of core/ops.h on this machine. Bodies: one source file per family, named like the kernels' files.
#pragma once

#include <memory>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops.h"
#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"
#include "cpu/products.h"

namespace paella::cpu {

// What all parts of one backend share.
struct Context {
  int threads = 1;
  DType operand = DType::f32;
  bool fused = true;
  const Kernels* kernels = nullptr;
  std::shared_ptr<Account> account;
  std::unique_ptr<Products> products;

  const Backend* owner = nullptr;
  // Called before every product: a network that nobody waits for any more ends here, not after seconds.
  void check_interrupt() const {
    if (owner->interrupted()) fail(ErrorCode::aborted, "interrupted");
  }

  // Working memory of one operation or of the sampler: overwritten by the next. Grows as needed.
  void* scratch(std::size_t bytes) {
    if (bytes > scratch_.bytes()) {
      scratch_.reset();
      scratch_ = Memory(bytes, Use::activations, account, "working memory");
    }
    return scratch_.data();
  }
  template <typename T>
  T* scratch_of(std::int64_t count) {
    return static_cast<T*>(scratch(static_cast<std::size_t>(count) * sizeof(T)));
  }

 private:
  Memory scratch_;
};

// How kernels call the element types that a product can have.
Element element_of(DType type);

class CpuOps final : public Ops {
 public:
  explicit CpuOps(Context& context) : context_(context) {}
  DType operand_type() const override { return context_.operand; }

  Tensor depthwise_norm(const Tensor& x, const Tensor* skip, const ConstantPtr& weight, const ConstantPtr& bias,
                        Padding padding, float epsilon) override;
  void res_block_tail(const Tensor& residual, const Tensor& operand, const ResBlockTail& weights,
                      const Tensor* modulation) override;
  void norm_depthwise_add(const Tensor& x, const ConstantPtr& weight, const ConstantPtr& bias, Padding padding,
                          float epsilon) override;
  void mlp_add(const Tensor& residual, const Tensor& operand, const Linear& expand, const Linear& contract) override;

 private:
  void do_linear(const Tensor& x, const Linear& weights, Activation activation, const Tensor& out) override;
  void do_linear_add(const Tensor& residual, const Tensor& x, const Linear& weights) override;
  void do_layer_norm(const Tensor& x, float epsilon, const Tensor& out) override;
  void do_rms_norm(const Tensor& x, const Constant& weight, float epsilon, const Tensor& out) override;
  void do_grn(const Tensor& h, const Constant& gamma) override;
  void do_depthwise_conv(const Tensor& x, const Tensor* skip, const Constant& weight, const Constant& bias,
                         Padding padding, const Tensor& out) override;
  void do_space_to_depth(const Tensor& x, const Tensor& out) override;
  void do_depth_to_space(const Tensor& x, const Tensor& out) override;
  void do_patches_4x4(const Tensor& x, const Tensor& out) override;
  void do_overlap_add_4x4(const Tensor& patches, const Constant& bias, const Tensor& out) override;
  void do_image_attention(const Tensor& qkv, const ConditionKeys& condition, int heads, const Tensor& out) override;
  void do_text_attention(const Tensor& qkv, const Tensor& bias, int heads, const Tensor& out) override;
  void do_gather(const Constant& table, const Tensor& indices, const Tensor& out) override;
  void do_gather_patches(std::span<const ConstantPtr, 4> tables, const Constant& bias, const Tensor& tokens,
                         const Tensor& out) override;
  void do_modulate(const Tensor& x, const Tensor& modulation) override;
  Tensor do_tensor_of(const Constant& constant) override;
  void do_scale_rows(const Tensor& x, const Tensor& weights, std::int64_t first) override;
  void do_gated(const Tensor& x, Activation activation, const Tensor& out) override;
  void do_activate(const Tensor& x, Activation activation, const Tensor& out) override;
  void do_add(const Tensor& x, const Tensor& y) override;
  void do_columns(const Tensor& x, std::int64_t first, const Tensor& out) override;
  void do_repeat(const Tensor& x, const Tensor& out) override;
  void do_copy(const Tensor& from, const Tensor& to) override;
  void do_select_row(const Tensor& table, const Tensor& row, const Tensor& out) override;
  void do_to_pixels(const Tensor& x, const Tensor& out) override;
  void do_from_pixels(const Tensor& x, const Tensor& out) override;
  void do_nearest_code(const Tensor& x, const Constant& codebook, const Tensor& out) override;

  // What is done with a line of results while it is in cache.
  enum class Then { store, normalise, add };
  void convolve(const Tensor& x, const Tensor* skip, const Constant& weight, const Constant& bias, Padding padding,
                Then then, float epsilon, const Tensor& out);

  const Kernels& kernels() const { return *context_.kernels; }
  int threads() const { return context_.threads; }

  Context& context_;
};

// --- global response normalisation in parts, so that products can be done between them (normalization.cpp) ---

// Sums of squares are taken over runs of this many pixels and added up in order: the same bits for any number of
// threads and images.
inline constexpr std::int64_t grn_run = 64;
inline std::int64_t grn_runs(std::int64_t pixels) { return (pixels + grn_run - 1) / grn_run; }

// sums [runs, channels] of one stretch of an image's pixels, which begins at a multiple of grn_run.
void grn_sums(Context& context, const void* h, DType type, std::int64_t pixels, std::int64_t channels, float* sums);
// factors [channels] = 1 + γ·G/(mean G + 1e-6) from all runs of one image.
void grn_factors(const float* sums, std::int64_t runs, std::int64_t channels, const float* gamma, float* factors);
// h ← h·factors on `pixels` pixels of one image.
void grn_apply(Context& context, void* h, DType type, std::int64_t pixels, std::int64_t channels, const float* factors);

}  // namespace paella::cpu
