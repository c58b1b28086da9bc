// A library that the loader's tests open in place of libpaella_cuda.so: built as that one is, but with errors to order.
#include <stdexcept>

#include "core/error.h"
#include "cuda/plugin.h"

namespace paella::cuda {

namespace {

[[maybe_unused]] Survey fake_survey() {
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

[[maybe_unused]] std::unique_ptr<Backend> fake_backend(const Options& options) {
  if (options.device == 1) throw std::runtime_error("not one of ours");
  throw Error(ErrorCode::numeric, "out of the plug-in, precision " + options.precision, "a remedy");
}

}  // namespace

}  // namespace paella::cuda

#if !defined(PAELLA_FAKE_WITHOUT_ENTRY)
const paella::cuda::Plugin* paella_cuda_plugin() {
  using namespace paella::cuda;
#if defined(PAELLA_FAKE_OTHER_ABI)
  static const Plugin plugin = {"0.0.1 another compiler", nullptr, nullptr, nullptr, nullptr};
#else
  static const Plugin plugin = {plugin_abi, "90", fake_survey, fake_backend, nullptr};
#endif
  return &plugin;
}
#else
extern "C" __attribute__((visibility("default"))) int paella_used() {
  return paella::cuda::fake_survey().reason.empty() && !paella::cuda::fake_backend({});
}
#endif
