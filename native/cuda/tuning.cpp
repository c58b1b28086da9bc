#include "cuda/tuning.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "core/error.h"
#include "cuda/cuda_ops.h"

namespace paella::cuda {

namespace {

constexpr std::size_t workspace_bytes = std::size_t{64} << 20;
constexpr int most_splits = 4;
constexpr int repeats = 20, rounds = 7;

// Numbers between −1 and 1 in bf16 or f16: zeros would be faster. The exponents of both types leave room for this
// pattern: sign, then 0.5 to 1.
std::vector<std::uint16_t> numbers(std::size_t count, DType type) {
  std::mt19937 random(1);
  std::vector<std::uint16_t> values(count);
  const std::uint32_t half = type == DType::bf16 ? 0x3f00u : 0x3800u, fraction = type == DType::bf16 ? 0x7fu : 0x3ffu;
  for (std::uint16_t& value : values) {
    const auto word = static_cast<std::uint32_t>(random());
    value = static_cast<std::uint16_t>(half | (word & fraction) | (word >> 31 << 15));
  }
  return values;
}

}  // namespace

std::vector<WayTiming> time_product(std::shared_ptr<Runtime> runtime, DType operand, std::int64_t rows,
                                    std::int64_t columns, std::int64_t inner, bool accumulate) {
  expect(operand == DType::bf16 || operand == DType::f16, "time_product: expected bf16 or f16, got ", name_of(operand));
  const auto account = std::make_shared<Account>();
  const auto memory = [&](std::size_t bytes) {
    return Memory(runtime, account, bytes, Memory::Use::activations, "tuning");
  };
  Context context;
  context.runtime = runtime;
  context.account = account;
  context.operand = operand;
  context.workspace = memory(workspace_bytes);

  const auto weight_bytes = static_cast<std::size_t>(columns * inner) * 2;
  const std::size_t beyond_cache = 2 * runtime->device().l2_bytes;
  const std::size_t copies = std::clamp<std::size_t>(beyond_cache / weight_bytes, 1, 32);
  const Memory x = memory(static_cast<std::size_t>(rows * inner) * 2);
  const Memory out = memory(static_cast<std::size_t>(rows * columns) * 4);
  const Memory bias = memory(static_cast<std::size_t>(columns) * 4);
  runtime->upload(numbers(static_cast<std::size_t>(rows * inner), operand).data(), x.data(), x.bytes());
  runtime->fill(out.data(), 0, out.bytes());
  runtime->fill(bias.data(), 0, bias.bytes());
  std::vector<CudaConstant> weights(copies);
  const auto values = numbers(static_cast<std::size_t>(columns * inner), operand);
  for (CudaConstant& weight : weights) {
    weight.shape = {columns, inner};
    weight.layout = Layout::matrix;
    weight.dtype = operand;
    weight.memory = memory(weight_bytes);
    weight.data = weight.memory.data();
    runtime->upload(values.data(), weight.data, weight_bytes);
  }

  Product product;
  product.x = x.data();
  product.x_type = operand;
  product.rows = rows;
  product.bias = static_cast<const float*>(bias.data());
  product.accumulate = accumulate;
  product.out = out.data();
  product.out_type = accumulate ? DType::f32 : operand;

  std::vector<WayTiming> timings;
  const auto tiles = product_tiles();
  for (int splits = 1; splits <= most_splits; ++splits)
    for (std::size_t tile = 0; tile < tiles.size(); ++tile) {
      if (!can_run(runtime->device(), tiles[tile].instruction)) continue;
      const ProductWay way{static_cast<int>(tile), splits};
      const auto graph = runtime->capture([&] {
        for (int i = 0; i < repeats; ++i) {
          product.weight = &weights[static_cast<std::size_t>(i) % copies];
          run_product(context, product, way);
        }
      });
      std::vector<double> seconds;
      for (int round = 0; round < rounds + 2; ++round) {
        runtime->synchronize();
        const auto start = std::chrono::steady_clock::now();
        runtime->launch(*graph);
        runtime->synchronize();
        if (round >= 2)
          seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats);
      }
      std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
      timings.push_back({way, tiles[tile], seconds[rounds / 2]});
    }
  return timings;
}

}  // namespace paella::cuda
