// TensorRT as "CUDA with another compile()": the CUDA executor (emulated, test/simt/), and a stand-in for TensorRT
// whose engines compute with a second CUDA backend. So tokens and pixels come out as on CUDA alone if every address,
// every order and every captured step is right.
#include "tensorrt/tensorrt_backend.h"

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "core/error.h"
#include "cuda/cuda_backend.h"
#include "golden.h"
#include "harness.h"
#include "operations.h"
#include "pipeline/generator.h"
#include "pipeline/model.h"
#include "tensorrt/constants.h"
#include "tensorrt/engine_store.h"
#include "tensorrt_fixture.h"

using namespace paella;
using namespace paella::tensorrt;
using namespace paella::test;

namespace {

std::vector<IoTensor> io_of(const Signature& signature) {
  std::vector<IoTensor> io;
  const auto add = [&](const std::vector<Port>& ports, bool input) {
    for (auto port = ports.rbegin(); port != ports.rend(); ++port)
      io.push_back({port->name, port->type, std::vector<std::int64_t>(port->dims.size(), -1), input});
  };
  add(signature.outputs, false);
  add(signature.inputs, true);
  return io;
}

const ModelConfig& config() {
  static const ModelConfig read = read_model_config(golden_folder() + "/loop");
  return read;
}

// A model on the TensorRT backend, whose engines are the CUDA executor's networks.
struct Setup {
  explicit Setup(const std::string& folder, MemoryMode mode = MemoryMode::resident,
                 std::vector<Profile> profiles = {}) {
    auto inner = cuda::make_backend({.precision = "fp32"});
    cuda = inner.get();
    BackendOptions options;
    options.cache_folder = folder;
    options.gpu = "SIMT on the CPU";
    options.compute_capability = "8.0";
    options.profiles = std::move(profiles);
    options.pixels_per_token = config().vqgan.pixels_per_token();
    options.log = [this](Severity severity, const std::string& message) {
      if (severity == Severity::warning) warnings.push_back(message);
    };
    stream = cuda::stream_of(*inner);
    backend = make_backend(trt.plugin(), std::move(inner), stream, options);
    trt.compile = [this](const std::string& network, const std::map<std::string, Shape>& inputs) {
      return compute(network, inputs);
    };
    model = std::make_unique<Model>(config(), *backend, nullptr, ModelOptions{.memory = mode});
    trt.io["unet"] = io_of(model->unet().denoise()->signature(DType::f32));
    trt.io["vqgan.decoder"] = io_of(model->vqgan().decoder()->signature(DType::f32));
    generator = std::make_unique<Generator>(*model, *backend);
    generator->set_longest_replay(0);  // step by step, however fast the machine is
  }

  FakeTensorRt::Compute compute(const std::string& name, const std::map<std::string, Shape>& shapes) {
    const std::shared_ptr<const Description> description =
        name == "unet" ? model->unet().denoise() : model->vqgan().decoder();
    const Signature signature = description->signature(DType::f32);
    std::vector<TensorSpec> inputs, outputs;
    for (const Port& port : signature.inputs) inputs.push_back({shapes.at(port.name), port.type});
    const auto symbols = symbols_of(signature, inputs);
    for (const Port& port : signature.outputs) {
      std::vector<std::int64_t> dims;
      for (const Dim& dim : port.dims) dims.push_back(dim.value(*symbols));
      outputs.push_back({Shape(dims), port.type});
    }
    upload_constants(*description, inputs, outputs, DType::f32, *cuda);
    const std::shared_ptr<Network> network = cuda->compile(description, inputs, outputs);
    return [=](const std::map<std::string, void*>& addresses) {
      std::vector<Tensor> ins, outs;
      for (std::size_t i = 0; i < inputs.size(); ++i)
        ins.push_back({addresses.at(signature.inputs[i].name), inputs[i].shape, inputs[i].dtype});
      for (std::size_t i = 0; i < outputs.size(); ++i)
        outs.push_back({addresses.at(signature.outputs[i].name), outputs[i].shape, outputs[i].dtype});
      network->run(ins, outs);
    };
  }

  FakeTensorRt trt;
  Backend* cuda = nullptr;
  void* stream = nullptr;
  std::vector<std::string> warnings;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Model> model;
  std::unique_ptr<Generator> generator;
};

std::vector<ImageRequest> images(Generator& generator, int count) {
  std::vector<ImageRequest> result;
  for (int i = 0; i < count; ++i) {
    ImageRequest image;
    image.seed = static_cast<std::uint64_t>(7 + i);
    image.condition = generator.conditions().from_ids(std::vector<std::int32_t>{100, 101, 102 + i, 1});
    image.negative = generator.conditions().from_ids(std::vector<std::int32_t>{1});
    image.guidance_scale = {3, 3};
    image.temperature = {1, 0.5};
    image.renoise_steps = 2;
    result.push_back(image);
  }
  return result;
}

BatchShape shape_of(std::int64_t side) {
  BatchShape shape;
  shape.height = shape.width = side;
  shape.steps = 3;
  shape.conditional_steps = 2;
  return shape;
}

GeneratedBatch run(Generator& generator, std::int64_t side, int count) {
  Observer observer;
  return generator.generate(shape_of(side), images(generator, count), observer);
}

std::int64_t side() { return 2 * config().unet.token_multiple(); }

}  // namespace

TEST("TensorRT: tokens and pixels are those of CUDA, alone and in a batch") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const auto plain = cuda::make_backend({.precision = "fp32"});
  Model plain_model(config(), *plain, nullptr);
  Generator plain_generator(plain_model, *plain);
  const TemporaryFolder folder;
  Setup setup(folder.path());
  for (const int count : {1, 2}) {
    const GeneratedBatch expected = run(plain_generator, side(), count);
    const GeneratedBatch found = run(*setup.generator, side(), count);
    CHECK(found.tokens == expected.tokens);
    CHECK(found.pixels == expected.pixels);
    // Once more, now that every step was captured.
    CHECK(run(*setup.generator, side(), count).tokens == expected.tokens);
  }
  CHECK_EQUAL(setup.backend->name(), "tensorrt");
  for (void* stream : setup.trt.streams) CHECK(stream == setup.stream);
}

TEST("TensorRT: each network is built once, prepared outside a captured graph, and found again") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const TemporaryFolder folder;
  {
    Setup setup(folder.path());
    run(*setup.generator, side(), 1);
    auto& calls = setup.trt.calls;
    // Guided and unguided passes have shapes of their own: engines for exactly these shapes.
    CHECK_EQUAL(setup.trt.count("build unet"), 2u);
    CHECK_EQUAL(setup.trt.count("build vqgan.decoder"), 1u);
    CHECK_EQUAL(setup.trt.count("load unet stripped"), 2u);
    // Each execution runs once by itself before it is captured.
    const auto at = std::find(calls.begin(), calls.end(), "execution unet");
    CHECK(at != calls.end() && at + 1 != calls.end() && *(at + 1) == "enqueue unet");
    const std::size_t enqueued = setup.trt.count("enqueue unet");
    const TransferCounts before = setup.backend->transfers();
    run(*setup.generator, side(), 1);
    // What was captured is replayed: nobody asks TensorRT again, and no step waits for the host.
    CHECK_EQUAL(setup.trt.count("enqueue unet"), enqueued);
    const TransferCounts after = setup.backend->transfers();
    CHECK(after.launches > before.launches);
    CHECK_EQUAL(after.uploads - before.uploads, 1u);
    CHECK_EQUAL(after.downloads - before.downloads, 1u);
  }
  Setup again(folder.path());
  run(*again.generator, side(), 1);
  CHECK_EQUAL(again.trt.count("build unet"), 0u);
  CHECK_EQUAL(again.trt.count("load unet stripped"), 2u);
  CHECK_EQUAL(folder.files(".plan").size(), 3u);
  CHECK_EQUAL(folder.files(".layers.json").size(), 3u);
}

TEST("TensorRT: a profile makes one engine for many shapes") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const TemporaryFolder folder;
  const std::int64_t pixels = config().size_multiple();
  const Range sides{pixels, 2 * pixels, 4 * pixels};
  Setup setup(folder.path(), MemoryMode::resident,
              {{"bf16 only", "bf16", {1, 1, 2}, sides, sides, {32, 32, 64}, {1, 8, 12}},
               {"too coarse", "", {1, 1, 2}, {3, 3, 3}, {3, 3, 3}, {32, 32, 64}, {1, 8, 12}},
               {"fits", "", {1, 1, 2}, sides, sides, {32, 32, 64}, {1, 8, 12}}});
  run(*setup.generator, side(), 1);
  run(*setup.generator, side(), 2);
  CHECK_EQUAL(setup.trt.count("build unet"), 1u);
  CHECK_EQUAL(setup.trt.count("load unet stripped"), 1u);
  CHECK_EQUAL(setup.trt.count("execution unet"), 4u);
  // Outside it: an engine for that shape.
  run(*setup.generator, side(), 3);
  CHECK_EQUAL(setup.trt.count("build unet"), 3u);
}

TEST("TensorRT: one scratch for all engines; when it grows, what was captured is captured anew") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const TemporaryFolder folder;
  Setup setup(folder.path());
  const GeneratedBatch first = run(*setup.generator, side(), 1);
  for (const auto& [address, bytes] : setup.trt.scratches)
    CHECK(address == setup.trt.scratches.front().first && bytes == 1000);
  const std::size_t enqueued = setup.trt.count("enqueue unet");
  setup.trt.scratch_bytes = 100000;
  run(*setup.generator, side(), 2);
  setup.trt.scratches.clear();
  CHECK(setup.trt.count("enqueue unet") > enqueued);
  CHECK(run(*setup.generator, side(), 1).tokens == first.tokens);
  CHECK(!setup.trt.scratches.empty());
  for (const auto& [address, bytes] : setup.trt.scratches) CHECK(bytes == 100000);
}

TEST("TensorRT: weights of its engines do not go to CUDA's memory too") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const auto plain = cuda::make_backend({.precision = "fp32"});
  Model plain_model(config(), *plain, nullptr);
  const TemporaryFolder folder;
  Setup setup(folder.path());
  CHECK(setup.backend->memory().weights < plain->memory().weights / 4);
}

TEST("TensorRT: a cached plan that is damaged, or that the library refuses, is built again") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const TemporaryFolder folder;
  {
    Setup(folder.path()).generator->decode(std::vector<std::int32_t>(16, 3), 4, 4);
  }
  std::filesystem::resize_file(folder.files(".plan").front(), 3);
  {
    Setup setup(folder.path());
    setup.generator->decode(std::vector<std::int32_t>(16, 3), 4, 4);
    CHECK_EQUAL(setup.trt.count("build vqgan.decoder"), 1u);
    CHECK(!setup.warnings.empty() && setup.warnings.front().find("bytes, found 3") != std::string::npos);
  }
  {
    Setup setup(folder.path());
    setup.trt.refusals = 1;
    setup.trt.refuse_load = "built for something else";
    setup.generator->decode(std::vector<std::int32_t>(16, 3), 4, 4);
    CHECK_EQUAL(setup.trt.count("load vqgan.decoder stripped"), 2u);
    CHECK_EQUAL(setup.trt.count("build vqgan.decoder"), 1u);
    CHECK(!setup.warnings.empty() && setup.warnings.front().find("built for something else") != std::string::npos);
  }
  {
    // One that was just built and is refused: an error, and no endless loop.
    std::filesystem::remove(folder.files(".plan").front());
    Setup setup(folder.path());
    setup.trt.refusals = 10;
    setup.trt.refuse_load = "never";
    CHECK_THROWS(setup.generator->decode(std::vector<std::int32_t>(16, 3), 4, 4), ErrorCode::io, "never");
    CHECK_EQUAL(setup.trt.count("build vqgan.decoder"), 1u);
  }
  {
    Setup setup(folder.path());
    setup.trt.version = "11.3.0.1";
    setup.generator->decode(std::vector<std::int32_t>(16, 3), 4, 4);
    CHECK_EQUAL(setup.trt.count("build vqgan.decoder"), 1u);
  }
}

TEST("TensorRT: a build that fails is an error, and the backend goes on") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const TemporaryFolder folder;
  Setup setup(folder.path());
  const std::vector<std::int32_t> tokens(16, 3);
  setup.trt.refuse_build = "TensorRT 11.2.1.9: vqgan.decoder: no plan could be built";
  CHECK_THROWS(setup.generator->decode(tokens, 4, 4), ErrorCode::backend_unavailable, "no plan could be built");
  setup.trt.refuse_build.clear();
  // Cancelled by whoever waits for it.
  std::atomic<bool> stop{false};
  setup.backend->set_interrupt(&stop);
  setup.trt.on_build = [&](const BuildRequest&) { stop = true; };
  CHECK_THROWS(setup.generator->decode(tokens, 4, 4), ErrorCode::aborted, "cancelled");
  stop = false;
  setup.trt.on_build = {};
  CHECK(folder.files(".plan").empty());
  // An engine whose tensors are not those of the network is never run.
  auto& io = setup.trt.io["vqgan.decoder"];
  io.front().dtype = DType::f32;
  CHECK_THROWS(setup.generator->decode(tokens, 4, 4), ErrorCode::internal, "expected the engine's output pixels");
  io.front().dtype = DType::u8;
  CHECK_EQUAL(setup.generator->decode(tokens, 4, 4).size(), 16u * 16 * 3);
}

TEST("TensorRT: engines go when the U-Net's weights go") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const TemporaryFolder folder;
  Setup setup(folder.path(), MemoryMode::low);
  setup.model->on_unet_release([&] { setup.generator->release_plans(); });
  const GeneratedBatch first = run(*setup.generator, side(), 1);
  CHECK_EQUAL(setup.trt.count("unload unet"), 0u);
  Observer observer;
  auto others = images(*setup.generator, 1);
  others[0].condition = setup.generator->conditions().from_ids(std::vector<std::int32_t>{90, 91, 1});
  setup.generator->generate(shape_of(side()), others, observer);
  CHECK_EQUAL(setup.trt.count("unload unet"), 2u);
  CHECK(run(*setup.generator, side(), 1).tokens == first.tokens);
}

TEST("TensorRT: what `paella engine build` made is what the backend finds") {
  if (on_gpu()) return skip("the stand-in for TensorRT runs with the emulation only");
  const TemporaryFolder folder;
  FakeTensorRt trt;
  // As native/engines/ does it: weights from the recorder's backend, nothing of CUDA.
  const auto recorder = onnx::make_backend("fp32");
  EngineStore::Options options;
  options.folder = folder.path();
  options.gpu = "SIMT on the CPU";
  options.compute_capability = "8.0";
  options.precision = "fp32";
  EngineStore store(trt.plugin(), options);
  const auto source = open_safetensors(config().folder + "/unet/model.safetensors");
  Loader loader(*source, *recorder);
  const auto network = Unet(config().unet, loader).denoise();
  trt.io["unet"] = io_of(network->signature(DType::f32));
  const Range sides{config().size_multiple(), 2 * config().size_multiple(), 4 * config().size_multiple()};
  const Profile profile{"fits", "", {1, 1, 2}, sides, sides, {32, 32, 64}, {1, 8, 12}};
  const Recording recording = store.record(*network, DType::f32);
  store.plan(recording, ranges_of(profile, recording.signature, config().vqgan.pixels_per_token()));
  CHECK_EQUAL(trt.count("build unet"), 1u);

  Setup setup(folder.path(), MemoryMode::resident, {profile});
  run(*setup.generator, side(), 1);
  CHECK_EQUAL(setup.trt.count("build unet"), 0u);
  CHECK_EQUAL(setup.trt.count("load unet stripped"), 1u);
}
