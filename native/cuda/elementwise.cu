// Elementwise operations and gathers.
#include "cuda/kernels/elementwise.cuh"

#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

namespace {

int as_int(std::int64_t value) {
  expect(value >= 0 && value <= 0x7fffffff, "expected a size up to ", 0x7fffffff, ", got ", value);
  return static_cast<int>(value);
}

// Starts `kernel` on the pieces of N elements of rows of `columns`; the last two arguments are how many there are in
// all and per row.
template <int N, typename... Parameters, typename... Arguments>
void launch_rows(Runtime& runtime, void (*kernel)(Parameters...), std::int64_t rows, std::int64_t columns,
                 const Arguments&... arguments) {
  const std::int64_t per_row = columns / N, pieces = rows * per_row;
  if (pieces > 0) launch(runtime, kernel, flat_grid(pieces), flat_threads, 0, arguments..., pieces, per_row);
}

template <int N, typename... Parameters, typename... Arguments>
void launch_flat(Runtime& runtime, void (*kernel)(Parameters...), std::int64_t count, const Arguments&... arguments) {
  if (count > 0) launch(runtime, kernel, flat_grid(ceil_div(count, N)), flat_threads, 0, arguments...);
}

}  // namespace

void CudaOps::do_gather(const Constant& table, const Tensor& indices, const Tensor& out) {
  const CudaConstant& rows = cuda(table);
  const std::int64_t channels = table.shape[1];
  with_type(rows.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_width<T, float>(channels, {rows.data, out.data}, [&](auto width) {
      constexpr int n = decltype(width)::value;
      launch_rows<n>(runtime(), gather_kernel<n, T>, indices.elements(), channels, rows.as<T>(), as_int(table.shape[0]),
                     indices.as<std::int32_t>(), out.as<float>());
    });
  });
}

void CudaOps::do_gather_patches(std::span<const ConstantPtr, 4> tables, const Constant& bias, const Tensor& tokens,
                                const Tensor& out) {
  const std::int64_t channels = out.shape[3];
  with_type(cuda(*tables[0]).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    Tables<T> all{};
    for (std::size_t s = 0; s < 4; ++s) all.table[s] = cuda(*tables[s]).as<T>();
    with_width<T, float>(channels, {all.table[0], all.table[1], all.table[2], all.table[3], cuda(bias).data, out.data},
                         [&](auto width) {
                           constexpr int n = decltype(width)::value;
                           launch_rows<n>(runtime(), gather_patches_kernel<n, T>, out.shape.rows(), channels, all,
                                          as_int(tables[0]->shape[0]), cuda(bias).as<float>(),
                                          tokens.as<std::int32_t>(), as_int(out.shape[2]), out.as<float>());
                         });
  });
}

void CudaOps::do_modulate(const Tensor& x, const Tensor& modulation) {
  const std::int64_t channels = x.shape[-1];
  with_width<float>(channels, {x.data, modulation.data}, [&](auto width) {
    constexpr int n = decltype(width)::value;
    launch_rows<n>(runtime(), modulate_kernel<n>, x.shape.rows(), channels, x.as<float>(), modulation.as<float>());
  });
}

Tensor CudaOps::do_tensor_of(const Constant& constant) { return {cuda(constant).data, constant.shape, DType::f32}; }

void CudaOps::do_scale_rows(const Tensor& x, const Tensor& weights, std::int64_t first) {
  const std::int64_t columns = x.shape[1] - first;
  if (columns == 0) return;
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch(runtime(), scale_rows_kernel<T>, flat_grid(x.shape[0] * columns), flat_threads, 0, x.as<T>(),
           weights.as<float>(), as_int(x.shape[0] * columns), as_int(x.shape[1]), as_int(first));
  });
}

void CudaOps::do_gated(const Tensor& x, Activation activation, const Tensor& out) {
  const std::int64_t columns = out.shape[-1];
  const auto start = [&](auto in_type, auto out_type) {
    using In = typename decltype(in_type)::type;
    using Out = typename decltype(out_type)::type;
    with_width<In, Out>(columns, {x.data, out.data}, [&](auto width) {
      constexpr int n = decltype(width)::value;
      launch_rows<n>(runtime(), gated_kernel<n, In, Out>, out.shape.rows(), columns, x.as<In>(), activation,
                     out.as<Out>());
    });
  };
  with_type(out.dtype, [&](auto type) {
    if (x.dtype == DType::f32) return start(Type<float>{}, type);
    expect(x.dtype == out.dtype, "gated: expected f32 or ", name_of(out.dtype), ", got ", name_of(x.dtype));
    start(type, type);
  });
}

void CudaOps::do_activate(const Tensor& x, Activation activation, const Tensor& out) {
  const std::int64_t count = x.elements();
  with_type(out.dtype, [&](auto type) {
    using Out = typename decltype(type)::type;
    with_width<float, Out>(0, {x.data, out.data}, [&](auto width) {
      constexpr int n = decltype(width)::value;
      launch_flat<n>(runtime(), activate_kernel<n, float, Out>, count, x.as<float>(), count, activation, out.as<Out>());
    });
  });
}

void CudaOps::do_add(const Tensor& x, const Tensor& y) {
  const std::int64_t count = x.elements();
  with_width<float>(0, {x.data, y.data}, [&](auto width) {
    constexpr int n = decltype(width)::value;
    launch_flat<n>(runtime(), add_kernel<n>, count, x.as<float>(), y.as<float>(), count);
  });
}

void CudaOps::do_columns(const Tensor& x, std::int64_t first, const Tensor& out) {
  const auto size = static_cast<std::int64_t>(size_of(x.dtype));
  const std::int64_t all = x.shape[-1] * size, some = out.shape[-1] * size, at = first * size;
  const int bytes = common_bytes({all, some, at}, {x.data, out.data});
  with_unit(bytes, [&](auto unit) {
    using Unit = decltype(unit);
    launch_rows<1>(runtime(), columns_kernel<Unit>, x.shape.rows(), some / bytes, x.as<Unit>(), as_int(all / bytes),
                   as_int(at / bytes), out.as<Unit>());
  });
}

void CudaOps::do_repeat(const Tensor& x, const Tensor& out) {
  const auto size = static_cast<std::int64_t>(x.bytes());
  if (size == 0) return;
  const int bytes = common_bytes({size}, {x.data, out.data});
  with_unit(bytes, [&](auto unit) {
    using Unit = decltype(unit);
    const std::int64_t pieces = size / bytes;
    launch_flat<1>(runtime(), repeat_kernel<Unit>, pieces, x.as<Unit>(), out.as<Unit>(), pieces,
                   as_int(static_cast<std::int64_t>(out.bytes()) / size));
  });
}

// A kernel even for plain copies: in a captured graph it keeps the chain of kernels that may overlap their launches.
void CudaOps::do_copy(const Tensor& from, const Tensor& to) {
  if (from.dtype == to.dtype) {
    if (from.data != to.data) do_repeat(from, to);
    return;
  }
  const std::int64_t count = from.elements();
  with_type(from.dtype, [&](auto from_type) {
    using In = typename decltype(from_type)::type;
    with_type(to.dtype, [&](auto to_type) {
      using Out = typename decltype(to_type)::type;
      with_width<In, Out>(0, {from.data, to.data}, [&](auto width) {
        constexpr int n = decltype(width)::value;
        launch_flat<n>(runtime(), convert_kernel<n, In, Out>, count, from.as<In>(), count, to.as<Out>());
      });
    });
  });
}

void CudaOps::do_select_row(const Tensor& table, const Tensor& row, const Tensor& out) {
  const auto size = static_cast<std::int64_t>(out.bytes());
  const int bytes = common_bytes({size}, {table.data, out.data});
  with_unit(bytes, [&](auto unit) {
    using Unit = decltype(unit);
    const std::int64_t pieces = size / bytes;
    launch_flat<1>(runtime(), select_row_kernel<Unit>, pieces, table.as<Unit>(), as_int(table.shape[0]),
                   row.as<std::int32_t>(), out.as<Unit>(), pieces);
  });
}

void CudaOps::do_to_pixels(const Tensor& x, const Tensor& out) {
  const std::int64_t count = x.elements();
  with_width<float>(0, {x.data, out.data}, [&](auto width) {
    constexpr int n = decltype(width)::value;
    launch_flat<n>(runtime(), to_pixels_kernel<n>, count, x.as<float>(), count, out.as<std::uint8_t>());
  });
}

void CudaOps::do_from_pixels(const Tensor& x, const Tensor& out) {
  const std::int64_t count = x.elements();
  with_width<float>(0, {x.data, out.data}, [&](auto width) {
    constexpr int n = decltype(width)::value;
    launch_flat<n>(runtime(), from_pixels_kernel<n>, count, x.as<std::uint8_t>(), count, out.as<float>());
  });
}

void CudaOps::do_nearest_code(const Tensor& x, const Constant& codebook, const Tensor& out) {
  constexpr int rows_per_warp = 4, threads = 128;
  const std::int64_t rows = x.shape.rows(), channels = codebook.shape[1];
  if (rows == 0) return;
  const float* codes = cuda(codebook).as<float>();
  const bool narrow = channels == 4 && common_bytes({}, {x.data, codes}) == 16;
  launch(runtime(), narrow ? nearest_code_kernel<rows_per_warp, true> : nearest_code_kernel<rows_per_warp, false>,
         grid(ceil_div(rows, rows_per_warp * threads / warp_size)), threads, 0, x.as<float>(), rows, as_int(channels),
         codes, as_int(codebook.shape[0]), out.as<std::int32_t>());
}

}  // namespace paella::cuda
