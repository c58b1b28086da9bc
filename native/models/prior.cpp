#include "models/prior.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "models/affine.h"

namespace paella {

namespace {

struct BlockWeights {
  // The first product's matrix by what it multiplies: hidden state, text embedding, noise level (spec 4.4).
  Linear hidden, condition, noise;  // [inner, ·]
  ConstantPtr first_norm;           // [2·inner]: weight − 1, bias
  Linear contract;                  // [c_hidden, inner]
  ConstantPtr second_norm;          // [2·c_hidden]
};

}  // namespace

struct Prior::Weights {
  PriorConfig config;
  Linear first;  // [c_hidden, c_in]
  std::vector<BlockWeights> blocks;
  Linear last;  // [c_in, c_hidden]
};

PriorConfig PriorConfig::from_json(const Json& json, const std::string& label) {
  JsonReader reader(json, label);
  constexpr std::int64_t most = 1 << 20;
  PriorConfig config;
  config.c_in = reader.integer("c_in", 1, most);
  config.c_hidden = reader.integer("c_hidden", 1, most);
  config.c_inner = reader.integer_or("c_inner", 4 * config.c_hidden, 1, most);
  config.c_cond = reader.integer("c_cond", 1, most);
  config.c_r = reader.integer("c_r", 2, most);
  config.num_layers = reader.integer("num_layers", 1, 1000);
  config.epsilon = static_cast<float>(reader.number_or("layer_norm_epsilon", 1e-5, 1e-12, 1.0));
  reader.check_all_read();
  if (config.c_r % 2 != 0) fail(ErrorCode::model_format, label, ": c_r: expected an even number, got ", config.c_r);
  return config;
}

namespace {

using WeightsPtr = std::shared_ptr<const Prior::Weights>;

Tensor as_operand(Ops& ops, const Tensor& x) { return ops.convert(x, ops.operand_type()); }

// One product per block of one input.
class BlockTerms final : public Description {
 public:
  BlockTerms(WeightsPtr weights, const char* name, Linear BlockWeights::* product)
      : weights_(std::move(weights)), name_(name), product_(product) {}
  const char* name() const override { return name_; }

  Signature signature(DType) const override {
    Signature result;
    result.symbols = {{"count", {}}};
    const Shape& first = (weights_->blocks.front().*product_).weight->shape;
    result.inputs = {{"x", {"count", first[1]}, DType::f32}};
    for (std::size_t i = 0; i < weights_->blocks.size(); ++i)
      result.outputs.push_back({concat("block.", i), {"count", first[0]}, DType::f32});
    return result;
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    const Tensor x = as_operand(ops, inputs[0]);
    for (std::size_t i = 0; i < weights_->blocks.size(); ++i) {
      Arena::Scope scope(ops.arena());
      ops.copy(ops.linear(x, weights_->blocks[i].*product_, Activation::none, DType::f32), outputs[i]);
    }
  }

 private:
  WeightsPtr weights_;
  const char* name_;
  Linear BlockWeights::* product_;
};

class DenoisePrior final : public Description {
 public:
  explicit DenoisePrior(WeightsPtr weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "prior"; }

  Signature signature(DType) const override {
    const PriorConfig& config = weights_->config;
    const Dim rows = Dim("batch").times(2);
    Signature result;
    result.symbols = {{"batch", {}}, {"steps", {}}};
    result.inputs = {{"x", {"batch", config.c_in}, DType::f32}, {"step", {1}, DType::i32}};
    for (std::size_t i = 0; i < weights_->blocks.size(); ++i)
      result.inputs.push_back({concat("condition.", i), {rows, config.c_inner}, DType::f32});
    for (std::size_t i = 0; i < weights_->blocks.size(); ++i)
      result.inputs.push_back({concat("noise.", i), {"steps", 2 * config.c_inner}, DType::f32});
    result.outputs = {{"noise", {rows, 1, 1, config.c_in}, DType::f32}};
    return result;
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    const PriorConfig& config = weights_->config;
    const std::size_t blocks = weights_->blocks.size();
    const Tensor first = ops.linear(as_operand(ops, inputs[0]), weights_->first, Activation::none, DType::f32);
    const Tensor h = ops.repeat(first, 2);  // [2R, c_hidden]; both passes begin with the same
    for (std::size_t i = 0; i < blocks; ++i) {
      Arena::Scope scope(ops.arena());
      const BlockWeights& block = weights_->blocks[i];
      const Tensor u = ops.linear(as_operand(ops, h), block.hidden, Activation::none, DType::f32);  // [2R, c_inner]
      ops.add(u, inputs[2 + i]);
      ops.modulate(u, ops.select_row(inputs[2 + blocks + i], inputs[1]));
      const Tensor wide = ops.layer_norm(u, config.epsilon, DType::f32);
      ops.modulate(wide, ops.tensor_of(block.first_norm));
      const Tensor active = ops.activate(wide, Activation::gelu_erf, ops.operand_type());
      const Tensor narrow =
          ops.layer_norm(ops.linear(active, block.contract, Activation::none, DType::f32), config.epsilon, DType::f32);
      ops.modulate(narrow, ops.tensor_of(block.second_norm));
      ops.add(h, narrow);  // the residual comes after the second LayerNorm
    }
    const Tensor noise = ops.linear(as_operand(ops, h), weights_->last, Activation::none, DType::f32);
    ops.copy(noise.reshaped(outputs[0].shape), outputs[0]);
  }

 private:
  WeightsPtr weights_;
};

class UpdatePrior final : public Description {
 public:
  explicit UpdatePrior(std::int64_t width) : width_(width) {}
  const char* name() const override { return "prior.update"; }

  Signature signature(DType) const override {
    return {{{"x", {"batch", width_}, DType::f32},
             {"noise", {"batch", 1, 1, width_}, DType::f32},
             {"step", {1}, DType::i32},
             {"of_x", {"steps", 2 * width_}, DType::f32},
             {"of_noise", {"steps", 2 * width_}, DType::f32},
             {"normal", {"steps", "batch", width_}, DType::f32}},
            {{"next_x", {"batch", width_}, DType::f32}},
            {{"batch", {}}, {"steps", {}}}};
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    const Shape& shape = outputs[0].shape;
    const Tensor x = ops.allocate(shape, DType::f32), noise = ops.allocate(shape, DType::f32);
    ops.copy(inputs[0], x);
    ops.copy(inputs[1].reshaped(shape), noise);
    ops.modulate(x, ops.select_row(inputs[3], inputs[2]));
    ops.modulate(noise, ops.select_row(inputs[4], inputs[2]));
    ops.add(x, noise);
    ops.add(x, ops.select_row(inputs[5], inputs[2]));
    ops.copy(x, outputs[0]);
  }

 private:
  std::int64_t width_;
};

// Columns [first, first + count) of a matrix [rows, columns].
Linear columns_of(Loader& loader, const std::string& name, const std::vector<float>& matrix, std::int64_t rows,
                  std::int64_t columns, std::int64_t first, std::int64_t count) {
  std::vector<float> some;
  some.reserve(static_cast<std::size_t>(rows * count));
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto from = matrix.begin() + static_cast<std::ptrdiff_t>(row * columns + first);
    some.insert(some.end(), from, from + count);
  }
  return {loader.derived(name, some, {rows, count}, Layout::matrix), nullptr};
}

// The same as the second half of a modulation, whose first half is zeros: [2·rows, count].
Linear behind_zeros(Loader& loader, const std::string& name, const std::vector<float>& matrix, std::int64_t rows,
                    std::int64_t columns, std::int64_t first, std::int64_t count) {
  std::vector<float> both(static_cast<std::size_t>(2 * rows * count), 0.0f);
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(matrix.begin() + static_cast<std::ptrdiff_t>(row * columns + first), count,
                both.begin() + static_cast<std::ptrdiff_t>((rows + row) * count));
  return {loader.derived(name + " noise", both, {2 * rows, count}, Layout::matrix), nullptr};
}

}  // namespace

Prior::Prior(const PriorConfig& config, Loader& loader) : config_(config) {
  auto weights = std::make_shared<Weights>();
  weights->config = config;
  weights->first = loader.linear("blocks.0", config.c_hidden, config.c_in);
  const std::int64_t all = config.c_hidden + config.c_cond + config.c_r, inner = config.c_inner;
  for (std::int64_t i = 1; i <= config.num_layers; ++i) {
    const std::string prefix = concat("blocks.", i, '.');
    const std::string name = prefix + "0.weight";
    const std::vector<float> matrix = loader.host(name, {inner, all});
    BlockWeights block;
    block.hidden = columns_of(loader, name, matrix, inner, all, 0, config.c_hidden);
    block.condition = columns_of(loader, name, matrix, inner, all, config.c_hidden, config.c_cond);
    block.noise = behind_zeros(loader, name, matrix, inner, all, config.c_hidden + config.c_cond, config.c_r);
    block.first_norm = modulation_of(loader, read_affine(loader, prefix + "1", inner), prefix + "1");
    block.contract = loader.linear(prefix + "3", config.c_hidden, inner, false);
    block.second_norm = modulation_of(loader, read_affine(loader, prefix + "4", config.c_hidden), prefix + "4");
    weights->blocks.push_back(std::move(block));
  }
  weights->last = loader.linear(concat("blocks.", config.num_layers + 1), config.c_in, config.c_hidden);
  weights_ = weights;
}

std::shared_ptr<const Description> Prior::condition() const {
  return std::make_shared<BlockTerms>(weights_, "prior.condition", &BlockWeights::condition);
}
std::shared_ptr<const Description> Prior::noise() const {
  return std::make_shared<BlockTerms>(weights_, "prior.noise", &BlockWeights::noise);
}
std::shared_ptr<const Description> Prior::denoise() const { return std::make_shared<DenoisePrior>(weights_); }
std::shared_ptr<const Description> Prior::update() const { return std::make_shared<UpdatePrior>(config_.c_in); }

}  // namespace paella
