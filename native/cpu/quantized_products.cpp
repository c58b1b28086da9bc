// Products with weights of 8 bits: w = column_scales[n]·q, q in [−127, 127], the scale chosen so that the largest
// weight of a column of the result is met.
//
// matrix_w8 keeps x as it is. The integers are widened to x's type, which holds them exactly, a part of the columns at
// a time, so that the part is still in cache when it is multiplied; the scales follow in f32. Only memory is saved.
//
// matrix_w8a8 rounds x to 8 bits, too, with a scale for each row, and multiplies integers. Their sums are exact, so
// rows do not depend on each other, and the instructions do twice as much as those for bf16. These want one operand
// without a sign: x is kept as 128 + its integers, and 128 times the sums of the weights come off again at the end.
#include <algorithm>
#include <vector>

#include "core/eight_bits.h"
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

// A product of integers is made of tasks, each some rows by some columns and for one thread. Its weights and its sums
// stay in a core's own cache until they are finished.
constexpr std::int64_t task_rows = 128, task_weights = 512 << 10;
// What all rows that are rounded at a time may take of the last-level cache.
constexpr std::int64_t rounded_share = 4 << 20;

std::int64_t task_columns(std::int64_t columns, std::int64_t inner) {
  const std::int64_t most = std::max<std::int64_t>(task_weights / inner / 64 * 64, 64);
  // As few parts as can be, of about equal width.
  const std::int64_t parts = (columns + most - 1) / most, blocks = (columns + 63) / 64;
  return std::min(columns, (blocks + parts - 1) / parts * 64);
}

}  // namespace

void Products::pack_quantized(std::span<const float> w, std::int64_t columns, std::int64_t inner, DType type,
                              const std::string& name, CpuConstant& to) {
  std::vector<float> values(w.begin(), w.end());
  to.scales = Memory(static_cast<std::size_t>(columns) * sizeof(float), Use::weights, account_, "weights " + name);
  auto* scales = static_cast<float*>(to.scales.data());
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < columns; ++n) {
    const auto row = std::span(values).subspan(static_cast<std::size_t>(n * inner), static_cast<std::size_t>(inner));
    scales[n] = round_to_8_bits(row, row.data());
  }
  if (to.layout == Layout::matrix_w8a8) return pack_integers(values, columns, inner, name, to);

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

// Parts of task_columns() one after another.
void Products::pack_integers(std::span<const float> w, std::int64_t columns, std::int64_t inner,
                             const std::string& name, CpuConstant& to) {
  const std::int64_t width = task_columns(columns, inner), last = (columns - 1) % width + 1;
  const auto bytes = [&](std::int64_t some) { return packed_layout(some, inner, DType::i8).get_size(); };
  to.memory = Memory(static_cast<std::size_t>((columns - last) / width) * bytes(width) + bytes(last), Use::weights,
                     account_, "weights " + name);
  to.offsets =
      Memory(static_cast<std::size_t>(columns) * sizeof(std::int32_t), Use::weights, account_, "weights " + name);
  auto* at = static_cast<std::uint8_t*>(to.memory.data());
  for (std::int64_t column = 0; column < columns; column += width) {
    const std::int64_t some = std::min(width, columns - column);
    pack_into(w.subspan(static_cast<std::size_t>(column * inner)), some, inner, DType::i8, at);
    at += bytes(some);
  }
  for (std::int64_t n = 0; n < columns; ++n) {
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < inner; ++k)
      sum += static_cast<std::int32_t>(w[static_cast<std::size_t>(n * inner + k)]);
    static_cast<std::int32_t*>(to.offsets.data())[n] = 128 * sum;
  }
}

namespace {

FinishTask finish_of(const CpuConstant& weight, const Epilogue& epilogue, DType out_type) {
  FinishTask task;
  task.columns = task.out_stride = weight.shape[0];
  task.column_scales = static_cast<const float*>(weight.scales.data());
  task.offsets = static_cast<const std::int32_t*>(weight.offsets.data());
  task.bias = epilogue.bias;
  task.curve = static_cast<Curve>(epilogue.activation);
  task.accumulate = epilogue.accumulate;
  task.factor = epilogue.factor;
  task.shift = epilogue.shift;
  task.type = element_of(out_type);
  return task;
}

// The same of `count` columns from `first` on; the sums are those of these columns alone, the results lie among all.
FinishTask columns_of(FinishTask task, std::int64_t first, std::int64_t count) {
  task.columns = count;
  task.column_scales += first;
  if (task.offsets != nullptr) task.offsets += first;
  if (task.bias != nullptr) task.bias += first;
  if (task.factor != nullptr) {
    task.factor += first;
    task.shift += first;
  }
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
                   some.out = static_cast<std::uint8_t*>(task.out) + begin * out_row;
                   kernels.finish_product(some);
                 });
}

}  // namespace

std::uint8_t* Products::working_memory(std::size_t bytes) {
  if (bytes > quantized_.bytes()) {
    quantized_.reset();
    quantized_ = Memory(bytes, Use::activations, account_, "products with weights of 8 bits");
  }
  return static_cast<std::uint8_t*>(quantized_.data());
}

void Products::run_w8(const void* x, DType x_type, std::int64_t rows, const CpuConstant& weight,
                      const Epilogue& epilogue, void* out, DType out_type) {
  const std::int64_t columns = weight.shape[0], inner = weight.shape[1];
  const std::int64_t width = widened_columns(columns, inner, x_type);
  const std::size_t widened_bytes = rounded(packed_layout(width, inner, x_type).get_size());
  std::uint8_t* widened = working_memory(widened_bytes + static_cast<std::size_t>(rows * width) * sizeof(float));
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
    FinishTask task = columns_of(finish_of(weight, epilogue, out_type), column, some);
    task.sums = sums;
    task.out = static_cast<std::uint8_t*>(out) + column * static_cast<std::int64_t>(size_of(out_type));
    finish(kernels_, threads_, task, rows);
  }
}

namespace {

// How a product of integers is cut: `at_once` rows are rounded at a time, and tasks of at most `height` of them by
// `width` columns multiplied. The last tasks of a stretch may have fewer rows, those of the last part fewer columns.
struct Cut {
  std::int64_t width, last_width, parts, at_once, height;

  Cut(std::int64_t rows, std::int64_t columns, std::int64_t inner, int threads)
      : width(task_columns(columns, inner)),
        parts((columns + width - 1) / width),
        at_once(std::min(rows, std::max(rounded_share / inner / task_rows * task_rows, task_rows))),
        height(std::min(task_rows, at_once)) {
    last_width = columns - (parts - 1) * width;
    // Less than a few tasks for each thread would leave some waiting.
    while (height > 32 && blocks(at_once) * parts < 4 * threads) height = (height + 1) / 2;
  }
  std::int64_t blocks(std::int64_t stretch) const { return (stretch + height - 1) / height; }
  std::int64_t last_height(std::int64_t stretch) const { return (stretch - 1) % height + 1; }
};

}  // namespace

Products::Primitive& Products::integers(std::int64_t rows, std::int64_t columns, std::int64_t inner) {
  const ThreadScope alone(1);
  return primitive({rows, columns, inner, columns, DType::u8, DType::i8, DType::i32, 0},
                   packed_layout(columns, inner, DType::i8), {});
}

void Products::run_w8a8(const void* x, DType x_type, const float* x_factors, std::int64_t rows,
                        const CpuConstant& weight, const Epilogue& epilogue, void* out, DType out_type) {
  const std::int64_t columns = weight.shape[0], inner = weight.shape[1];
  const Cut cut(rows, columns, inner, threads_);
  std::size_t own_scratch = 0;
  for (const std::int64_t height :
       {cut.height, cut.last_height(cut.at_once), cut.last_height((rows - 1) % cut.at_once + 1)})
    for (const std::int64_t width : {cut.width, cut.last_width})
      own_scratch = std::max(own_scratch, rounded(integers(height, width, inner).scratchpad_bytes));
  const std::size_t x_bytes = rounded(static_cast<std::size_t>(cut.at_once * inner));
  const std::size_t scale_bytes = rounded(static_cast<std::size_t>(cut.at_once) * sizeof(float));
  const std::size_t sum_bytes = rounded(static_cast<std::size_t>(cut.height * cut.width) * sizeof(std::int32_t));
  const std::size_t own_bytes = own_scratch + sum_bytes;  // each thread's
  auto* rounded_x = working_memory(x_bytes + scale_bytes + static_cast<std::size_t>(threads_) * own_bytes);
  auto* scales = reinterpret_cast<float*>(rounded_x + x_bytes);
  std::uint8_t* own = rounded_x + x_bytes + scale_bytes;
  const auto x_row = inner * static_cast<std::int64_t>(size_of(x_type));
  const auto out_element = static_cast<std::int64_t>(size_of(out_type));
  const std::size_t part_bytes = packed_layout(cut.width, inner, DType::i8).get_size();
  const FinishTask whole = finish_of(weight, epilogue, out_type);

  for (std::int64_t first = 0; first < rows; first += cut.at_once) {
    const std::int64_t some = std::min(cut.at_once, rows - first), rest = cut.last_height(some);
    const auto* from = static_cast<const std::uint8_t*>(x) + first * x_row;
    parallel_range(threads_, some, 0.1 * static_cast<double>(inner), [&](std::int64_t begin, std::int64_t end, int) {
      kernels_.quantize_rows(from + begin * x_row, element_of(x_type), x_factors, end - begin, inner,
                             rounded_x + begin * inner, scales + begin);
    });
    // Few enough for the cache of primitives to keep them all.
    Primitive* const made[2][2] = {
        {&integers(cut.height, cut.width, inner), &integers(cut.height, cut.last_width, inner)},
        {&integers(rest, cut.width, inner), &integers(rest, cut.last_width, inner)}};
    const std::int64_t blocks = cut.blocks(some);
    const double task_ns = static_cast<double>(cut.height * cut.width * inner) / 200;
    parallel_tasks(threads_, blocks * cut.parts, task_ns, [&](std::int64_t item, int thread) {
      const ThreadScope alone(1);
      // Columns outside, rows inside: the weights of a part are used for all rows before the next.
      const std::int64_t block = item % blocks, part = item / blocks, row = block * cut.height;
      const bool last_rows = block + 1 == blocks, last_part = part + 1 == cut.parts;
      std::uint8_t* scratch = own + static_cast<std::size_t>(thread) * own_bytes;
      FinishTask task = columns_of(whole, part * cut.width, last_part ? cut.last_width : cut.width);
      task.sums = scratch + own_scratch;
      task.rows = last_rows ? rest : cut.height;
      task.row_scales = scales + row;
      task.out = static_cast<std::uint8_t*>(out) + ((first + row) * columns + part * cut.width) * out_element;
      const auto* weights =
          static_cast<const std::uint8_t*>(weight.memory.data()) + static_cast<std::size_t>(part) * part_bytes;
      execute(*made[last_rows][last_part], thread, {rounded_x + row * inner, weights, {}, scratch + own_scratch},
              scratch);
      kernels_.finish_product(task);
    });
  }
}

}  // namespace paella::cpu
