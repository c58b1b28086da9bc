// What an engine must provide to run the networks: memory, constants, compiled networks, and the sampler.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/ops.h"
#include "core/signature.h"
#include "core/tensor.h"
#include "core/weights.h"

namespace paella {

class Backend;

// How a constant will be used, so that the backend can lay it out once, at load.
enum class Layout {
  matrix,       // [N, K] product weights, in operand type
  matrix_w8,    // [N, K] product weights in 8 bits, a scale for each row of N; what they multiply stays operand type
  matrix_w8a8,  // the same, and what they multiply is rounded to 8 bits, too: CPU, precision int8
  matrix_f32,   // [N, K] product weights that stay f32: the head, and what pixels come from
  vector,       // f32, as is
  table,        // [V, C] rows that are gathered: operand type
  table_f32,    // [V, C] rows that are gathered or searched, f32
  depthwise,    // [C, 1 or 2, 3, 3], f32
};

// Memory of a backend's device. Move-only; freed with it.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, std::size_t bytes, std::function<void(void*, std::size_t)> free)
      : data_(data), bytes_(bytes), free_(std::move(free)) {}
  ~Buffer() { reset(); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      reset();
      swap(other);
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Tensor tensor(Shape shape, DType type) const { return {data_, shape, type}; }

 private:
  void reset() {
    if (data_ != nullptr) free_(data_, bytes_);
    data_ = nullptr;
    bytes_ = 0;
  }
  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(free_, other.free_);
  }
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::function<void(void*, std::size_t)> free_;
};

// One network, written once against Ops. Its constructor has bound all weights; `run` only enqueues operations and
// never looks at the contents of a tensor, so that it can be measured, captured and replayed.
class Description {
 public:
  virtual ~Description() = default;
  virtual const char* name() const = 0;
  // Names, symbolic shapes and types of inputs and outputs, where products read `operand`. Empty: it has none to tell.
  virtual Signature signature(DType operand) const { return (void)operand, Signature{}; }
  // Order and meaning of inputs and outputs are documented at each network's own class.
  virtual void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const = 0;
};

// A network compiled for fixed shapes.
class Network {
 public:
  virtual ~Network() = default;
  // Inputs and outputs lie in the backend's memory and have the shapes given to compile().
  virtual void run(std::span<const Tensor> inputs, std::span<const Tensor> outputs) = 0;
  // Activation memory that it needs besides inputs and outputs.
  virtual std::size_t scratch_bytes() const = 0;
};

// For a network's run(): ERR_INTERNAL unless these are the shapes and types that it was compiled for. `kind`: "inputs".
void check_specs(const char* network, const char* kind, std::span<const Tensor> found,
                 std::span<const TensorSpec> expected);

// Numbers of one step, one entry per image, in the backend's memory.
struct StepInputs {
  Tensor seed;           // [B] i64
  Tensor step;           // [1] i32
  Tensor guidance;       // [B] f32
  Tensor temperature;    // [B] f32; > 0
  Tensor renoise_level;  // [B] f32: t of the next step; 0 = this image is not re-noised after this step
  Tensor typical_mass;   // [B] f32; ignored unless typical filtering is on
  // [1] i32, or no data: set to 1 if a position has no finite logit. Asynchronous backends only; the CPU throws.
  Tensor fault;
};

// What a sampler throws, or a fault means.
Error no_finite_logit();

enum class SampleMode { multinomial, argmax };

// Drawing of tokens. See docs/randomness.md for the numbers and spec 4.1 for the order.
class Sampler {
 public:
  virtual ~Sampler() = default;
  // tokens i32 [B, H, W] ← uniform noise from each image's own seed.
  virtual void initial_noise(const Tensor& seed, std::int32_t codebook_size, const Tensor& tokens) = 0;
  // tokens ← first, and noise where first is negative; all i32 [B, H, W].
  virtual void start(const Tensor& first, const Tensor& noise, const Tensor& tokens) = 0;
  // features f32 [2B, H, W, C] → [B, H, W, C] = s·conditional + (1 − s)·unconditional.
  virtual void guide(const Tensor& features, const Tensor& guidance, const Tensor& out) = 0;
  // features f32 [B, H, W, C], head [V, C] (matrix_f32, no bias) → tokens i32 [B, H, W].
  // multinomial: lowest k that maximises logit/temperature + Gumbel. typical: logits are filtered first, at temperature
  // 1 (spec 3, typical filtering). Fused: logits are never stored as a whole.
  virtual void sample(const Tensor& features, const ConstantPtr& head, const StepInputs& step, SampleMode mode,
                      bool typical, const Tensor& tokens) = 0;
  // The same draw from logits f32 [B, H, W, V] that exist: specification and test oracle of the fused one.
  virtual void sample_logits(const Tensor& logits, const StepInputs& step, SampleMode mode, bool typical,
                             const Tensor& tokens) = 0;
  // tokens ← noise where u(seed, step, position) < renoise_level.
  virtual void renoise(const Tensor& tokens, const Tensor& noise, const StepInputs& step) = 0;
  // step i32 [1] += 1: the loop counts on the device.
  virtual void advance(const Tensor& step) = 0;
};

struct MemoryUse {
  std::size_t weights = 0;
  std::size_t activations = 0;
  std::size_t peak = 0;
};

// Counters of what crosses between host and device; zeros where both are the same.
struct TransferCounts {
  std::uint64_t uploads = 0;
  std::uint64_t downloads = 0;
  std::uint64_t launches = 0;
  std::uint64_t synchronizations = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;       // "cpu"
  virtual std::string device() const = 0;     // "AMD EPYC … (2 threads, avx512_bf16)"
  virtual std::string precision() const = 0;  // "bf16"
  virtual DType operand_type() const = 0;
  // How the U-Net's product weights are kept: Layout::matrix, unless the precision says otherwise.
  virtual Layout unet_products() const { return Layout::matrix; }

  // Whether it reads what constants hold. If not, weights come without values, see counting_backend.h.
  virtual bool reads_values() const { return true; }
  // Bytes that can still be had where weights and activations lie; 0: not known.
  virtual std::size_t free_memory() const { return 0; }

  // Takes over a constant; the host memory may go away afterwards. ERR_NUMERIC if it is not finite.
  virtual ConstantPtr constant(const HostTensor& tensor, Layout layout) = 0;
  // x [M, K] · wᵀ [K, N] in f32 on host memory, for constants that are derived at load.
  virtual std::vector<float> host_product(std::span<const float> x, std::span<const float> w, std::int64_t rows,
                                          std::int64_t inner, std::int64_t columns) = 0;

  // Uninitialised memory; ERR_OUT_OF_MEMORY with needed and free bytes.
  virtual Buffer allocate(std::size_t bytes) = 0;
  virtual void upload(const void* host, const Tensor& to) = 0;
  virtual void download(const Tensor& from, void* host) = 0;
  // Within the device.
  virtual void copy(const Tensor& from, const Tensor& to) = 0;

  virtual std::unique_ptr<Network> compile(std::shared_ptr<const Description> description,
                                           std::span<const TensorSpec> inputs, std::span<const TensorSpec> outputs) = 0;
  virtual Sampler& sampler() = 0;
  // Runs `body`, which only enqueues. A backend with graphs captures it at the first call with this key and replays it
  // afterwards.
  virtual void replay(const std::string& key, const std::function<void()>& body) { (void)key, body(); }
  // Drops what was captured under keys that begin so: their tensors are about to go.
  virtual void forget(const std::string& prefix) { (void)prefix; }
  // Waits for what was enqueued.
  virtual void synchronize() {}
  // A place in what was enqueued, and waiting until all before it is done; the device goes on meanwhile.
  virtual std::uint64_t mark() { return 0; }
  virtual void wait(std::uint64_t mark) { (void)mark; }
  // Whether operations only enqueue: then the time of a call says nothing about the time of the work.
  virtual bool asynchronous() const { return false; }

  // While `*flag` is set, networks stop between operations with ERR_ABORTED.
  virtual void set_interrupt(const std::atomic<bool>* flag) { interrupt_ = flag; }
  bool interrupted() const { return interrupt_ != nullptr && interrupt_->load(std::memory_order_relaxed); }

  virtual MemoryUse memory() const = 0;
  virtual TransferCounts transfers() const { return {}; }

 private:
  const std::atomic<bool>* interrupt_ = nullptr;
};

}  // namespace paella
