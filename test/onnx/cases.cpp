// Writes graphs, inputs and what the CPU executor makes of them, for check.py, which runs the graphs in ONNX Runtime.
//
//   paella_onnx_cases <empty folder>
//
// cases.json: {"graphs": [{"file", "precision", "opset", "by"}], "cases": [{"graph", "name", "bound", "inputs",
// "outputs", …}]}; arrays lie in <number>.bin, row-major.
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <sstream>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "golden.h"
#include "models/byt5.h"
#include "models/clip.h"
#include "models/prior.h"
#include "models/unet.h"
#include "models/vqgan.h"
#include "onnx/onnx_model.h"

using namespace paella;
using test::Input;

namespace {

using NetworkPtr = std::shared_ptr<const Description>;

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::vector<float> normal(std::int64_t count, float scale = 1) {
    std::normal_distribution<float> distribution(0, scale);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = distribution(engine_);
    return values;
  }
  std::vector<std::int32_t> integers(std::int64_t count, std::int64_t below) {
    std::uniform_int_distribution<std::int32_t> distribution(0, static_cast<std::int32_t>(below) - 1);
    std::vector<std::int32_t> values(static_cast<std::size_t>(count));
    for (std::int32_t& value : values) value = distribution(engine_);
    return values;
  }

 private:
  std::mt19937_64 engine_;
};

Input normal_input(Random& random, const Shape& shape, float scale = 1) {
  return test::input_f32(shape, random.normal(shape.elements(), scale));
}

std::string quoted(const std::string& text) { return '"' + text + '"'; }

// How a case is compared.
struct Comparison {
  double bound = 1e-5;
  bool exact = false;      // integers must be equal
  std::string extra = {};  // further members of the case
};

// Collects graphs and cases.
class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) {}

  // Records a network; cases refer to it by `name`.
  void graph(const std::string& name, const Description& network, const Signature& signature, DType operand,
             int opset = onnx::oldest_opset, const char* by = "onnxruntime") {
    onnx::DataFile data(name + ".onnx.data");
    const onnx::Model model = onnx::record(network, signature, operand, data, {.opset = opset, .resolve = {}});
    onnx::write(model.graph, path_ + "/" + name + ".onnx");
    data.write(path_);
    graphs_.push_back(concat("{\"file\": ", quoted(name + ".onnx"), ", \"precision\": ", quoted(name_of(operand)),
                             ", \"opset\": ", opset, ", \"by\": ", quoted(by), '}'));
    signatures_[name] = signature;
  }

  // Runs `network` on the CPU and writes the case.
  std::vector<std::vector<std::uint8_t>> add(const std::string& graph, const std::string& name, Backend& cpu,
                                             const NetworkPtr& network, const std::vector<Input>& inputs,
                                             const std::vector<TensorSpec>& outputs, const Comparison& options = {}) {
    const auto found = test::run(cpu, network, inputs, outputs);
    write_case(graph, name, inputs, outputs, found, options);
    return found;
  }

  void write_case(const std::string& graph, const std::string& name, const std::vector<Input>& inputs,
                  const std::vector<TensorSpec>& outputs, const std::vector<std::vector<std::uint8_t>>& expected,
                  const Comparison& options) {
    const Signature& signature = signatures_.at(graph);
    expect(signature.inputs.size() == inputs.size() && signature.outputs.size() == outputs.size(), graph,
           ": inputs or outputs do not fit the signature");
    std::string in, out;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      in += (i > 0 ? ", " : "") + array(signature.inputs[i].name, inputs[i].spec, inputs[i].bytes);
    for (std::size_t i = 0; i < outputs.size(); ++i)
      out += (i > 0 ? ", " : "") + array(signature.outputs[i].name, outputs[i], expected[i]);
    cases_.push_back(concat("{\"graph\": ", quoted(graph), ", \"name\": ", quoted(name), ", \"bound\": ", options.bound,
                            ", \"exact\": ", options.exact ? "true" : "false", options.extra, ",\n   \"inputs\": [", in,
                            "],\n   \"outputs\": [", out, "]}"));
  }

  // An array of its own, as a JSON member.
  std::string array(const std::string& name, const TensorSpec& spec, const std::vector<std::uint8_t>& bytes) {
    expect(bytes.size() == spec.bytes(), name, ": expected ", spec.bytes(), " bytes, got ", bytes.size());
    const std::string file = concat(files_++, ".bin");
    std::ofstream(path_ + "/" + file, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return concat("{\"name\": ", quoted(name), ", \"type\": ", quoted(name_of(spec.dtype)),
                  ", \"shape\": ", spec.shape.text(), ", \"file\": ", quoted(file), '}');
  }

  void finish() const {
    std::ofstream out(path_ + "/cases.json");
    const auto list = [&](const char* key, const std::vector<std::string>& items) {
      out << quoted(key) << ": [\n";
      for (std::size_t i = 0; i < items.size(); ++i) out << "  " << items[i] << (i + 1 < items.size() ? ",\n" : "\n");
      out << "]";
    };
    out << "{";
    list("graphs", graphs_);
    out << ",\n";
    list("cases", cases_);
    out << "}\n";
    out.flush();
    if (!out) fail(ErrorCode::io, path_, ": cannot be written");
    std::cout << graphs_.size() << " graphs, " << cases_.size() << " cases\n";
  }

 private:
  std::string path_;
  std::vector<std::string> graphs_, cases_;
  std::map<std::string, Signature> signatures_;
  int files_ = 0;
};

template <typename Network, typename Config>
Network load(const std::string& folder, Backend& backend) {
  const std::string path = folder + "/config.json";
  const auto source = open_safetensors(folder + "/model.safetensors");
  Loader loader(*source, backend);
  return Network(Config::from_json(Json::parse_file(path), path), loader);
}

// The same network on the executor and on the recorder.
template <typename Network, typename Config>
struct Both {
  Both(const std::string& folder, Backend& cpu, Backend& recorder)
      : cpu(load<Network, Config>(folder, cpu)), recorded(load<Network, Config>(folder, recorder)) {}
  Network cpu, recorded;
};

struct Backends {
  std::unique_ptr<Backend> cpu = cpu::make_backend({.precision = "fp32", .threads = 2});
  std::unique_ptr<Backend> recorder = onnx::make_backend("fp32");
};

// --- U-Net ---

struct DenoiseShape {
  std::int64_t batch, rows, height, width, steps, step;
  std::vector<std::int64_t> lengths;  // of the conditions
  std::int64_t padding;
};

std::string text_of(const DenoiseShape& shape) {
  std::ostringstream out;
  out << shape.batch << " images, " << shape.rows << " rows, " << shape.height << "x" << shape.width
      << ", conditions of";
  for (const std::int64_t length : shape.lengths) out << ' ' << length;
  return out.str();
}

// Inputs of denoise() for random images and conditions; the padding of the conditions is NaN.
std::vector<Input> denoise_inputs(const Unet& unet, Backend& cpu, const DenoiseShape& shape, Random& random) {
  const UnetConfig& config = unet.config();
  std::vector<float> embeddings;
  for (std::int64_t i = 0; i < shape.steps; ++i) {
    const auto one = noise_embedding(1.0f - 0.25f * static_cast<float>(i), config.c_r);
    embeddings.insert(embeddings.end(), one.begin(), one.end());
  }
  const auto modulation = test::run(cpu, unet.modulation(), {test::input_f32({shape.steps, config.c_r}, embeddings)},
                                    {{{shape.steps, unet.modulation_size()}, DType::f32}})[0];
  const auto conditions = static_cast<std::int64_t>(shape.lengths.size());
  std::int64_t longest = shape.padding;
  std::vector<std::int32_t> lengths, index;
  for (const std::int64_t length : shape.lengths) {
    longest = std::max(longest, length + shape.padding);
    lengths.push_back(static_cast<std::int32_t>(length));
  }
  for (std::int64_t row = 0; row < shape.rows; ++row)
    index.push_back(static_cast<std::int32_t>((row * 7) % conditions));
  std::vector<Input> inputs = {
      test::input_i32({shape.batch, shape.height, shape.width},
                      random.integers(shape.batch * shape.height * shape.width, config.num_labels)),
      Input{{{shape.steps, unet.modulation_size()}, DType::f32}, modulation},
      test::input_i32({1}, {static_cast<std::int32_t>(shape.step)}), test::input_i32({conditions}, lengths),
      test::input_i32({shape.rows}, index)};
  const auto& widths = unet.attention_widths();
  for (const std::int64_t width : widths) {
    Input kv{{{conditions, longest, 2 * width}, DType::f32}, {}};
    kv.bytes.assign(kv.spec.bytes(), 0xFF);
    inputs.push_back(std::move(kv));
  }
  for (std::size_t p = 0; p < lengths.size(); ++p) {
    std::vector<TensorSpec> outputs;
    for (const std::int64_t width : widths) outputs.push_back({{lengths[p], 2 * width}, DType::f32});
    const auto kv =
        test::run(cpu, unet.condition(0, 0), {normal_input(random, {lengths[p], config.byt5_embd})}, outputs);
    for (std::size_t block = 0; block < widths.size(); ++block) {
      auto& bytes = inputs[5 + block].bytes;
      const std::size_t each = bytes.size() / lengths.size();
      std::copy(kv[block].begin(), kv[block].end(), bytes.begin() + static_cast<std::ptrdiff_t>(p * each));
    }
  }
  return inputs;
}

// Features, then logits, then tokens drawn with the numbers of docs/randomness.md.
void add_denoise(Folder& folder, const std::string& name, const Unet& unet, Backend& cpu, const DenoiseShape& shape,
                 Random& random, const std::string& graph = "-denoise", double bound = 1e-5) {
  const UnetConfig& config = unet.config();
  const auto inputs = denoise_inputs(unet, cpu, shape, random);
  const Shape features_shape{shape.rows, shape.height, shape.width, config.c_out};
  const std::vector<TensorSpec> outputs = {{features_shape, DType::f32}};
  const auto features = test::run(cpu, unet.denoise(), inputs, outputs);

  // The draw: temperature 0.7, seeds 1, 2, …
  const auto buffer = [&](const Shape& of, DType type, const void* values) {
    Buffer memory = cpu.allocate(TensorSpec{of, type}.bytes());
    if (values != nullptr) cpu.upload(values, memory.tensor(of, type));
    return memory;
  };
  std::vector<std::int64_t> seeds;
  for (std::int64_t row = 0; row < shape.rows; ++row) seeds.push_back(row + 1);
  const std::vector<float> temperature(static_cast<std::size_t>(shape.rows), 0.7f), none(temperature.size(), 0.0f);
  const std::int32_t step = 3;
  const Shape each{shape.rows}, grid{shape.rows, shape.height, shape.width};
  const Buffer seed = buffer(each, DType::i64, seeds.data()), steps = buffer({1}, DType::i32, &step),
               heat = buffer(each, DType::f32, temperature.data()), zeros = buffer(each, DType::f32, none.data()),
               values = buffer(features_shape, DType::f32, features[0].data()),
               tokens = buffer(grid, DType::i32, nullptr);
  const StepInputs numbers{seed.tensor(each, DType::i64),
                           steps.tensor({1}, DType::i32),
                           zeros.tensor(each, DType::f32),
                           heat.tensor(each, DType::f32),
                           zeros.tensor(each, DType::f32),
                           zeros.tensor(each, DType::f32),
                           {}};
  cpu.sampler().sample(values.tensor(features_shape, DType::f32), unet.head(), numbers, SampleMode::multinomial, false,
                       tokens.tensor(grid, DType::i32));
  std::vector<std::uint8_t> drawn(TensorSpec{grid, DType::i32}.bytes());
  cpu.download(tokens.tensor(grid, DType::i32), drawn.data());
  Comparison options{.bound = bound};
  if (graph == "-denoise")
    options.extra =
        concat(", \"draw\": {\"head\": ", quoted(name + "-head"), ", \"step\": ", step,
               ", \"temperature\": 0.7, \"tokens\": ", folder.array("tokens", {grid, DType::i32}, drawn), '}');
  folder.write_case(name + graph, text_of(shape), inputs, outputs, features, options);
}

void add_unet(Folder& folder, const std::string& name, const std::string& path, Backends& backends, Random& random) {
  Backend& cpu = *backends.cpu;
  Both<Unet, UnetConfig> unet(path, cpu, *backends.recorder);
  const UnetConfig& config = unet.cpu.config();
  const auto graph = [&](const char* suffix, const NetworkPtr& network) {
    folder.graph(name + suffix, *network, network->signature(DType::f32), DType::f32);
  };
  graph("-denoise", unet.recorded.denoise());
  graph("-modulation", unet.recorded.modulation());
  graph("-head", unet.recorded.logits());

  const std::int64_t m = config.token_multiple();
  for (const DenoiseShape& shape :
       {DenoiseShape{1, 1, m, m, 1, 0, {1}, 0}, DenoiseShape{1, 2, 2 * m, 2 * m, 3, 2, {5, 9}, 3},
        DenoiseShape{2, 4, 3 * m, m, 2, 1, {40, 1}, 1}, DenoiseShape{3, 3, m, 4 * m, 4, 0, {7, 3, 12}, 0},
        DenoiseShape{2, 6, 2 * m, 5 * m, 4, 3, {2, 33, 17, 4}, 5}})
    add_denoise(folder, name, unet.cpu, cpu, shape, random);

  for (const std::int64_t steps : {1, 12})
    folder.add(name + "-modulation", concat(steps, " steps"), cpu, unet.cpu.modulation(),
               {normal_input(random, {steps, config.c_r})}, {{{steps, unet.cpu.modulation_size()}, DType::f32}});
  for (const Shape& grid : {Shape{1, m, m, config.c_out}, Shape{3, 2 * m, m, config.c_out}})
    folder.add(name + "-head", grid.text(), cpu, unet.cpu.logits(), {normal_input(random, grid)},
               {{grid.with_last(config.num_labels), DType::f32}});

  // Every kind of condition that the model takes.
  for (const auto& [texts, pictures] : {std::pair{0, 0}, {1, 0}, {0, 1}, {1, 3}}) {
    if ((texts > 0 && config.clip_embd == 0) || (pictures > 0 && config.clip_image_embd == 0)) continue;
    const std::string suffix = concat("-condition-", texts, "-", pictures);
    graph(suffix.c_str(), unet.recorded.condition(texts, pictures));
    for (const std::int64_t length : {1, 7, 64}) {
      std::vector<Input> inputs = {normal_input(random, {length, config.byt5_embd})};
      if (texts > 0) inputs.push_back(normal_input(random, {texts, config.clip_embd}));
      if (pictures > 0) inputs.push_back(normal_input(random, {pictures, config.clip_image_embd}));
      std::vector<TensorSpec> outputs;
      for (const std::int64_t width : unet.cpu.attention_widths())
        outputs.push_back({{length + config.clip_seq_len * (texts + pictures), 2 * width}, DType::f32});
      folder.add(name + suffix, concat(length, " words"), cpu, unet.cpu.condition(texts, pictures), inputs, outputs);
    }
  }
}

// All sizes fixed; a batch without a second pass; newer opsets; and the other precisions.
void add_variants(Folder& folder, const std::string& path, Backends& backends, Random& random) {
  Backend& cpu = *backends.cpu;
  Both<Unet, UnetConfig> unet(path, cpu, *backends.recorder);
  const NetworkPtr network = unet.recorded.denoise();
  const std::int64_t m = unet.cpu.config().token_multiple();
  const Signature signature = network->signature(DType::f32);
  const DenoiseShape guided{1, 2, 2 * m, 3 * m, 3, 1, {4, 6}, 2};
  folder.graph("fixed-denoise-only", *network,
               signature.fixed({{"batch", 1},
                                {"rows", 2},
                                {"height", 2 * m},
                                {"width", 3 * m},
                                {"steps", 3},
                                {"conditions", 2},
                                {"condition_length", 8}}),
               DType::f32);
  add_denoise(folder, "fixed", unet.cpu, cpu, guided, random, "-denoise-only");
  // One image, with or without a second pass.
  folder.graph("one-image-denoise-only", *network, signature.fixed({{"batch", 1}}), DType::f32);
  for (const std::int64_t rows : {1, 2, 3})
    add_denoise(folder, "one-image", unet.cpu, cpu, {1, rows, m, 2 * m, 2, 0, {3, 9}, 1}, random, "-denoise-only");
  // Rows are images: no row map, no repetition.
  folder.graph("unguided-denoise-only", *network, signature.fixed({{"batch", 2}, {"rows", 2}}), DType::f32);
  for (const std::int64_t height : {m, 3 * m})
    add_denoise(folder, "unguided", unet.cpu, cpu, {2, 2, height, 2 * m, 2, 1, {3, 9}, 1}, random, "-denoise-only");
  for (int opset = onnx::oldest_opset + 1; opset <= onnx::newest_opset; ++opset) {
    const std::string name = concat("opset-", opset);
    folder.graph(name + "-denoise-only", *network, signature, DType::f32, opset);
    add_denoise(folder, name, unet.cpu, cpu, guided, random, "-denoise-only");
  }
}

// --- VQGAN and text encoder ---

void add_vqgan(Folder& folder, const std::string& name, const std::string& path, Backends& backends, Random& random) {
  Backend& cpu = *backends.cpu;
  Both<Vqgan, VqganConfig> vqgan(path, cpu, *backends.recorder);
  const VqganConfig& config = vqgan.cpu.config();
  const NetworkPtr decoder = vqgan.recorded.decoder(), encoder = vqgan.recorded.encoder();
  const std::int64_t scale = config.pixels_per_token();
  Signature decoded = decoder->signature(DType::f32), encoded = encoder->signature(DType::f32);
  folder.graph(name + "-decoder", *decoder, decoded, DType::f32);
  folder.graph(name + "-encoder", *encoder, encoded, DType::f32);
  decoded.outputs[0].type = DType::f32;
  folder.graph(name + "-decoder-f32", *decoder, decoded, DType::f32);
  encoded.outputs[0] = {"latents", encoded.outputs[0].dims, DType::f32};
  encoded.outputs[0].dims.emplace_back(config.c_latent);
  encoded.inputs[0].type = DType::f32;
  folder.graph(name + "-encoder-f32", *encoder, encoded, DType::f32);
  for (const Shape& grid : {Shape{1, 1, 1}, Shape{3, 4, 7}, Shape{2, 16, 8}}) {
    const Input tokens = test::input_i32(grid, random.integers(grid.elements(), config.codebook_size));
    const Shape image{grid[0], grid[1] * scale, grid[2] * scale, 3};
    folder.add(name + "-decoder-f32", grid.text(), cpu, vqgan.cpu.decoder(), {tokens}, {{image, DType::f32}});
    // A value within rounding of a half may go either way: one step of 255.
    folder.add(name + "-decoder", grid.text(), cpu, vqgan.cpu.decoder(), {tokens}, {{image, DType::u8}},
               {.bound = 1e-3});
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(image.elements()));
    std::vector<float> values;
    const auto noise = random.integers(image.elements(), 256);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = static_cast<std::uint8_t>(noise[i]);
      values.push_back(static_cast<float>(noise[i]) / 256.0f);
    }
    folder.add(name + "-encoder", grid.text(), cpu, vqgan.cpu.encoder(), {test::input_u8(image, pixels)},
               {{grid, DType::i32}}, {.exact = true});
    folder.add(name + "-encoder-f32", grid.text(), cpu, vqgan.cpu.encoder(), {test::input_f32(image, values)},
               {{{grid[0], grid[1], grid[2], config.c_latent}, DType::f32}});
  }
}

void add_text_encoder(Folder& folder, const std::string& name, const std::string& path, Backends& backends,
                      Random& random) {
  Both<Byt5Encoder, Byt5Config> encoder(path, *backends.cpu, *backends.recorder);
  const Byt5Config& config = encoder.cpu.config();
  const NetworkPtr network = encoder.recorded.network();
  folder.graph(name + "-text-encoder", *network, network->signature(DType::f32), DType::f32);
  for (const std::int64_t length : {1, 5, 40, 200})
    folder.add(name + "-text-encoder", concat(length, " ids"), *backends.cpu, encoder.cpu.network(),
               {test::input_i32({length}, random.integers(length, config.vocab_size)),
                test::input_f32({config.num_heads, 2 * length - 1}, encoder.cpu.position_bias(length))},
               {{{length, config.d_model}, DType::f32}});
}

// CLIP's encoders, the prior's four networks, and conditions with weighted attention.
void add_conditions(Folder& folder, const std::string& golden, Backends& backends, Random& random) {
  Backend& cpu = *backends.cpu;
  const auto graph = [&](const std::string& name, const NetworkPtr& network) {
    folder.graph(name, *network, network->signature(DType::f32), DType::f32);
  };
  Both<ClipTextEncoder, ClipTextConfig> text(golden + "/clip-text/clip_text", cpu, *backends.recorder);
  const ClipTextConfig& words = text.cpu.config();
  graph("clip-text", text.recorded.network());
  for (const std::int64_t length : {2, 9, 77}) {
    std::vector<std::int32_t> positions(static_cast<std::size_t>(length));
    std::iota(positions.begin(), positions.end(), 0);
    folder.add(
        "clip-text", concat(length, " ids"), cpu, text.cpu.network(),
        {test::input_i32({length}, random.integers(length, words.vocab_size)), test::input_i32({length}, positions),
         test::input_f32({words.heads, 2 * length - 1}, text.cpu.attention_bias(length)),
         test::input_i32({1}, {static_cast<std::int32_t>(length - 1)})},
        {{{1, words.embed_dim}, DType::f32}});
  }

  Both<ClipImageEncoder, ClipImageConfig> image(golden + "/clip-image/clip_image", cpu, *backends.recorder);
  const ClipImageConfig& picture = image.cpu.config();
  graph("clip-image", image.recorded.network());
  std::vector<std::uint8_t> pixels;
  for (const std::int32_t value : random.integers(picture.image_size * picture.image_size * 3, 256))
    pixels.push_back(static_cast<std::uint8_t>(value));
  const std::int64_t tokens = 1 + picture.patches();
  folder.add("clip-image", "noise", cpu, image.cpu.network(),
             {test::input_u8({tokens, image.cpu.patch_bytes()}, image.cpu.patches(pixels)),
              test::input_f32({picture.heads, 2 * tokens - 1}, image.cpu.attention_bias()), test::input_i32({1}, {0})},
             {{{1, picture.embed_dim}, DType::f32}});

  Both<Prior, PriorConfig> prior(golden + "/prior/prior", cpu, *backends.recorder);
  const PriorConfig& config = prior.cpu.config();
  graph("prior-condition", prior.recorded.condition());
  graph("prior-noise", prior.recorded.noise());
  graph("prior", prior.recorded.denoise());
  graph("prior-update", prior.recorded.update());
  for (const std::int64_t rows : {1, 3}) {
    const std::string name = concat(rows, " rows");
    const std::vector<TensorSpec> wide(static_cast<std::size_t>(config.num_layers),
                                       {{rows, config.c_inner}, DType::f32}),
        terms(static_cast<std::size_t>(config.num_layers), {{rows, 2 * config.c_inner}, DType::f32});
    folder.add("prior-condition", name, cpu, prior.cpu.condition(), {normal_input(random, {rows, config.c_cond})},
               wide);
    folder.add("prior-noise", name, cpu, prior.cpu.noise(), {normal_input(random, {rows, config.c_r})}, terms);
    const std::int64_t steps = 5;
    std::vector<Input> inputs{normal_input(random, {rows, config.c_in}), test::input_i32({1}, {3})};
    for (std::int64_t i = 0; i < config.num_layers; ++i)
      inputs.push_back(normal_input(random, {2 * rows, config.c_inner}));
    for (std::int64_t i = 0; i < config.num_layers; ++i)
      inputs.push_back(normal_input(random, {steps, 2 * config.c_inner}, 0.1f));
    folder.add("prior", name, cpu, prior.cpu.denoise(), inputs, {{{2 * rows, 1, 1, config.c_in}, DType::f32}});
    folder.add("prior-update", name, cpu, prior.cpu.update(),
               {normal_input(random, {rows, config.c_in}), normal_input(random, {rows, 1, 1, config.c_in}),
                test::input_i32({1}, {2}), normal_input(random, {steps, 2 * config.c_in}),
                normal_input(random, {steps, 2 * config.c_in}), normal_input(random, {steps, rows, config.c_in})},
               {{{rows, config.c_in}, DType::f32}});
  }

  Both<Unet, UnetConfig> unet(golden + "/unet-three-levels/unet", cpu, *backends.recorder);
  const UnetConfig& u = unet.cpu.config();
  graph("condition-weighted", unet.recorded.condition(1, 1, true));
  const std::int64_t length = 7, all = length + 2 * u.clip_seq_len;
  std::vector<TensorSpec> kv;
  for (const std::int64_t width : unet.cpu.attention_widths()) kv.push_back({{all, 2 * width}, DType::f32});
  folder.add("condition-weighted", "7 words", cpu, unet.cpu.condition(1, 1, true),
             {normal_input(random, {length, u.byt5_embd}), normal_input(random, {1, u.clip_embd}),
              normal_input(random, {1, u.clip_image_embd}), normal_input(random, {all})},
             kv);
}

// Other precisions, compared with fp32: the bound is their rounding. ONNX Runtime runs fp16 on the CPU; bf16 it does
// not, and ONNX's own reference evaluator stands in.
void add_precisions(Folder& folder, const std::string& model, Backends& backends, Random& random) {
  Backend& cpu = *backends.cpu;
  const auto unet = load<Unet, UnetConfig>(model + "/unet", cpu);
  const auto vqgan = load<Vqgan, VqganConfig>(model + "/vqgan", cpu);
  const auto encoder = load<Byt5Encoder, Byt5Config>(model + "/text_encoder", cpu);
  const UnetConfig& config = unet.config();
  for (const auto& [precision, type, bound] : {std::tuple{"bf16", DType::bf16, 2e-2}, {"fp16", DType::f16, 4e-3}}) {
    const auto recorder = onnx::make_backend(precision);
    const auto named = [&](const char* name) { return concat(precision, '-', name); };
    const auto graph = [&](const char* name, const NetworkPtr& network, Signature signature) {
      folder.graph(named(name), *network, signature, type, onnx::oldest_opset,
                   type == DType::bf16 ? "reference" : "onnxruntime");
    };
    const auto with_defaults = [&](const char* name, const NetworkPtr& network) {
      graph(name, network, network->signature(type));
    };
    const auto recorded_unet = load<Unet, UnetConfig>(model + "/unet", *recorder);
    const auto recorded_vqgan = load<Vqgan, VqganConfig>(model + "/vqgan", *recorder);
    with_defaults("denoise", recorded_unet.denoise());
    with_defaults("condition", recorded_unet.condition(0, 0));
    with_defaults("head", recorded_unet.logits());
    with_defaults("text-encoder", load<Byt5Encoder, Byt5Config>(model + "/text_encoder", *recorder).network());
    const NetworkPtr decoder = recorded_vqgan.decoder();
    Signature decoded = decoder->signature(type);
    decoded.outputs[0].type = DType::f32;
    graph("decoder-f32", decoder, decoded);

    const std::int64_t m = config.token_multiple();
    const DenoiseShape shape{2, 4, 2 * m, 3 * m, 2, 1, {5, 11}, 2};
    const Shape features{shape.rows, shape.height, shape.width, config.c_out};
    folder.add(named("denoise"), text_of(shape), cpu, unet.denoise(), denoise_inputs(unet, cpu, shape, random),
               {{features, DType::f32}}, {.bound = bound});
    std::vector<TensorSpec> kv;
    for (const std::int64_t width : unet.attention_widths()) kv.push_back({{9, 2 * width}, DType::f32});
    folder.add(named("condition"), "9 words", cpu, unet.condition(0, 0), {normal_input(random, {9, config.byt5_embd})},
               kv, {.bound = bound});
    folder.add(named("head"), features.text(), cpu, unet.logits(), {normal_input(random, features)},
               {{features.with_last(config.num_labels), DType::f32}}, {.bound = bound});
    const std::int64_t length = 21, heads = encoder.config().num_heads;
    folder.add(named("text-encoder"), concat(length, " ids"), cpu, encoder.network(),
               {test::input_i32({length}, random.integers(length, encoder.config().vocab_size)),
                test::input_f32({heads, 2 * length - 1}, encoder.position_bias(length))},
               {{{length, encoder.config().d_model}, DType::f32}}, {.bound = bound});
    const Shape grid{2, 5, 3};
    const std::int64_t scale = vqgan.config().pixels_per_token();
    folder.add(named("decoder-f32"), grid.text(), cpu, vqgan.decoder(),
               {test::input_i32(grid, random.integers(grid.elements(), vqgan.config().codebook_size))},
               {{{grid[0], grid[1] * scale, grid[2] * scale, 3}, DType::f32}}, {.bound = bound});
  }
}

void write_all(const std::string& path) {
  Folder folder(path);
  Backends backends;
  Random random(6);
  const std::string tiny = PAELLA_SOURCE_DIR "/models/tiny", golden = test::golden_folder();
  add_unet(folder, "tiny", tiny + "/unet", backends, random);
  add_unet(folder, "two-levels", golden + "/unet-two-levels/unet", backends, random);
  add_unet(folder, "three-levels", golden + "/unet-three-levels/unet", backends, random);
  add_unet(folder, "loop", golden + "/loop/unet", backends, random);
  add_variants(folder, golden + "/unet-three-levels/unet", backends, random);
  add_vqgan(folder, "tiny", tiny + "/vqgan", backends, random);
  add_vqgan(folder, "golden", golden + "/vqgan/vqgan", backends, random);
  add_vqgan(folder, "loop", golden + "/loop/vqgan", backends, random);
  add_text_encoder(folder, "tiny", tiny + "/text_encoder", backends, random);
  add_text_encoder(folder, "golden", golden + "/text-encoder/text_encoder", backends, random);
  add_text_encoder(folder, "loop", golden + "/loop/text_encoder", backends, random);
  add_conditions(folder, golden, backends, random);
  add_precisions(folder, tiny, backends, random);
  folder.finish();
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: paella_onnx_cases <empty folder>\n";
    return 2;
  }
  try {
    write_all(arguments[1]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
