#include "cpu/products.h"

#include "core/error.h"

namespace paella::cpu {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// Enough for all shapes of a model at a few image sizes; a primitive is some hundred kilobytes of generated code.
constexpr std::size_t cached_primitives = 512;
// Row count for which oneDNN is asked how it wants weights packed. It gives the same answer for every M that it was asked
// about (1 to 4096); fixing it here makes sure that one packing serves all, and that a row has the same bits for every M.
constexpr std::int64_t packing_rows = 512;

memory::data_type onednn_type(DType type) {
  switch (type) {
    case DType::f32: return memory::data_type::f32;
    case DType::bf16: return memory::data_type::bf16;
    default: fail(ErrorCode::internal, "products: expected f32 or bf16, got ", name_of(type));
  }
}

dnnl::algorithm onednn_activation(Activation activation) {
  switch (activation) {
    case Activation::gelu_erf: return dnnl::algorithm::eltwise_gelu_erf;
    case Activation::gelu_tanh: return dnnl::algorithm::eltwise_gelu_tanh;
    case Activation::silu: return dnnl::algorithm::eltwise_swish;
    case Activation::none: break;
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

// A primitive with its arguments; addresses are set before each execution.
struct Products::Primitive {
  dnnl::matmul matmul;
  std::size_t scratchpad_bytes = 0;
  memory x, weight, bias, out, scratchpad, factor, shift;
  std::unordered_map<int, memory> arguments;
};

Products::Products(std::shared_ptr<Account> account)
    : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_), account_(std::move(account)) {}

Products::~Products() = default;

std::string Products::version() {
  const dnnl_version_t* version = dnnl_version();
  return concat(version->major, ".", version->minor, ".", version->patch);
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
      return dnnl::matmul::primitive_desc(engine_, memory::desc({packing_rows, inner}, data_type, Tag::ab),
                                          memory::desc({inner, columns}, data_type, Tag::any),
                                          memory::desc({packing_rows, columns}, data_type, Tag::ab))
          .weights_desc();
    });
  }
  return layout;
}

void Products::pack(std::span<const float> w, std::int64_t columns, std::int64_t inner, DType type,
                    const std::string& name, CpuConstant& to) {
  to.packed = packed_layout(columns, inner, type);
  to.memory = Memory(to.packed.get_size(), Use::weights, account_, "weights " + name);
  with_context("packing", packing_rows, columns, inner, [&] {
    memory from({{inner, columns}, memory::data_type::f32, Tag::ba}, engine_, writable(w.data()));
    memory packed(to.packed, engine_, to.memory.data());
    dnnl::reorder(from, packed).execute(stream_, from, packed);
    stream_.wait();
  });
}

Products::Primitive& Products::primitive(const Key& key, const CpuConstant& weight, const Epilogue& epilogue) {
  if (const auto found = cache_.find(key); found != cache_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
    return *found->second->second;
  }
  const auto& [rows, columns, inner, x_type, weight_type, out_type, kind] = key;
  auto made = std::make_unique<Primitive>();
  const memory::desc per_column({1, columns}, memory::data_type::f32, Tag::ab);
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
  const memory::desc x({rows, inner}, onednn_type(x_type), Tag::ab);
  const memory::desc out({rows, columns}, onednn_type(out_type), Tag::ab);
  const auto description =
      epilogue.bias != nullptr
          ? dnnl::matmul::primitive_desc(engine_, x, weight.packed, per_column, out, attributes)
          : dnnl::matmul::primitive_desc(engine_, x, weight.packed, out, attributes);
  made->matmul = dnnl::matmul(description);
  made->scratchpad_bytes = description.scratchpad_desc().get_size();
  made->x = memory(x, engine_, nullptr);
  made->weight = memory(weight.packed, engine_, nullptr);
  made->out = memory(out, engine_, nullptr);
  made->scratchpad = memory(description.scratchpad_desc(), engine_, nullptr);
  made->arguments = {{DNNL_ARG_SRC, made->x},
                     {DNNL_ARG_WEIGHTS, made->weight},
                     {DNNL_ARG_DST, made->out},
                     {DNNL_ARG_SCRATCHPAD, made->scratchpad}};
  if (epilogue.bias != nullptr) {
    made->bias = memory(per_column, engine_, nullptr);
    made->arguments.emplace(DNNL_ARG_BIAS, made->bias);
  }
  if (epilogue.factor != nullptr) {
    made->factor = memory(per_column, engine_, nullptr);
    made->shift = memory(per_column, engine_, nullptr);
    made->arguments.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(first_binary) | DNNL_ARG_SRC_1, made->factor);
    made->arguments.emplace(DNNL_ARG_ATTR_MULTIPLE_POST_OP(first_binary + 1) | DNNL_ARG_SRC_1, made->shift);
  }
  if (recent_.size() >= cached_primitives) {
    cache_.erase(recent_.back().first);
    recent_.pop_back();
  }
  recent_.emplace_front(key, std::move(made));
  cache_.emplace(key, recent_.begin());
  return *recent_.front().second;
}

void Products::run(const void* x, DType x_type, std::int64_t rows, const CpuConstant& weight, const Epilogue& epilogue,
                   void* out, DType out_type) {
  const std::int64_t columns = weight.shape[0], inner = weight.shape[1];
  expect(x_type == weight.dtype, "linear: expected an operand of type ", name_of(weight.dtype), ", got ",
         name_of(x_type));
  if (rows == 0) return;
  with_context("linear", rows, columns, inner, [&] {
    const Key key{rows, columns, inner, x_type, weight.dtype, out_type, kind_of(epilogue)};
    Primitive& made = primitive(key, weight, epilogue);
    made.x.set_data_handle(writable(x));
    made.weight.set_data_handle(weight.memory.data());
    made.out.set_data_handle(out);
    made.scratchpad.set_data_handle(scratchpad(made.scratchpad_bytes));
    if (epilogue.bias != nullptr) made.bias.set_data_handle(writable(epilogue.bias));
    if (epilogue.factor != nullptr) {
      made.factor.set_data_handle(writable(epilogue.factor));
      made.shift.set_data_handle(writable(epilogue.shift));
    }
    made.matmul.execute(stream_, made.arguments);
  });
}

void Products::run_plain(const float* x, const float* w, std::int64_t rows, std::int64_t inner, std::int64_t columns,
                         float* out) {
  if (rows == 0) return;
  with_context("host_product", rows, columns, inner, [&] {
    const auto f32 = memory::data_type::f32;
    memory from({{rows, inner}, f32, Tag::ab}, engine_, writable(x));
    memory weight({{inner, columns}, f32, Tag::ba}, engine_, writable(w));
    memory to({{rows, columns}, f32, Tag::ab}, engine_, out);
    dnnl::matmul(dnnl::matmul::primitive_desc(engine_, from.get_desc(), weight.get_desc(), to.get_desc()))
        .execute(stream_, {{DNNL_ARG_SRC, from}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, to}});
    stream_.wait();
  });
}

}  // namespace paella::cpu
