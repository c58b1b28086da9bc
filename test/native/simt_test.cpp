// The GPU on the CPU that other tests stand on: barriers, shuffles, copies and tensor-core fragments, each against what
// CUDA's documentation says of it.
#include <vector>

#include "core/error.h"
#include "cuda/kernels/wgmma.cuh"
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

// A cluster of two blocks of one warpgroup and one warp: out [128, 64] = x [128, 64] · wᵀ, w [64, 64]. Each block has
// its own rows of x, and half of w for both.
void warpgroup_kernel(const TensorMap x_map, const TensorMap w_map, bool from_registers, float* out) {
  unsigned char* memory = shared_memory();
  memory += (1024 - shared_address(memory) % 1024) % 1024;
  unsigned char* w = memory + 64 * 128;
  auto* full = reinterpret_cast<Barrier*>(w + 64 * 128);
  const int rank = static_cast<int>(cluster_rank()), thread = static_cast<int>(threadIdx.x);
  if (thread == 0) barrier_init(full, 1);
  cluster_barrier();
  if (thread == 128) {
    barrier_expect(full, 2 * 64 * 128);
    tma_load(memory, x_map, 0, rank * 64, full);
    tma_load(w + rank * 32 * 128, w_map, 0, rank * 32, full, 3);
  }
  float sums[32] = {};
  if (thread < 128) {
    barrier_wait(full, 0);
    std::uint32_t rows[4][4];
    const int row = thread / 32 * 16 + thread % 16;
    for (int k = 0; k < 4; ++k)
      ldmatrix_x4(rows[k], memory + row * 128 + ((2 * k + thread % 32 / 16) ^ (row % 8)) * 16);
    wgmma_begin();
    for (int k = 0; k < 4; ++k) {
      if (from_registers)
        wgmma<bf16>(sums, rows[k], wgmma_descriptor(w) + 2 * k);
      else
        wgmma<bf16>(sums, wgmma_descriptor(memory) + 2 * k, wgmma_descriptor(w) + 2 * k);
    }
    wgmma_commit();
    wgmma_wait<0>();
    barrier_of<128>();
    for (int i = 0; i < 32; ++i)
      out[(rank * 64 + thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + thread % 4 * 2 + i % 2] =
          sums[i];
  }
  cluster_barrier();
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

TEST("simt: tiles of a cluster, barriers that count bytes, products of a warpgroup") {
  const simt::Hopper device;
  const auto runtime = simt::make_runtime(1 << 20);
  // What lies outside of the matrices arrives as zeros: 100 rows of 128, 40 columns of 64, 50 rows of w.
  constexpr std::int64_t rows = 100, inner = 40, columns = 50;
  std::vector<bf16> x(rows * inner), w(columns * inner);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = from_float<bf16>(static_cast<float>(i % 13) - 6);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = from_float<bf16>(static_cast<float>(i % 11) - 5);
  // Eight times: every way in which copies and products can be late or early.
  for (int way = 0; way < 8; ++way)
    for (const bool from_registers : {false, true}) {
      std::vector<float> out(128 * 64, -1);
      launch_clusters(*runtime, warpgroup_kernel, 2, grid(2), 160, 20000, tensor_map(x.data(), rows, inner, 64),
                      tensor_map(w.data(), columns, inner, 32), from_registers, out.data());
      for (std::int64_t m = 0; m < 128; ++m)
        for (std::int64_t n = 0; n < 64; ++n) {
          float sum = 0;
          for (std::int64_t k = 0; k < inner && m < rows && n < columns; ++k)
            sum += to_float(x[static_cast<std::size_t>(m * inner + k)]) *
                   to_float(w[static_cast<std::size_t>(n * inner + k)]);
          if (out[static_cast<std::size_t>(m * 64 + n)] != sum)
            test::check(false, __FILE__, __LINE__,
                        concat("(", m, ", ", n, "): ", out[static_cast<std::size_t>(m * 64 + n)], ", expected ", sum));
        }
    }
}
