#include "models/clip.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/affine.h"

namespace paella {

namespace {

// LayerNorms with weight and bias are folded into the products behind them: W·(g⊙n + b) = (W·diag g)·n + W·b.
struct LayerWeights {
  Linear qkv;     // [3·width, width]; queries hold 1/√d
  Linear output;  // [width, width]
  Linear expand;  // [mlp_width, width]
  Linear contract;
};

// What attention adds to a score: nothing, or to a later token so much that nothing is left of it.
constexpr float masked = -1e30f;

std::vector<float> distance_bias(std::int64_t heads, std::int64_t length, bool causal) {
  std::vector<float> bias(static_cast<std::size_t>(heads * (2 * length - 1)), 0.0f);
  if (causal)
    for (std::int64_t head = 0; head < heads; ++head)
      std::fill_n(bias.begin() + static_cast<std::ptrdiff_t>(head * (2 * length - 1) + length), length - 1, masked);
  return bias;
}

LayerWeights bind_layer(Loader& loader, const ClipTowerConfig& config, const std::string& prefix) {
  const std::int64_t width = config.width;
  const Affine first = read_affine(loader, prefix + "ln_1", width);
  const Affine second = read_affine(loader, prefix + "ln_2", width);
  LayerWeights layer;
  auto qkv = loader.host(prefix + "attn.in_proj_weight", {3 * width, width});
  auto qkv_bias = loader.host(prefix + "attn.in_proj_bias", {3 * width});
  fold_before(first, qkv, qkv_bias);
  // Text attention does not scale scores: queries bring it along.
  const float scale = 1.0f / std::sqrt(static_cast<float>(width / config.heads));
  for (std::int64_t i = 0; i < width * width; ++i) qkv[static_cast<std::size_t>(i)] *= scale;
  for (std::int64_t i = 0; i < width; ++i) qkv_bias[static_cast<std::size_t>(i)] *= scale;
  layer.qkv = {loader.derived(prefix + "attn.in_proj_weight", qkv, {3 * width, width}, Layout::matrix),
               loader.derived(prefix + "attn.in_proj_bias", qkv_bias, {3 * width}, Layout::vector)};
  layer.output = loader.linear(prefix + "attn.out_proj", width, width);
  auto expand = loader.host(prefix + "mlp.c_fc.weight", {config.mlp_width, width});
  auto expand_bias = loader.host(prefix + "mlp.c_fc.bias", {config.mlp_width});
  fold_before(second, expand, expand_bias);
  layer.expand = {loader.derived(prefix + "mlp.c_fc.weight", expand, {config.mlp_width, width}, Layout::matrix),
                  loader.derived(prefix + "mlp.c_fc.bias", expand_bias, {config.mlp_width}, Layout::vector)};
  layer.contract = loader.linear(prefix + "mlp.c_proj", width, config.mlp_width);
  return layer;
}

std::vector<LayerWeights> bind_layers(Loader& loader, const ClipTowerConfig& config, const std::string& prefix) {
  std::vector<LayerWeights> layers;
  for (std::int64_t i = 0; i < config.layers; ++i)
    layers.push_back(bind_layer(loader, config, concat(prefix, "transformer.resblocks.", i, '.')));
  return layers;
}

// x·P with P [width, embed_dim] as published, behind the last LayerNorm.
Linear bind_projection(Loader& loader, const ClipTowerConfig& config, const std::string& norm,
                       const std::string& projection) {
  const Affine affine = read_affine(loader, norm, config.width);
  const auto published = loader.host(projection, {config.width, config.embed_dim});
  std::vector<float> rows(published.size()), bias(static_cast<std::size_t>(config.embed_dim), 0.0f);
  for (std::int64_t k = 0; k < config.width; ++k)
    for (std::int64_t n = 0; n < config.embed_dim; ++n)
      rows[static_cast<std::size_t>(n * config.width + k)] =
          published[static_cast<std::size_t>(k * config.embed_dim + n)];
  fold_before(affine, rows, bias);
  return {loader.derived(projection, rows, {config.embed_dim, config.width}, Layout::matrix),
          loader.derived(projection + " bias", bias, {config.embed_dim}, Layout::vector)};
}

// x [T, width] f32, in place.
void run_layers(Ops& ops, const std::vector<LayerWeights>& layers, const ClipTowerConfig& config, const Tensor& x,
                const Tensor& bias) {
  for (const LayerWeights& layer : layers) {
    Arena::Scope scope(ops.arena());
    const Tensor normalised = ops.layer_norm(x, config.epsilon, ops.operand_type());
    const Tensor qkv = ops.linear(normalised, layer.qkv, Activation::none, ops.operand_type());  // [T, 3·width]
    ops.linear_add(x, ops.text_attention(qkv, bias, static_cast<int>(config.heads)), layer.output);
    ops.mlp_add(x, ops.layer_norm(x, config.epsilon, ops.operand_type()), layer.expand, layer.contract);
  }
}

// The embedding from row `place` of x [T, width].
void project(Ops& ops, const ClipTowerConfig& config, const Linear& projection, const Tensor& x, const Tensor& place,
             const Tensor& out) {
  const Tensor row = ops.select_row(x, place).reshaped({1, config.width});
  const Tensor normalised = ops.layer_norm(row, config.epsilon, ops.operand_type());
  ops.copy(ops.linear(normalised, projection, Activation::none, DType::f32), out);
}

void read_tower(ClipTowerConfig& config, JsonReader& reader, const std::string& label) {
  constexpr std::int64_t most = 1 << 20;
  config.embed_dim = reader.integer("embed_dim", 1, most);
  config.width = reader.integer("width", 1, most);
  config.layers = reader.integer("layers", 1, 1024);
  config.heads = reader.integer("heads", 1, 1024);
  config.mlp_width = reader.integer("mlp_width", 1, most);
  config.epsilon = static_cast<float>(reader.number_or("layer_norm_epsilon", 1e-5, 1e-12, 1.0));
  if (config.width % config.heads != 0)
    fail(ErrorCode::model_format, label, ": heads: expected a divisor of the width ", config.width, ", got ",
         config.heads);
  const std::string activation = reader.string_or("hidden_act", "gelu");
  if (activation != "gelu")
    fail(ErrorCode::model_format, label, ": hidden_act: expected \"gelu\", got \"", activation, '"');
}

}  // namespace

// --- text ---

struct ClipTextEncoder::Weights {
  ClipTextConfig config;
  ConstantPtr embedding;  // [vocab, width]
  ConstantPtr positions;  // [context_length, width]
  std::vector<LayerWeights> layers;
  Linear projection;
};

namespace {

class TextNetwork final : public Description {
 public:
  explicit TextNetwork(std::shared_ptr<const ClipTextEncoder::Weights> weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "clip_text"; }

  Signature signature(DType) const override {
    const ClipTextConfig& config = weights_->config;
    return {{{"ids", {"length"}, DType::i32},
             {"positions", {"length"}, DType::i32},
             {"attention_bias", {config.heads, Dim("length").times(2).plus(-1)}, DType::f32},
             {"end", {1}, DType::i32}},
            {{"embedding", {1, config.embed_dim}, DType::f32}},
            {{"length", {}}}};
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    const Tensor x = ops.gather(weights_->embedding, inputs[0]);  // [T, width]
    ops.add(x, ops.gather(weights_->positions, inputs[1]));
    run_layers(ops, weights_->layers, weights_->config, x, inputs[2]);
    project(ops, weights_->config, weights_->projection, x, inputs[3], outputs[0]);
  }

 private:
  std::shared_ptr<const ClipTextEncoder::Weights> weights_;
};

}  // namespace

ClipTextConfig ClipTextConfig::from_json(const Json& json, const std::string& label) {
  JsonReader reader(json, label);
  ClipTextConfig config;
  read_tower(config, reader, label);
  config.context_length = reader.integer("context_length", 2, 1 << 16);
  config.vocab_size = reader.integer("vocab_size", 3, 1 << 24);
  reader.check_all_read();
  return config;
}

ClipTextEncoder::ClipTextEncoder(const ClipTextConfig& config, Loader& loader) : config_(config) {
  auto weights = std::make_shared<Weights>();
  weights->config = config;
  weights->embedding = loader.constant("token_embedding.weight", {config.vocab_size, config.width}, Layout::table_f32);
  weights->positions =
      loader.constant("positional_embedding", {config.context_length, config.width}, Layout::table_f32);
  weights->layers = bind_layers(loader, config, "");
  weights->projection = bind_projection(loader, config, "ln_final", "text_projection");
  weights_ = weights;
}

std::shared_ptr<const Description> ClipTextEncoder::network() const { return std::make_shared<TextNetwork>(weights_); }

std::vector<float> ClipTextEncoder::attention_bias(std::int64_t length) const {
  return distance_bias(config_.heads, length, true);
}

// --- image ---

struct ClipImageEncoder::Weights {
  ClipImageConfig config;
  std::int64_t patch_bytes = 0;
  Linear patches;          // [width, patch_bytes], of values from 0 to 1
  ConstantPtr positions;   // [1 + patches, width]
  ConstantPtr first_norm;  // [2·width]: weight − 1, bias
  std::vector<LayerWeights> layers;
  Linear projection;
};

namespace {

// Of CLIP's training images (spec 5.2), per colour.
constexpr float mean[] = {0.48145466f, 0.4578275f, 0.40821073f};
constexpr float deviation[] = {0.26862954f, 0.26130258f, 0.27577711f};

class ImageNetwork final : public Description {
 public:
  explicit ImageNetwork(std::shared_ptr<const ClipImageEncoder::Weights> weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "clip_image"; }

  Signature signature(DType) const override {
    const ClipImageConfig& config = weights_->config;
    const std::int64_t tokens = 1 + config.patches();
    return {{{"patches", {tokens, weights_->patch_bytes}, DType::u8},
             {"attention_bias", {config.heads, 2 * tokens - 1}, DType::f32},
             {"class_token", {1}, DType::i32}},
            {{"embedding", {1, config.embed_dim}, DType::f32}},
            {}};
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    const ClipImageConfig& config = weights_->config;
    const Tensor x = ops.linear(ops.from_pixels(inputs[0]), weights_->patches, Activation::none, DType::f32);
    ops.add(x, ops.tensor_of(weights_->positions));  // [1 + patches, width]
    const Tensor stream = ops.layer_norm(x, config.epsilon, DType::f32);
    ops.modulate(stream, ops.tensor_of(weights_->first_norm));
    run_layers(ops, weights_->layers, config, stream, inputs[1]);
    project(ops, config, weights_->projection, stream, inputs[2], outputs[0]);
  }

 private:
  std::shared_ptr<const ClipImageEncoder::Weights> weights_;
};

}  // namespace

ClipImageConfig ClipImageConfig::from_json(const Json& json, const std::string& label) {
  JsonReader reader(json, label);
  ClipImageConfig config;
  read_tower(config, reader, label);
  config.image_size = reader.integer("image_size", 1, 4096);
  config.patch_size = reader.integer("patch_size", 1, 4096);
  reader.check_all_read();
  if (config.image_size % config.patch_size != 0)
    fail(ErrorCode::model_format, label, ": patch_size: expected a divisor of the image_size ", config.image_size,
         ", got ", config.patch_size);
  return config;
}

ClipImageEncoder::ClipImageEncoder(const ClipImageConfig& config, Loader& loader) : config_(config) {
  auto weights = std::make_shared<Weights>();
  weights->config = config;
  const std::int64_t width = config.width, side = config.patch_size, bytes = patch_bytes();
  weights->patch_bytes = bytes;
  // Normalising the pixels, (p − mean) / deviation, is folded into the convolution, which has no bias of its own.
  const auto kernel = loader.host("visual.conv1.weight", {width, 3, side, side});
  std::vector<float> rows(static_cast<std::size_t>(width * bytes), 0.0f), bias(static_cast<std::size_t>(width));
  for (std::int64_t n = 0; n < width; ++n) {
    double sum = 0;
    for (std::int64_t c = 0; c < 3; ++c)
      for (std::int64_t at = 0; at < side * side; ++at) {
        const float weight = kernel[static_cast<std::size_t>((n * 3 + c) * side * side + at)] / deviation[c];
        rows[static_cast<std::size_t>(n * bytes + at * 3 + c)] = weight;
        sum -= static_cast<double>(weight) * mean[c];
      }
    bias[static_cast<std::size_t>(n)] = static_cast<float>(sum);
  }
  weights->patches = {loader.derived("visual.conv1.weight", rows, {width, bytes}, Layout::matrix_f32),
                      loader.derived("visual.conv1 bias", bias, {width}, Layout::vector)};
  // The class token is the first row: its pixels are zeros, of which the product makes the bias, which is taken off
  // here.
  auto positions = loader.host("visual.positional_embedding", {1 + config.patches(), width});
  const auto token = loader.host("visual.class_embedding", {width});
  for (std::int64_t c = 0; c < width; ++c)
    positions[static_cast<std::size_t>(c)] += token[static_cast<std::size_t>(c)] - bias[static_cast<std::size_t>(c)];
  weights->positions =
      loader.derived("visual.positional_embedding", positions, {1 + config.patches(), width}, Layout::vector);
  weights->first_norm = modulation_of(loader, read_affine(loader, "visual.ln_pre", width), "visual.ln_pre");
  weights->layers = bind_layers(loader, config, "visual.");
  weights->projection = bind_projection(loader, config, "visual.ln_post", "visual.proj");
  weights_ = weights;
}

std::shared_ptr<const Description> ClipImageEncoder::network() const {
  return std::make_shared<ImageNetwork>(weights_);
}

// A multiple of 16, for products on tensor cores.
std::int64_t ClipImageEncoder::patch_bytes() const {
  return (3 * config_.patch_size * config_.patch_size + 15) / 16 * 16;
}

std::vector<std::uint8_t> ClipImageEncoder::patches(std::span<const std::uint8_t> pixels) const {
  const std::int64_t size = config_.image_size, side = config_.patch_size, across = size / side, bytes = patch_bytes();
  expect(static_cast<std::int64_t>(pixels.size()) == size * size * 3, "clip_image: expected ", size, "×", size,
         " pixels, got ", pixels.size(), " bytes");
  std::vector<std::uint8_t> rows(static_cast<std::size_t>((1 + config_.patches()) * bytes), 0);
  for (std::int64_t patch = 0; patch < config_.patches(); ++patch)
    for (std::int64_t y = 0; y < side; ++y) {
      const std::int64_t from = ((patch / across * side + y) * size + patch % across * side) * 3;
      std::copy_n(pixels.begin() + from, side * 3, rows.begin() + (1 + patch) * bytes + y * side * 3);
    }
  return rows;
}

std::vector<float> ClipImageEncoder::attention_bias() const {
  return distance_bias(config_.heads, 1 + config_.patches(), false);
}

}  // namespace paella
