// Matrix products through oneDNN: weights packed once, primitives cached.
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>

#include "core/backend.h"
#include "cpu/kernels/kernels.h"
#include "cpu/memory.h"

namespace paella::cpu {

// A constant as this backend keeps it.
class CpuConstant final : public Constant {
 public:
  Layout layout = Layout::vector;
  DType dtype = DType::f32;
  Memory memory;
  dnnl::memory::desc packed;  // matrices only
  Memory scales;              // f32 [N], matrices of 8 bits only; `dtype` is then what x has to be
  Memory offsets;             // i32 [N], matrix_w8a8 only: 128 times the sums of its integers over K

  template <typename T>
  const T* as() const {
    return static_cast<const T*>(memory.data());
  }
};

inline const CpuConstant& cpu(const Constant& constant) { return static_cast<const CpuConstant&>(constant); }

// What follows a product, in this order; see Products::run.
struct Epilogue {
  const float* bias = nullptr;  // [N]
  Activation activation = Activation::none;
  bool accumulate = false;        // out += instead of out =
  const float* factor = nullptr;  // [N]: then out·factor + shift
  const float* shift = nullptr;   // [N]
};

class Products {
 public:
  Products(int threads, std::shared_ptr<Account> account, const Kernels& kernels);
  ~Products();

  // Lays w [N, K] out as products of any M want it, in `type`.
  void pack(std::span<const float> w, std::int64_t columns, std::int64_t inner, DType type, const std::string& name,
            CpuConstant& to);
  // The same in 8 bits, as `to.layout` says (quantized_products.cpp): matrix_w8, widened for each product, or
  // matrix_w8a8, multiplied as integers.
  void pack_quantized(std::span<const float> w, std::int64_t columns, std::int64_t inner, DType type,
                      const std::string& name, CpuConstant& to);
  // out [M, N] = epilogue(x [M, K] · wᵀ). A row of the result has the same bits whatever M is, and whatever the number
  // of threads is: see `steady_`.
  // x_factors [K], only with matrix_w8a8: x is multiplied by them before it is rounded.
  void run(const void* x, DType x_type, std::int64_t rows, const CpuConstant& weight, const Epilogue& epilogue,
           void* out, DType out_type, const float* x_factors = nullptr);
  // x [M, K] · wᵀ on plain memory.
  void run_plain(const float* x, const float* w, std::int64_t rows, std::int64_t inner, std::int64_t columns,
                 float* out);

  static std::string version();
  // Whether oneDNN has instructions for bf16 on this CPU.
  static bool has_bf16();
  // Whether it multiplies integers of 8 bits with sums that cannot overflow.
  static bool has_int8();

 private:
  // What a primitive is made for. Outputs may be some columns of a wider matrix.
  struct Spec {
    std::int64_t rows, columns, inner, out_stride;
    DType x_type, weight_type, out_type;
    int epilogue;  // which parts it has
    auto operator<=>(const Spec&) const = default;
  };
  // A matrix that a product reads.
  struct Packed {
    std::int64_t columns, inner;
    DType dtype;
    const dnnl::memory::desc& layout;
    const void* data;
  };
  struct Addresses {
    const void* x;
    const void* weight;
    Epilogue epilogue;
    void* out;
  };
  // A primitive with its arguments, one set per thread that may run it; addresses are set before each execution.
  struct Primitive {
    struct Arguments {
      dnnl::memory x, weight, bias, out, scratchpad, factor, shift;
      std::unordered_map<int, dnnl::memory> all;
    };
    dnnl::matmul matmul;
    std::size_t scratchpad_bytes = 0;
    std::vector<Arguments> arguments;
  };
  Primitive& primitive(const Spec& spec, const dnnl::memory::desc& weight, const Epilogue& epilogue);
  std::unique_ptr<Primitive> make(const Spec& spec, const dnnl::memory::desc& weight, const Epilogue& epilogue);
  void execute(Primitive& primitive, int thread, const Addresses& at, void* scratchpad);
  void run_packed(const void* x, DType x_type, std::int64_t rows, const Packed& weight, const Epilogue& epilogue,
                  void* out, DType out_type);
  void run_steady(const Spec& whole, const Packed& weight, const Addresses& at);
  void pack_integers(std::span<const float> w, std::int64_t columns, std::int64_t inner, const std::string& name,
                     CpuConstant& to);
  std::uint8_t* working_memory(std::size_t bytes);
  // x [rows, inner] of u8 · wᵀ as sums of 32 bits, by one thread.
  Primitive& integers(std::int64_t rows, std::int64_t columns, std::int64_t inner);
  void run_w8(const void* x, DType x_type, std::int64_t rows, const CpuConstant& weight, const Epilogue& epilogue,
              void* out, DType out_type);
  void run_w8a8(const void* x, DType x_type, const float* x_factors, std::int64_t rows, const CpuConstant& weight,
                const Epilogue& epilogue, void* out, DType out_type);
  const dnnl::memory::desc& packed_layout(std::int64_t columns, std::int64_t inner, DType type);
  void pack_into(std::span<const float> w, std::int64_t columns, std::int64_t inner, DType type, void* to);
  void* scratchpad(std::size_t bytes);

  dnnl::engine engine_;
  std::vector<dnnl::stream> streams_;  // one per thread
  int threads_;
  // oneDNN's kernels for AVX-512 treat all rows alike. Those for older CPUs choose their way by the number of rows and
  // of threads, and sums are then rounded otherwise: there, every product is made of pieces of one fixed size, each by
  // one thread.
  bool steady_;
  std::shared_ptr<Account> account_;
  const Kernels& kernels_;
  Memory scratchpad_;
  Memory quantized_;  // working memory of products with weights of 8 bits
  std::map<std::tuple<std::int64_t, std::int64_t, DType>, dnnl::memory::desc> layouts_;
  // Most recently used first.
  std::list<std::pair<Spec, std::unique_ptr<Primitive>>> recent_;
  std::map<Spec, decltype(recent_)::iterator> cache_;
};

}  // namespace paella::cpu
