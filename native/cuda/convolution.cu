// 3×3 depthwise convolutions, alone and fused with the LayerNorm around them.
#include "cuda/kernels/convolution.cuh"

#include <algorithm>

#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/kernels/flat.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

namespace {

Convolution convolution_of(const Tensor& x, const Tensor* skip, const Constant& weight, const Constant& bias,
                           Padding padding) {
  expect(x.shape[1] * x.shape[2] * x.shape[3] <= 0x7fffffff, "convolution: expected images below 2^31 elements, got ",
         x.shape.text());
  return {x.as<float>(),
          skip == nullptr ? nullptr : skip->as<float>(),
          cuda(weight).as<float>(),
          cuda(bias).as<float>(),
          skip == nullptr ? 1 : static_cast<int>(skip->shape[0]),
          static_cast<int>(x.shape[1]),
          static_cast<int>(x.shape[2]),
          static_cast<int>(x.shape[3]),
          padding == Padding::replicate};
}

// Fields of L × P pixels that cover x.
std::int64_t fields_of(const Tensor& x, int lines, int columns) {
  return x.shape[0] * ceil_div(x.shape[1], lines) * ceil_div(x.shape[2], columns);
}

bool aligned(const Convolution& c) { return c.channels % 4 == 0 && common_bytes({}, {c.x, c.skip, c.bias}) == 16; }

template <bool add, int L, int P, int inputs, int N>
void launch_convolution(Runtime& runtime, const Tensor& x, const Convolution& c, const Tensor& out) {
  const std::int64_t groups = x.shape[3] * inputs / N, pieces = fields_of(x, L, P) * groups;
  launch(runtime, convolution_kernel<add, L, P, inputs, N>, flat_grid(pieces, 128), 128, 0, c, out.as<float>(), pieces,
         groups);
}

template <bool add, int inputs>
void convolve_by_width(Runtime& runtime, const Tensor& x, const Convolution& c, const Tensor& out) {
  if (x.elements() == 0) return;
  if (!aligned(c) || common_bytes({}, {out.data}) != 16)
    return launch_convolution<add, 1, 4, inputs, inputs>(runtime, x, c, out);
  // Large images: fields of two lines, for fewer loads; small ones: more threads.
  if (x.shape[1] * x.shape[2] >= 1024) return launch_convolution<add, 2, 4, inputs, 4>(runtime, x, c, out);
  launch_convolution<add, 1, 4, inputs, 4>(runtime, x, c, out);
}

template <int L, int P, int inputs>
void launch_convolution_norm(Runtime& runtime, const Tensor& x, const Convolution& c, float epsilon,
                             const Tensor& out) {
  const std::int64_t warps = ceil_div(x.shape[3] * inputs, 4 * warp_size), fields = fields_of(x, L, P);
  const std::int64_t groups = std::max<std::int64_t>(1, 4 / warps);  // about four warps to a block
  with_type(out.dtype, [&](auto type) {
    using Out = typename decltype(type)::type;
    launch(runtime, convolution_norm_kernel<Out, L, P, inputs>, grid(ceil_div(fields, groups)),
           static_cast<int>(groups * warps * warp_size), 0, c, epsilon, out.as<Out>(), fields, warps);
  });
}

constexpr std::int64_t most_inputs = 128 * most_warps<1>;  // inputs·C that a block can hold

// The size of the fields follows from the size of an image, never from how many there are: two lines where that makes
// many blocks of few threads, two pixels where even single lines make few.
template <int inputs>
void convolve_and_normalise(Runtime& runtime, const Tensor& x, const Convolution& c, float epsilon, const Tensor& out) {
  if (x.elements() == 0) return;
  const std::int64_t pixels = x.shape[1] * x.shape[2];
  if (pixels >= 1024 && x.shape[3] * inputs <= 1280)
    return launch_convolution_norm<2, 4, inputs>(runtime, x, c, epsilon, out);
  if (pixels >= 256) return launch_convolution_norm<1, 4, inputs>(runtime, x, c, epsilon, out);
  launch_convolution_norm<1, 2, inputs>(runtime, x, c, epsilon, out);
}

}  // namespace

void CudaOps::do_depthwise_conv(const Tensor& x, const Tensor* skip, const Constant& weight, const Constant& bias,
                                Padding padding, const Tensor& out) {
  const Convolution c = convolution_of(x, skip, weight, bias, padding);
  if (skip == nullptr)
    convolve_by_width<false, 1>(runtime(), x, c, out);
  else
    convolve_by_width<false, 2>(runtime(), x, c, out);
}

Tensor CudaOps::depthwise_norm(const Tensor& x, const Tensor* skip, const ConstantPtr& weight, const ConstantPtr& bias,
                               Padding padding, float epsilon) {
  if (!context_.fused) return Ops::depthwise_norm(x, skip, weight, bias, padding, epsilon);
  const std::int64_t inputs = skip == nullptr ? 1 : 2;
  const Tensor result = allocate(x.shape, operand_type());
  // Decided by shapes alone, so that the measuring pass decides alike.
  if (x.shape[3] % 4 != 0 || x.shape[3] * inputs > most_inputs) {
    Arena::Scope scope(arena_);
    const Tensor convolved = depthwise_conv(x, skip, weight, bias, padding);
    if (!measuring()) do_layer_norm(convolved, epsilon, result);
    return result;
  }
  if (measuring()) return result;
  const Convolution c = convolution_of(x, skip, *weight, *bias, padding);
  expect(aligned(c), "depthwise_norm: expected tensors aligned to 16 bytes");
  if (skip == nullptr)
    convolve_and_normalise<1>(runtime(), x, c, epsilon, result);
  else
    convolve_and_normalise<2>(runtime(), x, c, epsilon, result);
  return result;
}

// Neighbours must be read before they are changed, so the normalised rows are written down in between.
void CudaOps::norm_depthwise_add(const Tensor& x, const ConstantPtr& weight, const ConstantPtr& bias, Padding padding,
                                 float epsilon) {
  if (!context_.fused) return Ops::norm_depthwise_add(x, weight, bias, padding, epsilon);
  Arena::Scope scope(arena_);
  const Tensor normalised = layer_norm(x, epsilon, DType::f32);
  if (measuring()) return;
  convolve_by_width<true, 1>(runtime(), x, convolution_of(normalised, nullptr, *weight, *bias, padding), x);
}

}  // namespace paella::cuda
