#include "tensorrt/engine.h"

#include "core/error.h"
#include "tensorrt/library.h"
#include "tensorrt/types.h"

namespace paella::tensorrt {

namespace {

// TensorRT's objects of one engine, in the order in which they must go: contexts before the engine, that before the
// runtime, and all before the logger.
struct Parts {
  explicit Parts(const Log& log) : logger(log) {}
  Logger logger;
  std::unique_ptr<nvinfer1::IRuntime> runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
};

[[noreturn]] void failed(Parts& parts, ErrorCode code, const std::string& what) {
  const std::string errors = parts.logger.take_errors();
  throw Error(code,
              concat("TensorRT ", opened_library().info.version, ": ", what, errors.empty() ? "" : ":\n", errors));
}

class TensorRtExecution final : public Execution {
 public:
  TensorRtExecution(std::shared_ptr<Parts> parts, const std::vector<IoTensor>& io, std::span<const Shape> inputs)
      : parts_(std::move(parts)) {
    // Activation memory comes with each call: all engines of a backend share one.
    context_.reset(parts_->engine->createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
    if (!context_) failed(*parts_, ErrorCode::out_of_memory, "no execution context could be made");
    std::size_t next = 0;
    for (const IoTensor& tensor : io) {
      names_.push_back(tensor.name);
      if (!tensor.input) continue;
      const Shape& shape = inputs[next++];
      nvinfer1::Dims dims{};
      dims.nbDims = shape.rank();
      for (int axis = 0; axis < shape.rank(); ++axis) dims.d[axis] = shape[axis];
      if (!context_->setInputShape(tensor.name.c_str(), dims))
        failed(*parts_, ErrorCode::invalid_option,
               concat("input ", tensor.name, ": expected a shape of the engine's profile, got ", shape.text()));
    }
    if (context_->inferShapes(0, nullptr) != 0)
      failed(*parts_, ErrorCode::internal, "expected every input to have its shape");
    scratch_bytes_ = context_->updateDeviceMemorySizeForShapes();
  }

  std::size_t scratch_bytes() const override { return scratch_bytes_; }

  void enqueue(std::span<void* const> addresses, void* scratch, std::size_t scratch_bytes, void* stream) override {
    expect(addresses.size() == names_.size(), "TensorRT: expected ", names_.size(), " addresses, got ",
           addresses.size());
    expect(scratch_bytes >= scratch_bytes_, "TensorRT: expected ", scratch_bytes_, " bytes of scratch, got ",
           scratch_bytes);
    context_->setDeviceMemoryV2(scratch, static_cast<std::int64_t>(scratch_bytes));
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (!context_->setTensorAddress(names_[i].c_str(), addresses[i]))
        failed(*parts_, ErrorCode::internal, concat("the address of ", names_[i], " was not accepted"));
    if (!context_->enqueueV3(static_cast<cudaStream_t>(stream)))
      failed(*parts_, ErrorCode::internal, "the engine could not be started");
  }

 private:
  std::shared_ptr<Parts> parts_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::vector<std::string> names_;
  std::size_t scratch_bytes_ = 0;
};

class TensorRtEngine final : public Engine {
 public:
  TensorRtEngine(std::shared_ptr<Parts> parts, std::size_t weight_bytes)
      : parts_(std::move(parts)), weight_bytes_(weight_bytes) {
    const nvinfer1::ICudaEngine& engine = *parts_->engine;
    for (int i = 0; i < engine.getNbIOTensors(); ++i) {
      const char* name = engine.getIOTensorName(i);
      io_.push_back({name, dtype_of(engine.getTensorDataType(name), name), dims_of(engine.getTensorShape(name)),
                     engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT});
    }
  }

  const std::vector<IoTensor>& io() const override { return io_; }
  std::size_t weight_bytes() const override { return weight_bytes_; }
  std::string layers() const override {
    const std::unique_ptr<nvinfer1::IEngineInspector> inspector(parts_->engine->createEngineInspector());
    const char* text = inspector ? inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON) : nullptr;
    return text != nullptr ? text : "";
  }
  std::unique_ptr<Execution> execution(std::span<const Shape> inputs) override {
    return std::make_unique<TensorRtExecution>(parts_, io_, inputs);
  }

 private:
  std::shared_ptr<Parts> parts_;
  std::vector<IoTensor> io_;
  std::size_t weight_bytes_;
};

#if defined(TRT_MAJOR_RTX)
// Reads the header of a plan only; what it finds wrong is not a damaged file alone, but also a GPU that is not
// supported.
void check_validity(Parts& parts, std::span<const std::uint8_t> plan) {
  using Reason = nvinfer1::EngineInvalidityDiagnostics;
  if (static_cast<std::int64_t>(plan.size()) < parts.runtime->getEngineHeaderSize())
    failed(parts, ErrorCode::io, "the plan is cut off");
  std::uint64_t reasons = 0;
  const auto validity = parts.runtime->getEngineValidity(plan.data(), static_cast<std::int64_t>(plan.size()), &reasons);
  if (validity != nvinfer1::EngineValidity::kINVALID) return;
  const auto has = [&](Reason reason) { return (reasons & static_cast<std::uint64_t>(reason)) != 0; };
  std::string text;
  const auto say = [&](Reason reason, const char* words) {
    if (has(reason)) text += concat(text.empty() ? "" : ", ", words);
  };
  say(Reason::kVERSION_MISMATCH, "built by another version");
  say(Reason::kUNSUPPORTED_CC, "this GPU's compute capability is not supported");
  say(Reason::kOLD_CUDA_DRIVER, "the driver is older than the one it was built with");
  say(Reason::kOLD_CUDA_RUNTIME, "the CUDA runtime is older than the one it was built with");
  say(Reason::kINSUFFICIENT_GPU_MEMORY, "not enough GPU memory for its weights");
  say(Reason::kMALFORMED_ENGINE, "it is no plan");
  say(Reason::kCUDA_ERROR, "CUDA does not work here");
  // A new build helps against the first and the sixth.
  const bool of_file = has(Reason::kVERSION_MISMATCH) || has(Reason::kMALFORMED_ENGINE);
  const ErrorCode code = of_file                                 ? ErrorCode::io
                         : has(Reason::kINSUFFICIENT_GPU_MEMORY) ? ErrorCode::out_of_memory
                                                                 : ErrorCode::backend_unavailable;
  failed(parts, code, concat("the plan is refused: ", text.empty() ? "no reason given" : text));
}
#else
void check_validity(Parts&, std::span<const std::uint8_t>) {}
#endif

// Brings the weights back that were left out of the plan. The parser knows which weight of the graph became which of
// the engine.
void refit(Parts& parts, const Graph& graph) {
  const EntryPoints& entry = entry_points();
  const std::unique_ptr<nvinfer1::IRefitter> refitter(
      static_cast<nvinfer1::IRefitter*>(entry.create_refitter(parts.engine.get(), &parts.logger, NV_TENSORRT_VERSION)));
  if (!refitter) failed(parts, ErrorCode::io, "the plan takes no weights");
  const std::unique_ptr<nvonnxparser::IParserRefitter> parser(static_cast<nvonnxparser::IParserRefitter*>(
      entry.create_parser_refitter(refitter.get(), &parts.logger, NV_ONNX_PARSER_VERSION)));
  if (!parser) failed(parts, ErrorCode::internal, "the parser's refitter could not be made");
  if (!parser->loadModelProto(graph.model.data(), graph.model.size()))
    failed(parts, ErrorCode::internal, "the graph could not be read");
  for (const Initializer& weight : graph.weights)
    if (!parser->loadInitializer(weight.name.c_str(), weight.data, weight.bytes))
      failed(parts, ErrorCode::internal, concat("weight ", weight.name, " was not accepted"));
  if (!parser->refitModelProto()) failed(parts, ErrorCode::io, "the plan does not fit to these weights");
  if (!refitter->refitCudaEngine()) failed(parts, ErrorCode::io, "the plan did not get all its weights");
}

}  // namespace

std::unique_ptr<Engine> load_engine(std::span<const std::uint8_t> plan, const Graph& graph, bool stripped,
                                    const Log& log) {
  const EntryPoints& entry = entry_points();
  auto parts = std::make_shared<Parts>(log);
  parts->runtime.reset(static_cast<nvinfer1::IRuntime*>(entry.create_runtime(&parts->logger, NV_TENSORRT_VERSION)));
  if (!parts->runtime) failed(*parts, ErrorCode::backend_unavailable, "its runtime could not be made");
  check_validity(*parts, plan);
  parts->engine.reset(parts->runtime->deserializeCudaEngine(plan.data(), plan.size()));
  if (!parts->engine) failed(*parts, ErrorCode::io, "the plan could not be read");
  if (stripped) refit(*parts, graph);
  std::size_t weights = 0;
  for (const Initializer& weight : graph.weights) weights += weight.bytes;
  return std::make_unique<TensorRtEngine>(std::move(parts), weights);
}

}  // namespace paella::tensorrt
