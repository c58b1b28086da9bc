#include "models/vqgan.h"

#include <cmath>
#include <optional>
#include <vector>

#include "core/error.h"

namespace paella {

namespace {

constexpr float epsilon = 1e-6f;

// x += depthwise(LN(x)); x += contract(gelu(expand(LN(x)))), the six scalars folded into the weights.
struct BlockWeights {
  ConstantPtr depthwise, depthwise_bias;
  Linear expand, contract;
};

// A 4×4 stride-2 convolution or transposed convolution between levels.
struct ResampleWeights {
  Linear product;
  ConstantPtr bias;  // of the transposed one, added after the overlap
};

struct LevelWeights {
  std::optional<ResampleWeights> before;
  std::vector<BlockWeights> blocks;
};

}  // namespace

struct Vqgan::Weights {
  VqganConfig config;
  ConstantPtr codebook;     // [V, c_latent]
  ConstantPtr first_table;  // [V, c_hidden]: codebook and the decoder's first 1×1 convolution in one
  std::vector<LevelWeights> down, up;
  Linear in_block;   // [width(0), 12], columns in the order of space_to_depth
  Linear to_latent;  // [c_latent, c_hidden], batch normalisation folded in
  Linear out_block;  // [12, width(0)], rows in the order of depth_to_space
};

VqganConfig VqganConfig::from_json(const Json& json, const std::string& label) {
  JsonReader reader(json, label);
  VqganConfig config;
  config.levels = reader.integer("levels", 1, 5);
  config.bottleneck_blocks = reader.integer("bottleneck_blocks", 1, 256);
  config.c_hidden = reader.integer("c_hidden", 1, 65536);
  config.c_latent = reader.integer("c_latent", 1, 4096);
  config.codebook_size = reader.integer("codebook_size", 2, 1 << 20);
  config.scale_factor = reader.number_or("scale_factor", 0.3764, 1e-6, 1e6);
  reader.check_all_read();
  if (config.c_hidden % config.pixels_per_token() != 0)
    fail(ErrorCode::model_format, label, ": c_hidden: expected a multiple of ", config.pixels_per_token(), ", got ",
         config.c_hidden);
  return config;
}

namespace {

class Binder {
 public:
  Binder(const VqganConfig& config, Loader& loader, Vqgan::Weights& weights)
      : config_(config), loader_(loader), weights_(weights) {}

  void bind() {
    weights_.config = config_;
    bind_pixels();
    bind_down();
    bind_latent();
    bind_up();
  }

 private:
  void bind_pixels() {
    const std::int64_t width = config_.width(0);
    // PyTorch's pixel (un)shuffle has channel c·4 + s; space_to_depth and depth_to_space have s·3 + c.
    const std::vector<float> in = loader_.host("in_block.1.weight", {width, 12, 1, 1});
    std::vector<float> columns(in.size());
    for (std::int64_t n = 0; n < width; ++n)
      for (std::int64_t c = 0; c < 3; ++c)
        for (std::int64_t s = 0; s < 4; ++s)
          columns[static_cast<std::size_t>(n * 12 + s * 3 + c)] = in[static_cast<std::size_t>(n * 12 + c * 4 + s)];
    weights_.in_block.weight = loader_.derived("in_block.1.weight", columns, {width, 12}, Layout::matrix_f32);
    weights_.in_block.bias = loader_.constant("in_block.1.bias", {width}, Layout::vector);

    const std::vector<float> out = loader_.host("out_block.0.weight", {12, width, 1, 1});
    const std::vector<float> bias = loader_.host("out_block.0.bias", {12});
    std::vector<float> rows(out.size()), row_bias(12);
    for (std::int64_t c = 0; c < 3; ++c)
      for (std::int64_t s = 0; s < 4; ++s) {
        std::copy_n(out.begin() + (c * 4 + s) * width, width, rows.begin() + (s * 3 + c) * width);
        row_bias[static_cast<std::size_t>(s * 3 + c)] = bias[static_cast<std::size_t>(c * 4 + s)];
      }
    weights_.out_block.weight = loader_.derived("out_block.0.weight", rows, {12, width}, Layout::matrix_f32);
    weights_.out_block.bias = loader_.derived("out_block.0.bias", row_bias, {12}, Layout::vector);
  }

  // down_blocks: per level [Conv 4×4 s2 p1], ResBlock; then the projection to latents.
  void bind_down() {
    int index = 0;
    for (std::int64_t level = 0; level < config_.levels; ++level) {
      LevelWeights weights;
      const std::int64_t width = config_.width(level);
      if (level > 0) {
        const std::int64_t inputs = config_.width(level - 1);
        const std::string name = concat("down_blocks.", index++);
        const auto kernel = loader_.host(name + ".weight", {width, inputs, 4, 4});
        ResampleWeights resample;
        resample.product.weight =
            loader_.derived(name, kernel_columns(kernel, width, inputs, 4), {width, inputs * 16}, Layout::matrix_f32);
        resample.product.bias = loader_.constant(name + ".bias", {width}, Layout::vector);
        weights.before = resample;
      }
      weights.blocks.push_back(block(concat("down_blocks.", index++, '.'), width, Layout::matrix_f32));
      weights_.down.push_back(std::move(weights));
    }
    latent_name_ = concat("down_blocks.", index, '.');
  }

  // 1×1 convolution without bias, then BatchNorm in evaluation mode: one affine map.
  void bind_latent() {
    const std::int64_t latent = config_.c_latent, width = config_.c_hidden;
    std::vector<float> weight = loader_.host(latent_name_ + "0.weight", {latent, width, 1, 1});
    const std::vector<float> scale = loader_.host(latent_name_ + "1.weight", {latent});
    const std::vector<float> shift = loader_.host(latent_name_ + "1.bias", {latent});
    const std::vector<float> mean = loader_.host(latent_name_ + "1.running_mean", {latent});
    const std::vector<float> variance = loader_.host(latent_name_ + "1.running_var", {latent});
    loader_.skip(latent_name_ + "1.num_batches_tracked", {});
    std::vector<float> bias(static_cast<std::size_t>(latent));
    for (std::int64_t n = 0; n < latent; ++n) {
      const auto i = static_cast<std::size_t>(n);
      const double factor = scale[i] / std::sqrt(static_cast<double>(variance[i]) + 1e-5);
      for (std::int64_t k = 0; k < width; ++k) {
        float& value = weight[static_cast<std::size_t>(n * width + k)];
        value = static_cast<float>(value * factor);
      }
      bias[i] = static_cast<float>(shift[i] - mean[i] * factor);
    }
    weights_.to_latent.weight = loader_.derived(latent_name_ + "0.weight", weight, {latent, width}, Layout::matrix_f32);
    weights_.to_latent.bias = loader_.derived(latent_name_ + "1.bias", bias, {latent}, Layout::vector);

    const std::vector<float> codes = loader_.host("vquantizer.codebook.weight", {config_.codebook_size, latent});
    weights_.codebook =
        loader_.derived("vquantizer.codebook.weight", codes, {config_.codebook_size, latent}, Layout::table_f32);
    const std::vector<float> first = loader_.host("up_blocks.0.0.weight", {width, latent, 1, 1});
    const std::vector<float> first_bias = loader_.host("up_blocks.0.0.bias", {width});
    std::vector<float> table = loader_.backend().host_product(codes, first, config_.codebook_size, latent, width);
    for (std::size_t i = 0; i < table.size(); ++i) table[i] += first_bias[i % static_cast<std::size_t>(width)];
    weights_.first_table = loader_.derived("up_blocks.0.0", table, {config_.codebook_size, width}, Layout::table_f32);
  }

  // up_blocks: the first convolution, then per level ResBlocks and [ConvTranspose 4×4 s2 p1].
  void bind_up() {
    int index = 1;
    for (std::int64_t level = config_.levels - 1; level >= 0; --level) {
      LevelWeights weights;
      const std::int64_t width = config_.width(level);
      if (level < config_.levels - 1) {
        const std::int64_t inputs = config_.width(level + 1);
        const std::string name = concat("up_blocks.", index++);
        const auto kernel = loader_.host(name + ".weight", {inputs, width, 4, 4});
        ResampleWeights resample;
        resample.product.weight = loader_.derived(name, transposed_kernel_rows(kernel, inputs, width, 4),
                                                  {width * 16, inputs}, Layout::matrix);
        resample.bias = loader_.constant(name + ".bias", {width}, Layout::vector);
        weights.before = resample;
      }
      const std::int64_t count = level == config_.levels - 1 ? config_.bottleneck_blocks : 1;
      for (std::int64_t i = 0; i < count; ++i)
        weights.blocks.push_back(block(concat("up_blocks.", index++, '.'), width, Layout::matrix));
      weights_.up.push_back(std::move(weights));
    }
  }

  BlockWeights block(const std::string& name, std::int64_t c, Layout layout) {
    const std::vector<float> g = loader_.host(name + "gammas", {6});
    BlockWeights weights;
    // d = DW(LN·(1 + g0) + g1)·g2. Replication pads after the affine, so that g1 meets all nine taps everywhere.
    std::vector<float> kernel = loader_.host(name + "depthwise.1.weight", {c, 1, 3, 3});
    std::vector<float> bias = loader_.host(name + "depthwise.1.bias", {c});
    for (std::int64_t channel = 0; channel < c; ++channel) {
      double sum = 0;
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        float& value = kernel[static_cast<std::size_t>(channel * 9 + tap)];
        sum += value;
        value = value * (1.0f + g[0]) * g[2];
      }
      float& offset = bias[static_cast<std::size_t>(channel)];
      offset = static_cast<float>((offset + g[1] * sum) * g[2]);
    }
    weights.depthwise = loader_.derived(name + "depthwise.1.weight", kernel, {c, 1, 3, 3}, Layout::depthwise);
    weights.depthwise_bias = loader_.derived(name + "depthwise.1.bias", bias, {c}, Layout::vector);

    std::vector<float> expand = loader_.host(name + "channelwise.0.weight", {4 * c, c});
    std::vector<float> expand_bias = loader_.host(name + "channelwise.0.bias", {4 * c});
    for (std::int64_t n = 0; n < 4 * c; ++n) {
      double sum = 0;
      for (std::int64_t k = 0; k < c; ++k) {
        float& value = expand[static_cast<std::size_t>(n * c + k)];
        sum += value;
        value *= 1.0f + g[3];
      }
      expand_bias[static_cast<std::size_t>(n)] += static_cast<float>(g[4] * sum);
    }
    std::vector<float> contract = loader_.host(name + "channelwise.2.weight", {c, 4 * c});
    std::vector<float> contract_bias = loader_.host(name + "channelwise.2.bias", {c});
    for (float& value : contract) value *= g[5];
    for (float& value : contract_bias) value *= g[5];
    weights.expand.weight = loader_.derived(name + "channelwise.0.weight", expand, {4 * c, c}, layout);
    weights.expand.bias = loader_.derived(name + "channelwise.0.bias", expand_bias, {4 * c}, Layout::vector);
    weights.contract.weight = loader_.derived(name + "channelwise.2.weight", contract, {c, 4 * c}, layout);
    weights.contract.bias = loader_.derived(name + "channelwise.2.bias", contract_bias, {c}, Layout::vector);
    return weights;
  }

  const VqganConfig& config_;
  Loader& loader_;
  Vqgan::Weights& weights_;
  std::string latent_name_;
};

using WeightsPtr = std::shared_ptr<const Vqgan::Weights>;

void run_block(Ops& ops, const Tensor& x, const BlockWeights& weights, DType operand) {
  ops.norm_depthwise_add(x, weights.depthwise, weights.depthwise_bias, Padding::replicate, epsilon);
  Arena::Scope scope(ops.arena());
  ops.mlp_add(x, ops.layer_norm(x, epsilon, operand), weights.expand, weights.contract);
}

class DecoderNetwork final : public Description {
 public:
  explicit DecoderNetwork(WeightsPtr weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "vqgan.decoder"; }

  Signature signature(DType) const override {
    const std::int64_t scale = weights_->config.pixels_per_token();
    return {{{"tokens", {"batch", "height", "width"}, DType::i32}},
            {{"pixels", {"batch", Dim("height").times(scale), Dim("width").times(scale), 3}, DType::u8}},
            {{"batch", {}}, {"height", {}}, {"width", {}}}};
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    Tensor x = ops.gather(weights_->first_table, inputs[0]);  // [B, H, W, c_hidden]
    for (const LevelWeights& level : weights_->up) {
      if (level.before) {
        const Tensor operand = ops.convert(x, ops.operand_type());
        const Tensor patches = ops.linear(operand, level.before->product, Activation::none, DType::f32);
        x = ops.overlap_add_4x4(patches, level.before->bias);
      }
      for (const BlockWeights& block : level.blocks) run_block(ops, x, block, ops.operand_type());
    }
    const Tensor image = ops.depth_to_space(ops.linear(x, weights_->out_block, Activation::none, DType::f32));
    if (outputs[0].dtype == DType::u8) {
      ops.to_pixels(image, outputs[0]);
    } else {
      ops.copy(image, outputs[0]);
    }
  }

 private:
  WeightsPtr weights_;
};

class EncoderNetwork final : public Description {
 public:
  explicit EncoderNetwork(WeightsPtr weights) : weights_(std::move(weights)) {}
  const char* name() const override { return "vqgan.encoder"; }

  Signature signature(DType) const override {
    const std::int64_t scale = weights_->config.pixels_per_token();
    return {{{"pixels", {"batch", "height", "width", 3}, DType::u8}},
            {{"tokens", {"batch", Dim("height").divided_by(scale), Dim("width").divided_by(scale)}, DType::i32}},
            {{"batch", {}}, {"height", {scale, {}}}, {"width", {scale, {}}}}};
  }

  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    const Tensor image = inputs[0].dtype == DType::u8 ? ops.from_pixels(inputs[0]) : inputs[0];
    Tensor x = ops.linear(ops.space_to_depth(image), weights_->in_block, Activation::none, DType::f32);
    for (const LevelWeights& level : weights_->down) {
      if (level.before)
        x = ops.linear(ops.patches_4x4(x, DType::f32), level.before->product, Activation::none, DType::f32);
      for (const BlockWeights& block : level.blocks) run_block(ops, x, block, DType::f32);
    }
    const Tensor latents = ops.linear(x, weights_->to_latent, Activation::none, DType::f32);  // [B, H, W, c_latent]
    if (outputs[0].dtype == DType::i32) {
      ops.nearest_code(latents, weights_->codebook, outputs[0]);
    } else {
      ops.copy(latents, outputs[0]);
    }
  }

 private:
  WeightsPtr weights_;
};

}  // namespace

Vqgan::Vqgan(const VqganConfig& config, Loader& loader) : config_(config) {
  auto weights = std::make_shared<Weights>();
  Binder(config, loader, *weights).bind();
  weights_ = weights;
}

// Which of the two forms a network computes follows from the element type of its output or input.
std::shared_ptr<const Description> Vqgan::decoder() const { return std::make_shared<DecoderNetwork>(weights_); }
std::shared_ptr<const Description> Vqgan::encoder() const { return std::make_shared<EncoderNetwork>(weights_); }

}  // namespace paella
