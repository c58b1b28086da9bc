// The operations of core/ops.h on a GPU. Bodies: one source file per family, named like those of native/cpu/.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/error.h"
#include "core/ops.h"
#include "cuda/runtime.h"

namespace paella::cuda {

struct Account {
  MemoryUse use;
};

// Device memory with an owner. Move-only.
class Memory {
 public:
  Memory() = default;
  enum class Use { weights, activations };
  Memory(std::shared_ptr<Runtime> runtime, std::shared_ptr<Account> account, std::size_t bytes, Use use,
         const std::string& purpose);
  ~Memory() { reset(); }
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    if (this != &other) {
      reset();
      swap(other);
    }
    return *this;
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  void reset();

 private:
  void swap(Memory& other) noexcept;
  std::shared_ptr<Runtime> runtime_;
  std::shared_ptr<Account> account_;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Use use_ = Use::activations;
};

// A constant on the device.
//   matrix, table: operand type, as in the file: [N, K] or [V, C]
//   matrix_w8:     i8 [N, K], and f32 scales [N]; `dtype` is what they are widened to before a product
//   matrix_f32:    f32 [N, K]; if K is a multiple of 16, also as two bf16 matrices whose sum is the f32 one to 16 bits
//                  (`high`, `low`), for products on tensor cores
//   table_f32, vector: f32
//   depthwise:     f32 [9, C·inputs]: for one tap, the weights of neighbouring channels lie side by side
struct CudaConstant final : Constant {
  Memory memory;
  void* data = nullptr;
  DType dtype = DType::f32;
  Layout layout = Layout::vector;
  void* high = nullptr;  // bf16 [N, K], in `memory`
  void* low = nullptr;   // bf16 [N, K]
  // matrix_w8
  const float* scales = nullptr;    // in `memory`
  std::shared_ptr<Memory> widened;  // room for the widened matrix, shared by those that are not larger
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};
inline const CudaConstant& cuda(const Constant& constant) { return static_cast<const CudaConstant&>(constant.made()); }

// What all parts of one backend share.
struct Context {
  std::shared_ptr<Runtime> runtime;
  std::shared_ptr<Account> account;
  DType operand = DType::bf16;  // f32, bf16 or f16
  bool fused = true;            // false: composites run their default bodies; tests compare the two
  const Backend* owner = nullptr;
  // Working memory of one operation: overwritten by the next. Its size and place never change, so that captured graphs
  // stay valid; operations that need more work in pieces.
  Memory workspace;
  std::size_t workspace_bytes() const { return workspace.bytes(); }

  // For weights of 8 bits, as large as the largest so far needs; gone with them.
  std::weak_ptr<Memory> widened;

  // Called before every product: a network that nobody waits for any more ends here. Never while capturing.
  void check_interrupt() const {
    if (!runtime->capturing() && owner->interrupted()) fail(ErrorCode::aborted, "interrupted");
  }
};

class CudaOps final : public Ops {
 public:
  explicit CudaOps(Context& context) : context_(context) {}
  DType operand_type() const override { return context_.operand; }

  Tensor depthwise_norm(const Tensor& x, const Tensor* skip, const ConstantPtr& weight, const ConstantPtr& bias,
                        Padding padding, float epsilon) override;
  void res_block_tail(const Tensor& residual, const Tensor& operand, const ResBlockTail& weights,
                      const Tensor* modulation) override;
  void norm_depthwise_add(const Tensor& x, const ConstantPtr& weight, const ConstantPtr& bias, Padding padding,
                          float epsilon) override;

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

  Runtime& runtime() const { return *context_.runtime; }

  Context& context_;
};

}  // namespace paella::cuda
