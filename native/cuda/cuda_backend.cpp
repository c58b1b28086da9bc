#include "cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "core/eight_bits.h"
#include "core/error.h"
#include "cuda/cuda_ops.h"
#include "cuda/sampler.h"

namespace paella::cuda {

namespace {

// For what an operation needs between its own kernels: partial sums of products whose K is split, candidates of the
// draw, logits of a stretch of positions.
constexpr std::size_t workspace_bytes = std::size_t{64} << 20;

DType operand_for(const std::string& precision) {
  if (precision == "auto" || precision == "bf16") return DType::bf16;
  if (precision == "fp16") return DType::f16;
  if (precision == "fp32") return DType::f32;
  throw Error(ErrorCode::invalid_option,
              concat("precision: expected auto, bf16, fp16 or fp32 on the backend cuda, got ", precision));
}

std::uint16_t bfloat_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float bfloat_value(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

// Round to nearest even; what is too large becomes infinite, and is refused.
std::uint16_t half_bits(float value, const std::string& name) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude >= 0x477ff000u)
    throw Error(ErrorCode::numeric, concat(name, ": expected weights up to 65504 for fp16, found ", value),
                "Use precision bf16 or fp32.");
  if (magnitude < 0x38800000u) {  // subnormal: the addition rounds to a multiple of 2^-24
    float scaled;
    std::memcpy(&scaled, &magnitude, 4);
    scaled += 0.5f;
    std::uint32_t rounded;
    std::memcpy(&rounded, &scaled, 4);
    return static_cast<std::uint16_t>(sign | (rounded - 0x3f000000u));
  }
  return static_cast<std::uint16_t>(sign | ((magnitude + 0xfffu + (magnitude >> 13 & 1) - 0x38000000u) >> 13));
}

// One activation buffer for all networks of a backend: they run one after another. When it grows, graphs that were
// captured before hold addresses of the old one.
struct Activations {
  Memory memory;
  std::uint64_t generation = 0;
  void grow(Context& context, std::size_t bytes, const char* network) {
    const std::size_t before = memory.bytes();
    if (bytes <= before) return;
    const auto make = [&](std::size_t size) {
      return Memory(context.runtime, context.account, size, Memory::Use::activations,
                    concat("activations of ", network));
    };
    memory.reset();  // waits for what still uses it
    ++generation;
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
  EagerNetwork(std::shared_ptr<const Description> description, std::span<const TensorSpec> inputs,
               std::span<const TensorSpec> outputs, CudaOps& ops, Context& context, Activations& activations)
      : description_(std::move(description)),
        inputs_(inputs.begin(), inputs.end()),
        outputs_(outputs.begin(), outputs.end()),
        ops_(ops),
        activations_(activations) {
    std::vector<Tensor> ins, outs;
    for (const TensorSpec& spec : inputs_) ins.push_back({nullptr, spec.shape, spec.dtype});
    for (const TensorSpec& spec : outputs_) outs.push_back({nullptr, spec.shape, spec.dtype});
    ops_.arena().measure();
    description_->run(ops_, ins, outs);
    scratch_bytes_ = ops_.arena().peak();
    activations_.grow(context, scratch_bytes_, description_->name());
  }

  void run(std::span<const Tensor> inputs, std::span<const Tensor> outputs) override {
    check_specs(description_->name(), "inputs", inputs, inputs_);
    check_specs(description_->name(), "outputs", outputs, outputs_);
    expect(activations_.memory.bytes() >= scratch_bytes_, description_->name(), ": expected ", scratch_bytes_,
           " bytes of activations, got ", activations_.memory.bytes());
    ops_.arena().use(activations_.memory.data(), scratch_bytes_);
    description_->run(ops_, inputs, outputs);
  }

  std::size_t scratch_bytes() const override { return scratch_bytes_; }

 private:
  std::shared_ptr<const Description> description_;
  std::vector<TensorSpec> inputs_, outputs_;
  CudaOps& ops_;
  Activations& activations_;
  std::size_t scratch_bytes_ = 0;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const Options& options, std::shared_ptr<Runtime> runtime) {
    context_.owner = this;
    context_.runtime = std::move(runtime);
    context_.account = std::make_shared<Account>();
    context_.operand = operand_for(options.precision);
    context_.fused = options.fused;
    context_.workspace =
        Memory(context_.runtime, context_.account, workspace_bytes, Memory::Use::activations, "working memory");
  }
  ~CudaBackend() override { graphs_.clear(); }

  std::string name() const override { return "cuda"; }
  std::string device() const override {
    const DeviceInfo& info = context_.runtime->device();
    return concat(info.name, " (sm_", info.major, info.minor, ")");
  }
  std::string precision() const override {
    return context_.operand == DType::f32 ? "fp32" : context_.operand == DType::f16 ? "fp16" : "bf16";
  }
  DType operand_type() const override { return context_.operand; }
  std::size_t free_memory() const override { return context_.runtime->memory_free(); }

  ConstantPtr constant(const HostTensor& tensor, Layout layout) override;
  ConstantPtr quantized(const HostTensor& tensor);
  std::vector<float> host_product(std::span<const float> x, std::span<const float> w, std::int64_t rows,
                                  std::int64_t inner, std::int64_t columns) override;

  Buffer allocate(std::size_t bytes) override {
    auto memory = std::make_shared<Memory>(context_.runtime, context_.account, bytes, Memory::Use::activations,
                                           "inputs and outputs");
    void* data = memory->data();
    return {data, bytes, [memory](void*, std::size_t) { memory->reset(); }};
  }
  void upload(const void* host, const Tensor& to) override { context_.runtime->upload(host, to.data, to.bytes()); }
  void download(const Tensor& from, void* host) override { context_.runtime->download(from.data, host, from.bytes()); }
  void copy(const Tensor& from, const Tensor& to) override {
    expect(from.shape == to.shape && from.dtype == to.dtype, "copy: expected ", name_of(to.dtype), " ", to.shape.text(),
           ", got ", name_of(from.dtype), " ", from.shape.text());
    if (to.bytes() > 0) context_.runtime->copy(from.data, to.data, to.bytes());
  }

  std::unique_ptr<Network> compile(std::shared_ptr<const Description> description, std::span<const TensorSpec> inputs,
                                   std::span<const TensorSpec> outputs) override {
    return std::make_unique<EagerNetwork>(std::move(description), inputs, outputs, ops_, context_, activations_);
  }
  Sampler& sampler() override { return sampler_; }

  void replay(const std::string& key, const std::function<void()>& body) override {
    Captured& captured = graphs_[key];
    if (!captured.graph || captured.generation != activations_.generation) {
      captured.graph.reset();
      captured.graph = context_.runtime->capture(body);
      captured.generation = activations_.generation;
    }
    context_.runtime->launch(*captured.graph);
  }
  void forget(const std::string& prefix) override {
    std::erase_if(graphs_, [&](const auto& entry) { return entry.first.starts_with(prefix); });
  }
  void synchronize() override { context_.runtime->synchronize(); }
  std::uint64_t mark() override { return context_.runtime->mark(); }
  void wait(std::uint64_t mark) override { context_.runtime->wait(mark); }
  bool asynchronous() const override { return true; }

  MemoryUse memory() const override { return context_.account->use; }
  TransferCounts transfers() const override { return context_.runtime->counts; }
  void* stream() const { return context_.runtime->stream(); }

 private:
  struct Captured {
    std::unique_ptr<Graph> graph;
    std::uint64_t generation = 0;
  };

  static std::string name_of(DType type) { return paella::name_of(type); }

  Context context_;
  CudaOps ops_{context_};
  CudaSampler sampler_{context_};
  Activations activations_;
  std::map<std::string, Captured> graphs_;
};

// Products of constants at load: once per model, so ordinary loops on the host do.
std::vector<float> CudaBackend::host_product(std::span<const float> x, std::span<const float> w, std::int64_t rows,
                                             std::int64_t inner, std::int64_t columns) {
  expect(x.size() == static_cast<std::size_t>(rows * inner) && w.size() == static_cast<std::size_t>(columns * inner),
         "host_product: expected ", rows, "×", inner, " and ", columns, "×", inner, " numbers, got ", x.size(), " and ",
         w.size());
  const TensorSpec x_spec{{rows, inner}, DType::f32}, out_spec{{rows, columns}, DType::f32};
  const Buffer x_memory = allocate(x_spec.bytes()), out_memory = allocate(out_spec.bytes());
  const Tensor in = x_memory.tensor(x_spec.shape, DType::f32), out = out_memory.tensor(out_spec.shape, DType::f32);
  upload(x.data(), in);
  const ConstantPtr weight = constant({"product", {columns, inner}, DType::f32, w.data()}, Layout::matrix_f32);
  class Product final : public Description {
   public:
    explicit Product(ConstantPtr matrix) : matrix_(std::move(matrix)) {}
    const char* name() const override { return "product"; }
    void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
      ops.copy(ops.linear(inputs[0], {matrix_, nullptr}, Activation::none, DType::f32), outputs[0]);
    }

   private:
    ConstantPtr matrix_;
  };
  compile(std::make_shared<Product>(weight), {&x_spec, 1}, {&out_spec, 1})->run({&in, 1}, {&out, 1});
  std::vector<float> result(static_cast<std::size_t>(rows * columns));
  download(out, result.data());
  return result;
}

// Tensor by tensor: host copies of one tensor are all that exists besides the file and the device's weights.
ConstantPtr CudaBackend::constant(const HostTensor& tensor, Layout layout) {
  expect(layout != Layout::matrix_w8a8, tensor.name, ": products of 8 bits are not made for GPUs");
  if (layout == Layout::matrix_w8) return quantized(tensor);
  std::vector<float> values = to_f32(tensor);
  auto made = std::make_shared<CudaConstant>();
  made->shape = tensor.shape;
  made->layout = layout;
  const bool operand = layout == Layout::matrix || layout == Layout::table;
  made->dtype = operand ? context_.operand : DType::f32;
  const bool split = layout == Layout::matrix_f32 && tensor.shape.rank() == 2 && tensor.shape[1] % 16 == 0;
  const std::size_t count = values.size(), plain_bytes = count * size_of(made->dtype);
  const std::size_t high_at = (plain_bytes + 255) / 256 * 256, part = (count * 2 + 255) / 256 * 256;
  made->memory =
      Memory(context_.runtime, context_.account, split ? high_at + 2 * part : std::max<std::size_t>(plain_bytes, 1),
             Memory::Use::weights, "weights " + tensor.name);
  made->data = made->memory.data();
  made->bytes = made->memory.bytes();

  if (layout == Layout::matrix || layout == Layout::matrix_f32)
    expect(tensor.shape.rank() == 2, tensor.name, ": expected rank 2, got ", tensor.shape.text());
  if (layout == Layout::depthwise) {
    const std::int64_t channels = tensor.shape[0] * tensor.shape[1];
    expect(tensor.elements() == channels * 9, tensor.name, ": expected 3×3 kernels, got ", tensor.shape.text());
    std::vector<float> by_tap(count);
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t tap = 0; tap < 9; ++tap)
        by_tap[static_cast<std::size_t>(tap * channels + c)] = values[static_cast<std::size_t>(c * 9 + tap)];
    values.swap(by_tap);
  }
  if (made->dtype == DType::f32) {
    context_.runtime->upload(values.data(), made->data, plain_bytes);
  } else {
    std::vector<std::uint16_t> halves(count);
    for (std::size_t i = 0; i < count; ++i)
      halves[i] = made->dtype == DType::bf16 ? bfloat_bits(values[i]) : half_bits(values[i], tensor.name);
    context_.runtime->upload(halves.data(), made->data, plain_bytes);
  }
  if (split) {
    auto* base = static_cast<std::uint8_t*>(made->data);
    made->high = base + high_at;
    made->low = base + high_at + part;
    std::vector<std::uint16_t> high(count), low(count);
    for (std::size_t i = 0; i < count; ++i) {
      high[i] = bfloat_bits(values[i]);
      low[i] = bfloat_bits(values[i] - bfloat_value(high[i]));
    }
    context_.runtime->upload(high.data(), made->high, count * 2);
    context_.runtime->upload(low.data(), made->low, count * 2);
  }
  return made;
}

ConstantPtr CudaBackend::quantized(const HostTensor& tensor) {
  expect(tensor.shape.rank() == 2, tensor.name, ": expected rank 2, got ", tensor.shape.text());
  const std::vector<float> values = to_f32(tensor);
  const std::size_t count = values.size(), rows = static_cast<std::size_t>(tensor.shape[0]);
  const std::size_t inner = static_cast<std::size_t>(tensor.shape[1]), scales_at = (count + 255) / 256 * 256;
  std::vector<std::int8_t> integers(count);
  std::vector<float> scales(rows);
  for (std::size_t row = 0; row < rows; ++row)
    scales[row] = round_to_8_bits(std::span(values).subspan(row * inner, inner), integers.data() + row * inner);
  auto made = std::make_shared<CudaConstant>();
  made->shape = tensor.shape;
  made->layout = Layout::matrix_w8;
  made->dtype = context_.operand;
  made->memory = Memory(context_.runtime, context_.account, scales_at + rows * sizeof(float), Memory::Use::weights,
                        "weights " + tensor.name);
  made->data = made->memory.data();
  made->bytes = made->memory.bytes();
  auto* base = static_cast<std::uint8_t*>(made->data);
  made->scales = reinterpret_cast<const float*>(base + scales_at);
  context_.runtime->upload(integers.data(), base, count);
  context_.runtime->upload(scales.data(), base + scales_at, rows * sizeof(float));
  made->widened = context_.widened.lock();
  if (const std::size_t bytes = count * size_of(made->dtype); !made->widened || made->widened->bytes() < bytes)
    context_.widened = made->widened = std::make_shared<Memory>(context_.runtime, context_.account, bytes,
                                                                Memory::Use::activations, "widened weights");
  return made;
}

}  // namespace

Memory::Memory(std::shared_ptr<Runtime> runtime, std::shared_ptr<Account> account, std::size_t bytes, Use use,
               const std::string& purpose)
    : runtime_(std::move(runtime)), account_(std::move(account)), bytes_(bytes), use_(use) {
  if (bytes == 0) return;
  data_ = runtime_->allocate(bytes, purpose);
  MemoryUse& total = account_->use;
  (use == Use::weights ? total.weights : total.activations) += bytes;
  total.peak = std::max(total.peak, total.weights + total.activations);
}

void Memory::reset() {
  if (data_ != nullptr) {
    runtime_->free(data_);
    (use_ == Use::weights ? account_->use.weights : account_->use.activations) -= bytes_;
  }
  data_ = nullptr;
  bytes_ = 0;
}

void Memory::swap(Memory& other) noexcept {
  std::swap(runtime_, other.runtime_);
  std::swap(account_, other.account_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(use_, other.use_);
}

std::unique_ptr<Backend> make_backend(const Options& options, std::shared_ptr<Runtime> runtime) {
  return std::make_unique<CudaBackend>(options, std::move(runtime));
}

void* stream_of(Backend& backend) { return dynamic_cast<CudaBackend&>(backend).stream(); }

std::unique_ptr<Backend> make_backend(const Options& options) {
  return make_backend(options, std::shared_ptr<Runtime>(make_runtime(options.device)));
}

}  // namespace paella::cuda
