// A library that the loader's tests open in place of libpaella_cuda.so: built as that one is, but with errors to order.
#include <stdexcept>

#include "core/error.h"
#include "cuda/plugin.h"

namespace paella::cuda {

namespace {

Survey fake_survey() {
  Survey result;
  result.driver_version = "12.2";
  result.runtime_version = "13.0";
#if defined(PAELLA_FAKE_OLD_DRIVER)
  result.reason = "driver too old: needs CUDA 13.0, found 12.2";
  result.remedy = "Update NVIDIA's driver.";
#elif defined(PAELLA_FAKE_BROKEN)
  throw std::runtime_error("no answer");
#else
  result.devices.push_back({.name = "a GPU", .major = 9, .minor = 0});
#endif
  return result;
}

std::unique_ptr<Backend> fake_backend(const Options& options) {
  if (options.device == 1) throw std::runtime_error("not one of ours");
  throw Error(ErrorCode::numeric, "out of the plug-in, precision " + options.precision, "a remedy");
}

}  // namespace

}  // namespace paella::cuda

#if defined(PAELLA_FAKE_OTHER_ABI)
#define PAELLA_FAKE_ABI "0.0.1 another compiler"
#else
#define PAELLA_FAKE_ABI paella::cuda::plugin_abi
#endif
#if defined(PAELLA_FAKE_WITHOUT_ENTRY)
#define PAELLA_FAKE_ENTRY another_entry
#else
#define PAELLA_FAKE_ENTRY paella_cuda_plugin
#endif

extern "C" __attribute__((visibility("default"))) const paella::cuda::Plugin* PAELLA_FAKE_ENTRY() {
  using namespace paella::cuda;
  static const Plugin plugin = {PAELLA_FAKE_ABI, "90", fake_survey, fake_backend, nullptr, nullptr};
  return &plugin;
}
