#include <cstring>
#include <vector>

#include "core/error.h"
#include "cpu/cpu_ops.h"

namespace paella::cpu {

namespace {

Curve curve_of(Activation activation) { return static_cast<Curve>(activation); }
static_assert(static_cast<int>(Curve::silu) == static_cast<int>(Activation::silu));
static_assert(static_cast<int>(Curve::gelu_tanh) == static_cast<int>(Activation::gelu_tanh));
static_assert(static_cast<int>(Curve::gelu_erf) == static_cast<int>(Activation::gelu_erf));

std::uint8_t* at(const Tensor& tensor, std::int64_t element) {
  return tensor.as<std::uint8_t>() + element * static_cast<std::int64_t>(size_of(tensor.dtype));
}

}  // namespace

void CpuOps::do_linear(const Tensor& x, const Linear& weights, Activation activation, const Tensor& out) {
  Epilogue epilogue{.activation = activation};
  if (weights.bias) epilogue.bias = cpu(*weights.bias).as<float>();
  context_.check_interrupt();
  context_.products->run(x.data, x.dtype, x.shape.rows(), cpu(*weights.weight), epilogue, out.data, out.dtype);
}

void CpuOps::do_linear_add(const Tensor& residual, const Tensor& x, const Linear& weights) {
  Epilogue epilogue{.accumulate = true};
  if (weights.bias) epilogue.bias = cpu(*weights.bias).as<float>();
  context_.check_interrupt();
  context_.products->run(x.data, x.dtype, x.shape.rows(), cpu(*weights.weight), epilogue, residual.data, DType::f32);
}

void CpuOps::do_gather(const Constant& table, const Tensor& indices, const Tensor& out) {
  const CpuConstant& rows = cpu(table);
  const std::int64_t channels = table.shape[1];
  const auto width = static_cast<std::int64_t>(size_of(rows.dtype));
  parallel_range(threads(), indices.elements(), 0.2 * static_cast<double>(channels),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t i = begin; i < end; ++i) {
                     const std::int64_t index = indices.as<std::int32_t>()[i];
                     kernels().convert(rows.as<std::uint8_t>() + index * channels * width, element_of(rows.dtype),
                                       channels, out.as<float>() + i * channels, Element::f32);
                   }
                 });
}

void CpuOps::do_gather_patches(std::span<const ConstantPtr, 4> tables, const Constant& bias, const Tensor& tokens,
                               const Tensor& out) {
  const std::int64_t height = out.shape[1], width = out.shape[2], channels = out.shape[3];
  const DType type = cpu(*tables[0]).dtype;
  const auto row_bytes = channels * static_cast<std::int64_t>(size_of(type));
  parallel_range(threads(), out.shape.rows(), 0.6 * static_cast<double>(channels),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t pixel = begin; pixel < end; ++pixel) {
                     const std::int64_t x = pixel % width, y = pixel / width % height, image = pixel / width / height;
                     const auto* corner = tokens.as<std::int32_t>() + (image * height + y) * 4 * width + 2 * x;
                     const void* rows[4];
                     for (std::size_t s = 0; s < 4; ++s) {
                       const std::int64_t token = corner[static_cast<std::int64_t>(s / 2) * 2 * width + (s & 1)];
                       rows[s] = cpu(*tables[s]).as<std::uint8_t>() + token * row_bytes;
                     }
                     kernels().sum_rows(rows, element_of(type), 4, cpu(bias).as<float>(), channels,
                                        out.as<float>() + pixel * channels);
                   }
                 });
}

void CpuOps::do_modulate(const Tensor& x, const Tensor& modulation) {
  const std::int64_t channels = x.shape[-1];
  parallel_range(threads(), x.shape.rows(), 0.2 * static_cast<double>(channels),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   kernels().modulate(x.as<float>() + begin * channels, end - begin, channels, modulation.as<float>());
                 });
}

Tensor CpuOps::do_tensor_of(const Constant& constant) {
  return {const_cast<float*>(cpu(constant).as<float>()), constant.shape, DType::f32};
}

void CpuOps::do_scale_rows(const Tensor& x, const Tensor& weights, std::int64_t first) {
  // By way of f32: rows are few, and scaled once per prompt.
  const std::int64_t columns = x.shape[1], count = columns - first;
  std::vector<float> row(static_cast<std::size_t>(count));
  for (std::int64_t s = 0; s < x.shape[0]; ++s) {
    void* place = at(x, s * columns + first);
    kernels().convert(place, element_of(x.dtype), count, row.data(), Element::f32);
    for (float& value : row) value *= weights.as<float>()[s];
    kernels().convert(row.data(), Element::f32, count, place, element_of(x.dtype));
  }
}

void CpuOps::do_gated(const Tensor& x, Activation activation, const Tensor& out) {
  const std::int64_t columns = out.shape[-1];
  parallel_range(threads(), out.shape.rows(), static_cast<double>(columns),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   kernels().gated(at(x, begin * 2 * columns), element_of(x.dtype), end - begin, columns,
                                   curve_of(activation), at(out, begin * columns), element_of(out.dtype));
                 });
}

void CpuOps::do_activate(const Tensor& x, Activation activation, const Tensor& out) {
  // In rows, so that an element's place in its vector does not depend on the number of threads.
  const std::int64_t channels = x.shape[-1];
  parallel_range(threads(), x.shape.rows(), static_cast<double>(channels),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t row = begin; row < end; ++row)
                     kernels().activate(x.as<float>() + row * channels, channels, curve_of(activation),
                                        at(out, row * channels), element_of(out.dtype));
                 });
}

void CpuOps::do_add(const Tensor& x, const Tensor& y) {
  parallel_range(threads(), x.elements(), 0.2, [&](std::int64_t begin, std::int64_t end, int) {
    kernels().add(x.as<float>() + begin, y.as<float>() + begin, end - begin);
  });
}

void CpuOps::do_columns(const Tensor& x, std::int64_t first, const Tensor& out) {
  const std::int64_t rows = x.shape.rows(), all = x.shape[-1], some = out.shape[-1];
  const std::size_t bytes = static_cast<std::size_t>(some) * size_of(x.dtype);
  for (std::int64_t row = 0; row < rows; ++row) std::memcpy(at(out, row * some), at(x, row * all + first), bytes);
}

void CpuOps::do_repeat(const Tensor& x, const Tensor& out) {
  const std::size_t bytes = x.bytes();
  if (bytes == 0) return;
  for (std::size_t copy = 0; copy < out.bytes() / bytes; ++copy)
    std::memcpy(out.as<std::uint8_t>() + copy * bytes, x.data, bytes);
}

void CpuOps::do_copy(const Tensor& from, const Tensor& to) {
  if (from.dtype == to.dtype) {
    std::memmove(to.data, from.data, from.bytes());
    return;
  }
  constexpr std::int64_t run = 4096;
  const std::int64_t count = from.elements();
  parallel_range(threads(), (count + run - 1) / run, 0.2 * run, [&](std::int64_t begin, std::int64_t end, int) {
    const std::int64_t first = begin * run, last = std::min(count, end * run);
    kernels().convert(at(from, first), element_of(from.dtype), last - first, at(to, first), element_of(to.dtype));
  });
}

void CpuOps::do_select_row(const Tensor& table, const Tensor& row, const Tensor& out) {
  const std::int64_t index = row.as<std::int32_t>()[0];
  expect(index >= 0 && index < table.shape[0], "select_row: expected a row below ", table.shape[0], ", got ", index);
  std::memcpy(out.data, table.slice(index, 1).data, out.bytes());
}

void CpuOps::do_to_pixels(const Tensor& x, const Tensor& out) {
  parallel_range(threads(), x.elements(), 0.3, [&](std::int64_t begin, std::int64_t end, int) {
    kernels().to_pixels(x.as<float>() + begin, end - begin, out.as<std::uint8_t>() + begin);
  });
}

void CpuOps::do_from_pixels(const Tensor& x, const Tensor& out) {
  parallel_range(threads(), x.elements(), 0.3, [&](std::int64_t begin, std::int64_t end, int) {
    kernels().from_pixels(x.as<std::uint8_t>() + begin, end - begin, out.as<float>() + begin);
  });
}

void CpuOps::do_nearest_code(const Tensor& x, const Constant& codebook, const Tensor& out) {
  const std::int64_t codes = codebook.shape[0], channels = codebook.shape[1];
  // [C, V]: neighbouring codes in neighbouring lanes.
  float* columns = context_.scratch_of<float>(codes * channels);
  const float* table = cpu(codebook).as<float>();
  for (std::int64_t k = 0; k < codes; ++k)
    for (std::int64_t c = 0; c < channels; ++c) columns[c * codes + k] = table[k * channels + c];
  parallel_range(threads(), x.shape.rows(), 0.2 * static_cast<double>(codes * channels),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   for (std::int64_t row = begin; row < end; ++row)
                     out.as<std::int32_t>()[row] =
                         kernels().nearest(x.as<float>() + row * channels, channels, columns, codes);
                 });
}

}  // namespace paella::cpu
