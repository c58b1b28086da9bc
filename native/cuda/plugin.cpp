#include "cuda/plugin.h"

const paella::cuda::Plugin* paella_cuda_plugin() {
  using namespace paella::cuda;
  static const Plugin plugin = {plugin_abi, PAELLA_CUDA_ARCHITECTURES, survey,
                                [](const Options& options) { return make_backend(options); },
                                [](DType operand, std::int64_t rows, std::int64_t columns, std::int64_t inner,
                                   bool accumulate) {
                                  return time_product(std::shared_ptr<Runtime>(make_runtime(0)), operand, rows, columns,
                                                      inner, accumulate);
                                }};
  return &plugin;
}
