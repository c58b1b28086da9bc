#include <array>
#include <limits>

#include "onnx/onnx_ops.h"

namespace paella::onnx {

namespace {

constexpr std::int64_t to_the_end = std::numeric_limits<std::int64_t>::max();

}  // namespace

// The block order of ONNX's SpaceToDepth and of DepthToSpace "DCR" is ours: (2·dy + dx)·C + c.
void OnnxOps::do_space_to_depth(const Tensor& x, const Tensor& out) {
  const Value from = values_.read(x);
  const std::string moved =
      graph_.node("SpaceToDepth", {transpose(from.name, {0, 3, 1, 2})}, {{"blocksize", std::int64_t{2}}});
  const Dims& d = from.dims;
  store(out, transpose(moved, {0, 2, 3, 1}), from.type, {d[0], d[1].divided_by(2), d[2].divided_by(2), d[3].times(4)});
}

void OnnxOps::do_depth_to_space(const Tensor& x, const Tensor& out) {
  const Value from = values_.read(x);
  const std::string moved = graph_.node("DepthToSpace", {transpose(from.name, {0, 3, 1, 2})},
                                        {{"blocksize", std::int64_t{2}}, {"mode", std::string("DCR")}});
  const Dims& d = from.dims;
  store(out, transpose(moved, {0, 2, 3, 1}), from.type, {d[0], d[1].times(2), d[2].times(2), d[3].divided_by(4)});
}

void OnnxOps::do_patches_4x4(const Tensor& x, const Tensor& out) {
  const Value from = values_.read(x);
  const std::string padded =
      graph_.node("Pad", {from.name, graph_.integers({0, 1, 1, 0, 0, 1, 1, 0})}, {{"mode", std::string("constant")}});
  // Tap k of patch i is padded pixel 2i + k, of H + 2: the last one is H − 2 + k.
  constexpr std::array<std::int64_t, 4> ends = {-2, -1, to_the_end, to_the_end};
  std::vector<std::string> taps;
  for (std::int64_t y = 0; y < 4; ++y)
    for (std::int64_t column = 0; column < 4; ++column)
      taps.push_back(graph_.node(
          "Slice", {padded, graph_.integers({y, column}),
                    graph_.integers({ends[static_cast<std::size_t>(y)], ends[static_cast<std::size_t>(column)]}),
                    graph_.integers({1, 2}), graph_.integers({2, 2})}));
  const Dims& d = from.dims;
  store(out, graph_.node("Concat", taps, {{"axis", std::int64_t{-1}}}), from.type,
        {d[0], d[1].divided_by(2), d[2].divided_by(2), d[3].times(16)});
}

// Pixel 2j + p of a line is tap 1 of patch j and tap 3 of patch j − 1 if p is 0, tap 2 of patch j and tap 0 of patch
// j + 1 if it is 1. So each of the four pixels that belong to a patch is the sum of four shifted taps.
void OnnxOps::do_overlap_add_4x4(const Tensor& patches, const Constant& bias, const Tensor& out) {
  const Value from = values_.read(patches);
  const std::int64_t channels = out.shape[3];
  const std::string padded =
      graph_.node("Pad", {from.name, graph_.integers({0, 1, 1, 0, 0, 1, 1, 0})}, {{"mode", std::string("constant")}});
  struct Term {
    std::int64_t tap, shift;
  };
  constexpr Term terms[2][2] = {{{3, -1}, {1, 0}}, {{2, 0}, {0, 1}}};
  // Patch j + shift of the line, for every j: the padded line from 1 + shift, two shorter.
  const auto shifted = [&](const Term& y, const Term& x) {
    const auto end = [](std::int64_t shift) { return shift == 1 ? to_the_end : shift - 1; };
    const std::int64_t first = (4 * y.tap + x.tap) * channels;
    return graph_.node("Slice",
                       {padded, graph_.integers({1 + y.shift, 1 + x.shift, first}),
                        graph_.integers({end(y.shift), end(x.shift), first + channels}), graph_.integers({1, 2, 3})});
  };
  std::vector<std::string> pixels;
  for (const auto& ys : terms)
    for (const auto& xs : terms) {
      std::string sum = weight(bias).name;
      for (const Term& y : ys)
        for (const Term& x : xs) sum = binary("Add", sum, shifted(y, x));
      pixels.push_back(sum);
    }
  const std::string coarse = graph_.node("Concat", pixels, {{"axis", std::int64_t{-1}}});
  const std::string moved = graph_.node("DepthToSpace", {transpose(coarse, {0, 3, 1, 2})},
                                        {{"blocksize", std::int64_t{2}}, {"mode", std::string("DCR")}});
  const Dims& d = from.dims;
  store(out, transpose(moved, {0, 2, 3, 1}), DType::f32, {d[0], d[1].times(2), d[2].times(2), Dim(channels)});
}

}  // namespace paella::onnx
