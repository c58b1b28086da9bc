// The CUDA plug-in is opened on demand: every way in which that fails is said in words, and errors that it throws are
// the addon's own.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/error.h"
#include "cuda/plugin_loader.h"
#include "harness.h"
#include "operations.h"

using namespace paella;
using namespace paella::cuda;
using namespace paella::test;

namespace {

// Built by CMake beside the tests.
std::string fake(const std::string& kind) {
  return (std::filesystem::canonical("/proc/self/exe").parent_path() / ("libpaella_fake_" + kind + ".so")).string();
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST("plug-in: a missing file is a build without it") {
  const OpenedPlugin opened = open_plugin("/nowhere/libpaella_cuda.so");
  CHECK(opened.plugin == nullptr && !opened.found);
  CHECK_EQUAL(opened.reason, "this build does not contain it");
  CHECK(contains(opened.remedy, "npm run build -- --cuda"));
  CHECK_THROWS(usable(opened), ErrorCode::backend_unavailable,
               "backend cuda is unavailable: this build does not contain it");
  const Availability found = availability(opened);
  CHECK(!found.available && !found.unexpected && found.survey.devices.empty());
}

TEST("plug-in: what is no library, or another library, is refused") {
  const auto file = std::filesystem::temp_directory_path() / ("paella-no-library-" + std::to_string(getpid()) + ".so");
  std::ofstream(file) << "not a library";
  OpenedPlugin opened = open_plugin(file.string());
  std::filesystem::remove(file);
  CHECK(opened.plugin == nullptr && opened.found);
  CHECK(contains(opened.reason, "its library cannot be opened: ") && contains(opened.reason, file.string()));
  CHECK(availability(opened).unexpected);
  opened = open_plugin(fake("without_entry"));
  CHECK(opened.plugin == nullptr && contains(opened.reason, "is not a library of paella-native"));
}

TEST("plug-in: of another build is refused before anything of it is used") {
  const OpenedPlugin opened = open_plugin(fake("other_abi"));
  CHECK(opened.plugin == nullptr && opened.found && availability(opened).unexpected);
  CHECK(contains(opened.reason, concat("belongs to another build: expected ", plugin_abi, ", found 0.0.1 another")));
  CHECK_THROWS(usable(opened), ErrorCode::backend_unavailable, "belongs to another build");
}

TEST("plug-in: a driver that is too old or does not answer") {
  const Availability old = availability(open_plugin(fake("old_driver")));
  CHECK(!old.available && old.unexpected);
  CHECK_EQUAL(old.reason, "driver too old: needs CUDA 13.0, found 12.2");
  CHECK(!old.remedy.empty());
  const Availability broken = availability(open_plugin(fake("broken")));
  CHECK(!broken.available && broken.unexpected);
  CHECK_EQUAL(broken.reason, "no answer");
}

TEST("plug-in: its errors are caught as what they are") {
  const OpenedPlugin opened = open_plugin(fake("plugin"));
  CHECK_EQUAL(opened.reason, "");
  const Plugin& plugin = usable(opened);
  CHECK(availability(opened).available);
  CHECK_EQUAL(availability(opened).survey.devices.at(0).name, "a GPU");
  CHECK_THROWS(plugin.make_backend({.precision = "fp16"}), ErrorCode::numeric, "out of the plug-in, precision fp16");
  std::string remedy;
  try {
    plugin.make_backend({});
  } catch (const Error& error) {
    remedy = error.remedy();
  }
  CHECK_EQUAL(remedy, "a remedy");
  bool caught = false;
  try {
    plugin.make_backend({.device = 1});
  } catch (const std::exception& error) {
    caught = std::string(error.what()) == "not one of ours";
  }
  CHECK(caught);
  // Opened once more it is the same one.
  CHECK(open_plugin(fake("plugin")).plugin == &plugin);
}

TEST("plug-in: the one of this build") {
  const OpenedPlugin& opened = cuda::plugin();
  const Availability found = availability(opened);
  if (!found.available) {
    skip(concat("nothing runs on a GPU here: ", found.reason));
    // It is there, and there is no GPU: opening it and asking it is all that can be done.
    if (opened.plugin != nullptr)
      CHECK_THROWS(opened.plugin->make_backend({}), ErrorCode::backend_unavailable, found.reason);
    // Without a plug-in nothing may look broken; with one that does not fit, something is.
    CHECK(opened.plugin != nullptr || !opened.found);
    return;
  }
  CHECK_THROWS(opened.plugin->make_backend({.precision = "int3"}), ErrorCode::invalid_option, "int3");
  CHECK_THROWS(opened.plugin->make_backend({.device = 1000}), ErrorCode::backend_unavailable, "got 1000");
  for (const DeviceInfo& device : found.survey.devices)
    CHECK(!device.name.empty() && device.memory_total >= device.memory_free && device.memory_free > 0);
}
