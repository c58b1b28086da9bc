#include "cuda/plugin.h"

namespace paella::cuda {

namespace {

std::unique_ptr<Backend> make(const Options& options) { return make_backend(options); }

std::vector<WayTiming> time_on_first_device(DType operand, std::int64_t rows, std::int64_t columns, std::int64_t inner,
                                            bool accumulate) {
  return time_product(std::shared_ptr<Runtime>(make_runtime(0)), operand, rows, columns, inner, accumulate);
}

constexpr Plugin exported = {plugin_abi, PAELLA_CUDA_ARCHITECTURES, survey, make, stream_of, time_on_first_device};

}  // namespace

}  // namespace paella::cuda

const paella::cuda::Plugin* paella_cuda_plugin() { return &paella::cuda::exported; }
