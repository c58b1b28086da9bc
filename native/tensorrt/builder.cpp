#include "tensorrt/builder.h"

#include <cstring>
#include <map>

#include "core/error.h"
#include "tensorrt/library.h"
#include "tensorrt/types.h"

namespace paella::tensorrt {

namespace {

using nvinfer1::BuilderFlag;

// TensorRT builds in nested phases; a step of any of them may end the build.
class Progress final : public nvinfer1::IProgressMonitor {
 public:
  explicit Progress(const BuildRequest& request) : request_(request) {}

  void phaseStart(char const* name, char const*, std::int32_t steps) noexcept override { report(name, 0, steps); }
  bool stepComplete(char const* name, std::int32_t step) noexcept override {
    report(name, step + 1, -1);
    return !stopped();
  }
  void phaseFinish(char const* name) noexcept override { report(name, -1, -1); }

  bool stopped() noexcept {
    try {
      if (!stopped_ && request_.cancelled && request_.cancelled()) stopped_ = true;
    } catch (...) {
      stopped_ = true;
    }
    return stopped_;
  }

 private:
  // Called from several threads.
  void report(const char* name, std::int32_t step, std::int32_t steps) noexcept {
    try {
      const std::lock_guard lock(mutex_);
      std::int32_t& total = steps_[name];
      if (steps >= 0) total = steps;
      if (request_.progress) request_.progress(name, step < 0 ? total : step, total);
    } catch (...) {
      stopped_ = true;  // the listener wants no more
    }
  }

  const BuildRequest& request_;
  std::mutex mutex_;
  std::map<std::string, std::int32_t> steps_;
  std::atomic<bool> stopped_{false};
};

[[noreturn]] void refuse(const BuildRequest& request, Logger& logger, const std::string& what) {
  const std::string errors = logger.take_errors();
  throw Error(ErrorCode::backend_unavailable, concat("TensorRT ", opened_library().info.version, ": ", request.network,
                                                     ": ", what, errors.empty() ? "" : ":\n", errors));
}

// The network refers to memory of the parser (small constants of the graph), which must live until the plan is built.
std::unique_ptr<nvonnxparser::IParser> parse(const BuildRequest& request, nvinfer1::INetworkDefinition& network,
                                             Logger& logger) {
  std::unique_ptr<nvonnxparser::IParser> parser(
      static_cast<nvonnxparser::IParser*>(entry_points().create_parser(&network, &logger, NV_ONNX_PARSER_VERSION)));
  if (!parser) refuse(request, logger, "its ONNX parser could not be made");
  const auto fail_with = [&](const std::string& what) {
    std::string text = what;
    for (int i = 0; i < parser->getNbErrors(); ++i) {
      const nvonnxparser::IParserError& error = *parser->getError(i);
      text += concat("; node ", error.nodeName(), " (", error.nodeOperator(), "): ", error.desc());
    }
    refuse(request, logger, text);
  };
  if (!parser->loadModelProto(request.graph->model.data(), request.graph->model.size()))
    fail_with("the graph could not be read");
  for (const Initializer& weight : request.graph->weights)
    if (!parser->loadInitializer(weight.name.c_str(), weight.data, weight.bytes))
      fail_with(concat("weight ", weight.name, " of ", weight.bytes, " bytes was not accepted"));
  if (!parser->parseModelProto()) fail_with("the graph was not accepted");
  return parser;
}

nvinfer1::Dims to_dims(const std::vector<std::int64_t>& dims) {
  nvinfer1::Dims result{};
  result.nbDims = static_cast<std::int32_t>(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) result.d[i] = dims[i];
  return result;
}

void add_profile(const BuildRequest& request, nvinfer1::IBuilder& builder, nvinfer1::IBuilderConfig& config,
                 Logger& logger) {
  nvinfer1::IOptimizationProfile* profile = builder.createOptimizationProfile();
  for (const InputRange& input : request.inputs) {
    using nvinfer1::OptProfileSelector;
    const bool set = profile->setDimensions(input.name.c_str(), OptProfileSelector::kMIN, to_dims(input.minimum)) &&
                     profile->setDimensions(input.name.c_str(), OptProfileSelector::kOPT, to_dims(input.optimum)) &&
                     profile->setDimensions(input.name.c_str(), OptProfileSelector::kMAX, to_dims(input.maximum));
    if (!set) refuse(request, logger, concat("input ", input.name, ": its sizes were not accepted"));
  }
  if (!profile->isValid() || config.addOptimizationProfile(profile) != 0)
    refuse(request, logger, "its sizes were not accepted");
}

void configure(const BuildRequest& request, nvinfer1::IBuilderConfig& config, Logger& logger) {
  if (request.strip) {
    config.setFlag(BuilderFlag::kSTRIP_PLAN);
    config.setFlag(BuilderFlag::kREFIT_IDENTICAL);
  }
  // What is f32 is f32: the loop compares logits.
  config.clearFlag(BuilderFlag::kTF32);
  if (request.workspace_bytes > 0)
    config.setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, request.workspace_bytes);
#if defined(TRT_MAJOR_RTX)
  const std::string& wanted = request.compute_capability;
  if (!config.setNbComputeCapabilities(1)) refuse(request, logger, "its target GPU could not be set");
  auto capability = nvinfer1::ComputeCapability::kCURRENT;
  if (!wanted.empty()) {
    const int number = std::stoi(wanted) * 10 + std::stoi(wanted.substr(wanted.find('.') + 1));
    capability = static_cast<nvinfer1::ComputeCapability>(number);
  }
  if (!config.setComputeCapability(capability, 0))
    refuse(request, logger,
           concat("it does not make code for compute capability ", wanted.empty() ? "of this GPU" : wanted));
#else
  if (!request.compute_capability.empty())
    refuse(request, logger,
           concat("it builds for the GPU at hand only, not for compute capability ", request.compute_capability,
                  " (TensorRT-RTX can)"));
#endif
}

std::vector<IoTensor> io_of(const nvinfer1::INetworkDefinition& network) {
  std::vector<IoTensor> io;
  const auto add = [&](const nvinfer1::ITensor& tensor, bool input) {
    io.push_back(
        {tensor.getName(), dtype_of(tensor.getType(), tensor.getName()), dims_of(tensor.getDimensions()), input});
  };
  for (int i = 0; i < network.getNbInputs(); ++i) add(*network.getInput(i), true);
  for (int i = 0; i < network.getNbOutputs(); ++i) add(*network.getOutput(i), false);
  return io;
}

}  // namespace

BuiltPlan build_plan(const BuildRequest& request) {
  const EntryPoints& entry = entry_points();
  open_builder_resources();
  Logger logger(request.log);
  Progress progress(request);
  const auto check_cancelled = [&] {
    if (progress.stopped()) throw Error(ErrorCode::aborted, concat(request.network, ": the build was cancelled"));
  };
  check_cancelled();
  const std::unique_ptr<nvinfer1::IBuilder> builder(
      static_cast<nvinfer1::IBuilder*>(entry.create_builder(&logger, NV_TENSORRT_VERSION)));
  if (!builder) refuse(request, logger, "its builder could not be made");
  const std::unique_ptr<nvinfer1::INetworkDefinition> network(builder->createNetworkV2(strongly_typed_flag));
  if (!network) refuse(request, logger, "no network could be made");
  const auto parser = parse(request, *network, logger);
  check_cancelled();
  const std::unique_ptr<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
  if (!config) refuse(request, logger, "no configuration could be made");
  configure(request, *config, logger);
  add_profile(request, *builder, *config, logger);
  config->setProgressMonitor(&progress);
  const std::unique_ptr<nvinfer1::IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
  check_cancelled();
  if (!plan || plan->size() == 0) refuse(request, logger, "no plan could be built");
  BuiltPlan built;
  const auto* bytes = static_cast<const std::uint8_t*>(plan->data());
  built.plan.assign(bytes, bytes + plan->size());
  built.io = io_of(*network);
  built.stripped = request.strip;
  built.layers = network->getNbLayers();
  return built;
}

}  // namespace paella::tensorrt
