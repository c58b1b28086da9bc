#include "models/byt5.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace paella {

namespace {

struct LayerWeights {
  ConstantPtr attention_norm;  // [d_model]
  Linear qkv;                  // [3·inner, d_model]
  Linear output;               // [d_model, inner]
  ConstantPtr mlp_norm;        // [d_model]
  Linear wi;                   // [2·d_ff, d_model]: wi_0 (activated), then wi_1
  Linear wo;                   // [d_model, d_ff]
};

}  // namespace

struct Byt5Encoder::Weights {
  Byt5Config config;
  ConstantPtr embedding;               // [vocab, d_model]
  std::vector<float> relative_biases;  // [buckets, heads]
  std::vector<LayerWeights> layers;
  ConstantPtr final_norm;
};

Byt5Config Byt5Config::from_json(const Json& json, const std::string& label) {
  JsonReader reader(json, label);
  constexpr std::int64_t most = 1 << 20;
  Byt5Config config;
  config.d_model = reader.integer("d_model", 1, most);
  config.d_kv = reader.integer("d_kv", 1, most);
  config.d_ff = reader.integer("d_ff", 1, most);
  config.num_layers = reader.integer("num_layers", 1, 1024);
  config.num_heads = reader.integer("num_heads", 1, 1024);
  config.vocab_size = reader.integer("vocab_size", 259, most);
  config.relative_buckets = reader.integer_or("relative_attention_num_buckets", 32, 4, 4096);
  config.relative_max_distance = reader.integer_or("relative_attention_max_distance", 128, 8, most);
  config.epsilon = static_cast<float>(reader.number_or("layer_norm_epsilon", 1e-6, 1e-12, 1.0));
  // transformers writes dozens of further entries; those that would change the result are checked, the rest is theirs.
  if (reader.has("feed_forward_proj") && reader.string("feed_forward_proj") != "gated-gelu")
    fail(ErrorCode::model_format, label, ": feed_forward_proj: expected \"gated-gelu\" (T5 v1.1), got ",
         describe(*json.find("feed_forward_proj")));
  return config;
}

std::int64_t relative_bucket(std::int64_t distance, std::int64_t buckets, std::int64_t max_distance) {
  const std::int64_t half = buckets / 2;
  const std::int64_t base = distance > 0 ? half : 0;
  const std::int64_t n = std::abs(distance);
  const std::int64_t exact = half / 2;
  if (n < exact) return base + n;
  // fp32, as in the reference: the logarithm falls on whole numbers at powers of the ratio.
  const float position = std::log(static_cast<float>(n) / static_cast<float>(exact)) /
                         static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact))) *
                         static_cast<float>(half - exact);
  return base + std::min(half - 1, exact + static_cast<std::int64_t>(position));
}

namespace {

class EncoderNetwork final : public Description {
 public:
  explicit EncoderNetwork(std::shared_ptr<const Byt5Encoder::Weights> weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "byt5"; }

  Signature signature(DType) const override {
    const Byt5Config& config = weights_->config;
    return {{{"ids", {"length"}, DType::i32},
             {"position_bias", {config.num_heads, Dim("length").times(2).plus(-1)}, DType::f32}},
            {{"states", {"length", config.d_model}, DType::f32}},
            {{"length", {}}}};
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    const Byt5Config& config = weights_->config;
    const int heads = static_cast<int>(config.num_heads);
    const Tensor x = ops.gather(weights_->embedding, inputs[0]);  // [T, d_model]
    for (const LayerWeights& layer : weights_->layers) {
      Arena::Scope scope(ops.arena());
      const Tensor normalised = ops.rms_norm(x, layer.attention_norm, config.epsilon, ops.operand_type());
      const Tensor qkv = ops.linear(normalised, layer.qkv, Activation::none, ops.operand_type());  // [T, 3·inner]
      ops.linear_add(x, ops.text_attention(qkv, inputs[1], heads), layer.output);
      const Tensor mlp_input = ops.rms_norm(x, layer.mlp_norm, config.epsilon, ops.operand_type());
      const Tensor both = ops.linear(mlp_input, layer.wi, Activation::none, DType::f32);  // [T, 2·d_ff]
      ops.linear_add(x, ops.gated(both, Activation::gelu_tanh), layer.wo);
    }
    ops.copy(ops.rms_norm(x, weights_->final_norm, config.epsilon, DType::f32), outputs[0]);
  }

 private:
  std::shared_ptr<const Byt5Encoder::Weights> weights_;
};

}  // namespace

Byt5Encoder::Byt5Encoder(const Byt5Config& config, Loader& loader) : config_(config) {
  auto weights = std::make_shared<Weights>();
  weights->config = config;
  const std::int64_t d = config.d_model, inner = config.num_heads * config.d_kv;
  weights->embedding = loader.constant("shared.weight", {config.vocab_size, d}, Layout::table_f32);
  loader.skip("encoder.embed_tokens.weight", {config.vocab_size, d});  // an alias in some files
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    const std::string attention = concat("encoder.block.", i, ".layer.0.");
    const std::string mlp = concat("encoder.block.", i, ".layer.1.");
    if (i == 0)
      weights->relative_biases = loader.host(attention + "SelfAttention.relative_attention_bias.weight",
                                             {config.relative_buckets, config.num_heads});
    LayerWeights layer;
    layer.attention_norm = loader.constant(attention + "layer_norm.weight", {d}, Layout::vector);
    layer.qkv = loader.stacked({attention + "SelfAttention.q.weight", attention + "SelfAttention.k.weight",
                                attention + "SelfAttention.v.weight"},
                               inner, d);
    layer.output = loader.linear(attention + "SelfAttention.o", d, inner, false);
    layer.mlp_norm = loader.constant(mlp + "layer_norm.weight", {d}, Layout::vector);
    layer.wi = loader.stacked({mlp + "DenseReluDense.wi_0.weight", mlp + "DenseReluDense.wi_1.weight"}, config.d_ff, d);
    layer.wo = loader.linear(mlp + "DenseReluDense.wo", d, config.d_ff, false);
    weights->layers.push_back(std::move(layer));
  }
  weights->final_norm = loader.constant("encoder.final_layer_norm.weight", {d}, Layout::vector);
  weights_ = weights;
}

std::shared_ptr<const Description> Byt5Encoder::network() const { return std::make_shared<EncoderNetwork>(weights_); }

const std::vector<float>& Byt5Encoder::relative_biases() const { return weights_->relative_biases; }

std::vector<float> Byt5Encoder::position_bias(std::int64_t length) const {
  std::vector<float> bias(static_cast<std::size_t>(config_.num_heads * (2 * length - 1)));
  for (std::int64_t distance = 1 - length; distance < length; ++distance) {
    const std::int64_t bucket = relative_bucket(distance, config_.relative_buckets, config_.relative_max_distance);
    for (std::int64_t head = 0; head < config_.num_heads; ++head)
      bias[static_cast<std::size_t>(head * (2 * length - 1) + length - 1 + distance)] =
          weights_->relative_biases[static_cast<std::size_t>(bucket * config_.num_heads + head)];
  }
  return bias;
}

}  // namespace paella
