#include "models/unet.h"

#include <cmath>
#include <optional>

#include "core/error.h"

namespace paella {

namespace {

// Every LayerNorm of the network: over channels, no affine.
constexpr float epsilon = 1e-6f;

struct ResBlockWeights {
  ConstantPtr depthwise;       // [c, 1, 3, 3], or [c, 2, 3, 3] where a skip joins
  ConstantPtr depthwise_bias;  // [c]
  bool takes_skip = false;
  ResBlockTail tail;
};

struct AttentionWeights {
  Linear in_proj;    // [3c, c]: Q, K, V
  Linear out_proj;   // [c, c]
  Linear kv_mapper;  // [c, c_cond]
  std::int64_t width = 0;
  int heads = 0;
};

// One letter of level_config.
struct Block {
  char kind = 'C';
  std::size_t index = 0;           // into Weights::res_blocks or Weights::attentions
  std::int64_t modulation_at = 0;  // 'T': where its scale and shift begin in the modulation row
};

struct Stage {
  std::int64_t width = 0;
  Linear resample;  // down: 2×2 stride-2 convolution before the blocks; up: transposed convolution after them
  std::vector<Block> blocks;
};

}  // namespace

struct Unet::Weights {
  UnetConfig config;
  std::array<ConstantPtr, 4> patch_tables;  // [V, c_hidden[0]]; spec 1.8.5
  ConstantPtr patch_bias;                   // [c_hidden[0]]
  Linear byt5_mapper, clip_mapper, clip_image_mapper;
  std::vector<Stage> down, up;
  std::vector<ResBlockWeights> res_blocks;
  std::vector<AttentionWeights> attentions;
  std::vector<std::int64_t> attention_widths;
  Linear timestep_mappers;  // all of them, stacked: [modulation_size, c_r]
  std::int64_t modulation_size = 0;
  Linear clf;        // [4·c_out, c_hidden[0]], rows in the order of depth_to_space
  ConstantPtr head;  // [V, c_out]
};

UnetConfig UnetConfig::from_json(const Json& json, const std::string& label) {
  JsonReader reader(json, label);
  constexpr std::int64_t most = 1 << 20;
  UnetConfig config;
  config.c_in = reader.integer("c_in", 1, most);
  config.c_out = reader.integer("c_out", 1, most);
  config.num_labels = reader.integer("num_labels", 2, most);
  config.c_r = reader.integer("c_r", 4, most);
  config.patch_size = reader.integer("patch_size", 2, 2);
  config.c_cond = reader.integer("c_cond", 1, most);
  config.c_hidden = reader.integers("c_hidden", 1, most);
  config.nhead = reader.integers("nhead", -1, 1024);
  config.blocks = reader.integers("blocks", 1, 1024);
  config.level_config = reader.strings("level_config");
  config.byt5_embd = reader.integer("byt5_embd", 1, most);
  config.clip_embd = reader.integer_or("clip_embd", 0, 0, most);
  config.clip_image_embd = reader.integer_or("clip_image_embd", 0, 0, most);
  config.clip_seq_len = reader.integer_or("clip_seq_len", 4, 1, 256);
  reader.integer_or("kernel_size", 3, 3, 3);
  for (const char* unused : {"dropout", "self_attn"}) reader.ignore(unused);
  reader.check_all_read();

  const auto levels = config.c_hidden.size();
  if (config.nhead.size() != levels || config.blocks.size() != levels || config.level_config.size() != levels)
    fail(ErrorCode::model_format, label, ": expected nhead, blocks and level_config of ", levels,
         " levels like c_hidden, found ", config.nhead.size(), ", ", config.blocks.size(), " and ",
         config.level_config.size());
  for (std::size_t level = 0; level < levels; ++level) {
    const std::string& kinds = config.level_config[level];
    if (kinds.empty() || kinds[0] != 'C' || kinds.find_first_not_of("CTA") != std::string::npos)
      fail(ErrorCode::model_format, label, ": level_config: expected letters C, T and A that begin with C, got \"",
           kinds, '"');
    const std::int64_t heads = config.nhead[level];
    if (kinds.find('A') != std::string::npos && (heads < 1 || config.c_hidden[level] % heads != 0))
      fail(ErrorCode::model_format, label, ": nhead: expected a divisor of ", config.c_hidden[level],
           " for a level with attention, got ", heads);
    if (config.c_hidden[level] % 2 != 0)
      fail(ErrorCode::model_format, label, ": c_hidden: expected even numbers, got ", config.c_hidden[level]);
  }
  if (config.c_r % 2 != 0) fail(ErrorCode::model_format, label, ": c_r: expected an even number, got ", config.c_r);
  return config;
}

std::vector<float> noise_embedding(float r, std::int64_t c_r) {
  const std::int64_t half = c_r / 2;
  const float rate = static_cast<float>(-std::log(10000.0) / static_cast<double>(half - 1));
  std::vector<float> embedding(static_cast<std::size_t>(c_r));
  for (std::int64_t k = 0; k < half; ++k) {
    const float angle = (r * 10000.0f) * std::exp(static_cast<float>(k) * rate);
    embedding[static_cast<std::size_t>(k)] = std::sin(angle);
    embedding[static_cast<std::size_t>(half + k)] = std::cos(angle);
  }
  return embedding;
}

// --- binding of weights ---

namespace {

// Reads all weights of the network; keeps the timestep mappers, which are stacked at the end.
class Binder {
 public:
  Binder(const UnetConfig& config, Loader& loader, Unet::Weights& weights)
      : config_(config), loader_(loader), weights_(weights) {}

  void bind() {
    weights_.config = config_;
    bind_input();
    bind_condition();
    for (std::int64_t level = 0; level < config_.levels(); ++level) weights_.down.push_back(down_stage(level));
    for (std::int64_t level = config_.levels() - 1; level >= 0; --level) weights_.up.push_back(up_stage(level));
    bind_output();
    weights_.modulation_size = static_cast<std::int64_t>(mapper_bias_.size());
    if (weights_.modulation_size > 0) {
      weights_.timestep_mappers.weight = loader_.derived("timestep_mappers.weight", mapper_weight_,
                                                         {weights_.modulation_size, config_.c_r}, Layout::matrix_f32);
      weights_.timestep_mappers.bias =
          loader_.derived("timestep_mappers.bias", mapper_bias_, {weights_.modulation_size}, Layout::vector);
    }
  }

 private:
  std::int64_t width(std::int64_t level) const { return config_.c_hidden[static_cast<std::size_t>(level)]; }

  // Layers 1 to 4 of spec 1.5 become a sum of four table rows: LayerNorm acts on each code alone.
  void bind_input() {
    const std::int64_t codes = config_.num_labels, inner = config_.c_in, outputs = width(0);
    std::vector<float> embedding = loader_.host("in_mapper.0.weight", {codes, inner});
    for (std::int64_t code = 0; code < codes; ++code) {
      float* row = embedding.data() + code * inner;
      double sum = 0, squares = 0;
      for (std::int64_t c = 0; c < inner; ++c) sum += row[c];
      const double mean = sum / static_cast<double>(inner);
      for (std::int64_t c = 0; c < inner; ++c) squares += (row[c] - mean) * (row[c] - mean);
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(inner) + static_cast<double>(epsilon));
      for (std::int64_t c = 0; c < inner; ++c) row[c] = static_cast<float>((row[c] - mean) * scale);
    }
    const std::vector<float> kernel = loader_.host("embedding.1.weight", {outputs, inner * 4, 1, 1});
    std::vector<float> part(static_cast<std::size_t>(outputs * inner));
    for (std::int64_t s = 0; s < 4; ++s) {
      // Pixel unshuffle: input channel c·4 + s.
      for (std::int64_t i = 0; i < outputs * inner; ++i)
        part[static_cast<std::size_t>(i)] = kernel[static_cast<std::size_t>(i * 4 + s)];
      const std::vector<float> table = loader_.backend().host_product(embedding, part, codes, inner, outputs);
      weights_.patch_tables[static_cast<std::size_t>(s)] =
          loader_.derived(concat("embedding.1.weight.", s), table, {codes, outputs}, Layout::table);
    }
    weights_.patch_bias = loader_.constant("embedding.1.bias", {outputs}, Layout::vector);
  }

  void bind_condition() {
    weights_.byt5_mapper = loader_.linear("byt5_mapper", config_.c_cond, config_.byt5_embd);
    const std::int64_t tokens = config_.c_cond * config_.clip_seq_len;
    if (config_.clip_embd > 0) weights_.clip_mapper = loader_.linear("clip_mapper", tokens, config_.clip_embd);
    if (config_.clip_image_embd > 0)
      weights_.clip_image_mapper = loader_.linear("clip_image_mapper", tokens, config_.clip_image_embd);
  }

  Stage down_stage(std::int64_t level) {
    Stage stage;
    stage.width = width(level);
    const std::string prefix = concat("down_blocks.", level, '.');
    std::int64_t index = 0;
    if (level > 0) {
      const std::int64_t inputs = width(level - 1);
      const auto kernel = loader_.host(prefix + "0.1.weight", {stage.width, inputs, 2, 2});
      stage.resample.weight = loader_.derived(prefix + "0.1.weight", kernel_columns(kernel, stage.width, inputs, 2),
                                              {stage.width, inputs * 4}, Layout::matrix);
      stage.resample.bias = loader_.constant(prefix + "0.1.bias", {stage.width}, Layout::vector);
      index = 1;
    }
    add_blocks(stage, level, prefix, index, false);
    return stage;
  }

  Stage up_stage(std::int64_t level) {
    Stage stage;
    stage.width = width(level);
    const std::string prefix = concat("up_blocks.", config_.levels() - 1 - level, '.');
    std::int64_t index = 0;
    add_blocks(stage, level, prefix, index, level < config_.levels() - 1);
    if (level > 0) {
      const std::int64_t outputs = width(level - 1);
      const std::string name = concat(prefix, index, ".1");
      const auto kernel = loader_.host(name + ".weight", {stage.width, outputs, 2, 2});
      stage.resample.weight = loader_.derived(name + ".weight", transposed_kernel_rows(kernel, stage.width, outputs, 2),
                                              {outputs * 4, stage.width}, Layout::matrix);
      stage.resample.bias = repeated_bias(name + ".bias", outputs);
    }
    return stage;
  }

  // The same bias for each of the four pixels that a product row makes.
  ConstantPtr repeated_bias(const std::string& name, std::int64_t outputs) {
    const std::vector<float> bias = loader_.host(name, {outputs});
    std::vector<float> four;
    for (int copy = 0; copy < 4; ++copy) four.insert(four.end(), bias.begin(), bias.end());
    return loader_.derived(name, four, {outputs * 4}, Layout::vector);
  }

  void add_blocks(Stage& stage, std::int64_t level, const std::string& prefix, std::int64_t& index, bool skip) {
    const auto at = static_cast<std::size_t>(level);
    for (std::int64_t repeat = 0; repeat < config_.blocks[at]; ++repeat)
      for (const char kind : config_.level_config[at]) {
        const std::string name = concat(prefix, index++, '.');
        Block block{kind, 0, 0};
        if (kind == 'C') {
          block.index = weights_.res_blocks.size();
          weights_.res_blocks.push_back(res_block(name, stage.width, skip));
          skip = false;  // only the first block of a stage joins the skip
        } else if (kind == 'A') {
          block.index = weights_.attentions.size();
          weights_.attentions.push_back(attention(name, stage.width, static_cast<int>(config_.nhead[at])));
          weights_.attention_widths.push_back(stage.width);
        } else {
          block.modulation_at = static_cast<std::int64_t>(mapper_bias_.size());
          append(mapper_weight_, loader_.host(name + "mapper.weight", {2 * stage.width, config_.c_r}));
          append(mapper_bias_, loader_.host(name + "mapper.bias", {2 * stage.width}));
        }
        stage.blocks.push_back(block);
      }
  }

  static void append(std::vector<float>& to, const std::vector<float>& values) {
    to.insert(to.end(), values.begin(), values.end());
  }

  ResBlockWeights res_block(const std::string& name, std::int64_t c, bool skip) {
    ResBlockWeights block;
    block.takes_skip = skip;
    block.depthwise = loader_.constant(name + "depthwise.weight", {c, skip ? 2 : 1, 3, 3}, Layout::depthwise);
    block.depthwise_bias = loader_.constant(name + "depthwise.bias", {c}, Layout::vector);
    block.tail.expand = loader_.linear(name + "channelwise.0", 4 * c, c);
    block.tail.gamma = loader_.constant(name + "channelwise.2.gamma", {1, 1, 1, 4 * c}, {4 * c}, Layout::vector);
    // GRN's beta is a constant input of the second product: bias + W·beta.
    const std::vector<float> beta = loader_.host(name + "channelwise.2.beta", {1, 1, 1, 4 * c});
    std::vector<float> weight;
    block.tail.contract.weight =
        loader_.constant_and_values(name + "channelwise.4.weight", {c, 4 * c}, Layout::matrix, weight);
    std::vector<float> bias = loader_.host(name + "channelwise.4.bias", {c});
    for (std::int64_t n = 0; n < c; ++n) {
      double sum = bias[static_cast<std::size_t>(n)];
      const float* row = weight.data() + n * 4 * c;
      for (std::int64_t k = 0; k < 4 * c; ++k) sum += static_cast<double>(row[k]) * beta[static_cast<std::size_t>(k)];
      bias[static_cast<std::size_t>(n)] = static_cast<float>(sum);
    }
    block.tail.contract.bias = loader_.derived(name + "channelwise.4.bias", bias, {c}, Layout::vector);
    return block;
  }

  AttentionWeights attention(const std::string& name, std::int64_t c, int heads) {
    AttentionWeights block;
    block.width = c;
    block.heads = heads;
    block.in_proj.weight = loader_.constant(name + "attention.attn.in_proj_weight", {3 * c, c}, Layout::matrix);
    block.in_proj.bias = loader_.constant(name + "attention.attn.in_proj_bias", {3 * c}, Layout::vector);
    block.out_proj = loader_.linear(name + "attention.attn.out_proj", c, c);
    block.kv_mapper = loader_.linear(name + "kv_mapper.1", c, config_.c_cond);
    return block;
  }

  void bind_output() {
    const std::int64_t outputs = config_.c_out, inputs = width(0);
    // Pixel shuffle takes channel c·4 + s to sub-pixel s; depth_to_space wants s·c_out + c.
    const auto shuffled = [&](const std::vector<float>& values, std::int64_t row) {
      std::vector<float> result(values.size());
      for (std::int64_t c = 0; c < outputs; ++c)
        for (std::int64_t s = 0; s < 4; ++s)
          std::copy_n(values.begin() + (c * 4 + s) * row, row, result.begin() + (s * outputs + c) * row);
      return result;
    };
    weights_.clf.weight =
        loader_.derived("clf.1.weight", shuffled(loader_.host("clf.1.weight", {outputs * 4, inputs, 1, 1}), inputs),
                        {outputs * 4, inputs}, Layout::matrix);
    weights_.clf.bias = loader_.derived("clf.1.bias", shuffled(loader_.host("clf.1.bias", {outputs * 4}), 1),
                                        {outputs * 4}, Layout::vector);
    weights_.head = loader_.constant("out_mapper.1.weight", {config_.num_labels, outputs, 1, 1},
                                     {config_.num_labels, outputs}, Layout::matrix_f32);
  }

  const UnetConfig& config_;
  Loader& loader_;
  Unet::Weights& weights_;
  std::vector<float> mapper_weight_, mapper_bias_;
};

// --- the networks ---

using WeightsPtr = std::shared_ptr<const Unet::Weights>;

class ConditionNetwork final : public Description {
 public:
  ConditionNetwork(WeightsPtr weights, std::int64_t clip_texts, std::int64_t clip_images)
      : weights_(std::move(weights)), clip_texts_(clip_texts), clip_images_(clip_images) {
    const UnetConfig& config = weights_->config;
    if ((clip_texts > 0 && config.clip_embd == 0) || (clip_images > 0 && config.clip_image_embd == 0))
      fail(ErrorCode::invalid_option, "condition: this model takes no CLIP embeddings");
  }

  const char* name() const override { return "unet.condition"; }

  Signature signature(DType operand) const override {
    const UnetConfig& config = weights_->config;
    Signature result;
    result.symbols = {{"length", {}}};
    result.inputs = {{"byt5", {"length", config.byt5_embd}, DType::f32}};
    if (clip_texts_ > 0) result.inputs.push_back({"clip_text", {clip_texts_, config.clip_embd}, DType::f32});
    if (clip_images_ > 0) result.inputs.push_back({"clip_image", {clip_images_, config.clip_image_embd}, DType::f32});
    const Dim sequence = Dim("length").plus(config.clip_seq_len * (clip_texts_ + clip_images_));
    for (std::size_t i = 0; i < weights_->attention_widths.size(); ++i)
      result.outputs.push_back({concat("condition_kv.", i), {sequence, 2 * weights_->attention_widths[i]}, operand});
    return result;
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    const UnetConfig& config = weights_->config;
    const std::int64_t text = inputs[0].shape[0];
    const std::int64_t length = text + config.clip_seq_len * (clip_texts_ + clip_images_);
    const Tensor sequence = ops.allocate({length, config.c_cond}, DType::f32);  // [S, c_cond]
    ops.copy(mapped(ops, inputs[0], weights_->byt5_mapper), sequence.slice(0, text));
    std::int64_t at = text;
    std::size_t input = 1;
    const auto append_clip = [&](const Linear& mapper, std::int64_t count) {
      if (count == 0) return;
      // One embedding becomes clip_seq_len tokens: token j = outputs [j·c_cond, (j + 1)·c_cond).
      const Tensor tokens = mapped(ops, inputs[input++], mapper).reshaped({count * config.clip_seq_len, config.c_cond});
      ops.copy(tokens, sequence.slice(at, tokens.shape[0]));
      at += tokens.shape[0];
    };
    append_clip(weights_->clip_mapper, clip_texts_);
    append_clip(weights_->clip_image_mapper, clip_images_);

    const Tensor normalised = ops.layer_norm(sequence, epsilon, DType::f32);
    const Tensor active = ops.activate(normalised, Activation::silu, ops.operand_type());
    for (std::size_t i = 0; i < weights_->attentions.size(); ++i) {
      Arena::Scope scope(ops.arena());
      const AttentionWeights& block = weights_->attentions[i];
      const Tensor tokens = ops.linear(active, block.kv_mapper, Activation::none, ops.operand_type());  // [S, c]
      // The queries of condition tokens are computed and dropped: cheaper than a second copy of the weights.
      const Tensor qkv = ops.linear(tokens, block.in_proj, Activation::none, ops.operand_type());  // [S, 3c]
      ops.copy(ops.columns(qkv, block.width, 2 * block.width), outputs[i]);
    }
  }

 private:
  static Tensor mapped(Ops& ops, const Tensor& x, const Linear& mapper) {
    return ops.linear(ops.convert(x, ops.operand_type()), mapper, Activation::none, DType::f32);
  }

  WeightsPtr weights_;
  std::int64_t clip_texts_, clip_images_;
};

class ModulationNetwork final : public Description {
 public:
  explicit ModulationNetwork(WeightsPtr weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "unet.modulation"; }
  Signature signature(DType) const override {
    return {{{"noise_embedding", {"steps", weights_->config.c_r}, DType::f32}},
            {{"modulation", {"steps", weights_->modulation_size}, DType::f32}},
            {{"steps", {}}}};
  }
  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    if (weights_->modulation_size == 0) return;
    ops.copy(ops.linear(inputs[0], weights_->timestep_mappers, Activation::none, DType::f32), outputs[0]);
  }

 private:
  WeightsPtr weights_;
};

class DenoiseNetwork final : public Description {
 public:
  explicit DenoiseNetwork(WeightsPtr weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "unet"; }

  Signature signature(DType operand) const override {
    const UnetConfig& config = weights_->config;
    Signature result;
    const std::int64_t multiple = config.token_multiple();
    result.symbols = {{"batch", {}}, {"rows", {1, "batch"}}, {"height", {multiple, {}}}, {"width", {multiple, {}}},
                      {"steps", {}}, {"conditions", {}},     {"condition_length", {}}};
    result.inputs = {{"tokens", {"batch", "height", "width"}, DType::i32},
                     {"modulation", {"steps", weights_->modulation_size}, DType::f32},
                     {"step", {1}, DType::i32},
                     {"condition_lengths", {"conditions"}, DType::i32},
                     {"condition_index", {"rows"}, DType::i32}};
    for (std::size_t i = 0; i < weights_->attention_widths.size(); ++i)
      result.inputs.push_back(
          {concat("condition_kv.", i), {"conditions", "condition_length", 2 * weights_->attention_widths[i]}, operand});
    result.outputs = {{"features", {"rows", "height", "width", config.c_out}, DType::f32}};
    return result;
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    State state{ops, {}, ops.select_row(inputs[1], inputs[2]), inputs[3], inputs[4], inputs.subspan(5)};
    const Tensor patches = ops.gather_patches(weights_->patch_tables, weights_->patch_bias, inputs[0]);
    state.x = ops.layer_norm(patches, epsilon, DType::f32);  // [B, H/2, W/2, c_hidden[0]]

    std::vector<Tensor> skips;
    for (std::size_t level = 0; level < weights_->down.size(); ++level) {
      const Stage& stage = weights_->down[level];
      if (level > 0) {
        const Tensor normalised = ops.layer_norm(state.x, epsilon, ops.operand_type());
        state.x = ops.linear(ops.space_to_depth(normalised), stage.resample, Activation::none, DType::f32);
      }
      run_blocks(state, stage, nullptr);
      skips.push_back(state.x);
    }
    for (std::size_t i = 0; i < weights_->up.size(); ++i) {
      const Stage& stage = weights_->up[i];
      const std::size_t level = weights_->up.size() - 1 - i;
      // The deepest stage goes on with its own tensor; a skip would still be read while blocks write in place.
      run_blocks(state, stage, i > 0 ? &skips[level] : nullptr);
      if (level > 0) {
        const Tensor normalised = ops.layer_norm(state.x, epsilon, ops.operand_type());
        state.x = ops.depth_to_space(ops.linear(normalised, stage.resample, Activation::none, DType::f32));
      }
    }

    const Tensor normalised = ops.layer_norm(state.x, epsilon, ops.operand_type());
    const Tensor tokens = ops.depth_to_space(ops.linear(normalised, weights_->clf, Activation::none, DType::f32));
    Tensor features = ops.layer_norm(tokens, epsilon, DType::f32);  // [R or B, H, W, c_out]
    const std::int64_t rows = outputs[0].shape[0];
    if (features.shape[0] != rows) features = ops.repeat(features, rows / features.shape[0]);
    ops.copy(features, outputs[0]);
  }

 private:
  struct State {
    Ops& ops;
    Tensor x;           // residual stream f32 [B or R, h, w, c]
    Tensor modulation;  // [modulation_size]
    Tensor condition_length, condition_index;
    std::span<const Tensor> condition_kv;  // per attention block
  };

  void run_blocks(State& state, const Stage& stage, const Tensor* skip) const {
    for (std::size_t i = 0; i < stage.blocks.size(); ++i) {
      const Block& block = stage.blocks[i];
      if (block.kind == 'C') {
        const bool modulated = i + 1 < stage.blocks.size() && stage.blocks[i + 1].kind == 'T';
        std::optional<Tensor> modulation;
        if (modulated) modulation = modulation_of(state, stage.blocks[++i], stage);
        res_block(state, weights_->res_blocks[block.index], skip, modulation ? &*modulation : nullptr);
      } else if (block.kind == 'T') {
        state.ops.modulate(state.x, modulation_of(state, block, stage));
      } else {
        attention(state, weights_->attentions[block.index], state.condition_kv[block.index]);
      }
    }
  }

  static Tensor modulation_of(const State& state, const Block& block, const Stage& stage) {
    return state.modulation.slice(block.modulation_at, 2 * stage.width);
  }

  static void res_block(State& state, const ResBlockWeights& weights, const Tensor* skip, const Tensor* modulation) {
    Arena::Scope scope(state.ops.arena());
    const Tensor operand = state.ops.depthwise_norm(state.x, weights.takes_skip ? skip : nullptr, weights.depthwise,
                                                    weights.depthwise_bias, Padding::zero, epsilon);
    state.ops.res_block_tail(state.x, operand, weights.tail, modulation);
  }

  static void attention(State& state, const AttentionWeights& weights, const Tensor& kv) {
    Ops& ops = state.ops;
    const std::int64_t rows = state.condition_index.shape[0];
    const Tensor shared = state.x;
    // The first attention is where rows of one image part: queries, keys and values of the image are still shared.
    if (shared.shape[0] != rows) state.x = ops.repeat(shared, rows / shared.shape[0]);
    Arena::Scope scope(ops.arena());
    const Tensor normalised = ops.layer_norm(shared, epsilon, ops.operand_type());
    const Tensor qkv = ops.linear(normalised, weights.in_proj, Activation::none, ops.operand_type());  // [·, h, w, 3c]
    const Tensor attended =
        ops.image_attention(qkv, {kv, state.condition_length, state.condition_index}, weights.heads);
    ops.linear_add(state.x, attended, weights.out_proj);
  }

  WeightsPtr weights_;
};

class LogitsNetwork final : public Description {
 public:
  explicit LogitsNetwork(WeightsPtr weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "unet.head"; }
  Signature signature(DType) const override {
    return {{{"features", {"rows", "height", "width", weights_->config.c_out}, DType::f32}},
            {{"logits", {"rows", "height", "width", weights_->config.num_labels}, DType::f32}},
            {{"rows", {}}, {"height", {}}, {"width", {}}}};
  }
  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    ops.copy(ops.linear(inputs[0], {weights_->head, nullptr}, Activation::none, DType::f32), outputs[0]);
  }

 private:
  WeightsPtr weights_;
};

}  // namespace

Unet::Unet(const UnetConfig& config, Loader& loader) : config_(config) {
  auto weights = std::make_shared<Weights>();
  Binder(config, loader, *weights).bind();
  weights_ = weights;
}

std::shared_ptr<const Description> Unet::condition(std::int64_t clip_texts, std::int64_t clip_images) const {
  return std::make_shared<ConditionNetwork>(weights_, clip_texts, clip_images);
}
std::shared_ptr<const Description> Unet::modulation() const { return std::make_shared<ModulationNetwork>(weights_); }
std::shared_ptr<const Description> Unet::denoise() const { return std::make_shared<DenoiseNetwork>(weights_); }
std::shared_ptr<const Description> Unet::logits() const { return std::make_shared<LogitsNetwork>(weights_); }
const ConstantPtr& Unet::head() const { return weights_->head; }
std::int64_t Unet::modulation_size() const { return weights_->modulation_size; }
const std::vector<std::int64_t>& Unet::attention_widths() const { return weights_->attention_widths; }

}  // namespace paella
