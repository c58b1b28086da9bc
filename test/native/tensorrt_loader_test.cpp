// Which TensorRT plug-in is taken, and why none is: in words.
#include <unistd.h>

#include <filesystem>

#include "core/error.h"
#include "harness.h"
#include "tensorrt/plugin_loader.h"

using namespace paella;
using namespace paella::tensorrt;
using namespace paella::test;

namespace {

// Built by CMake beside the tests.
std::string fake(const std::string& kind) {
  return (std::filesystem::canonical("/proc/self/exe").parent_path() / ("libpaella_fake_tensorrt_" + kind + ".so"))
      .string();
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

cuda::DeviceInfo gpu(int major, int minor) {
  cuda::DeviceInfo info;
  info.major = major;
  info.minor = minor;
  return info;
}

}  // namespace

TEST("TensorRT plug-ins: none in this build") {
  CHECK(open_plugins("/nowhere").empty());
  const Choice choice = choose({}, "", std::nullopt);
  CHECK(choice.plugin == nullptr && !choice.unexpected);
  CHECK_EQUAL(choice.reason, "this build does not contain it");
  CHECK(contains(choice.remedy, "npm run build -- --tensorrt"));
  CHECK_THROWS(usable(choice), ErrorCode::backend_unavailable,
               "backend tensorrt is unavailable: this build does not contain it");
}

TEST("TensorRT plug-ins: what is no plug-in, or of another build, is refused") {
  OpenedPlugin opened = open_plugin(fake("without_entry"));
  CHECK(opened.plugin == nullptr && contains(opened.reason, "is not a library of paella-native"));
  opened = open_plugin(fake("other_abi"));
  CHECK(opened.plugin == nullptr && contains(opened.reason, "belongs to another build: expected "));
  CHECK(choose({opened}, "", std::nullopt).unexpected);
  opened = open_plugin("/nowhere/libpaella_tensorrt_11.so");
  CHECK(opened.plugin == nullptr && contains(opened.reason, "there is no file /nowhere"));
  opened = open_plugin("/proc/self/exe");
  CHECK(opened.plugin == nullptr && contains(opened.reason, "its library cannot be opened: "));
}

TEST("TensorRT plug-ins: a missing library is nothing to warn of, one of another version is") {
  const Choice missing = choose({open_plugin(fake("without_library"))}, "", std::nullopt);
  CHECK(missing.plugin == nullptr && !missing.unexpected);
  CHECK_EQUAL(missing.reason, "TensorRT 11.4.0: libnvinfer.so.11 was not found");
  CHECK_EQUAL(missing.remedy, "Set TENSORRT_ROOT.");
  const Choice other = choose({open_plugin(fake("other_major"))}, "", std::nullopt);
  CHECK(other.plugin == nullptr && other.unexpected && contains(other.reason, "expected TensorRT 11.x, found 8.6.1.6"));
}

TEST("TensorRT plug-ins: the first that fits the library and the GPU is taken") {
  const std::vector<OpenedPlugin> all = {open_plugin(fake("without_library")), open_plugin(fake("plugin"))};
  CHECK(choose(all, "", std::nullopt).plugin == all[1].plugin);
  CHECK(choose(all, "rtx", gpu(8, 9)).plugin == all[1].plugin);
  const Choice refused = choose(all, "", gpu(9, 0));
  CHECK(refused.plugin == nullptr && refused.unexpected && contains(refused.reason, "no code for 9.0"));
  CHECK_EQUAL(choose({all[1]}, "enterprise", std::nullopt).reason,
              "this build has no plug-in for the flavour enterprise");
}
