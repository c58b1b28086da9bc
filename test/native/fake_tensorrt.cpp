// A library that the loader's tests open in place of a TensorRT plug-in: built as those are, but with answers to order.
#include "core/error.h"
#include "tensorrt/plugin.h"

namespace paella::tensorrt {

namespace {

const Library& fake_library() {
#if defined(PAELLA_FAKE_WITHOUT_LIBRARY)
  static const Library library = {"", "", "libnvinfer.so.11 was not found", "Set TENSORRT_ROOT.", false};
#elif defined(PAELLA_FAKE_OTHER_MAJOR)
  static const Library library = {"", "8.6.1.6", "expected TensorRT 11.x, found 8.6.1.6", "Set TENSORRT_ROOT.", true};
#else
  static const Library library = {"/lib/libtensorrt_rtx.so.1", "1.4.0.76", "", "", true};
#endif
  return library;
}

std::string fake_refusal(int major, int minor) { return major == 9 ? concat("no code for ", major, '.', minor) : ""; }

}  // namespace

}  // namespace paella::tensorrt

#if defined(PAELLA_FAKE_OTHER_ABI)
#define PAELLA_FAKE_ABI "0.0.1 another compiler"
#else
#define PAELLA_FAKE_ABI paella::tensorrt::plugin_abi
#endif
#if defined(PAELLA_FAKE_WITHOUT_ENTRY)
#define PAELLA_FAKE_ENTRY another_entry
#else
#define PAELLA_FAKE_ENTRY paella_tensorrt_plugin
#endif
#if defined(PAELLA_FAKE_OTHER_MAJOR) || defined(PAELLA_FAKE_WITHOUT_LIBRARY)
#define PAELLA_FAKE_KIND "enterprise", "11.4.0"
#else
#define PAELLA_FAKE_KIND "rtx", "1.4.0"
#endif

extern "C" __attribute__((visibility("default"))) const paella::tensorrt::Plugin* PAELLA_FAKE_ENTRY() {
  using namespace paella::tensorrt;
  static const Plugin plugin = {PAELLA_FAKE_ABI, PAELLA_FAKE_KIND, fake_library, fake_refusal, nullptr, nullptr};
  return &plugin;
}
