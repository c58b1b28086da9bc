// Every composite against the plain operations that define it, and independence of batch and threads.
#include <algorithm>
#include <cmath>

#include "cpu/cpu_backend.h"
#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

struct Block {
  std::int64_t channels, hidden;
  std::vector<float> depthwise, depthwise_skip, depthwise_bias, expand, expand_bias, gamma, contract, contract_bias;

  explicit Block(std::int64_t c) : channels(c), hidden(4 * c) {
    Random random(14);
    const float scale = 1 / std::sqrt(static_cast<float>(c));
    depthwise = random.normal(c * 9, 0.3f);
    depthwise_skip = random.normal(c * 18, 0.3f);
    depthwise_bias = random.normal(c);
    expand = random.normal(hidden * c, scale);
    expand_bias = random.normal(hidden);
    gamma = random.normal(hidden);
    contract = random.normal(c * hidden, scale / 2);
    contract_bias = random.normal(c);
  }
};

enum class Composite { depthwise_norm, depthwise_norm_skip, tail, tail_modulated, norm_depthwise_add, mlp_add };
constexpr Composite composites[] = {Composite::depthwise_norm, Composite::depthwise_norm_skip, Composite::tail,
                                    Composite::tail_modulated, Composite::norm_depthwise_add,  Composite::mlp_add};
const char* const names[] = {"depthwise_norm",     "depthwise_norm with skip",
                             "res_block_tail",     "res_block_tail with modulation",
                             "norm_depthwise_add", "mlp_add"};

// x: residual, y: operand or skip, modulation [2C].
std::vector<float> apply(const Variant& variant, Composite composite, const Block& block, const Shape& shape,
                         const std::vector<float>& x, const std::vector<float>& y,
                         const std::vector<float>& modulation) {
  const auto backend = make(variant);
  const std::int64_t c = block.channels, h = block.hidden;
  const auto bias = constant(*backend, block.depthwise_bias, {c}, Layout::vector);
  const auto plain = constant(*backend, block.depthwise, {c, 1, 3, 3}, Layout::depthwise);
  const auto joined = constant(*backend, block.depthwise_skip, {c, 2, 3, 3}, Layout::depthwise);
  const Linear expand{constant(*backend, block.expand, {h, c}, backend->unet_products()),
                      constant(*backend, block.expand_bias, {h}, Layout::vector)};
  const Linear contract{constant(*backend, block.contract, {c, h}, backend->unet_products()),
                        constant(*backend, block.contract_bias, {c}, Layout::vector)};
  const ResBlockTail tail{expand, constant(*backend, block.gamma, {h}, Layout::vector), contract};
  return compute(*backend, {input_f32(shape, x), input_f32(shape, y), input_f32({2 * c}, modulation)}, shape,
                 [&](Ops& ops, auto in) {
                   switch (composite) {
                     case Composite::depthwise_norm:
                       return ops.depthwise_norm(in[0], nullptr, plain, bias, Padding::zero, 1e-6f);
                     case Composite::depthwise_norm_skip:
                       return ops.depthwise_norm(in[0], &in[1], joined, bias, Padding::zero, 1e-6f);
                     case Composite::tail:
                       ops.res_block_tail(in[0], as_operand(ops, in[1]), tail, nullptr);
                       break;
                     case Composite::tail_modulated:
                       ops.res_block_tail(in[0], as_operand(ops, in[1]), tail, &in[2]);
                       break;
                     case Composite::norm_depthwise_add:
                       ops.norm_depthwise_add(in[0], plain, bias, Padding::replicate, 1e-6f);
                       break;
                     case Composite::mlp_add:
                       ops.mlp_add(in[0], as_operand(ops, in[1]), expand, contract);
                       break;
                   }
                   return in[0];
                 });
}

}  // namespace

TEST("composites: fused and plain agree") {
  std::vector<Variant> executors = variants();
  const auto& known = cpu::describe().precisions;
  if (!on_gpu() && std::find(known.begin(), known.end(), "int8") != known.end())
    executors.push_back({.precision = "int8"});
  for (const Variant& variant : executors)
    for (const Composite composite : composites) {
      double worst = 0;
      for (const Shape& shape :
           {Shape{1, 1, 1, 2}, Shape{2, 3, 5, 18}, Shape{1, 16, 65, 32}, Shape{5, 8, 4, 64}, Shape{3, 8, 16, 24}}) {
        Random random(15);
        const Block block(shape[3]);
        const auto x = random.normal(shape.elements()), y = random.normal(shape.elements());
        const auto modulation = random.normal(2 * shape[3]);
        Variant plain = variant;
        plain.fused = false;
        const auto fused = apply(variant, composite, block, shape, x, y, modulation);
        worst = std::max(worst, error_of(fused, doubles(apply(plain, composite, block, shape, x, y, modulation))));
      }
      const double bound = variant.precision == "bf16" || variant.precision == "int8" ? 1e-2
                           : variant.precision == "fp16"                              ? 2e-3
                                                                                      : 2e-6;
      CHECK_BOUND(concat(names[static_cast<int>(composite)], ", ", variant.text()), worst, bound);
    }
}

TEST("composites: an image's bits depend neither on the batch nor on the number of threads") {
  std::vector<Variant> executors;
  for (const std::string& precision : precisions())
    for (const int threads : {2, 1, 3}) executors.push_back({.precision = precision, .threads = threads});
  for (const char* precision : {"fp32", "bf16", "fp16"})
    executors.push_back({.backend = "cuda", .precision = precision});
  for (const Composite composite : composites)
    // 90 pixels, and 64: a whole run of GRN's sums, so that products on a GPU make them.
    for (const Shape& shape : {Shape{3, 9, 10, 32}, Shape{5, 4, 16, 32}}) {
      const Shape alone = shape.with_first(1);
      const std::int64_t each = alone.elements();
      Random random(16);
      const Block block(shape[3]);
      const auto x = random.normal(shape.elements()), y = random.normal(shape.elements());
      const auto modulation = random.normal(2 * shape[3]);
      std::vector<float> all;
      for (const Variant& variant : executors) {
        const auto found = apply(variant, composite, block, shape, x, y, modulation);
        if (variant.backend != "cpu" || variant.threads == 2) all = found;
        const auto last =
            apply(variant, composite, block, alone, {x.end() - each, x.end()}, {y.end() - each, y.end()}, modulation);
        check(same_bits(found, all) && same_bits(last, {all.end() - each, all.end()}), __FILE__, __LINE__,
              concat(names[static_cast<int>(composite)], " differs: ", variant.text(), ", ", shape.text()));
      }
    }
}
