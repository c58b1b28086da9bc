// The ONNX recorder: what it makes of sizes, addresses and constants. That its graphs compute what the executors
// compute is test/onnx/'s subject, which needs ONNX Runtime.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "export/exporter.h"
#include "golden.h"
#include "harness.h"
#include "models/unet.h"
#include "onnx/graph.h"
#include "onnx/onnx_model.h"
#include "onnx/values.h"
#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "paella-onnx-XXXXXX").string();
    expect(mkdtemp(name.data()) != nullptr, "no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::string path_;
};

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

ConstantPtr onnx_constant(Backend& backend, const Shape& shape, Layout layout, float value = 0.5f) {
  return constant(backend, std::vector<float>(static_cast<std::size_t>(shape.elements()), value), shape, layout);
}

onnx::Model record(const Signature& signature, const Lambda::Function& body, DType operand = DType::f32,
                   const onnx::RecordOptions& options = {}) {
  onnx::DataFile data("test.onnx.data");
  onnx::Model model = onnx::record(Lambda(body), signature, operand, data, options);
  model.initializers.clear();  // they go with the data file
  return model;
}

// One f32 input [batch, height, width, 8] and one output.
Signature images(Dims out, DType type = DType::f32) {
  Signature signature;
  signature.symbols = {{"batch", {}}, {"height", {2, {}}}, {"width", {2, {}}}};
  signature.inputs = {{"x", {"batch", "height", "width", 8}, DType::f32}};
  signature.outputs = {{"y", std::move(out), type}};
  return signature;
}

bool mentions(const onnx::Model& model, const std::string& text) { return model.graph.find(text) != std::string::npos; }

}  // namespace

TEST("ONNX: terms of sizes") {
  const std::map<std::string, std::int64_t> sizes = {{"height", 24}, {"length", 7}};
  CHECK_EQUAL(Dim("height").divided_by(2).times(4).text(), "2*height");
  CHECK_EQUAL(Dim("height").divided_by(4).text(), "height/4");
  CHECK_EQUAL(Dim("height").divided_by(4).value(sizes), 6);
  CHECK_EQUAL(Dim("length").times(2).plus(-1).text(), "2*length-1");
  CHECK_EQUAL(Dim("length").times(2).plus(-1).value(sizes), 13);
  CHECK_EQUAL(Dim("length").plus(8).times(2).text(), "2*length+16");
  CHECK_EQUAL(Dim(640).divided_by(2).text(), "320");
  CHECK(Dim("height").divided_by(2).times(2) == Dim("height"));
  CHECK_THROWS(Dim("length").divided_by(2).value(sizes), ErrorCode::internal, "not whole");
  CHECK_THROWS(Dim("length").plus("height"), ErrorCode::internal, "two symbols");
  CHECK_THROWS(Dim(7).divided_by(2), ErrorCode::internal, "divided by 2");
  CHECK_THROWS(Dim("width").value(sizes), ErrorCode::internal, "no value for width");
}

TEST("ONNX: fixed sizes follow the rules of their symbols") {
  Signature signature;
  signature.symbols = {{"batch", {}}, {"rows", {1, "batch"}}, {"height", {8, {}}}};
  signature.inputs = {{"x", {"rows", Dim("height").divided_by(2)}, DType::f32}};
  const Signature fixed = signature.fixed({{"batch", 2}, {"rows", 4}, {"height", 16}});
  CHECK_EQUAL(text_of(fixed.inputs[0].dims), "[4, 8]");
  CHECK(fixed.symbols.empty());
  CHECK_EQUAL(text_of(signature.fixed({{"batch", 3}}).inputs[0].dims), "[rows, height/2]");
  CHECK_EQUAL(signature.fixed({{"batch", 3}}).symbols.at("rows").multiple, 3);
  CHECK_THROWS(signature.fixed({{"height", 12}}), ErrorCode::invalid_option,
               "height: expected a positive multiple of 8");
  CHECK_THROWS(signature.fixed({{"batch", 2}, {"rows", 3}}), ErrorCode::invalid_option, "rows: expected a multiple");
  CHECK_THROWS(signature.fixed({{"rows", 4}}), ErrorCode::invalid_option, "which must be fixed too");
  CHECK_THROWS(signature.fixed({{"depth", 4}}), ErrorCode::invalid_option, "depth: expected one of the sizes");
}

TEST("ONNX: values by address") {
  Signature signature;
  onnx::DataFile data("test.data");
  onnx::Graph graph("test", signature, data, 20);
  const std::map<std::string, std::int64_t> sizes = {{"n", 5}};
  onnx::Values values(graph, sizes);
  auto* base = reinterpret_cast<std::uint8_t*>(std::uintptr_t{1} << 50);
  const auto tensor = [&](std::ptrdiff_t at, const Shape& shape) { return Tensor{base + at, shape, DType::f32}; };

  values.write(tensor(0, {6, 4}), {"a", {6, 4}, DType::f32});
  CHECK_EQUAL(values.read(tensor(0, {6, 4})).name, "a");
  CHECK_EQUAL(graph.size(), std::size_t{0});
  CHECK_EQUAL(values.read(tensor(32, {2, 4})).name, "Slice_0");  // entries 2 and 3
  CHECK_EQUAL(values.read(tensor(0, {2, 12})).name, "Reshape_0");
  CHECK_THROWS(values.read(tensor(40, {2, 4})), ErrorCode::internal, "begins within an entry");
  CHECK_THROWS(values.read(tensor(80, {2, 4})), ErrorCode::internal, "ends after it");
  CHECK_THROWS(values.read(tensor(96, {1, 4})), ErrorCode::internal, "nothing was written");
  CHECK_THROWS(values.read(Tensor{base, {6, 4}, DType::i32}), ErrorCode::internal, "read as i32");

  // Written over in part: the rest is gone, and to read it all is refused instead of giving an old value.
  values.write(tensor(32, {2, 4}), {"b", {2, 4}, DType::f32});
  CHECK_EQUAL(values.read(tensor(32, {2, 4})).name, "b");
  CHECK_THROWS(values.read(tensor(0, {6, 4})), ErrorCode::internal, "nothing was written");

  // Side by side, with a size that is a symbol.
  values.write(tensor(1024, {5, 4}), {"c", {"n", 4}, DType::f32});
  values.write(tensor(1024 + 80, {3, 4}), {"d", {3, 4}, DType::f32});
  const onnx::Value both = values.read(tensor(1024, {8, 4}));
  CHECK_EQUAL(text_of(both.dims), "[n+3, 4]");
  CHECK_EQUAL(values.read(tensor(1024, {8, 4})).name, both.name);
  values.write(tensor(2048, {5, 4}), {"e", {"n", 4}, DType::f32});
  CHECK_THROWS(values.read(tensor(2048, {2, 4})), ErrorCode::internal, "depends on the size n");
  CHECK_THROWS(values.read(tensor(2048, {10, 2})), ErrorCode::internal, "cannot be told in symbols");
  CHECK_EQUAL(text_of(values.read(tensor(2048, {5, 2, 2})).dims), "[n, 2, 2]");
  CHECK_THROWS(values.write(tensor(0, {5, 4}), {"f", {"n", 5}, DType::f32}), ErrorCode::internal, "expected shape");
}

TEST("ONNX: every operation is recorded, in f32, bf16 and f16") {
  for (const auto& [precision, operand] :
       {std::pair{"fp32", DType::f32}, {"bf16", DType::bf16}, {"fp16", DType::f16}}) {
    const auto backend = onnx::make_backend(precision);
    const auto c = [&](const Shape& shape, Layout layout) { return onnx_constant(*backend, shape, layout); };
    const Linear same{c({8, 8}, Layout::matrix), c({8}, Layout::vector)};
    const Linear expand{c({32, 8}, Layout::matrix), nullptr}, contract{c({8, 32}, Layout::matrix), nullptr};
    const auto f = [](Dims dims) { return images(std::move(dims)); };
    const Dims unchanged = {"batch", "height", "width", 8};
    const Dim half_h = Dim("height").divided_by(2), half_w = Dim("width").divided_by(2);
    struct Case {
      const char* op;
      Signature signature;
      std::function<Tensor(Ops&, const Tensor&)> body;
    };
    const std::vector<Case> cases = {
        {"MatMul", f(unchanged),
         [&](Ops& ops, const Tensor& x) {
           return ops.linear(as_operand(ops, x), same, Activation::gelu_erf, DType::f32);
         }},
        {"Add", f(unchanged),
         [&](Ops& ops, const Tensor& x) {
           ops.linear_add(x, as_operand(ops, x), same);
           return x;
         }},
        {"LayerNormalization", f(unchanged),
         [&](Ops& ops, const Tensor& x) { return ops.layer_norm(x, 1e-6f, DType::f32); }},
        {"Sqrt", f(unchanged),
         [&](Ops& ops, const Tensor& x) { return ops.rms_norm(x, c({8}, Layout::vector), 1e-6f, DType::f32); }},
        {"ReduceL2", f(unchanged),
         [&](Ops& ops, const Tensor& x) {
           const Tensor h = as_operand(ops, x);
           ops.grn(h, c({8}, Layout::vector));
           return ops.convert(h, DType::f32);
         }},
        {"Conv", f(unchanged),
         [&](Ops& ops, const Tensor& x) {
           return ops.depthwise_conv(x, &x, c({8, 2, 3, 3}, Layout::depthwise), c({8}, Layout::vector), Padding::zero);
         }},
        {"Pad", f(unchanged),
         [&](Ops& ops, const Tensor& x) {
           ops.norm_depthwise_add(x, c({8, 1, 3, 3}, Layout::depthwise), c({8}, Layout::vector), Padding::replicate,
                                  1e-6f);
           return x;
         }},
        {"SpaceToDepth", f({"batch", half_h, half_w, 32}),
         [](Ops& ops, const Tensor& x) { return ops.space_to_depth(x); }},
        {"DepthToSpace", f({"batch", Dim("height").times(2), Dim("width").times(2), 2}),
         [](Ops& ops, const Tensor& x) { return ops.depth_to_space(x); }},
        {"Slice", f({"batch", half_h, half_w, 128}),
         [](Ops& ops, const Tensor& x) { return ops.patches_4x4(x, DType::f32); }},
        {"Identity", f(unchanged), [](Ops&, const Tensor& x) { return x; }},
        {"Sigmoid", f(unchanged),
         [](Ops& ops, const Tensor& x) { return ops.activate(x, Activation::silu, DType::f32); }},
        {"Split", f({"batch", "height", "width", 4}),
         [](Ops& ops, const Tensor& x) { return ops.convert(ops.gated(x, Activation::gelu_tanh), DType::f32); }},
        {"Slice", f({"batch", "height", "width", 3}), [](Ops& ops, const Tensor& x) { return ops.columns(x, 2, 3); }},
        {"Tile", f({Dim("batch").times(3), "height", "width", 8}),
         [](Ops& ops, const Tensor& x) { return ops.repeat(x, 3); }},
        {"ReduceL2", f(unchanged),
         [&](Ops& ops, const Tensor& x) {
           ops.res_block_tail(x, as_operand(ops, x), {expand, c({32}, Layout::vector), contract}, nullptr);
           return x;
         }},
        {"Gelu", f(unchanged),
         [&](Ops& ops, const Tensor& x) {
           ops.mlp_add(x, as_operand(ops, x), expand, contract);
           return x;
         }},
    };
    for (const Case& each : cases) {
      const onnx::Model model = record(
          each.signature, [&](Ops& ops, auto in, auto out) { ops.copy(each.body(ops, in[0]), out[0]); }, operand);
      CHECK(mentions(model, each.op));
      CHECK(mentions(model, "batch"));
    }
    // Pixels and codes.
    Signature pixels = images(unchanged, DType::u8);
    CHECK(
        mentions(record(pixels, [](Ops& ops, auto in, auto out) { ops.to_pixels(in[0], out[0]); }, operand), "Round"));
    pixels.inputs[0].type = DType::u8;
    pixels.outputs[0].type = DType::f32;
    CHECK(mentions(
        record(pixels, [](Ops& ops, auto in, auto out) { ops.copy(ops.from_pixels(in[0]), out[0]); }, operand), "Div"));
    const Signature codes = images({"batch", "height", "width"}, DType::i32);
    const auto book = c({11, 8}, Layout::table_f32);
    CHECK(mentions(
        record(codes, [&](Ops& ops, auto in, auto out) { ops.nearest_code(in[0], book, out[0]); }, operand), "ArgMin"));
  }
}

TEST("ONNX: what cannot be told in symbols is refused") {
  const Dims unchanged = {"batch", "height", "width", 8};
  const auto refuses = [&](const Signature& signature, const Lambda::Function& body, const char* why) {
    CHECK_THROWS(record(signature, body), ErrorCode::internal, why);
  };
  // An output of the right size for the wrong reason.
  Signature square = images({"batch", "width", "height", 8});
  refuses(
      square, [](Ops& ops, auto in, auto out) { ops.copy(Tensor{in[0].data, out[0].shape, DType::f32}, out[0]); },
      "cannot be told in symbols");
  refuses(images(unchanged), [](Ops&, auto, auto) {}, "nothing was written");
  refuses(
      images({1, "height", "width", 8}), [](Ops& ops, auto in, auto out) { ops.copy(in[0].slice(0, 1), out[0]); },
      "depends on the size batch");
  refuses(
      images(unchanged),
      [](Ops& ops, auto in, auto out) {
        const auto cpu = make({});
        ops.copy(ops.rms_norm(in[0], onnx_constant(*cpu, {8}, Layout::vector), 1e-6f, DType::f32), out[0]);
      },
      "expected constants of the ONNX backend");
  CHECK_THROWS(record(Signature{}, [](Ops&, auto, auto) {}), ErrorCode::internal, "expected a signature");
  for (const int opset : {19, 23})
    CHECK_THROWS(record(images(unchanged), [](Ops& ops, auto in, auto out) { ops.copy(in[0], out[0]); }, DType::f32,
                        {.opset = opset, .resolve = {}}),
                 ErrorCode::invalid_option, "opset: expected 20 to 22");
}

TEST("ONNX: a constant is written once, and read as it was given") {
  const auto backend = onnx::make_backend("bf16");
  const std::vector<float> values = {1.0f, -2.5f, 3.0e-3f, 1.0f / 3};
  const auto made = [&](const char* name, Layout layout) {
    const auto pointer = backend->constant({name, {2, 2}, DType::f32, values.data()}, layout);
    return std::dynamic_pointer_cast<const onnx::OnnxConstant>(pointer);
  };
  const auto matrix = made("w", Layout::matrix), same_name = made("w", Layout::table_f32);
  CHECK(matrix->type() == DType::bf16 && matrix->bytes == 8);
  CHECK(same_name->type() == DType::f32 && same_name->bytes == 16);
  onnx::DataFile data("w.data");
  CHECK_EQUAL(data.place(matrix).name, "w");
  CHECK_EQUAL(data.place(same_name).name, "w.2");
  CHECK_EQUAL(data.place(same_name).offset, onnx::DataFile::alignment);
  CHECK_EQUAL(data.place(matrix).offset, std::uint64_t{0});
  CHECK_EQUAL(data.entries().size(), std::size_t{2});

  const TemporaryFolder folder;
  std::size_t told = 0;
  data.write(folder.path(), [&](std::size_t bytes) { told += bytes; });
  const std::string bytes = contents(folder / "w.data");
  CHECK_EQUAL(bytes.size(), onnx::DataFile::alignment + 16);
  CHECK_EQUAL(told, bytes.size());
  CHECK(std::memcmp(bytes.data() + onnx::DataFile::alignment, values.data(), 16) == 0);
  // bf16 by hand: 1, −2.5, 3e-3 and ⅓, to nearest.
  const std::uint16_t expected[] = {0x3F80, 0xC020, 0x3B45, 0x3EAB};
  CHECK(std::memcmp(bytes.data(), expected, 8) == 0);
  CHECK_THROWS(data.write(folder.path()), ErrorCode::io, "cannot be written");
  CHECK_THROWS(data.write(folder / "none"), ErrorCode::io, "cannot be written");
}

TEST("ONNX: fp16 weights are rounded to nearest") {
  const auto backend = onnx::make_backend("fp16");
  const std::vector<float> values = {1.0f,       65504.0f, 65519.0f,        0x1p-14f,        0x1p-24f,
                                     0x1.8p-25f, 0x1p-25f, 1.0f + 0x1p-11f, 1.0f + 0x3p-11f, -0.1f,
                                     0.0f,       -0.0f,    0x1.ffcp-15f,    0x1.fffp-15f};
  const std::vector<std::uint16_t> expected = {0x3C00, 0x7BFF, 0x7BFF, 0x0400, 0x0001, 0x0001, 0x0000,
                                               0x3C00, 0x3C02, 0xAE66, 0x0000, 0x8000, 0x0400, 0x0400};
  const Shape shape{static_cast<std::int64_t>(values.size())};
  const auto made = onnx::make_constant({"w", shape, DType::f32, values.data()}, Layout::matrix, DType::f16);
  std::vector<std::uint16_t> found(values.size());
  made->read(0, {reinterpret_cast<std::uint8_t*>(found.data()), found.size() * 2});
  for (std::size_t i = 0; i < found.size(); ++i) CHECK_EQUAL(found[i], expected[i]);
  const float large = 65520.0f, infinite = INFINITY;
  CHECK_THROWS(backend->constant({"big", {1, 1}, DType::f32, &large}, Layout::matrix), ErrorCode::numeric,
               "big: expected weights within the range of fp16");
  CHECK(backend->constant({"big", {1, 1}, DType::f32, &large}, Layout::matrix_f32) != nullptr);
  CHECK_THROWS(backend->constant({"inf", {1}, DType::f32, &infinite}, Layout::vector), ErrorCode::numeric,
               "inf: expected finite weights");
}

TEST("ONNX: constants that another backend holds beside its own") {
  struct Both final : Constant {
    std::shared_ptr<const onnx::OnnxConstant> recorded;
  };
  const std::vector<float> values(8, 0.25f);
  const auto both = std::make_shared<Both>();
  both->shape = {8};
  both->recorded = onnx::make_constant({"norm.weight", {8}, DType::f32, values.data()}, Layout::vector, DType::bf16);
  onnx::RecordOptions options;
  options.resolve = [](const Constant& constant) { return dynamic_cast<const Both&>(constant).recorded; };
  onnx::DataFile data("test.onnx.data");
  const Lambda network([&](Ops& ops, auto in, auto out) {
    ops.copy(ops.rms_norm(in[0], both, 1e-6f, DType::f32), out[0]);
    ops.copy(ops.rms_norm(in[0], both, 1e-6f, DType::f32), out[0]);
  });
  const onnx::Model model = onnx::record(network, images({"batch", "height", "width", 8}), DType::bf16, data, options);
  CHECK_EQUAL(data.entries().size(), std::size_t{1});
  CHECK_EQUAL(model.initializers.size(), std::size_t{1});
  CHECK_EQUAL(model.initializers[0]->name, "norm.weight");
  CHECK(mentions(model, "norm.weight"));
}

TEST("ONNX: constants of a mapped file stay in it") {
  const auto backend = onnx::make_backend("fp32");
  auto source = open_safetensors(golden_folder() + "/unet-two-levels/unet/model.safetensors");
  const UnetConfig config =
      UnetConfig::from_json(Json::parse_file(golden_folder() + "/unet-two-levels/unet/config.json"), "config.json");
  const HostTensor tensor = source->get("out_mapper.1.weight", {config.num_labels, config.c_out, 1, 1});
  const auto made = onnx::make_constant(tensor, Layout::matrix_f32, DType::f32);
  CHECK(made->data() == tensor.data);
  const auto before = to_f32(tensor);
  source->release(tensor);
  source.reset();
  std::vector<float> after(before.size());
  made->read(0, {reinterpret_cast<std::uint8_t*>(after.data()), after.size() * sizeof(float)});
  CHECK(after == before);
}

TEST("ONNX: the backend computes nothing") {
  const auto backend = onnx::make_backend("fp32");
  CHECK_THROWS(backend->sampler(), ErrorCode::internal, "cannot run them");
  CHECK_THROWS(backend->allocate(1), ErrorCode::internal, "cannot run them");
  CHECK_THROWS(onnx::make_backend("int8"), ErrorCode::invalid_option, "fp32, bf16, fp16");
  Random random(3);
  const auto x = random.normal(7 * 5), w = random.normal(9 * 5);
  CHECK_BOUND("product on the host",
              relative_error(backend->host_product(x, w, 7, 5, 9), make({})->host_product(x, w, 7, 5, 9)), 1e-6);
}

TEST("export: files, shared weights, cancelling") {
  const std::string model = PAELLA_SOURCE_DIR "/models/tiny";
  const TemporaryFolder folder;
  const ExportResult result = export_model({.model = model, .folder = folder.path()});
  std::set<std::string> names;
  for (const ExportedNetwork& network : result.networks) {
    names.insert(network.name);
    CHECK(std::filesystem::file_size(folder / network.file) > 100);
  }
  CHECK((names == std::set<std::string>{"text-encoder", "unet", "unet-condition", "unet-condition-image", "unet-head",
                                        "unet-modulation", "vqgan-decoder", "vqgan-encoder"}));
  CHECK_EQUAL(folder.files(), result.networks.size() + 3);
  for (const ExportedData& data : result.data) CHECK_EQUAL(std::filesystem::file_size(folder / data.file), data.bytes);

  CHECK_THROWS(export_model({.model = model, .folder = folder.path()}), ErrorCode::io, "cannot be written");
  CHECK_THROWS(export_model({.model = model, .folder = folder.path(), .networks = {"unet-condition-clip"}}),
               ErrorCode::invalid_option,
               "networks: expected some of text-encoder, unet, unet-condition, unet-condition-image, unet-mod");
  CHECK_THROWS(export_model({.model = model, .folder = folder.path(), .precision = "int8"}), ErrorCode::invalid_option,
               "precision");
  CHECK_THROWS(export_model({.model = model + "/none", .folder = folder.path()}), ErrorCode::model_not_found, "model");

  const TemporaryFolder other;
  const ExportRequest request{.model = "random:paella-v3-small",
                              .folder = other.path(),
                              .precision = "bf16",
                              .networks = {"vqgan-decoder", "unet-condition-clip-image"}};
  CHECK_THROWS(export_model(request,
                            [](const ExportProgress& progress) {
                              if (progress.phase == "writing vqgan" && progress.done > 0)
                                fail(ErrorCode::aborted, "enough");
                            }),
               ErrorCode::aborted, "enough");
  CHECK(!std::filesystem::exists(other / "vqgan.onnx.data"));
  CHECK(std::filesystem::exists(other / "unet-condition-clip-image.onnx"));
}
