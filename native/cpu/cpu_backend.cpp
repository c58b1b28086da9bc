#include "cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "cpu/cpu_ops.h"
#include "cpu/features.h"
#include "cpu/sampler.h"

namespace paella::cpu {

namespace baseline {
const Kernels& table();
}
#if defined(PAELLA_X86_KERNELS)
namespace avx2 {
const Kernels& table();
}
namespace avx512 {
const Kernels& table();
}
namespace avx512_bf16 {
const Kernels& table();
}
#endif

const Kernels& kernels_for(Isa isa) {
#if defined(PAELLA_X86_KERNELS)
  switch (isa) {
    case Isa::avx512_bf16:
      return avx512_bf16::table();
    case Isa::avx512:
      return avx512::table();
    case Isa::avx2:
      return avx2::table();
    case Isa::baseline:
      break;
  }
#endif
  (void)isa;
  return baseline::table();
}

namespace {

std::vector<std::string> supported_precisions() {
  std::vector<std::string> names{"fp32"};
  if (Products::has_bf16()) names.emplace_back("bf16");
  if (Products::has_int8()) names.emplace_back("int8");
  return names;
}

DType operand_for(const std::string& precision) {
  if (precision == "fp32") return DType::f32;
  if (precision == "bf16" && Products::has_bf16()) return DType::bf16;
  const DType fastest = Products::has_bf16() ? DType::bf16 : DType::f32;
  if (precision == "auto") return fastest;
  // What is not multiplied in 8 bits stays in what is fastest here.
  if (precision == "int8" && Products::has_int8()) return fastest;
  std::string names = "auto";
  for (const std::string& name : supported_precisions()) names += ", " + name;
  throw Error(ErrorCode::invalid_option,
              concat("precision: expected one of ", names, " on this CPU (", cpu_model(), "), got ", precision),
              precision == "bf16"   ? "This CPU has no bf16 instructions; use fp32 or auto."
              : precision == "int8" ? "This CPU has no instructions for 8-bit products (AVX-512 VNNI); use auto."
                                    : "");
}

int threads_for(int wanted) {
  constexpr int most = 1024;
  if (wanted < 0 || wanted > most)
    fail(ErrorCode::invalid_option, "threads: expected 0 (automatic) to ", most, ", got ", wanted);
  return wanted == 0 ? usable_cores() : wanted;
}

// One activation buffer for all networks of a backend: they run one after another.
struct Activations {
  Memory memory;
  void grow(std::size_t bytes, const std::shared_ptr<Account>& account, const char* network) {
    const std::size_t before = memory.bytes();
    if (bytes <= before) return;
    const auto make = [&](std::size_t size) {
      return Memory(size, Use::activations, account, concat("activations of ", network));
    };
    memory.reset();
    try {
      memory = make(bytes);
    } catch (...) {
      // Networks that were compiled before go on.
      if (before > 0) memory = make(before);
      throw;
    }
  }
};

// Runs the description each time; the arena was sized by a measuring pass over the same code.
class EagerNetwork final : public Network {
 public:
  EagerNetwork(std::shared_ptr<const paella::Description> description, std::span<const TensorSpec> inputs,
               std::span<const TensorSpec> outputs, CpuOps& ops, Context& context, Activations& activations)
      : description_(std::move(description)),
        inputs_(inputs.begin(), inputs.end()),
        outputs_(outputs.begin(), outputs.end()),
        ops_(ops),
        context_(context),
        activations_(activations) {
    std::vector<Tensor> ins, outs;
    for (const TensorSpec& spec : inputs_) ins.push_back({nullptr, spec.shape, spec.dtype});
    for (const TensorSpec& spec : outputs_) outs.push_back({nullptr, spec.shape, spec.dtype});
    ops_.arena().measure();
    description_->run(ops_, ins, outs);
    scratch_bytes_ = ops_.arena().peak();
    activations_.grow(scratch_bytes_, context_.account, description_->name());
  }

  void run(std::span<const Tensor> inputs, std::span<const Tensor> outputs) override {
    check_specs(description_->name(), "inputs", inputs, inputs_);
    check_specs(description_->name(), "outputs", outputs, outputs_);
    expect(activations_.memory.bytes() >= scratch_bytes_, description_->name(), ": expected ", scratch_bytes_,
           " bytes of activations, got ", activations_.memory.bytes());
    const ThreadScope threads(context_.threads);
    // Another network that asked for more than there is may have cost us the memory.
    activations_.grow(scratch_bytes_, context_.account, description_->name());
    ops_.arena().use(activations_.memory.data(), scratch_bytes_);
    description_->run(ops_, inputs, outputs);
  }

  std::size_t scratch_bytes() const override { return scratch_bytes_; }

 private:
  std::shared_ptr<const paella::Description> description_;
  std::vector<TensorSpec> inputs_, outputs_;
  CpuOps& ops_;
  Context& context_;
  Activations& activations_;
  std::size_t scratch_bytes_ = 0;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const Options& options) : isa_(choose_isa()) {
    context_.owner = this;
    context_.operand = operand_for(options.precision);
    context_.threads = threads_for(options.threads);
    context_.fused = options.fused;
    context_.kernels = &kernels_for(isa_);
    context_.account = std::make_shared<Account>();
    context_.products = std::make_unique<Products>(context_.threads, context_.account, *context_.kernels);
    integer_products_ = options.precision == "int8";
  }

  std::string name() const override { return "cpu"; }
  std::string device() const override {
    return concat(cpu_model(), " (", context_.threads, context_.threads == 1 ? " thread, " : " threads, ",
                  cpu::name_of(isa_), ")");
  }
  std::string precision() const override {
    return integer_products_ ? "int8" : context_.operand == DType::bf16 ? "bf16" : "fp32";
  }
  DType operand_type() const override { return context_.operand; }
  std::size_t free_memory() const override { return memory_available(); }
  Layout unet_products() const override { return integer_products_ ? Layout::matrix_w8a8 : Layout::matrix; }

  ConstantPtr constant(const HostTensor& tensor, Layout layout) override;
  std::vector<float> host_product(std::span<const float> x, std::span<const float> w, std::int64_t rows,
                                  std::int64_t inner, std::int64_t columns) override {
    expect(x.size() == static_cast<std::size_t>(rows * inner) && w.size() == static_cast<std::size_t>(columns * inner),
           "host_product: expected ", rows, "×", inner, " and ", columns, "×", inner, " numbers, got ", x.size(),
           " and ", w.size());
    const ThreadScope threads(context_.threads);
    std::vector<float> out(static_cast<std::size_t>(rows * columns));
    context_.products->run_plain(x.data(), w.data(), rows, inner, columns, out.data());
    return out;
  }

  Buffer allocate(std::size_t bytes) override {
    auto memory = std::make_shared<Memory>(bytes, Use::activations, context_.account, "inputs and outputs");
    void* data = memory->data();
    return {data, bytes, [memory](void*, std::size_t) { memory->reset(); }};
  }
  void upload(const void* host, const Tensor& to) override { move(host, to.data, to.bytes()); }
  void download(const Tensor& from, void* host) override { move(from.data, host, from.bytes()); }
  void copy(const Tensor& from, const Tensor& to) override {
    expect(from.shape == to.shape && from.dtype == to.dtype, "copy: expected ", name_of(to.dtype), " ", to.shape.text(),
           ", got ", name_of(from.dtype), " ", from.shape.text());
    move(from.data, to.data, to.bytes());
  }

  std::unique_ptr<Network> compile(std::shared_ptr<const paella::Description> description,
                                   std::span<const TensorSpec> inputs, std::span<const TensorSpec> outputs) override {
    return std::make_unique<EagerNetwork>(std::move(description), inputs, outputs, ops_, context_, activations_);
  }
  Sampler& sampler() override { return sampler_; }
  MemoryUse memory() const override { return context_.account->use; }

 private:
  static std::string name_of(DType type) { return paella::name_of(type); }
  static void move(const void* from, void* to, std::size_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
  }

  Isa isa_;
  bool integer_products_ = false;
  Context context_;
  CpuOps ops_{context_};
  CpuSampler sampler_{context_};
  Activations activations_;
};

// Tensor by tensor: the f32 copy of one tensor is all that exists besides the file and the packed weights.
ConstantPtr CpuBackend::constant(const HostTensor& tensor, Layout layout) {
  const ThreadScope threads(context_.threads);
  const std::vector<float> values = to_f32(tensor);
  auto made = std::make_shared<CpuConstant>();
  made->shape = tensor.shape;
  made->layout = layout;
  const bool quantized = layout == Layout::matrix_w8 || layout == Layout::matrix_w8a8;
  const bool operand = layout == Layout::matrix || layout == Layout::table || quantized;
  made->dtype = operand ? context_.operand : DType::f32;
  const auto plain = [&](const float* data) {
    made->memory =
        Memory(values.size() * size_of(made->dtype), Use::weights, context_.account, "weights " + tensor.name);
    context_.kernels->convert(data, Element::f32, static_cast<std::int64_t>(values.size()), made->memory.data(),
                              element_of(made->dtype));
  };
  switch (layout) {
    case Layout::matrix:
    case Layout::matrix_f32:
      expect(tensor.shape.rank() == 2, tensor.name, ": expected rank 2, got ", tensor.shape.text());
      context_.products->pack(values, tensor.shape[0], tensor.shape[1], made->dtype, tensor.name, *made);
      break;
    case Layout::matrix_w8:
    case Layout::matrix_w8a8:
      expect(tensor.shape.rank() == 2, tensor.name, ": expected rank 2, got ", tensor.shape.text());
      expect(layout == Layout::matrix_w8 || Products::has_int8(), tensor.name, ": no products of 8 bits on this CPU");
      context_.products->pack_quantized(values, tensor.shape[0], tensor.shape[1], made->dtype, tensor.name, *made);
      break;
    case Layout::vector:
    case Layout::table:
    case Layout::table_f32:
      plain(values.data());
      break;
    case Layout::depthwise: {
      // [C, inputs, 3, 3] → [9, C·inputs]: for one tap, the weights of neighbouring channels lie side by side.
      const std::int64_t channels = tensor.shape[0] * tensor.shape[1];
      expect(tensor.elements() == channels * 9, tensor.name, ": expected 3×3 kernels, got ", tensor.shape.text());
      std::vector<float> by_tap(values.size());
      for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t tap = 0; tap < 9; ++tap)
          by_tap[static_cast<std::size_t>(tap * channels + c)] = values[static_cast<std::size_t>(c * 9 + tap)];
      plain(by_tap.data());
      break;
    }
  }
  made->bytes = made->memory.bytes() + made->scales.bytes() + made->offsets.bytes();
  return made;
}

}  // namespace

Description describe() {
  Description machine;
  machine.model = cpu_model();
  machine.isa = name_of(choose_isa());
  machine.onednn_version = Products::version();
  machine.precisions = supported_precisions();
  machine.cores = usable_cores();
  machine.memory_total = memory_total();
  machine.memory_available = memory_available();
  return machine;
}

std::unique_ptr<Backend> make_backend(const Options& options) { return std::make_unique<CpuBackend>(options); }

}  // namespace paella::cpu
