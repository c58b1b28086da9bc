// libnvinfer.so.11 and libnvonnxparser.so.11 for tests: TensorRT's classes as its headers declare them, which compute
// nothing and write down in which order they are called. No GPU, no TensorRT.
#include "stand_in.h"

#include <sstream>
#include <string>

#include "stubs.h"

namespace {

std::string calls, told;

template <typename... Parts>
void note(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  calls += out.str() + "\n";
}

nvinfer1::ILogger* logger = nullptr;
bool complain(const char* text) {
  logger->log(nvinfer1::ILogger::Severity::kERROR, text);
  return false;
}

class Inspector final : public nvinfer1::IEngineInspector, public stubs::VEngineInspector {
 public:
  Inspector() { mImpl = this; }
  ~Inspector() noexcept override = default;
  nvinfer1::IEngineInspector* getPImpl() noexcept override { return this; }
  char const* getEngineInformation(nvinfer1::LayerInformationFormat) const noexcept override {
    return "{\"Layers\": [\"one\"]}";
  }
};

class Context final : public nvinfer1::IExecutionContext, public stubs::VExecutionContext {
 public:
  explicit Context(char wrong) : wrong_(wrong) { mImpl = this; }
  ~Context() noexcept override { note("~context"); }
  nvinfer1::IExecutionContext* getPImpl() noexcept override { return this; }
  bool setInputShape(char const* name, nvinfer1::Dims const& dims) noexcept override {
    std::string text;
    for (int i = 0; i < dims.nbDims; ++i) text.append(" ").append(std::to_string(dims.d[i]));
    note("shape ", name, text);
    return wrong_ != 'S' || complain("shape outside of the profile");
  }
  int32_t inferShapes(int32_t, char const**) noexcept override {
    note("infer");
    return 0;
  }
  size_t updateDeviceMemorySizeForShapes() noexcept override {
    note("size");
    return 4096;
  }
  void setDeviceMemoryV2(void* memory, int64_t size) noexcept override { note("scratch ", memory, " ", size); }
  bool setTensorAddress(char const* name, void* data) noexcept override {
    note("address ", name, " ", data);
    return wrong_ != 'A' || complain("misaligned");
  }
  bool enqueueV3(cudaStream_t stream) noexcept override {
    note("enqueue ", stream);
    return wrong_ != 'E' || complain("launch failed");
  }

 private:
  char wrong_;
};

constexpr const char* names[] = {"pixels", "tokens"};

class EngineImpl final : public nvinfer1::ICudaEngine, public stubs::VCudaEngine {
 public:
  explicit EngineImpl(char wrong) : wrong(wrong) { mImpl = this; }
  ~EngineImpl() noexcept override { note("~engine"); }
  nvinfer1::ICudaEngine* getPImpl() noexcept override { return this; }
  nvinfer1::IExecutionContext* createExecutionContext(
      nvinfer1::ExecutionContextAllocationStrategy strategy) noexcept override {
    note("context ", strategy == nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED ? "without" : "with",
         " memory");
    return new Context(wrong);
  }
  int32_t getNbIOTensors() const noexcept override { return 2; }
  char const* getIOTensorName(int32_t index) const noexcept override { return names[index]; }
  nvinfer1::TensorIOMode getTensorIOMode(char const* name) const noexcept override {
    return std::string(name) == "tokens" ? nvinfer1::TensorIOMode::kINPUT : nvinfer1::TensorIOMode::kOUTPUT;
  }
  nvinfer1::DataType getTensorDataType(char const* name) const noexcept override {
    return std::string(name) == "tokens" ? nvinfer1::DataType::kINT32 : nvinfer1::DataType::kUINT8;
  }
  nvinfer1::Dims getTensorShape(char const* name) const noexcept override {
    return std::string(name) == "tokens" ? nvinfer1::Dims{3, {-1, -1, -1}} : nvinfer1::Dims{4, {-1, -1, -1, 3}};
  }
  nvinfer1::IEngineInspector* createEngineInspector() const noexcept override { return new Inspector; }

  char wrong;
};

class Runtime final : public nvinfer1::IRuntime, public stubs::VRuntime {
 public:
  Runtime() { mImpl = this; }
  ~Runtime() noexcept override { note("~runtime"); }
  nvinfer1::IRuntime* getPImpl() noexcept override { return this; }
  nvinfer1::ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override {
    note("deserialize ", size);
    const char wrong = *static_cast<const char*>(blob);
    if (wrong != 'D') return new EngineImpl(wrong);
    complain("Version tag does not match");
    return nullptr;
  }
};

class Refitter final : public nvinfer1::IRefitter, public stubs::VRefitter {
 public:
  explicit Refitter(char wrong) : wrong(wrong) { mImpl = this; }
  ~Refitter() noexcept override { note("~refitter"); }
  nvinfer1::IRefitter* getPImpl() noexcept override { return this; }
  bool refitCudaEngine() noexcept override {
    note("refit engine");
    return wrong != 'R' || complain("2 weights are missing");
  }
  char wrong;
};

class ParserRefitter final : public stubs::IParserRefitter {
 public:
  explicit ParserRefitter(char wrong) : wrong_(wrong) {}
  ~ParserRefitter() noexcept override { note("~parser refitter"); }
  bool loadModelProto(void const*, size_t size, char const*) noexcept override {
    note("model ", size);
    return true;
  }
  bool loadInitializer(char const* name, void const*, size_t size) noexcept override {
    note("weight ", name, " ", size);
    return true;
  }
  bool refitModelProto() noexcept override {
    note("refit model");
    return wrong_ != 'P' || complain("unknown weight");
  }

 private:
  char wrong_;
};

}  // namespace

extern "C" {

const char* stand_in_calls() {
  told = calls;
  calls.clear();
  return told.c_str();
}

int32_t getInferLibMajorVersion() noexcept { return NV_TENSORRT_MAJOR; }
int32_t getInferLibMinorVersion() noexcept { return NV_TENSORRT_MINOR; }
int32_t getInferLibPatchVersion() noexcept { return NV_TENSORRT_PATCH; }
int32_t getInferLibBuildVersion() noexcept { return 4711; }

void* createInferBuilder_INTERNAL(void*, int32_t) noexcept { return nullptr; }
void* createInferRuntime_INTERNAL(void* with, int32_t version) noexcept {
  logger = static_cast<nvinfer1::ILogger*>(with);
  note("runtime ", version);
  return static_cast<nvinfer1::IRuntime*>(new Runtime);
}
void* createInferRefitter_INTERNAL(void* engine, void*, int32_t) noexcept {
  note("refitter");
  auto& of = static_cast<EngineImpl&>(*static_cast<nvinfer1::ICudaEngine*>(engine));
  return static_cast<nvinfer1::IRefitter*>(new Refitter(of.wrong));
}
void* createNvOnnxParser_INTERNAL(void*, void*, int) noexcept { return nullptr; }
void* createNvOnnxParserRefitter_INTERNAL(void* refitter, void*, int32_t) noexcept {
  note("parser refitter");
  auto& of = static_cast<Refitter&>(*static_cast<nvinfer1::IRefitter*>(refitter));
  return static_cast<nvonnxparser::IParserRefitter*>(new ParserRefitter(of.wrong));
}
}
