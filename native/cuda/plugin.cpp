#include "cuda/plugin.h"

const paella::cuda::Plugin* paella_cuda_plugin() {
  using namespace paella::cuda;
  static const Plugin plugin = {plugin_abi, PAELLA_CUDA_ARCHITECTURES, survey,
                                [](const Options& options) { return make_backend(options); }};
  return &plugin;
}
