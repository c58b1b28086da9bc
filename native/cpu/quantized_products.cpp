// Products with weights of 8 bits: w = column_scales[n]·q, q in [−127, 127], the scale chosen so that the largest
// weight of a column of the result is met.
//
// matrix_w8 keeps x as it is. The integers are widened to x's type, which holds them exactly, a part of the columns at
// a time, so that the part is still in cache when it is multiplied; the scales follow in f32. Only memory is saved.
//
// matrix_w8a8 rounds x to 8 bits, too, with a scale for each row, and multiplies integers. Their sums are exact, so
// rows do not depend on each other, and the instructions do twice as much as those for bf16.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "cpu/cpu_ops.h"
#include "cpu/parallel.h"
#include "cpu/products.h"

namespace paella::cpu {

namespace {

// What one part of a product may take of the last-level cache.
constexpr std::int64_t cache_share = 2 << 20;

std::int64_t widened_columns(std::int64_t columns, std::int64_t inner, DType type) {
  const std::int64_t most = cache_share / (inner * static_cast<std::int64_t>(size_of(type)));
  return std::min(columns, std::max<std::int64_t>(most / 64 * 64, 64));
}

std::size_t rounded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// w [N, K] → integers as floats, in place, and the scale of each row.
void quantize(std::vector<float>& w, std::int64_t columns, std::int64_t inner, float* scales) {
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < columns; ++n) {
    float* row = w.data() + n * inner;
    float largest = 0;
    for (std::int64_t k = 0; k < inner; ++k) largest = std::max(largest, std::abs(row[k]));
    scales[n] = largest / 127;
    const float inverse = largest > 0 ? 127 / largest : 0;
    for (std::int64_t k = 0; k < inner; ++k) row[k] = std::nearbyint(row[k] * inverse);
  }
}

}  // namespace

void Products::pack_quantized(std::span<const float> w, std::int64_t columns, std::int64_t inner, DType type,
                              const std::string& name, CpuConstant& to) {
  std::vector<float> values(w.begin(), w.end());
  to.scales = Memory(static_cast<std::size_t>(columns) * sizeof(float), Use::weights, account_, "weights " + name);
  quantize(values, columns, inner, static_cast<float*>(to.scales.data()));
  if (to.layout == Layout::matrix_w8a8) return pack(values, columns, inner, DType::i8, name, to);

  // Packed as `type` would be, part by part, and then narrowed element by element: so widening needs to know nothing of
  // the order in which oneDNN wants them.
  const std::int64_t width = widened_columns(columns, inner, type);
  const auto elements = [&](std::int64_t some) { return packed_layout(some, inner, type).get_size() / size_of(type); };
  const std::int64_t whole = columns / width, rest = columns % width;
  const std::size_t part = elements(width);
  to.memory = Memory(static_cast<std::size_t>(whole) * part + (rest > 0 ? elements(rest) : 0), Use::weights, account_,
                     "weights " + name);
  std::vector<float> packed(part);  // room for `type`, whichever it is
  auto* at = static_cast<std::int8_t*>(to.memory.data());
  for (std::int64_t column = 0; column < columns; column += width) {
    const std::int64_t some = std::min(width, columns - column);
    const auto count = static_cast<std::int64_t>(elements(some));
    pack_into(std::span(values).subspan(static_cast<std::size_t>(column * inner)), some, inner, type, packed.data());
    std::vector<float> floats(static_cast<std::size_t>(count));
    kernels_.convert(packed.data(), element_of(type), count, floats.data(), Element::f32);
    for (std::int64_t i = 0; i < count; ++i) at[i] = static_cast<std::int8_t>(floats[static_cast<std::size_t>(i)]);
    at += count;
  }
}

namespace {

FinishTask finish_of(const CpuConstant& weight, const Epilogue& epilogue, DType out_type) {
  FinishTask task;
  task.columns = task.out_stride = weight.shape[0];
  task.column_scales = static_cast<const float*>(weight.scales.data());
  task.bias = epilogue.bias;
  task.curve = static_cast<Curve>(epilogue.activation);
  task.accumulate = epilogue.accumulate;
  task.factor = epilogue.factor;
  task.shift = epilogue.shift;
  task.type = element_of(out_type);
  return task;
}

// `task` describes the first of `rows` rows; each thread does some.
void finish(const Kernels& kernels, int threads, FinishTask task, std::int64_t rows) {
  const std::int64_t out_row = task.out_stride * (task.type == Element::bf16 ? 2 : 4);
  parallel_range(threads, rows, 0.4 * static_cast<double>(task.columns),
                 [&](std::int64_t begin, std::int64_t end, int) {
                   FinishTask some = task;
                   some.rows = end - begin;
                   some.sums = static_cast<const std::uint8_t*>(task.sums) + begin * task.columns * 4;
                   if (task.row_scales != nullptr) some.row_scales += begin;
                   some.out = static_cast<std::uint8_t*>(task.out) + begin * out_row;
                   kernels.finish_product(some);
                 });
}

}  // namespace

void Products::run_w8(const void* x, DType x_type, std::int64_t rows, const CpuConstant& weight,
                      const Epilogue& epilogue, void* out, DType out_type) {
  const std::int64_t columns = weight.shape[0], inner = weight.shape[1];
  const std::int64_t width = widened_columns(columns, inner, x_type);
  const std::size_t widened_bytes = rounded(packed_layout(width, inner, x_type).get_size());
  const std::size_t needed = widened_bytes + static_cast<std::size_t>(rows * width) * sizeof(float);
  if (needed > quantized_.bytes()) {
    quantized_.reset();
    quantized_ = Memory(needed, Use::activations, account_, "products with weights of 8 bits");
  }
  auto* widened = static_cast<std::uint8_t*>(quantized_.data());
  std::uint8_t* sums = widened + widened_bytes;
  const auto* from = static_cast<const std::int8_t*>(weight.memory.data());
  for (std::int64_t column = 0; column < columns; column += width) {
    const std::int64_t some = std::min(width, columns - column);
    const dnnl::memory::desc& layout = packed_layout(some, inner, x_type);
    const auto count = static_cast<std::int64_t>(layout.get_size() / size_of(x_type));
    parallel_range(threads_, count, 0.1, [&](std::int64_t begin, std::int64_t end, int) {
      kernels_.widen(from + begin, end - begin, widened + begin * static_cast<std::int64_t>(size_of(x_type)),
                     element_of(x_type));
    });
    from += count;
    run_packed(x, x_type, rows, {some, inner, x_type, layout, widened}, {}, sums, DType::f32);
    FinishTask task = finish_of(weight, epilogue, out_type);
    task.columns = some;
    task.sums = sums;
    task.column_scales += column;
    if (task.bias != nullptr) task.bias += column;
    if (task.factor != nullptr) {
      task.factor += column;
      task.shift += column;
    }
    task.out = static_cast<std::uint8_t*>(out) + column * static_cast<std::int64_t>(size_of(out_type));
    finish(kernels_, threads_, task, rows);
  }
}

void Products::run_w8a8(const void* x, DType x_type, const float* x_factors, std::int64_t rows,
                        const CpuConstant& weight, const Epilogue& epilogue, void* out, DType out_type) {
  const std::int64_t columns = weight.shape[0], inner = weight.shape[1];
  // Some rows at a time, so that their sums are still in cache when they are finished.
  const std::int64_t most = std::max<std::int64_t>(cache_share / (4 * columns) / 64 * 64, 64);
  const std::int64_t part = std::min(rows, most);
  const std::size_t x_bytes = rounded(static_cast<std::size_t>(part * inner));
  const std::size_t scale_bytes = rounded(static_cast<std::size_t>(part) * sizeof(float));
  const std::size_t needed = x_bytes + scale_bytes + static_cast<std::size_t>(part * columns) * sizeof(std::int32_t);
  if (needed > quantized_.bytes()) {
    quantized_.reset();
    quantized_ = Memory(needed, Use::activations, account_, "products of 8 bits");
  }
  auto* rounded_x = static_cast<std::int8_t*>(quantized_.data());
  auto* scales = reinterpret_cast<float*>(rounded_x + x_bytes);
  void* sums = rounded_x + x_bytes + scale_bytes;
  FinishTask task = finish_of(weight, epilogue, out_type);
  task.integers = true;
  task.sums = sums;
  task.row_scales = scales;
  const auto x_row = inner * static_cast<std::int64_t>(size_of(x_type));
  for (std::int64_t first = 0; first < rows; first += part) {
    const std::int64_t some = std::min(part, rows - first);
    const auto* from = static_cast<const std::uint8_t*>(x) + first * x_row;
    parallel_range(threads_, some, 0.2 * static_cast<double>(inner), [&](std::int64_t begin, std::int64_t end, int) {
      kernels_.quantize_rows(from + begin * x_row, element_of(x_type), x_factors, end - begin, inner,
                             rounded_x + begin * inner, scales + begin);
    });
    run_packed(rounded_x, DType::i8, some, {columns, inner, DType::i8, weight.packed, weight.memory.data()}, {}, sums,
               DType::i32);
    task.out = static_cast<std::uint8_t*>(out) + first * columns * static_cast<std::int64_t>(size_of(out_type));
    finish(kernels_, threads_, task, some);
  }
}

}  // namespace paella::cpu
