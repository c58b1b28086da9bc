// The networks against what the PyTorch reference computed (test/golden/README.md says how to regenerate).
#include <algorithm>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "golden.h"
#include "harness.h"
#include "models/byt5.h"
#include "models/unet.h"
#include "models/vqgan.h"
#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

constexpr PrecisionCase cases[] = {{"fp32", 1e-5},      {"bf16", 2e-2},      {"int8", 4e-2},
                                   {"cuda fp32", 1e-5}, {"cuda bf16", 2e-2}, {"cuda fp16", 4e-3}};
constexpr const char* backends[] = {"fp32", "bf16", "int8", "cuda fp32", "cuda bf16"};

template <typename Config>
Config config_of(const std::string& folder) {
  const std::string path = golden_folder() + "/" + folder + "/config.json";
  return Config::from_json(Json::parse_file(path), path);
}

template <typename Network, typename Config>
Network load(const std::string& folder, Backend& backend) {
  const auto source = open_safetensors(golden_folder() + "/" + folder + "/model.safetensors");
  Loader loader(*source, backend);
  if constexpr (std::is_same_v<Network, Unet>) loader.keep_matrices_as(backend.unet_products());
  Network network(config_of<Config>(folder), loader);
  source->check_all_used();
  return network;
}

std::vector<float> rows_of(const std::vector<float>& values, const Shape& shape, std::int64_t row) {
  const std::int64_t each = shape.elements() / shape[0];
  return {values.begin() + row * each, values.begin() + (row + 1) * each};
}

// One forward pass of one image: its own noise level and condition.
struct Pass {
  std::vector<float> features, logits;
};

struct PassInput {
  std::vector<std::int32_t> tokens;
  std::int64_t height = 0, width = 0;
  float noise_level = 0;
  std::vector<float> byt5;         // [T, byt5_embd]
  std::vector<float> clip;         // empty, or [clip_embd]
  std::vector<float> clip_images;  // [n, clip_image_embd]
};

std::vector<Input> condition_inputs(const UnetConfig& config, const PassInput& input) {
  std::vector<Input> inputs;
  const auto count = [](const std::vector<float>& values, std::int64_t width) {
    return static_cast<std::int64_t>(values.size()) / width;
  };
  inputs.push_back(input_f32({count(input.byt5, config.byt5_embd), config.byt5_embd}, input.byt5));
  if (!input.clip.empty()) inputs.push_back(input_f32({1, config.clip_embd}, input.clip));
  if (!input.clip_images.empty())
    inputs.push_back(
        input_f32({count(input.clip_images, config.clip_image_embd), config.clip_image_embd}, input.clip_images));
  return inputs;
}

// Rows of the U-Net: `row_condition[r]` tells which condition row r takes; row r shows image r mod images.
std::vector<float> features_of(const Unet& unet, Backend& backend, const std::vector<std::int32_t>& tokens,
                               std::int64_t images, std::int64_t height, std::int64_t width, float noise_level,
                               const std::vector<PassInput>& conditions,
                               const std::vector<std::int32_t>& row_condition) {
  const UnetConfig& config = unet.config();
  const auto& widths = unet.attention_widths();
  std::vector<std::vector<std::vector<std::uint8_t>>> kv;  // [condition][block]
  std::vector<std::int32_t> lengths;
  for (const PassInput& condition : conditions) {
    const auto inputs = condition_inputs(config, condition);
    const std::int64_t texts = condition.clip.empty() ? 0 : 1;
    const auto pictures =
        static_cast<std::int64_t>(condition.clip_images.size()) / std::max<std::int64_t>(config.clip_image_embd, 1);
    const std::int64_t length = inputs[0].spec.shape[0] + config.clip_seq_len * (texts + pictures);
    std::vector<TensorSpec> outputs;
    for (const std::int64_t c : widths) outputs.push_back({{length, 2 * c}, backend.operand_type()});
    kv.push_back(run(backend, unet.condition(texts, pictures), inputs, outputs));
    lengths.push_back(static_cast<std::int32_t>(length));
  }
  // A few rows of padding full of NaN: nobody may attend to them.
  const std::int64_t longest = *std::max_element(lengths.begin(), lengths.end()) + 3;
  const auto modulation =
      as<float>(run(backend, unet.modulation(), {input_f32({1, config.c_r}, noise_embedding(noise_level, config.c_r))},
                    {{{1, unet.modulation_size()}, DType::f32}})[0]);
  const auto rows = static_cast<std::int64_t>(row_condition.size());
  std::vector<Input> inputs = {input_i32({images, height, width}, tokens),
                               input_f32({1, unet.modulation_size()}, modulation), input_i32({1}, {0}),
                               input_i32({static_cast<std::int64_t>(lengths.size())}, lengths),
                               input_i32({rows}, row_condition)};
  for (std::size_t block = 0; block < widths.size(); ++block) {
    const auto distinct = static_cast<std::int64_t>(conditions.size());
    Input padded{{{distinct, longest, 2 * widths[block]}, backend.operand_type()}, {}};
    padded.bytes.assign(padded.spec.bytes(), 0xFF);
    const std::size_t each = padded.bytes.size() / conditions.size();
    for (std::size_t p = 0; p < conditions.size(); ++p)
      std::copy(kv[p][block].begin(), kv[p][block].end(), padded.bytes.begin() + static_cast<std::ptrdiff_t>(p * each));
    inputs.push_back(std::move(padded));
  }
  return as<float>(run(backend, unet.denoise(), inputs, {{{rows, height, width, config.c_out}, DType::f32}})[0]);
}

Pass run_pass(const Unet& unet, Backend& backend, const PassInput& input) {
  Pass pass;
  pass.features =
      features_of(unet, backend, input.tokens, 1, input.height, input.width, input.noise_level, {input}, {0});
  const UnetConfig& config = unet.config();
  pass.logits =
      as<float>(run(backend, unet.logits(), {input_f32({1, input.height, input.width, config.c_out}, pass.features)},
                    {{{1, input.height, input.width, config.num_labels}, DType::f32}})[0]);
  return pass;
}

// Checks every image of one golden combination, each on its own: `prefix` is where features and logits stand.
void check_combination(Golden& golden, const Unet& unet, Backend& backend, const std::string& prefix,
                       const std::string& inputs_prefix, const std::string& byt5, bool clip, int clip_images,
                       double bound) {
  const Shape features_shape = golden.shape(prefix + "/features");
  const Shape token_shape = golden.shape(inputs_prefix + "tokens");
  std::vector<float> found_features, found_logits;
  for (std::int64_t b = 0; b < features_shape[0]; ++b) {
    PassInput input;
    const auto tokens = golden.i32(inputs_prefix + "tokens");
    input.height = token_shape[1];
    input.width = token_shape[2];
    const auto each = input.height * input.width;
    input.tokens.assign(tokens.begin() + b * each, tokens.begin() + (b + 1) * each);
    input.noise_level = golden.f32(inputs_prefix + "r")[static_cast<std::size_t>(b)];
    input.byt5 = rows_of(golden.f32(byt5), golden.shape(byt5), b);
    if (clip) input.clip = rows_of(golden.f32("clip"), golden.shape("clip"), b);
    for (int i = 0; i < clip_images; ++i) {
      const std::string name = concat("clip_image_", i);
      const auto embedding = rows_of(golden.f32(name), golden.shape(name), b);
      input.clip_images.insert(input.clip_images.end(), embedding.begin(), embedding.end());
    }
    const Pass pass = run_pass(unet, backend, input);
    found_features.insert(found_features.end(), pass.features.begin(), pass.features.end());
    found_logits.insert(found_logits.end(), pass.logits.begin(), pass.logits.end());
  }
  CHECK_BOUND(prefix + " features", relative_error(found_features, golden.f32(prefix + "/features")), bound);
  CHECK_BOUND(prefix + " logits", relative_error(found_logits, golden.f32(prefix + "/logits")), bound);
}

}  // namespace

TEST("ByT5 agrees with the reference for every length") {
  for (const PrecisionCase& precision : cases) {
    const auto backend = backend_named(precision.precision);
    if (!backend) continue;
    const auto encoder = load<Byt5Encoder, Byt5Config>("text-encoder/text_encoder", *backend);
    Golden golden("text-encoder/text_encoder/io.safetensors");
    for (const std::int64_t length : {1, 5, 40, 200}) {
      const std::string name = concat("length_", length);
      const auto found = run(*backend, encoder.network(),
                             {input_i32({length}, golden.i32(name + "/ids")),
                              input_f32({encoder.config().num_heads, 2 * length - 1}, encoder.position_bias(length))},
                             {{{length, encoder.config().d_model}, DType::f32}});
      CHECK_BOUND(concat(precision.precision, ' ', name),
                  relative_error(as<float>(found[0]), golden.f32(name + "/states")), precision.bound);
    }
  }
}

TEST("ByT5's relative position buckets") {
  Golden golden("text-encoder/text_encoder/io.safetensors");
  const auto expected = golden.i32("buckets_from_minus_400");
  int wrong = 0;
  for (std::int64_t distance = -400; distance <= 400; ++distance)
    wrong += relative_bucket(distance, 32, 128) != expected[static_cast<std::size_t>(distance + 400)];
  CHECK_EQUAL(wrong, 0);
}

TEST("U-Net of two levels agrees with the reference") {
  for (const PrecisionCase& precision : cases) {
    const auto backend = backend_named(precision.precision);
    if (!backend) continue;
    const auto unet = load<Unet, UnetConfig>("unet-two-levels/unet", *backend);
    Golden golden("unet-two-levels/unet/io.safetensors");
    check_combination(golden, unet, *backend, "byt5", "", "byt5", false, 0, precision.bound);
    check_combination(golden, unet, *backend, "small", "small/", "small/byt5", false, 0, precision.bound);
    check_combination(golden, unet, *backend, "long", "", "long/byt5", false, 0, precision.bound);
  }
}

TEST("U-Net of three levels agrees with the reference for every combination of conditions") {
  for (const PrecisionCase& precision : cases) {
    const auto backend = backend_named(precision.precision);
    if (!backend) continue;
    const auto unet = load<Unet, UnetConfig>("unet-three-levels/unet", *backend);
    Golden golden("unet-three-levels/unet/io.safetensors");
    check_combination(golden, unet, *backend, "byt5+clip+images", "", "byt5", true, 3, precision.bound);
    // On the CPU the GPU's kernels are slow, and what the conditions differ in is the same for all precisions.
    if (backend->name() == "cuda" && backend->operand_type() != DType::f32) continue;
    check_combination(golden, unet, *backend, "byt5", "", "byt5", false, 0, precision.bound);
    check_combination(golden, unet, *backend, "byt5+clip", "", "byt5", true, 0, precision.bound);
    check_combination(golden, unet, *backend, "byt5+image", "", "byt5", false, 1, precision.bound);
    check_combination(golden, unet, *backend, "byt5+clip+image", "", "byt5", true, 1, precision.bound);
    check_combination(golden, unet, *backend, "tall", "tall/", "tall/byt5", false, 0, precision.bound);
  }
}

TEST("noise embedding") {
  Golden golden("unet-three-levels/unet/io.safetensors");
  const auto levels = golden.f32("r");
  const auto expected = golden.f32("stages/timestep_embedding");
  for (std::size_t b = 0; b < levels.size(); ++b)
    CHECK_BOUND(
        concat("r = ", levels[b]),
        relative_error(noise_embedding(levels[b], 64), rows_of(expected, {3, 64}, static_cast<std::int64_t>(b))), 2e-6);
}

TEST("shared prefix: conditional and unconditional rows together equal two separate passes") {
  for (const char* name : backends) {
    const auto backend = backend_named(name);
    if (!backend) continue;
    const auto unet = load<Unet, UnetConfig>("unet-three-levels/unet", *backend);
    Golden golden("unet-three-levels/unet/io.safetensors");
    const auto tokens = golden.i32("tokens");
    const auto states = golden.f32("byt5");
    PassInput conditional, unconditional;
    conditional.byt5 = rows_of(states, golden.shape("byt5"), 0);
    unconditional.byt5 = {conditional.byt5.begin(), conditional.byt5.begin() + 28 * 2};
    const auto both =
        features_of(unet, *backend, tokens, 3, 8, 16, 0.5f, {conditional, unconditional}, {0, 0, 0, 1, 1, 1});
    const auto first = features_of(unet, *backend, tokens, 3, 8, 16, 0.5f, {conditional}, {0, 0, 0});
    const auto second = features_of(unet, *backend, tokens, 3, 8, 16, 0.5f, {unconditional}, {0, 0, 0});
    std::vector<float> separate = first;
    separate.insert(separate.end(), second.begin(), second.end());
    CHECK(both == separate);
    CHECK(first != second);
  }
}

TEST("an image's features do not depend on the rest of the batch, bit for bit") {
  for (const char* name : backends) {
    const auto backend = backend_named(name);
    if (!backend) continue;
    const auto unet = load<Unet, UnetConfig>("unet-two-levels/unet", *backend);
    Golden golden("unet-two-levels/unet/io.safetensors");
    PassInput condition;
    condition.byt5 = rows_of(golden.f32("byt5"), golden.shape("byt5"), 0);
    std::vector<std::int32_t> tokens;
    for (int copy = 0; copy < 3; ++copy) {
      const auto more = golden.i32("tokens");
      tokens.insert(tokens.end(), more.begin(), more.end());
    }
    tokens.resize(7 * 48);  // seven images of 4×12 tokens
    const auto batch =
        features_of(unet, *backend, tokens, 7, 4, 12, 0.25f, {condition}, std::vector<std::int32_t>(7, 0));
    for (std::int64_t b = 0; b < 7; ++b) {
      const std::vector<std::int32_t> alone(tokens.begin() + b * 48, tokens.begin() + (b + 1) * 48);
      const auto found = features_of(unet, *backend, alone, 1, 4, 12, 0.25f, {condition}, {0});
      CHECK(found == rows_of(batch, {7, 4, 12, 10}, b));
    }
  }
}

TEST("VQGAN agrees with the reference") {
  for (const PrecisionCase& precision : cases) {
    const auto backend = backend_named(precision.precision);
    if (!backend) continue;
    const auto vqgan = load<Vqgan, VqganConfig>("vqgan/vqgan", *backend);
    Golden golden("vqgan/vqgan/io.safetensors");
    for (const char* grid : {"least", "line", "one", "three"}) {
      const std::string name = concat("decode/", grid);
      const Shape shape = golden.shape(name + "/indices"), pixels = golden.shape(name + "/pixels");
      const Input indices = input_i32(shape, golden.i32(name + "/indices"));
      const auto found = run(*backend, vqgan.decoder(), {indices}, {{pixels, DType::f32}});
      CHECK_BOUND(concat(precision.precision, ' ', name),
                  relative_error(as<float>(found[0]), golden.f32(name + "/pixels")), precision.bound);
      if (backend->operand_type() != DType::f32) continue;
      const auto rgb = run(*backend, vqgan.decoder(), {indices}, {{pixels, DType::u8}})[0];
      const auto expected = golden.u8(name + "/rgb");
      const auto margin = golden.f32(name + "/margin");
      int wrong = 0;
      for (std::size_t i = 0; i < rgb.size(); ++i) wrong += rgb[i] != expected[i] && margin[i] > 1e-2f;
      CHECK_EQUAL(wrong, 0);
    }
    for (const char* grid : {"least", "one", "three"}) {
      const std::string name = concat("encode/", grid);
      const Shape shape = golden.shape(name + "/indices"), image = golden.shape(name + "/image");
      const Input pixels = input_u8(image, golden.u8(name + "/image"));
      const auto latents = run(*backend, vqgan.encoder(), {pixels}, {{golden.shape(name + "/latents"), DType::f32}});
      // The encoder computes in f32 whatever the precision.
      CHECK_BOUND(concat(precision.precision, ' ', name),
                  relative_error(as<float>(latents[0]), golden.f32(name + "/latents")), 1e-5);
      const auto tokens = as<std::int32_t>(run(*backend, vqgan.encoder(), {pixels}, {{shape, DType::i32}})[0]);
      const auto expected = golden.i32(name + "/indices");
      const auto margin = golden.f32(name + "/margin");
      int wrong = 0;
      for (std::size_t i = 0; i < tokens.size(); ++i) wrong += tokens[i] != expected[i] && margin[i] > 1e-4f;
      CHECK_EQUAL(wrong, 0);
    }
  }
}

namespace {

// Gives zeros for every name and counts what was asked for.
class CountingSource final : public WeightSource {
 public:
  bool has(const std::string&) const override { return true; }
  HostTensor get(const std::string& name, const Shape& shape) override {
    ++tensors;
    zeros_.resize(std::max(zeros_.size(), static_cast<std::size_t>(shape.elements())));
    return {name, shape, DType::f32, zeros_.data()};
  }
  void release(const HostTensor&) override {}
  void check_all_used() const override {}
  int tensors = 0;

 private:
  std::vector<float> zeros_;
};

// Knows shapes only; computes nothing.
class ShapeBackend final : public Backend {
 public:
  std::string name() const override { return "shapes"; }
  std::string device() const override { return "none"; }
  std::string precision() const override { return "fp32"; }
  DType operand_type() const override { return DType::f32; }
  ConstantPtr constant(const HostTensor& tensor, Layout) override {
    auto constant = std::make_shared<Constant>();
    constant->shape = tensor.shape;
    return constant;
  }
  std::vector<float> host_product(std::span<const float>, std::span<const float>, std::int64_t rows, std::int64_t,
                                  std::int64_t columns) override {
    return std::vector<float>(static_cast<std::size_t>(rows * columns));
  }
  Buffer allocate(std::size_t) override { throw Error(ErrorCode::internal, "no memory here"); }
  void upload(const void*, const Tensor&) override {}
  void download(const Tensor&, void*) override {}
  void copy(const Tensor&, const Tensor&) override {}
  std::unique_ptr<Network> compile(std::shared_ptr<const Description>, std::span<const TensorSpec>,
                                   std::span<const TensorSpec>) override {
    return nullptr;
  }
  Sampler& sampler() override { throw Error(ErrorCode::internal, "no sampler here"); }
  MemoryUse memory() const override { return {}; }
};

}  // namespace

TEST("the official configurations have the published numbers of tensors and parameters") {
  ShapeBackend backend;
  {
    CountingSource source;
    Loader loader(source, backend);
    const Unet unet(UnetConfig{}, loader);
    CHECK_EQUAL(source.tensors, 844);
    CHECK_EQUAL(loader.parameters(), 1008350592);
  }
  {
    CountingSource source;
    Loader loader(source, backend);
    const Vqgan vqgan(VqganConfig{}, loader);
    CHECK_EQUAL(source.tensors, 122);
    // Running mean and variance (8 numbers) are no parameters of the published count.
    CHECK_EQUAL(loader.parameters() - 8, 18406894);
  }
  {
    CountingSource source;
    Loader loader(source, backend);
    const Byt5Encoder encoder(Byt5Config{}, loader);
    CHECK_EQUAL(loader.parameters(), 2614091264);
  }
}
