#include "core/error.h"
#include "onnx/onnx_ops.h"

namespace paella::onnx {

namespace {

const Attributes first_axis = {{"axis", std::int64_t{0}}};
const Attributes last_axis = {{"axis", std::int64_t{-1}}};

}  // namespace

void OnnxOps::do_gather(const Constant& table, const Tensor& indices, const Tensor& out) {
  const Value at = values_.read(indices);
  const Weight rows = weight(table);
  Dims dims = at.dims;
  dims.emplace_back(table.shape[1]);
  store(out, graph_.node("Gather", {rows.name, at.name}, first_axis), rows.type, dims);
}

void OnnxOps::do_gather_patches(std::span<const ConstantPtr, 4> tables, const Constant& bias, const Tensor& tokens,
                                const Tensor& out) {
  const Value at = values_.read(tokens);
  std::string sum = weight(bias).name;
  for (std::int64_t s = 0; s < 4; ++s) {
    // Every second token of every second line, from (dy, dx); more than there are is up to the end.
    constexpr std::int64_t end = std::int64_t{1} << 31;
    const std::string part =
        graph_.node("Slice", {at.name, graph_.integers({s / 2, s % 2}), graph_.integers({end, end}),
                              graph_.integers({1, 2}), graph_.integers({2, 2})});
    const Weight table = weight(*tables[static_cast<std::size_t>(s)]);
    const std::string rows = graph_.node("Gather", {table.name, part}, first_axis);
    sum = binary("Add", sum, cast(rows, table.type, DType::f32));
  }
  store(out, sum, DType::f32,
        {at.dims[0], at.dims[1].divided_by(2), at.dims[2].divided_by(2), Dim(tables[0]->shape[1])});
}

void OnnxOps::do_modulate(const Tensor& x, const Tensor& modulation) {
  const Value from = values_.read(x);
  const auto halves = graph_.nodes("Split", {values_.read(modulation).name}, 2,
                                   {{"axis", std::int64_t{0}}, {"num_outputs", std::int64_t{2}}});
  const std::string factor = binary("Add", halves[0], graph_.scalar(1.0f));
  store(x, binary("Add", binary("Mul", from.name, factor), halves[1]), DType::f32, from.dims);
}

// A place for it, as for what is computed.
Tensor OnnxOps::do_tensor_of(const Constant& constant) {
  const Tensor place = allocate(constant.shape, DType::f32);
  if (measuring()) return place;
  const Weight values = weight(constant);
  Dims dims;
  for (int axis = 0; axis < constant.shape.rank(); ++axis) dims.emplace_back(constant.shape[axis]);
  store(place, values.name, values.type, dims);
  return place;
}

void OnnxOps::do_scale_rows(const Tensor& x, const Tensor& weights, std::int64_t first) {
  const Value from = values_.read(x);
  const std::int64_t columns = x.shape[1];
  const auto columns_of = [&](std::int64_t begin, std::int64_t end) {
    return graph_.node("Slice", {from.name, graph_.integers({begin}), graph_.integers({end}), graph_.integers({-1})});
  };
  const std::string factors = graph_.node("Unsqueeze", {values_.read(weights).name, graph_.integers({1})});  // [S, 1]
  const std::string scaled =
      cast(binary("Mul", cast(columns_of(first, columns), from.type, DType::f32), factors), DType::f32, from.type);
  store(x, first == 0 ? scaled : graph_.node("Concat", {columns_of(0, first), scaled}, last_axis), from.type,
        from.dims);
}

void OnnxOps::do_gated(const Tensor& x, Activation activation, const Tensor& out) {
  const Value from = values_.read(x);
  const auto halves = graph_.nodes("Split", {cast(from.name, from.type, DType::f32)}, 2,
                                   {{"axis", std::int64_t{-1}}, {"num_outputs", std::int64_t{2}}});
  Dims dims = from.dims;
  dims.back() = dims.back().divided_by(2);
  store(out, binary("Mul", activated(halves[0], activation), halves[1]), DType::f32, dims);
}

void OnnxOps::do_activate(const Tensor& x, Activation activation, const Tensor& out) {
  const Value from = values_.read(x);
  store(out, activated(from.name, activation), DType::f32, from.dims);
}

void OnnxOps::do_add(const Tensor& x, const Tensor& y) {
  const Value a = values_.read(x), b = values_.read(y);
  expect(a.dims == b.dims, "recording: add: expected equal sizes, got ", text_of(a.dims), " and ", text_of(b.dims));
  store(x, binary("Add", a.name, b.name), DType::f32, a.dims);
}

void OnnxOps::do_columns(const Tensor& x, std::int64_t first, const Tensor& out) {
  const Value from = values_.read(x);
  Dims dims = from.dims;
  expect(dims.back().constant(), "recording: columns of ", text_of(dims), " depend on its last size");
  dims.back() = Dim(out.shape[-1]);
  store(out,
        graph_.node("Slice", {from.name, graph_.integers({first}), graph_.integers({first + out.shape[-1]}),
                              graph_.integers({-1})}),
        from.type, dims);
}

void OnnxOps::do_repeat(const Tensor& x, const Tensor& out) {
  const Value from = values_.read(x);
  Dims dims = from.dims;
  // How often is a number, unless the network has a size for the result: a multiple of this one, or, where this one is
  // a number, whatever has the result's size while recording.
  for (const auto& [name, rule] : signature_.symbols) {
    const bool fits = dims[0].constant() ? rule.multiple_of.empty() : Dim(rule.multiple_of) == dims[0];
    if (!fits || sizes_.at(name) != out.shape[0]) continue;
    dims[0] = Dim(name);
    break;
  }
  if (dims[0] != from.dims[0]) {
    store(out, for_rows(from.name, from.dims[0], dims[0]), from.type, dims);
    return;
  }
  const std::int64_t times = x.shape[0] == 0 ? 1 : out.shape[0] / x.shape[0];
  std::vector<std::int64_t> repeats(dims.size(), 1);
  repeats[0] = times;
  dims[0] = dims[0].times(times);
  store(out, graph_.node("Tile", {from.name, graph_.integers(repeats)}), from.type, dims);
}

void OnnxOps::do_copy(const Tensor& from, const Tensor& to) {
  const Value value = values_.read(from);
  store(to, value.name, value.type, value.dims);
}

void OnnxOps::do_select_row(const Tensor& table, const Tensor& row, const Tensor& out) {
  if (out.elements() == 0) return;
  const Value rows = values_.read(table);
  const std::string chosen = graph_.node("Gather", {rows.name, values_.read(row).name}, first_axis);  // [1, …]
  store(out, graph_.node("Squeeze", {chosen, graph_.integers({0})}), rows.type,
        {rows.dims.begin() + 1, rows.dims.end()});
}

void OnnxOps::do_to_pixels(const Tensor& x, const Tensor& out) {
  const Value from = values_.read(x);
  const std::string clipped = graph_.node("Clip", {from.name, graph_.scalar(0.0f), graph_.scalar(1.0f)});
  const std::string known = graph_.node("Where", {graph_.node("IsNaN", {from.name}), graph_.scalar(0.0f), clipped});
  // Round is half to even.
  store(out, graph_.node("Round", {binary("Mul", known, graph_.scalar(255.0f))}), DType::f32, from.dims);
}

void OnnxOps::do_from_pixels(const Tensor& x, const Tensor& out) {
  const Value from = values_.read(x);
  store(out, binary("Div", cast(from.name, DType::u8, DType::f32), graph_.scalar(255.0f)), DType::f32, from.dims);
}

// Differences are summed as they are, channel by channel: |x|² − 2·x·c + |c|² would lose what tells close codes apart.
void OnnxOps::do_nearest_code(const Tensor& x, const Constant& codebook, const Tensor& out) {
  const Value from = values_.read(x);
  const std::string codes = weight(codebook).name;
  const auto column = [&](const std::string& value, std::int64_t c) {
    return graph_.node("Slice", {value, graph_.integers({c}), graph_.integers({c + 1}), graph_.integers({-1})});
  };
  std::string distance;
  for (std::int64_t c = 0; c < codebook.shape[1]; ++c) {
    const std::string code = graph_.node("Squeeze", {column(codes, c), graph_.integers({-1})});  // [V]
    const std::string difference = binary("Sub", code, column(from.name, c));                    // [B, H, W, V]
    const std::string square = binary("Mul", difference, difference);
    distance = distance.empty() ? square : binary("Add", distance, square);
  }
  const std::string nearest =
      graph_.node("ArgMin", {distance}, {{"axis", std::int64_t{-1}}, {"keepdims", std::int64_t{0}}});
  store(out, nearest, DType::i64, {from.dims.begin(), from.dims.end() - 1});
}

}  // namespace paella::onnx
