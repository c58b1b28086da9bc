// The plug-in for TensorRT 11 against TensorRT's own classes, played by test/nvinfer/stand_in.cpp: what is called, in
// which order, and what becomes of errors. Runs where TENSORRT_ROOT names the stand-in (npm run test:tensorrt).
#include <dlfcn.h>

#include <array>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"
#include "harness.h"
#include "nvinfer/stand_in.h"
#include "tensorrt/plugin_loader.h"

using namespace paella;
using namespace paella::tensorrt;
using namespace paella::test;

namespace {

const Plugin* stand_in() {
  const Choice choice = choose(plugins(), "enterprise", std::nullopt);
  const bool there = choice.plugin != nullptr && choice.plugin->library().version.ends_with(stand_in_build);
  if (!there) skip("TENSORRT_ROOT does not name the stand-in for TensorRT");
  return there ? choice.plugin : nullptr;
}

std::vector<std::string> calls() {
  void* library = dlopen(stand_in()->library().path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  std::istringstream text(reinterpret_cast<StandInCalls>(dlsym(library, "stand_in_calls"))());
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "; ";
  return text;
}

const float weights[6] = {};
Graph graph() { return {"a model", {{"a", weights, 8}, {"b", weights, 16}}}; }

std::unique_ptr<Engine> load(const std::string& plan, bool stripped) {
  const std::vector<std::uint8_t> bytes(plan.begin(), plan.end());
  return stand_in()->load(bytes, graph(), stripped, {});
}

}  // namespace

TEST("TensorRT library: a stripped plan gets its weights before anything runs") {
  if (stand_in() == nullptr) return;
  calls();
  auto engine = load("a plan", true);
  const auto made = calls();
  CHECK(!made.empty() && made.front().starts_with("runtime "));
  CHECK_EQUAL(joined({made.begin() + 1, made.end()}),
              "deserialize 6; refitter; parser refitter; model 7; weight a 8; weight b 16; refit model; refit engine; "
              "~parser refitter; ~refitter; ");
  CHECK_EQUAL(engine->weight_bytes(), 24u);
  CHECK_EQUAL(engine->io().size(), 2u);
  CHECK(engine->io().at(0).name == "pixels" && !engine->io().at(0).input && engine->io().at(0).dtype == DType::u8);
  CHECK(engine->io().at(1).name == "tokens" && engine->io().at(1).input && engine->io().at(1).dtype == DType::i32);
  CHECK(engine->layers().find("one") != std::string::npos);
  // One that holds its weights needs none.
  load("a plan", false);
  CHECK_EQUAL(joined(calls()).find("refit"), std::string::npos);
}

TEST("TensorRT library: shapes once, addresses and scratch with each call, objects in order at the end") {
  if (stand_in() == nullptr) return;
  auto engine = load("a plan", false);
  calls();
  const Shape shapes[] = {{2, 8, 4}};
  auto execution = engine->execution(shapes);
  CHECK_EQUAL(execution->scratch_bytes(), 4096u);
  CHECK_EQUAL(joined(calls()), "context without memory; shape tokens 2 8 4; infer; size; ");
  std::array<std::uint8_t, 8> memory{};
  void* const addresses[] = {memory.data(), memory.data() + 1};
  void *scratch = memory.data() + 2, *stream = memory.data() + 3;
  CHECK_THROWS(execution->enqueue(addresses, scratch, 100, stream), ErrorCode::internal, "4096 bytes of scratch");
  calls();
  execution->enqueue(addresses, scratch, 8192, stream);
  CHECK_EQUAL(joined(calls()), concat("scratch ", scratch, " 8192; address pixels ", addresses[0], "; address tokens ",
                                      addresses[1], "; enqueue ", stream, "; "));
  // Whoever goes first: the engine's parts stay until its last execution has gone.
  engine.reset();
  CHECK(calls().empty());
  execution.reset();
  CHECK_EQUAL(joined(calls()), "~context; ~engine; ~runtime; ");
}

TEST("TensorRT library: its errors are told in its own words") {
  if (stand_in() == nullptr) return;
  // What a new build may mend, is ERR_IO.
  CHECK_THROWS(load("D", false), ErrorCode::io, "the plan could not be read:\nVersion tag does not match");
  CHECK_THROWS(load("P", true), ErrorCode::io, "unknown weight");
  CHECK_THROWS(load("R", true), ErrorCode::io, "2 weights are missing");
  const Shape shapes[] = {{2, 8, 4}};
  CHECK_THROWS(load("S", false)->execution(shapes), ErrorCode::invalid_option,
               "input tokens: expected a shape of the engine's profile, got [2, 8, 4]:\nshape outside of the profile");
  void* const addresses[] = {nullptr, nullptr};
  CHECK_THROWS(load("A", false)->execution(shapes)->enqueue(addresses, nullptr, 4096, nullptr), ErrorCode::internal,
               "the address of pixels was not accepted:\nmisaligned");
  CHECK_THROWS(load("E", false)->execution(shapes)->enqueue(addresses, nullptr, 4096, nullptr), ErrorCode::internal,
               "launch failed");
  // A library that cannot build.
  const Graph network = graph();
  BuildRequest request;
  request.network = "unet";
  request.graph = &network;
  CHECK_THROWS(stand_in()->build(request), ErrorCode::backend_unavailable, "unet: its builder could not be made");
}
