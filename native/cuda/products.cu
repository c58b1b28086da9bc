// Matrix products.
#include "cuda/products.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/kernels/plain_products.cuh"
#include "cuda/kernels/products.cuh"
#include "cuda/kernels/widen.cuh"
#include "cuda/launch.cuh"
#include "cuda/product_table.h"
#if defined(PAELLA_WGMMA)
#include "cuda/products_sm90.h"
#endif

namespace paella::cuda {

namespace {

constexpr int tile_count = static_cast<int>(std::size(product_tile_list));
template <int index>
using TileOf =
    Tile<product_tile_list[index].rows, product_tile_list[index].columns, product_tile_list[index].step,
         product_tile_list[index].stages, product_tile_list[index].warps_down, product_tile_list[index].warps_across>;

// Products of matrices that are split in two, which are few: the tiles for many and for few rows.
constexpr int large_parts_tile = 1, small_parts_tile = 5;
constexpr bool has_tile(Way way, int tile) {
  return product_tile_list[tile].instruction == Instruction::mma &&
         (way != Way::parts || tile == large_parts_tile || tile == small_parts_tile);
}

// Sizes as kernels know them.
struct Sizes {
  int rows, columns, inner;
};
Sizes sizes_of(const Product& product) {
  const std::int64_t columns = product.weight->shape[0], inner = product.weight->shape[1];
  constexpr std::int64_t limit = std::int64_t{1} << 30;
  expect(product.rows < limit && columns < limit && inner < limit, "product: expected sizes below ", limit, ", got [",
         product.rows, ", ", inner, "] × [", columns, ", ", inner, "]");
  return {static_cast<int>(product.rows), static_cast<int>(columns), static_cast<int>(inner)};
}

Finish finish_of(const Product& product) {
  const Output output = product.accumulate               ? Output::add
                        : product.out_type == DType::f32 ? Output::f32
                                                         : Output::operand;
  return {product.bias, product.scale, product.shift, product.out, product.sums, product.activation, output};
}

// Rows [first, first + count) of a product.
Product rows_of(const Product& product, std::int64_t first, std::int64_t count) {
  const std::int64_t columns = product.weight->shape[0], inner = product.weight->shape[1];
  Product some = product;
  some.rows = count;
  const auto bytes = [](std::int64_t count, DType type) { return static_cast<std::size_t>(count) * size_of(type); };
  some.x = static_cast<const std::uint8_t*>(product.x) + bytes(first * inner, product.x_type);
  some.out = static_cast<std::uint8_t*>(product.out) + bytes(first * columns, product.out_type);
  return some;
}

template <Way way, typename T, int index = 0>
void launch_tile(Runtime& runtime, const ProductArguments<T>& arguments, int tile, int parts) {
  if constexpr (index < tile_count) {
    if constexpr (has_tile(way, index)) {
      if (tile == index) {
        using Shape = TileOf<index>;
        static_assert(Shape::shared_bytes <= 99 * 1024, "what every GPU has");
        const std::int64_t blocks = ceil_div(arguments.rows, Shape::rows) * ceil_div(arguments.columns, Shape::columns);
        return launch(runtime, product_kernel<T, Shape, way>, grid(blocks, parts), Shape::threads, Shape::shared_bytes,
                      arguments);
      }
    }
    launch_tile<way, T, index + 1>(runtime, arguments, tile, parts);
  } else {
    fail(ErrorCode::internal, "product: expected a tile from 0 to ", tile_count - 1, ", got ", tile);
  }
}

// On tensor cores, few enough rows for the workspace. `offset`: rows before these.
template <typename T>
void run_tiles(const Context& context, const Product& product, ProductWay way, std::int64_t offset) {
  const Sizes size = sizes_of(product);
  const auto& weight = cuda(*product.weight);
  const Finish finish = finish_of(product);
  // Parts begin at multiples of 64, so that steps of 16 are the same for all tiles.
  const auto split = static_cast<int>(ceil_div(ceil_div(size.inner, way.splits), 64) * 64);
  const auto parts = static_cast<int>(ceil_div(size.inner, split));
  ProductArguments<T> arguments{static_cast<const T*>(product.x),
                                weight.as<T>(),
                                nullptr,
                                nullptr,
                                product.factors,
                                size.rows,
                                size.columns,
                                size.inner,
                                split,
                                static_cast<int>(product.pixels),
                                static_cast<int>(offset % product.pixels),
                                finish};
  if (product.factors != nullptr) arguments.factors += offset / product.pixels * size.inner;
  if (parts > 1) {
    arguments.finish = {};
    arguments.finish.output = Output::partial;
    arguments.finish.out = context.workspace.data();
  }
#if defined(PAELLA_WGMMA)
  if (product_tile_list[way.tile].instruction == Instruction::wgmma) {
    launch_wgmma(*context.runtime, arguments, way.tile, parts);
  } else
#endif
      if (product.factors != nullptr)
    launch_tile<Way::scaled>(*context.runtime, arguments, way.tile, parts);
  else
    launch_tile<Way::plain>(*context.runtime, arguments, way.tile, parts);
  if (parts > 1)
    launch(*context.runtime, add_parts_kernel<T>, grid(ceil_div(product.rows * ceil_div(size.columns, 8), 256)), 256, 0,
           static_cast<const float*>(context.workspace.data()), parts, size.rows, size.columns, finish);
}

// f32 matrices that are kept as sums of two bf16 matrices. x is split into the workspace first.
bool worth_splitting(const Context& context, const Product& product) {
  const auto& weight = cuda(*product.weight);
  return weight.layout == Layout::matrix_f32 && context.operand != DType::f32 && weight.high != nullptr &&
         weight.shape[0] >= 64 && weight.shape[1] >= 128 && product.out_type == DType::f32 &&
         product.factors == nullptr;
}

void run_split(const Context& context, const Product& product) {
  const auto& weight = cuda(*product.weight);
  const std::int64_t inner = product.weight->shape[1];
  const std::int64_t most = static_cast<std::int64_t>(context.workspace_bytes()) / (4 * inner) / 128 * 128;
  expect(most > 0, "product: K of ", inner, " is too large");
  for (std::int64_t first = 0; first < product.rows; first += most) {
    const Product some = rows_of(product, first, std::min(most, product.rows - first));
    const Sizes size = sizes_of(some);
    const std::int64_t count = some.rows * inner;
    auto* high = static_cast<bf16*>(context.workspace.data());
    launch(*context.runtime, split_kernel<bf16>, grid(ceil_div(count, 8 * 256)), 256, 0,
           static_cast<const float*>(some.x), count, high, high + count);
    const ProductArguments<bf16> arguments{high,
                                           static_cast<const bf16*>(weight.high),
                                           high + count,
                                           static_cast<const bf16*>(weight.low),
                                           nullptr,
                                           size.rows,
                                           size.columns,
                                           size.inner,
                                           static_cast<int>(ceil_div(inner, 64) * 64),
                                           1,
                                           0,
                                           finish_of(some)};
    const auto clocks = [&](int tile) {
      return predicted_clocks(product_tile_list[tile], 1, some.rows, size.columns, inner,
                              context.runtime->device().multiprocessors);
    };
    const bool large = clocks(large_parts_tile) < clocks(small_parts_tile);
    launch_tile<Way::parts>(*context.runtime, arguments, large ? large_parts_tile : small_parts_tile, 1);
  }
}

template <typename T, typename Out>
void run_plain(const Context& context, const Product& product) {
  const Sizes size = sizes_of(product);
  const PlainArguments<T> arguments{static_cast<const T*>(product.x),
                                    cuda(*product.weight).as<T>(),
                                    product.factors,
                                    size.rows,
                                    size.columns,
                                    size.inner,
                                    static_cast<int>(product.pixels),
                                    finish_of(product)};
  launch(*context.runtime, plain_product_kernel<T, Out>, grid(ceil_div(size.rows, 64), ceil_div(size.columns, 64)), 256,
         0, arguments);
}

}  // namespace

std::span<const ProductTile> product_tiles() { return product_tile_list; }

bool on_tensor_cores(const Product& product) {
  const auto& weight = cuda(*product.weight);
  return weight.layout == Layout::matrix && weight.dtype != DType::f32 && weight.shape[1] % 8 == 0;
}

bool can_sum_squares(const Context& context, const Product& product) {
  return on_tensor_cores(product) && product.pixels % sum_run == 0 &&
         choose_way(context.runtime->device(), product.rows, product.weight->shape[0], product.weight->shape[1])
                 .splits == 1;
}

bool can_run(const DeviceInfo& device, Instruction instruction) {
#if defined(PAELLA_WGMMA)
  return instruction == Instruction::mma || (device.major == 9 && device.minor == 0);
#else
  return (void)device, instruction == Instruction::mma;
#endif
}

Instruction products_of(const DeviceInfo& device) {
  static const bool wgmma = [] {
    const char* value = std::getenv("PAELLA_CUDA_PRODUCTS");
    return value != nullptr && std::strcmp(value, "wgmma") == 0;
  }();
  return wgmma && can_run(device, Instruction::wgmma) ? Instruction::wgmma : Instruction::mma;
}

ProductWay choose_way(const DeviceInfo& device, std::int64_t rows, std::int64_t columns, std::int64_t inner) {
  return way_for(products_of(device), device.major * 10 + device.minor, device.multiprocessors, rows, columns, inner);
}

void run_product(const Context& context, const Product& product, ProductWay way) {
  if (product.rows == 0) return;
  expect(on_tensor_cores(product) && reinterpret_cast<std::uintptr_t>(product.x) % 16 == 0 && way.splits >= 1,
         "product: expected 16-bit operands, K a multiple of 8, and aligned rows");
  expect(way.tile >= 0 && way.tile < tile_count &&
             can_run(context.runtime->device(), product_tile_list[way.tile].instruction),
         "product: expected a tile that this device can run, got ", way.tile);
  expect(way.splits == 1 || product.sums == nullptr, "product: no sums of squares when K is split");
  std::int64_t most = product.rows;
  if (way.splits > 1)
    most = std::min<std::int64_t>(
        most, static_cast<std::int64_t>(context.workspace_bytes()) / (4 * way.splits * product.weight->shape[0]));
  expect(most > 0, "product: ", product.weight->shape[0], " columns are too many");
  for (std::int64_t first = 0; first < product.rows; first += most) {
    const Product some = rows_of(product, first, std::min(most, product.rows - first));
    if (cuda(*product.weight).dtype == DType::bf16)
      run_tiles<bf16>(context, some, way, first);
    else
      run_tiles<f16>(context, some, way, first);
  }
}

namespace {

// Weights of 8 bits are widened to operands before they are multiplied: they save memory, not time.
void run_widened(const Context& context, const Product& product) {
  const auto& weight = cuda(*product.weight);
  CudaConstant widened;
  widened.shape = weight.shape;
  widened.layout = Layout::matrix;
  widened.dtype = weight.dtype;
  widened.data = weight.widened->data();
  const std::int64_t inner = weight.shape[1], count = weight.shape.elements();
  const int width = inner % 8 == 0 ? 8 : 1;
  with_type(weight.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto run = [&](auto each) {
      launch(*context.runtime, widen_kernel<decltype(each)::value, T>,
             grid(ceil_div(count, decltype(each)::value * flat_threads)), flat_threads, 0, weight.as<std::int8_t>(),
             weight.scales, count, static_cast<int>(inner), static_cast<T*>(widened.data));
    };
    if (width == 8)
      run(Width<8>{});
    else
      run(Width<1>{});
  });
  Product same = product;
  same.weight = &widened;
  run_product(context, same);
}

}  // namespace

void run_product(const Context& context, const Product& product) {
  if (product.rows == 0) return;
  const auto& weight = cuda(*product.weight);
  if (weight.layout == Layout::matrix_w8) return run_widened(context, product);
  expect(product.x_type == weight.dtype, "linear: expected an operand of type ", name_of(weight.dtype), ", got ",
         name_of(product.x_type));
  if (on_tensor_cores(product))
    return run_product(context, product,
                       choose_way(context.runtime->device(), product.rows, weight.shape[0], weight.shape[1]));
  if (worth_splitting(context, product)) return run_split(context, product);
  expect(product.sums == nullptr, "product: no sums of squares without tensor cores");
  if (weight.dtype == DType::bf16) return run_plain<bf16, bf16>(context, product);
  if (weight.dtype == DType::f16) return run_plain<f16, f16>(context, product);
  with_type(product.out_type, [&](auto tag) { run_plain<float, typename decltype(tag)::type>(context, product); });
}

namespace {

Product product_of(const Tensor& x, const Linear& weights, const Tensor& out) {
  Product product;
  product.x = x.data;
  product.x_type = x.dtype;
  product.rows = x.shape.rows();
  product.weight = weights.weight.get();
  if (weights.bias) product.bias = cuda(*weights.bias).as<float>();
  product.out = out.data;
  product.out_type = out.dtype;
  return product;
}

}  // namespace

void CudaOps::do_linear(const Tensor& x, const Linear& weights, Activation activation, const Tensor& out) {
  context_.check_interrupt();
  Product product = product_of(x, weights, out);
  product.activation = activation;
  run_product(context_, product);
}

void CudaOps::do_linear_add(const Tensor& residual, const Tensor& x, const Linear& weights) {
  context_.check_interrupt();
  Product product = product_of(x, weights, residual);
  product.accumulate = true;
  run_product(context_, product);
}

}  // namespace paella::cuda
