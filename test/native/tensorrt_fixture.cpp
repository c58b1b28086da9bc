#include "tensorrt_fixture.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

#include "core/error.h"

namespace paella::test {

namespace {

using namespace tensorrt;

// The plug-in's functions are plain ones: they find the stand-in of the test that runs here.
FakeTensorRt* current = nullptr;

const Library& fake_library() {
  static Library library;
  library = {"/stand-in/libnvinfer.so.11", current->version, "", "", true};
  return library;
}

std::string fake_refusal(int, int) { return ""; }

BuiltPlan fake_build(const BuildRequest& request) {
  current->calls.push_back("build " + request.network);
  if (!current->refuse_build.empty()) throw Error(ErrorCode::backend_unavailable, current->refuse_build);
  if (request.progress) request.progress("stand-in", 1, 2);
  if (current->on_build) current->on_build(request);
  if (request.cancelled && request.cancelled()) throw Error(ErrorCode::aborted, request.network + ": cancelled");
  const std::string text = concat("plan of ", request.network, ' ', current->calls.size());
  return {{text.begin(), text.end()}, current->io.at(request.network), request.strip, 7};
}

class FakeExecution final : public Execution {
 public:
  FakeExecution(std::string network, const std::vector<IoTensor>& io, std::span<const Shape> shapes)
      : network_(std::move(network)), io_(io) {
    std::map<std::string, Shape> inputs;
    std::size_t next = 0;
    for (const IoTensor& tensor : io_)
      if (tensor.input) inputs.emplace(tensor.name, shapes[next++]);
    current->calls.push_back("execution " + network_);
    if (current->compile) compute_ = current->compile(network_, inputs);
  }
  std::size_t scratch_bytes() const override { return scratch_bytes_; }
  void enqueue(std::span<void* const> addresses, void* scratch, std::size_t bytes, void* stream) override {
    current->calls.push_back("enqueue " + network_);
    current->scratches.emplace_back(scratch, bytes);
    current->streams.push_back(stream);
    expect(bytes >= scratch_bytes_ && addresses.size() == io_.size(), "stand-in: scratch or addresses are missing");
    std::map<std::string, void*> named;
    for (std::size_t i = 0; i < io_.size(); ++i) named[io_[i].name] = addresses[i];
    if (compute_) compute_(named);
  }

 private:
  std::string network_;
  std::vector<IoTensor> io_;
  std::size_t scratch_bytes_ = current->scratch_bytes;
  FakeTensorRt::Compute compute_;
};

class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(std::string network) : network_(std::move(network)), io_(current->io.at(network_)) {}
  ~FakeEngine() override {
    if (current != nullptr) current->calls.push_back("unload " + network_);
  }
  const std::vector<IoTensor>& io() const override { return io_; }
  std::size_t weight_bytes() const override { return 12345; }
  std::string layers() const override { return "{\"Layers\": []}"; }
  std::unique_ptr<Execution> execution(std::span<const Shape> inputs) override {
    return std::make_unique<FakeExecution>(network_, io_, inputs);
  }

 private:
  std::string network_;
  std::vector<IoTensor> io_;
};

std::unique_ptr<Engine> fake_load(std::span<const std::uint8_t> plan, const Graph& graph, bool stripped, const Log&) {
  const std::string text(plan.begin(), plan.end());
  const std::string network = text.substr(8, text.rfind(' ') - 8);
  current->calls.push_back(concat("load ", network, stripped ? " stripped" : ""));
  // Weights are there when a stripped plan wants them.
  expect(!graph.model.empty() && !graph.weights.empty(), "stand-in: expected the graph and its weights");
  if (current->refusals > 0) {
    --current->refusals;
    throw Error(ErrorCode::io, current->refuse_load);
  }
  return std::make_unique<FakeEngine>(network);
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "paella-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::vector<std::string> TemporaryFolder::files(const std::string& ending) const {
  std::vector<std::string> found;
  for (const auto& file : std::filesystem::directory_iterator(path_))
    if (file.path().string().ends_with(ending)) found.push_back(file.path().string());
  std::sort(found.begin(), found.end());
  return found;
}

FakeTensorRt::FakeTensorRt()
    : plugin_{plugin_abi, "enterprise", "11.4.0", fake_library, fake_refusal, fake_build, fake_load} {
  current = this;
}

std::size_t FakeTensorRt::count(const std::string& call) const {
  return static_cast<std::size_t>(std::count(calls.begin(), calls.end(), call));
}

}  // namespace paella::test
