#include "cpu/products.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "cpu/parallel.h"

namespace paella::cpu {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// Enough for all shapes of a model at a few image sizes; a primitive is some hundred kilobytes of generated code.
constexpr std::size_t cached_primitives = 512;
// Row count for which oneDNN is asked how it wants weights packed. It gives the same answer for every M that it was
// asked about (1 to 4096); fixing it here makes sure that one packing serves all, and that a row has the same bits for
// every M.
constexpr std::int64_t packing_rows = 512;

// Rows of a piece in steady mode: all rows of such a piece get the same arithmetic on AVX2 and SSE4.1 (a multiple of 16
// and 24, their kernels' heights), and it is tall enough for full speed.
constexpr std::int64_t steady_rows = 48;

// Columns of a piece: enough pieces for many threads, none too narrow.
std::int64_t steady_width(std::int64_t columns) {
  return std::min(columns, std::clamp<std::int64_t>((columns / 8 + 15) / 16 * 16, 64, 512));
}

memory::data_type onednn_type(DType type) {
  switch (type) {
    case DType::f32:
      return memory::data_type::f32;
    case DType::bf16:
      return memory::data_type::bf16;
    case DType::i8:
      return memory::data_type::s8;
    case DType::u8:
      return memory::data_type::u8;
    case DType::i32:
      return memory::data_type::s32;
    default:
      fail(ErrorCode::internal, "products: expected f32, bf16, i8, u8 or i32, got ", name_of(type));
  }
}

dnnl::algorithm onednn_activation(Activation activation) {
  switch (activation) {
    case Activation::gelu_erf:
      return dnnl::algorithm::eltwise_gelu_erf;
    case Activation::gelu_tanh:
      return dnnl::algorithm::eltwise_gelu_tanh;
    case Activation::silu:
      return dnnl::algorithm::eltwise_swish;
    case Activation::none:
      break;
  }
  return dnnl::algorithm::undef;
}

int kind_of(const Epilogue& epilogue) {
  return (epilogue.bias != nullptr ? 1 : 0) | (epilogue.accumulate ? 2 : 0) | (epilogue.factor != nullptr ? 4 : 0) |
         (static_cast<int>(epilogue.activation) << 3);
}

// oneDNN's errors name neither shape nor type.
template <typename Body>
auto with_context(const char* what, std::int64_t rows, std::int64_t columns, std::int64_t inner, const Body& body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    const bool memory = error.status == dnnl_out_of_memory;
    fail(memory ? ErrorCode::out_of_memory : ErrorCode::internal, what, " [", rows, ", ", inner, "] × [", inner, ", ",
         columns, "]: oneDNN: ", error.what());
  }
}

void* writable(const void* data) { return const_cast<void*>(data); }

}  // namespace

Products::Products(int threads, std::shared_ptr<Account> account, const Kernels& kernels)
    : engine_(dnnl::engine::kind::cpu, 0), threads_(threads), account_(std::move(account)), kernels_(kernels) {
  for (int thread = 0; thread < threads; ++thread) streams_.emplace_back(engine_);
  const ThreadScope scope(threads);
  const auto f32 = memory::data_type::f32;
  const dnnl::matmul::primitive_desc sample(engine_, memory::desc({packing_rows, 512}, f32, Tag::ab),
                                            memory::desc({512, 512}, f32, Tag::any),
                                            memory::desc({packing_rows, 512}, f32, Tag::ab));
  steady_ = std::string(sample.impl_info_str()).rfind("brg:avx512", 0) != 0;
}

Products::~Products() = default;

std::string Products::version() {
  const dnnl_version_t* version = dnnl_version();
  return concat(version->major, ".", version->minor, ".", version->patch);
}

bool Products::has_bf16() {
  const int needed = static_cast<int>(dnnl::cpu_isa::avx512_core_bf16);
  return (static_cast<int>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

bool Products::has_int8() {
  const int needed = static_cast<int>(dnnl::cpu_isa::avx512_core_vnni);
  return (static_cast<int>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

void* Products::scratchpad(std::size_t bytes) {
  if (bytes > scratchpad_.bytes()) {
    scratchpad_.reset();
    scratchpad_ = Memory(bytes, Use::activations, account_, "matrix products");
  }
  return scratchpad_.data();
}

const memory::desc& Products::packed_layout(std::int64_t columns, std::int64_t inner, DType type) {
  memory::desc& layout = layouts_[{columns, inner, type}];
  if (layout.is_zero()) {
    const auto data_type = onednn_type(type);
    layout = with_context("packing", packing_rows, columns, inner, [&] {
      const bool integers = type == DType::i8;
      if (steady_ && !integers) return memory::desc({inner, columns}, data_type, Tag::ab);
      const auto x_type = integers ? memory::data_type::u8 : data_type;
      const auto sum_type = integers ? memory::data_type::s32 : data_type;
      return dnnl::matmul::primitive_desc(engine_, memory::desc({packing_rows, inner}, x_type, Tag::ab),
                                          memory::desc({inner, columns}, data_type, Tag::any),
                                          memory::desc({packing_rows, columns}, sum_type, Tag::ab))
          .weights_desc();
    });
  }
  return layout;
}

void Products::pack(std::span<const float> w, std::int64_t columns, std::int64_t inner, DType type,
                    const std::string& name, CpuConstant& to) {
  to.packed = packed_layout(columns, inner, type);
  to.memory = Memory(to.packed.get_size(), Use::weights, account_, "weights " + name);
  pack_into(w, columns, inner, type, to.memory.data());
}

void Products::pack_into(std::span<const float> w, std::int64_t columns, std::int64_t inner, DType type, void* to) {
  const memory::desc& layout = packed_layout(columns, inner, type);
  with_context("packing", packing_rows, columns, inner, [&] {
    // In steady mode the pieces' columns lie one after another, each piece [K, width] by itself.
    const bool pieces = steady_ && type != DType::i8;
    const std::int64_t width = pieces ? steady_width(columns) : columns;
    for (std::int64_t column = 0; column < columns; column += width) {
      const std::int64_t some = std::min(width, columns - column);
      memory from({{inner, some}, memory::data_type::f32, Tag::ba}, engine_, writable(w.data() + column * inner));
      memory packed(pieces ? memory::desc({inner, some}, onednn_type(type), Tag::ab) : layout, engine_,
                    static_cast<std::uint8_t*>(to) + static_cast<std::size_t>(column * inner) * size_of(type));
      dnnl::reorder(from, packed).execute(streams_[0], from, packed);
      streams_[0].wait();
    }
  });
}

std::unique_ptr<Products::Primitive> Products::make(const Spec& spec, const memory::desc& weight,
                                                    const Epilogue& epilogue) {
  auto made = std::make_unique<Primitive>();
  const memory::desc per_column({1, spec.columns}, memory::data_type::f32, Tag::ab);
  dnnl::post_ops steps;
  if (epilogue.activation != Activation::none) {
    const float alpha = epilogue.activation == Activation::silu ? 1.0f : 0.0f;
    steps.append_eltwise(onednn_activation(epilogue.activation), alpha, 0.0f);
  }
  if (epilogue.accumulate) steps.append_sum(1.0f);
  const int first_binary = steps.len();
  if (epilogue.factor != nullptr) {
    steps.append_binary(dnnl::algorithm::binary_mul, per_column);
    steps.append_binary(dnnl::algorithm::binary_add, per_column);
  }
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(steps);
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const memory::desc x({spec.rows, spec.inner}, onednn_type(spec.x_type), Tag::ab);
  const memory::desc out({spec.rows, spec.columns}, onednn_type(spec.out_type), memory::dims{spec.out_stride, 1});
  const auto description = epilogue.bias != nullptr
                               ? dnnl::matmul::primitive_desc(engine_, x, weight, per_column, out, attributes)
                               : dnnl::matmul::primitive_desc(engine_, x, weight, out, attributes);
  made->matmul = dnnl::matmul(description);
  made->scratchpad_bytes = description.scratchpad_desc().get_size();
  const bool by_each_thread = steady_ || spec.weight_type == DType::i8;
  made->arguments.resize(by_each_thread ? streams_.size() : 1);
  for (Primitive::Arguments& arguments : made->arguments) {
    arguments.x = memory(x, engine_, nullptr);
    arguments.weight = memory(weight, engine_, nullptr);
    arguments.out = memory(out, engine_, nullptr);
    arguments.scratchpad = memory(description.scratchpad_desc(), engine_, nullptr);
    arguments.all = {{DNNL_ARG_SRC, arguments.x},
                     {DNNL_ARG_WEIGHTS, arguments.weight},
                     {DNNL_ARG_DST, arguments.out},
                     {DNNL_ARG_SCRATCHPAD, arguments.scratchpad}};
    if (epilogue.bias != nullptr) {
      arguments.bias = memory(per_column, engine_, nullptr);
      arguments.all.emplace(DNNL_ARG_BIAS, arguments.bias);
    }
    if (epilogue.factor != nullptr) {
      arguments.factor = memory(per_column, engine_, nullptr);
      arguments.shift = memory(per_column, engine_, nullptr);
      arguments.all.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(first_binary) | DNNL_ARG_SRC_1, arguments.factor);
      arguments.all.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(first_binary + 1) | DNNL_ARG_SRC_1, arguments.shift);
    }
  }
  return made;
}

Products::Primitive& Products::primitive(const Spec& spec, const memory::desc& weight, const Epilogue& epilogue) {
  if (const auto found = cache_.find(spec); found != cache_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    return *found->second->second;
  }
  auto made = make(spec, weight, epilogue);
  if (recent_.size() >= cached_primitives) {
    cache_.erase(recent_.back().first);
    recent_.pop_back();
  }
  recent_.emplace_front(spec, std::move(made));
  cache_.emplace(spec, recent_.begin());
  return *recent_.front().second;
}

void Products::execute(Primitive& primitive, int thread, const Addresses& at, void* scratchpad) {
  Primitive::Arguments& arguments = primitive.arguments[static_cast<std::size_t>(thread)];
  arguments.x.set_data_handle(writable(at.x));
  arguments.weight.set_data_handle(writable(at.weight));
  arguments.out.set_data_handle(at.out);
  arguments.scratchpad.set_data_handle(scratchpad);
  if (at.epilogue.bias != nullptr) arguments.bias.set_data_handle(writable(at.epilogue.bias));
  if (at.epilogue.factor != nullptr) {
    arguments.factor.set_data_handle(writable(at.epilogue.factor));
    arguments.shift.set_data_handle(writable(at.epilogue.shift));
  }
  primitive.matmul.execute(streams_[static_cast<std::size_t>(thread)], arguments.all);
}

void Products::run(const void* x, DType x_type, std::int64_t rows, const CpuConstant& weight, const Epilogue& epilogue,
                   void* out, DType out_type, const float* x_factors) {
  expect(x_type == weight.dtype, "linear: expected an operand of type ", name_of(weight.dtype), ", got ",
         name_of(x_type));
  if (rows == 0) return;
  if (weight.layout == Layout::matrix_w8) return run_w8(x, x_type, rows, weight, epilogue, out, out_type);
  if (weight.layout == Layout::matrix_w8a8)
    return with_context("linear", rows, weight.shape[0], weight.shape[1],
                        [&] { run_w8a8(x, x_type, x_factors, rows, weight, epilogue, out, out_type); });
  expect(x_factors == nullptr, "linear: factors of x are for products of 8 bits");
  run_packed(x, x_type, rows, {weight.shape[0], weight.shape[1], weight.dtype, weight.packed, weight.memory.data()},
             epilogue, out, out_type);
}

void Products::run_packed(const void* x, DType x_type, std::int64_t rows, const Packed& weight,
                          const Epilogue& epilogue, void* out, DType out_type) {
  with_context("linear", rows, weight.columns, weight.inner, [&] {
    const Spec spec{rows,   weight.columns, weight.inner, weight.columns,
                    x_type, weight.dtype,   out_type,     kind_of(epilogue)};
    const Addresses at{x, weight.data, epilogue, out};
    if (steady_) return run_steady(spec, weight, at);
    Primitive& made = primitive(spec, weight.layout, epilogue);
    execute(made, 0, at, scratchpad(made.scratchpad_bytes));
  });
}

// Pieces of `steady_rows` rows and a width that depends only on the weights. The last rows are done in a copy that is
// filled up, so that there is one shape of piece per width.
void Products::run_steady(const Spec& whole, const Packed& weight, const Addresses& at) {
  const std::int64_t width = steady_width(whole.columns);
  const std::int64_t parts = (whole.columns + width - 1) / width, blocks = (whole.rows + steady_rows - 1) / steady_rows;
  const std::int64_t last_width = whole.columns - (parts - 1) * width, last_rows = whole.rows % steady_rows;
  const auto x_bytes = static_cast<std::int64_t>(size_of(whole.x_type)), w_bytes = x_bytes;
  const auto out_bytes = static_cast<std::int64_t>(size_of(whole.out_type));
  const std::int64_t x_row = whole.inner * x_bytes, out_row = whole.columns * out_bytes;

  // A factor per column is not fused here: on columns of a wider matrix oneDNN falls back to its reference code.
  Epilogue fused = at.epilogue;
  fused.factor = fused.shift = nullptr;
  const auto piece = [&](std::int64_t columns) -> Primitive& {
    const ThreadScope alone(1);
    Spec spec = whole;
    spec.rows = steady_rows;
    spec.columns = columns;
    spec.epilogue = kind_of(fused);
    const memory::desc layout({whole.inner, columns}, onednn_type(weight.dtype), Tag::ab);
    return primitive(spec, layout, fused);
  };
  Primitive& first = piece(width);
  Primitive& last = piece(last_width);
  expect(at.epilogue.factor == nullptr || whole.out_type == DType::f32, "linear: expected a result of type f32");
  const auto rounded = [](std::size_t bytes) { return (bytes + 63) / 64 * 64; };
  const std::size_t per_thread = rounded(std::max(first.scratchpad_bytes, last.scratchpad_bytes));
  const std::size_t x_copy = rounded(static_cast<std::size_t>(steady_rows * x_row));
  const std::size_t out_copy = rounded(static_cast<std::size_t>(steady_rows * out_row));
  auto* memory =
      static_cast<std::uint8_t*>(scratchpad(per_thread * streams_.size() + (last_rows > 0 ? x_copy + out_copy : 0)));
  std::uint8_t* x_filled = memory + per_thread * streams_.size();
  std::uint8_t* out_filled = x_filled + x_copy;
  const auto* x = static_cast<const std::uint8_t*>(at.x);
  auto* out = static_cast<std::uint8_t*>(at.out);
  const std::int64_t whole_rows = whole.rows - last_rows;
  if (last_rows > 0) {
    std::memcpy(x_filled, x + whole_rows * x_row, static_cast<std::size_t>(last_rows * x_row));
    std::memset(x_filled + last_rows * x_row, 0, static_cast<std::size_t>((steady_rows - last_rows) * x_row));
    std::memset(out_filled, 0, static_cast<std::size_t>(steady_rows * out_row));
    if (at.epilogue.accumulate)
      std::memcpy(out_filled, out + whole_rows * out_row, static_cast<std::size_t>(last_rows * out_row));
  }
  const double piece_ns = static_cast<double>(steady_rows * width * whole.inner) / 40;
  parallel_tasks(threads_, blocks * parts, piece_ns, [&](std::int64_t item, int thread) {
    const ThreadScope alone(1);
    // Columns outside, rows inside: a piece's weights stay in cache for all rows.
    const std::int64_t block = item % blocks, part = item / blocks, column = part * width;
    const bool filled = (block + 1) * steady_rows > whole.rows;
    const std::int64_t columns = part + 1 < parts ? width : last_width;
    Addresses here{nullptr, nullptr, fused, nullptr};
    here.x = filled ? x_filled : x + block * steady_rows * x_row;
    here.weight = static_cast<const std::uint8_t*>(at.weight) + column * whole.inner * w_bytes;
    here.out = (filled ? out_filled : out + block * steady_rows * out_row) + column * out_bytes;
    if (fused.bias != nullptr) here.epilogue.bias += column;
    execute(part + 1 < parts ? first : last, thread, here, memory + static_cast<std::size_t>(thread) * per_thread);
    if (at.epilogue.factor == nullptr) return;
    auto* row = static_cast<float*>(here.out);
    for (std::int64_t i = 0; i < steady_rows; ++i, row += whole.columns)
      for (std::int64_t c = 0; c < columns; ++c)
        row[c] = row[c] * at.epilogue.factor[column + c] + at.epilogue.shift[column + c];
  });
  if (last_rows > 0) std::memcpy(out + whole_rows * out_row, out_filled, static_cast<std::size_t>(last_rows * out_row));
}

void Products::run_plain(const float* x, const float* w, std::int64_t rows, std::int64_t inner, std::int64_t columns,
                         float* out) {
  if (rows == 0) return;
  with_context("host_product", rows, columns, inner, [&] {
    std::optional<ThreadScope> alone;
    if (steady_) alone.emplace(1);
    const auto f32 = memory::data_type::f32;
    memory from({{rows, inner}, f32, Tag::ab}, engine_, writable(x));
    memory weight({{inner, columns}, f32, Tag::ba}, engine_, writable(w));
    memory to({{rows, columns}, f32, Tag::ab}, engine_, out);
    dnnl::matmul(dnnl::matmul::primitive_desc(engine_, from.get_desc(), weight.get_desc(), to.get_desc()))
        .execute(streams_[0], {{DNNL_ARG_SRC, from}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, to}});
    streams_[0].wait();
  });
}

}  // namespace paella::cpu
