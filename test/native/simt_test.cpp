// The GPU on the CPU that other tests stand on: barriers, shuffles, copies and tensor-core fragments, each against what
// CUDA's documentation says of it.
#include <vector>

#include "core/error.h"
#include "cuda/launch.cuh"
#include "harness.h"
#include "simt/runtime.h"

using namespace paella;
using namespace paella::cuda;

namespace {

void sums_kernel(const float* x, float* out) {
  __shared__ float scratch[32];
  const float sum = block_sum(x[blockIdx.x * blockDim.x + threadIdx.x], scratch);
  const float again = block_sum(1.0f, scratch);
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum + again;
}

// One warp: out [16, 8] = a [16, 16] · b [16, 8]; a row-major, b as [8, 16] (its transpose), both through shared
// memory.
template <typename T>
void product_kernel(const T* a, const T* b, float* out) {
  T* tile = reinterpret_cast<T*>(shared_memory());
  const int lane = static_cast<int>(threadIdx.x);
  cp_async_16(tile + lane * 8, a + lane * 8, true);
  if (lane < 16) cp_async_16(tile + 256 + lane * 8, b + lane * 8, true);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  std::uint32_t a_fragment[4], b_pair[4];
  // Matrices 0 to 3: rows 0–7 and 8–15 of columns 0–7, then of columns 8–15.
  ldmatrix_x4(a_fragment, tile + (lane % 16) * 16 + lane / 16 * 8);
  ldmatrix_x4(b_pair, tile + 256 + (lane % 8) * 16 + lane / 8 % 2 * 8);
  const std::uint32_t b_fragment[2] = {b_pair[0], b_pair[1]};
  float d[4] = {};
  mma_16x8x16<T>(d, a_fragment, b_fragment);
  for (int i = 0; i < 4; ++i) out[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

// The transposed load gives the second operand from row-major b [16, 8].
void transposed_kernel(const bf16* b, std::uint32_t* out) {
  auto* tile = reinterpret_cast<bf16*>(shared_memory());
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 128; i += 32) tile[i] = b[i];
  __syncthreads();
  std::uint32_t r[4];
  ldmatrix_x4_transposed(r, tile + lane % 16 * 8);
  out[lane * 2] = r[0];
  out[lane * 2 + 1] = r[1];
}

}  // namespace

TEST("simt: block sums with barriers and shuffles") {
  const auto runtime = simt::make_runtime(1 << 20);
  std::vector<float> x(3 * 96);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  std::vector<float> out(x.size());
  launch(*runtime, sums_kernel, grid(3), 96, 0, x.data(), out.data());
  for (std::size_t block = 0; block < 3; ++block) {
    double sum = 96;
    for (std::size_t i = 0; i < 96; ++i) sum += x[block * 96 + i];
    for (std::size_t i = 0; i < 96; ++i) CHECK_EQUAL(out[block * 96 + i], static_cast<float>(sum));
  }
}

TEST("simt: fragments of matrix loads and products") {
  const auto runtime = simt::make_runtime(1 << 20);
  std::vector<bf16> a(256), b(128);
  const auto small = [](std::size_t i) { return static_cast<float>(static_cast<int>(i * 7 % 13) - 6); };
  for (std::size_t i = 0; i < 256; ++i) a[i] = from_float<bf16>(small(i));
  for (std::size_t i = 0; i < 128; ++i) b[i] = from_float<bf16>(small(i + 5));
  std::vector<float> out(128);
  launch(*runtime, product_kernel<bf16>, grid(1), 32, 1024, a.data(), b.data(), out.data());
  for (std::size_t m = 0; m < 16; ++m)
    for (std::size_t n = 0; n < 8; ++n) {
      float sum = 0;
      for (std::size_t k = 0; k < 16; ++k) sum += to_float(a[m * 16 + k]) * to_float(b[n * 16 + k]);
      CHECK_EQUAL(out[m * 8 + n], sum);
    }
  std::vector<std::uint32_t> words(64);
  launch(*runtime, transposed_kernel, grid(1), 32, 1024, b.data(), words.data());
  for (std::size_t lane = 0; lane < 32; ++lane)
    for (std::size_t matrix = 0; matrix < 2; ++matrix) {
      const std::size_t k = matrix * 8 + lane % 4 * 2, n = lane / 4;
      const std::uint32_t expected = b[k * 8 + n].bits | static_cast<std::uint32_t>(b[(k + 1) * 8 + n].bits) << 16;
      CHECK_EQUAL(words[lane * 2 + matrix], expected);
    }
}

TEST("simt: half precision rounds to nearest even") {
  for (const float value : {0.0f, 1.0f, -2.5f, 1.0f + 0x1p-11f, 65504.0f, 0x1p-24f, 3.0f * 0x1p-26f})
    CHECK_EQUAL(to_float(from_float<f16>(value)), static_cast<float>(static_cast<_Float16>(value)));
  CHECK_EQUAL(to_float(from_float<bf16>(1.0f + 0x1p-8f)), 1.0f);
  CHECK_EQUAL(to_float(from_float<bf16>(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);
}

TEST("simt: a graph runs what was recorded, with the numbers of its capture") {
  const auto runtime = simt::make_runtime(1 << 20);
  auto* data = static_cast<float*>(runtime->allocate(96 * sizeof(float), "test"));
  std::vector<float> ones(96, 1.0f), out(96);
  const auto recorded = runtime->capture([&] {
    launch(*runtime, sums_kernel, grid(1), 96, 0, data, data);
    CHECK_THROWS(runtime->allocate(1, "test"), ErrorCode::internal, "capturing");
  });
  runtime->upload(ones.data(), data, 96 * sizeof(float));
  runtime->launch(*recorded);
  runtime->launch(*recorded);
  runtime->download(data, out.data(), 96 * sizeof(float));
  CHECK_EQUAL(out[0], 96.0f * 192 + 96);
  CHECK_EQUAL(runtime->counts.launches, 2u);
  runtime->free(data);
  CHECK_THROWS(runtime->allocate(2 << 20, "a test"), ErrorCode::out_of_memory, "a test: 2097152 bytes needed, 1048576");
}
