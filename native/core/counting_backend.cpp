#include "core/counting_backend.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/shape_ops.h"

namespace paella {

namespace {

struct Count {
  MemoryUse use;
  void add(std::size_t MemoryUse::* kind, std::size_t bytes) {
    use.*kind += bytes;
    use.peak = std::max(use.peak, use.weights + use.activations);
  }
};

struct CountedConstant final : Constant {
  explicit CountedConstant(std::shared_ptr<Count> to) : count(std::move(to)) {}
  ~CountedConstant() override { count->use.weights -= bytes; }
  CountedConstant(const CountedConstant&) = delete;
  CountedConstant& operator=(const CountedConstant&) = delete;
  std::shared_ptr<Count> count;
};

class CountedNetwork final : public Network {
 public:
  CountedNetwork(const Description& description, std::span<const TensorSpec> inputs,
                 std::span<const TensorSpec> outputs, DType operand) {
    ShapeOps ops(operand);
    ops.arena().measure();
    std::vector<Tensor> ins, outs;
    for (const TensorSpec& spec : inputs) ins.push_back({nullptr, spec.shape, spec.dtype});
    for (const TensorSpec& spec : outputs) outs.push_back({nullptr, spec.shape, spec.dtype});
    description.run(ops, ins, outs);
    scratch_ = ops.arena().peak();
  }
  void run(std::span<const Tensor>, std::span<const Tensor>) override {}
  std::size_t scratch_bytes() const override { return scratch_; }

 private:
  std::size_t scratch_ = 0;
};

class NoSampler final : public Sampler {
 public:
  void initial_noise(const Tensor&, std::int32_t, const Tensor&) override {}
  void start(const Tensor&, const Tensor&, const Tensor&) override {}
  void guide(const Tensor&, const Tensor&, const Tensor&) override {}
  void sample(const Tensor&, const ConstantPtr&, const StepInputs&, SampleMode, bool, const Tensor&) override {}
  void sample_logits(const Tensor&, const StepInputs&, SampleMode, bool, const Tensor&) override {}
  void renoise(const Tensor&, const Tensor&, const StepInputs&) override {}
  void advance(const Tensor&) override {}
};

class CountingBackend final : public Backend {
 public:
  explicit CountingBackend(const std::string& precision) : precision_(precision) {
    if (precision == "fp32")
      operand_ = DType::f32;
    else if (precision == "fp16")
      operand_ = DType::f16;
    else if (precision != "bf16" && precision != "int8")
      fail(ErrorCode::invalid_option, "precision: expected fp32, bf16, fp16 or int8, got ", precision);
  }
  std::string name() const override { return "counting"; }
  std::string device() const override { return "none"; }
  std::string precision() const override { return precision_; }
  DType operand_type() const override { return operand_; }
  Layout unet_products() const override { return precision_ == "int8" ? Layout::matrix_w8a8 : Layout::matrix; }
  bool reads_values() const override { return false; }

  ConstantPtr constant(const HostTensor& tensor, Layout layout) override {
    auto made = std::make_shared<CountedConstant>(count_);
    made->shape = tensor.shape;
    const auto elements = static_cast<std::size_t>(tensor.elements());
    if (layout == Layout::matrix_w8 || layout == Layout::matrix_w8a8)
      made->bytes = elements + static_cast<std::size_t>(tensor.shape[0]) * sizeof(float);
    else
      made->bytes = elements * size_of(layout == Layout::matrix || layout == Layout::table ? operand_ : DType::f32);
    count_->add(&MemoryUse::weights, made->bytes);
    return made;
  }
  std::vector<float> host_product(std::span<const float>, std::span<const float>, std::int64_t rows, std::int64_t,
                                  std::int64_t columns) override {
    return std::vector<float>(static_cast<std::size_t>(rows * columns));
  }
  Buffer allocate(std::size_t bytes) override {
    count_->add(&MemoryUse::activations, bytes);
    const auto freed = [count = count_](void*, std::size_t size) { count->use.activations -= size; };
    // An address that nobody dereferences.
    return {reinterpret_cast<void*>(std::uintptr_t{Arena::alignment}), bytes, freed};
  }
  void upload(const void*, const Tensor&) override {}
  void download(const Tensor& from, void* host) override { std::memset(host, 0, from.bytes()); }
  void copy(const Tensor&, const Tensor&) override {}
  std::unique_ptr<Network> compile(std::shared_ptr<const Description> description, std::span<const TensorSpec> inputs,
                                   std::span<const TensorSpec> outputs) override {
    auto made = std::make_unique<CountedNetwork>(*description, inputs, outputs, operand_);
    // Networks run one after another and share the largest one's memory, as in the other backends.
    if (made->scratch_bytes() > scratch_) {
      count_->add(&MemoryUse::activations, made->scratch_bytes() - scratch_);
      scratch_ = made->scratch_bytes();
    }
    return made;
  }
  Sampler& sampler() override { return sampler_; }
  MemoryUse memory() const override { return count_->use; }

 private:
  std::string precision_;
  DType operand_ = DType::bf16;
  std::shared_ptr<Count> count_ = std::make_shared<Count>();
  std::size_t scratch_ = 0;
  NoSampler sampler_;
};

}  // namespace

std::unique_ptr<Backend> make_counting_backend(const std::string& precision) {
  return std::make_unique<CountingBackend>(precision);
}

}  // namespace paella
