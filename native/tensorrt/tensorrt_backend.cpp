#include "tensorrt/tensorrt_backend.h"

#include <algorithm>
#include <cstring>
#include <list>
#include <optional>

#include "core/error.h"
#include "tensorrt/constants.h"
#include "tensorrt/engine_store.h"

namespace paella::tensorrt {

namespace {

// Networks that run as engines. The others run once per prompt or per job.
bool as_engine(const Description& description) {
  const std::string_view name = description.name();
  return name == "unet" || name == "vqgan.decoder";
}

// Activation memory of all engines: they run one after another. Graphs that were captured hold its address.
class Scratch {
 public:
  explicit Scratch(Backend& cuda) : cuda_(cuda) {}
  void grow(std::size_t bytes) {
    const std::size_t before = memory_.bytes();
    if (bytes <= before) return;
    memory_ = {};  // waits for what still uses it
    cuda_.forget("");
    try {
      memory_ = cuda_.allocate(bytes);
    } catch (...) {
      // Networks that were compiled before go on.
      if (before > 0) memory_ = cuda_.allocate(before);
      throw;
    }
  }
  void* data() const { return memory_.data(); }
  std::size_t bytes() const { return memory_.bytes(); }

 private:
  Backend& cuda_;
  Buffer memory_;
};

class EngineNetwork final : public Network {
 public:
  EngineNetwork(std::string name, std::shared_ptr<Engine> engine, const Signature& signature,
                std::span<const TensorSpec> inputs, std::span<const TensorSpec> outputs, Backend& cuda,
                Scratch& scratch, void* stream)
      : name_(std::move(name)),
        inputs_(inputs.begin(), inputs.end()),
        outputs_(outputs.begin(), outputs.end()),
        engine_(std::move(engine)),
        cuda_(cuda),
        scratch_(scratch),
        stream_(stream) {
    const auto position = [](const std::vector<Port>& ports, const std::string& tensor) {
      const auto found =
          std::find_if(ports.begin(), ports.end(), [&](const Port& port) { return port.name == tensor; });
      expect(found != ports.end(), "engine: unknown tensor ", tensor);
      return static_cast<std::size_t>(found - ports.begin());
    };
    std::vector<Shape> shapes;
    for (const IoTensor& tensor : engine_->io()) {
      const std::size_t at = position(tensor.input ? signature.inputs : signature.outputs, tensor.name);
      places_.push_back(tensor.input ? at : inputs_.size() + at);
      if (tensor.input) shapes.push_back(inputs_[at].shape);
    }
    execution_ = engine_->execution(shapes);
    scratch_.grow(execution_->scratch_bytes());
  }

  ~EngineNetwork() override {
    // An aborted job leaves work that still uses the execution and its weights.
    try {
      cuda_.synchronize();
    } catch (const std::exception&) {  // a broken device has told its reason to whoever waited for it
    }
  }

  // TensorRT prepares itself in the first call, which therefore must not be captured: here it runs on zeros.
  void prepare() {
    std::vector<Buffer> memory;
    std::vector<Tensor> tensors;
    for (const auto* specs : {&inputs_, &outputs_})
      for (const TensorSpec& spec : *specs) {
        memory.push_back(cuda_.allocate(std::max<std::size_t>(spec.bytes(), 1)));
        tensors.push_back(memory.back().tensor(spec.shape, spec.dtype));
      }
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const std::vector<std::uint8_t> zeros(tensors[i].bytes());
      cuda_.upload(zeros.data(), tensors[i]);
    }
    enqueue(std::span(tensors).first(inputs_.size()), std::span(tensors).subspan(inputs_.size()));
    cuda_.synchronize();
  }

  void run(std::span<const Tensor> inputs, std::span<const Tensor> outputs) override {
    check_specs(name_.c_str(), "inputs", inputs, inputs_);
    check_specs(name_.c_str(), "outputs", outputs, outputs_);
    enqueue(inputs, outputs);
  }

  std::size_t scratch_bytes() const override { return execution_->scratch_bytes(); }

 private:
  void enqueue(std::span<const Tensor> inputs, std::span<const Tensor> outputs) {
    std::vector<void*> addresses;
    for (const std::size_t place : places_)
      addresses.push_back(place < inputs.size() ? inputs[place].data : outputs[place - inputs.size()].data);
    execution_->enqueue(addresses, scratch_.data(), scratch_.bytes(), stream_);
  }

  std::string name_;
  std::vector<TensorSpec> inputs_, outputs_;
  std::vector<std::size_t> places_;  // of the engine's tensors among inputs, then outputs
  std::shared_ptr<Engine> engine_;
  Backend& cuda_;
  std::unique_ptr<Execution> execution_;  // goes before its engine
  Scratch& scratch_;
  void* stream_;
};

// The CUDA sampler, with the head's constant as CUDA made it.
class TensorRtSampler final : public Sampler {
 public:
  explicit TensorRtSampler(Sampler& cuda) : cuda_(cuda) {}
  void initial_noise(const Tensor& seed, std::int32_t codebook_size, const Tensor& tokens) override {
    cuda_.initial_noise(seed, codebook_size, tokens);
  }
  void start(const Tensor& first, const Tensor& noise, const Tensor& tokens) override {
    cuda_.start(first, noise, tokens);
  }
  void guide(const Tensor& features, const Tensor& guidance, const Tensor& out) override {
    cuda_.guide(features, guidance, out);
  }
  void sample(const Tensor& features, const ConstantPtr& head, const StepInputs& step, SampleMode mode, bool typical,
              const Tensor& tokens) override {
    cuda_.sample(features, twin(*head).on_cuda, step, mode, typical, tokens);
  }
  void sample_logits(const Tensor& logits, const StepInputs& step, SampleMode mode, bool typical,
                     const Tensor& tokens) override {
    cuda_.sample_logits(logits, step, mode, typical, tokens);
  }
  void renoise(const Tensor& tokens, const Tensor& noise, const StepInputs& step) override {
    cuda_.renoise(tokens, noise, step);
  }
  void advance(const Tensor& step) override { cuda_.advance(step); }

 private:
  Sampler& cuda_;
};

class TensorRtBackend final : public Backend {
 public:
  TensorRtBackend(const Plugin& plugin, std::unique_ptr<Backend> cuda, void* stream, BackendOptions options)
      : cuda_(std::move(cuda)),
        recorder_(onnx::make_backend(cuda_->precision())),
        stream_(stream),
        options_(std::move(options)),
        store_(plugin, store_options()),
        sampler_(cuda_->sampler()),
        scratch_(*cuda_) {}
  // Engines before the memory that they were given; graphs that launch engines before those.
  ~TensorRtBackend() override { cuda_->forget(""); }

  std::string name() const override { return "tensorrt"; }
  std::string device() const override { return cuda_->device(); }
  std::string precision() const override { return cuda_->precision(); }
  DType operand_type() const override { return cuda_->operand_type(); }

  ConstantPtr constant(const HostTensor& tensor, Layout layout) override { return make_twin(tensor, layout, *cuda_); }
  std::vector<float> host_product(std::span<const float> x, std::span<const float> w, std::int64_t rows,
                                  std::int64_t inner, std::int64_t columns) override {
    // Not CUDA's: the last bits of derived weights are part of a plan's key, and the same wherever it was built.
    return recorder_->host_product(x, w, rows, inner, columns);
  }

  Buffer allocate(std::size_t bytes) override { return cuda_->allocate(bytes); }
  void upload(const void* host, const Tensor& to) override { cuda_->upload(host, to); }
  void download(const Tensor& from, void* host) override { cuda_->download(from, host); }
  void copy(const Tensor& from, const Tensor& to) override { cuda_->copy(from, to); }

  std::unique_ptr<Network> compile(std::shared_ptr<const Description> description, std::span<const TensorSpec> inputs,
                                   std::span<const TensorSpec> outputs) override;

  Sampler& sampler() override { return sampler_; }
  void replay(const std::string& key, const std::function<void()>& body) override { cuda_->replay(key, body); }
  void forget(const std::string& prefix) override { cuda_->forget(prefix); }
  void synchronize() override { cuda_->synchronize(); }
  std::uint64_t mark() override { return cuda_->mark(); }
  void wait(std::uint64_t mark) override { cuda_->wait(mark); }
  bool asynchronous() const override { return cuda_->asynchronous(); }
  void set_interrupt(const std::atomic<bool>* flag) override {
    Backend::set_interrupt(flag);
    cuda_->set_interrupt(flag);
  }

  MemoryUse memory() const override {
    MemoryUse use = cuda_->memory();
    std::size_t engines = 0;
    for (const Loaded& loaded : loaded_)
      if (const auto engine = loaded.engine.lock()) engines += engine->weight_bytes();
    use.weights += engines;
    use.peak += engines;
    return use;
  }
  TransferCounts transfers() const override { return cuda_->transfers(); }

 private:
  struct Loaded {
    std::string graph_hash, weights_hash, ranges;
    std::weak_ptr<Engine> engine;
    // While the network's weights are loaded, its engine stays: plans come and go.
    std::shared_ptr<Engine> kept;
    std::weak_ptr<const onnx::OnnxConstant> weights;
  };

  EngineStore::Options store_options() {
    EngineStore::Options store;
    store.folder = options_.cache_folder;
    store.gpu = options_.gpu;
    store.compute_capability = options_.compute_capability;
    store.precision = cuda_->precision();
    store.cancelled = [this] { return interrupted(); };
    store.log = options_.log;
    return store;
  }

  void drop_unused() {
    for (Loaded& loaded : loaded_)
      if (loaded.weights.expired()) loaded.kept.reset();
    std::erase_if(loaded_, [](const Loaded& loaded) { return loaded.engine.expired(); });
  }

  Ranges ranges_for(const Signature& signature, const std::map<std::string, std::int64_t>& symbols) const {
    for (const Profile& profile : options_.profiles) {
      if (!profile.precision.empty() && profile.precision != cuda_->precision()) continue;
      // A profile for larger steps of size than this model takes is none for this model.
      try {
        const Ranges ranges = ranges_of(profile, signature, options_.pixels_per_token);
        if (covers(ranges, symbols)) return ranges;
      } catch (const Error& error) {
        if (error.code() != ErrorCode::invalid_option) throw;
        if (options_.log) options_.log(Severity::debug, error.what());
      }
    }
    return exactly(symbols);
  }

  std::shared_ptr<Engine> engine_for(const Description& description, const Ranges& ranges);

  std::unique_ptr<Backend> cuda_, recorder_;
  void* stream_;
  BackendOptions options_;
  EngineStore store_;
  TensorRtSampler sampler_;
  Scratch scratch_;
  std::list<Loaded> loaded_;
};

std::shared_ptr<Engine> TensorRtBackend::engine_for(const Description& description, const Ranges& ranges) {
  const Recording recording =
      store_.record(description, operand_type(), [](const Constant& constant) { return twin(constant).on_host; });
  const std::string text = text_of(ranges);
  for (const Loaded& loaded : loaded_) {
    if (loaded.graph_hash != recording.graph_hash || loaded.weights_hash != recording.weights_hash ||
        loaded.ranges != text)
      continue;
    if (auto engine = loaded.engine.lock()) return engine;
  }
  auto engine = store_.engine(recording, ranges);
  std::weak_ptr<const onnx::OnnxConstant> weights;
  if (!recording.weights.empty()) weights = recording.weights.front()->constant;
  loaded_.push_back({recording.graph_hash, recording.weights_hash, text, engine, engine, weights});
  return engine;
}

std::unique_ptr<Network> TensorRtBackend::compile(std::shared_ptr<const Description> description,
                                                  std::span<const TensorSpec> inputs,
                                                  std::span<const TensorSpec> outputs) {
  drop_unused();
  const auto on_cuda = [&] {
    upload_constants(*description, inputs, outputs, operand_type(), *cuda_);
    return cuda_->compile(std::move(description), inputs, outputs);
  };
  if (!as_engine(*description)) return on_cuda();
  const Signature signature = description->signature(operand_type());
  const auto symbols = symbols_of(signature, inputs);
  expect(symbols.has_value() && signature.outputs.size() == outputs.size(), description->name(),
         ": expected inputs and outputs of its signature");
  // The other form of an output, e.g. pixels as f32, is for tests and tools.
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].dtype != signature.outputs[i].type) return on_cuda();
  auto engine = engine_for(*description, ranges_for(signature, *symbols));
  auto network = std::make_unique<EngineNetwork>(description->name(), std::move(engine), signature, inputs, outputs,
                                                 *cuda_, scratch_, stream_);
  network->prepare();
  return network;
}

}  // namespace

std::unique_ptr<Backend> make_backend(const Plugin& plugin, std::unique_ptr<Backend> cuda, void* stream,
                                      BackendOptions options) {
  return std::make_unique<TensorRtBackend>(plugin, std::move(cuda), stream, std::move(options));
}

}  // namespace paella::tensorrt
