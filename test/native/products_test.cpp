// linear and linear_add against sums in double precision.
#include <cmath>

#include "core/error.h"
#include "cuda/products.h"
#include "operations.h"
#include "simt/runtime.h"

using namespace paella;
using namespace paella::test;

namespace {

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::gelu_erf:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::none:
      break;
  }
  return x;
}

struct Case {
  std::int64_t rows, columns, inner;
};

// The CPU with its best instructions, and every precision of CUDA.
std::vector<Variant> executors() {
  std::vector<Variant> all;
  for (const std::string& precision : precisions()) all.push_back({.precision = precision});
  for (const char* precision : {"fp32", "bf16", "fp16"}) all.push_back({.backend = "cuda", .precision = precision});
  return all;
}

// Rounding of f16 is 8 times finer than that of bf16.
double bound_of(const Variant& variant, double fp32, double bf16) {
  return variant.precision == "fp32" ? fp32 : variant.precision == "fp16" ? bf16 / 8 : bf16;
}

}  // namespace

TEST("linear: odd and round sizes, all activations, with and without bias") {
  for (const Variant& variant : executors()) {
    const auto backend = make(variant);
    double worst = 0;
    for (const Case& size : {Case{1, 1, 1}, Case{3, 5, 7}, Case{17, 33, 65}, Case{128, 96, 64}, Case{130, 127, 200}}) {
      Random random(static_cast<std::uint64_t>(size.rows));
      const auto x = random.normal(size.rows * size.inner), b = random.normal(size.columns);
      const auto w = random.normal(size.columns * size.inner, 1 / std::sqrt(static_cast<float>(size.inner)));
      const auto weight = constant(*backend, w, {size.columns, size.inner}, Layout::matrix);
      for (const bool with_bias : {false, true})
        for (const Activation activation :
             {Activation::none, Activation::gelu_erf, Activation::gelu_tanh, Activation::silu}) {
          Linear linear{weight, with_bias ? constant(*backend, b, {size.columns}, Layout::vector) : nullptr};
          for (const bool operand_out : {false, true}) {
            const auto found = compute(*backend, {input_f32({size.rows, size.inner}, x)}, {size.rows, size.columns},
                                       [&](Ops& ops, auto in) {
                                         return ops.linear(as_operand(ops, in[0]), linear, activation,
                                                           operand_out ? ops.operand_type() : DType::f32);
                                       });
            Doubles expected(found.size());
            for (std::int64_t m = 0; m < size.rows; ++m)
              for (std::int64_t n = 0; n < size.columns; ++n) {
                double sum = with_bias ? b[static_cast<std::size_t>(n)] : 0;
                for (std::int64_t k = 0; k < size.inner; ++k)
                  sum += static_cast<double>(x[static_cast<std::size_t>(m * size.inner + k)]) *
                         w[static_cast<std::size_t>(n * size.inner + k)];
                expected[static_cast<std::size_t>(m * size.columns + n)] = activated(activation, sum);
              }
            worst = std::max(worst, error_of(found, expected));
          }
        }
    }
    CHECK_BOUND("linear, " + variant.text(), worst, bound_of(variant, 2e-6, 2e-2));
  }
}

TEST("linear_add: adds to what is there") {
  for (const Variant& variant : executors()) {
    const auto backend = make(variant);
    Random random(2);
    const std::int64_t rows = 37, columns = 50, inner = 70;
    const auto x = random.normal(rows * inner), w = random.normal(columns * inner), b = random.normal(columns);
    const auto residual = random.normal(rows * columns);
    const Linear linear{constant(*backend, w, {columns, inner}, Layout::matrix),
                        constant(*backend, b, {columns}, Layout::vector)};
    const auto found = compute(*backend, {input_f32({rows, inner}, x), input_f32({rows, columns}, residual)},
                               {rows, columns}, [&](Ops& ops, auto in) {
                                 ops.linear_add(in[1], as_operand(ops, in[0]), linear);
                                 return in[1];
                               });
    Doubles expected = doubles(residual);
    for (std::int64_t m = 0; m < rows; ++m)
      for (std::int64_t n = 0; n < columns; ++n) {
        double& sum = expected[static_cast<std::size_t>(m * columns + n)];
        sum += b[static_cast<std::size_t>(n)];
        for (std::int64_t k = 0; k < inner; ++k)
          sum += static_cast<double>(x[static_cast<std::size_t>(m * inner + k)]) *
                 w[static_cast<std::size_t>(n * inner + k)];
      }
    CHECK_BOUND("linear_add, " + variant.text(), error_of(found, expected), bound_of(variant, 2e-6, 1e-2));
  }
}

// What makes a seed's image independent of its batch; a promise of oneDNN's kernels that is worth watching.
TEST("linear: a row has the same bits in any number of rows and with any number of threads") {
  for (const std::string& precision : precisions())
    for (const auto& [columns, inner] : {std::pair<std::int64_t, std::int64_t>{5120, 1280},
                                         {1280, 5120},
                                         {640, 640},
                                         {128, 512},
                                         {384, 128},
                                         {96, 33},
                                         {1000, 256}}) {
      Random random(3);
      constexpr std::int64_t most = 700;
      const auto x = random.normal(most * inner), w = random.normal(columns * inner), b = random.normal(columns);
      std::vector<float> all;
      for (const int threads : {2, 1, 3}) {
        const auto backend = make({.precision = precision, .threads = threads});
        const Linear linear{constant(*backend, w, {columns, inner}, Layout::matrix),
                            constant(*backend, b, {columns}, Layout::vector)};
        for (const std::int64_t rows : {most, std::int64_t{1}, std::int64_t{3}, std::int64_t{16}, std::int64_t{128},
                                        std::int64_t{130}, std::int64_t{512}}) {
          if (threads != 2 && rows != 128 && rows != most) continue;
          const auto found =
              compute(*backend, {input_f32({rows, inner}, {x.begin(), x.begin() + rows * inner})}, {rows, columns},
                      [&](Ops& ops, auto in) {
                        return ops.linear(as_operand(ops, in[0]), linear, Activation::gelu_erf, ops.operand_type());
                      });
          if (all.empty()) all = found;
          const bool same = same_bits(found, {all.begin(), all.begin() + rows * columns});
          check(same, __FILE__, __LINE__,
                concat("rows differ: ", precision, ", ", threads, " threads, ", rows, " rows of [", columns, ", ",
                       inner, "]"));
        }
      }
    }
}

// Shapes for which the prediction takes different tiles for different numbers of rows, K split and not.
TEST("linear: a row has the same bits in any number of rows on a GPU") {
  for (const char* precision : {"fp32", "bf16", "fp16"})
    for (const auto& [columns, inner] :
         {std::pair<std::int64_t, std::int64_t>{512, 128}, {72, 1032}, {30, 40}, {96, 33}, {33, 96}}) {
      Random random(3);
      constexpr std::int64_t most = 330;
      const auto x = random.normal(most * inner), w = random.normal(columns * inner), b = random.normal(columns);
      const auto backend = make({.backend = "cuda", .precision = precision});
      const Linear linear{constant(*backend, w, {columns, inner}, Layout::matrix),
                          constant(*backend, b, {columns}, Layout::vector)};
      std::vector<float> all;
      for (const std::int64_t rows : {most, std::int64_t{1}, std::int64_t{3}, std::int64_t{64}, std::int64_t{130}}) {
        const auto found =
            compute(*backend, {input_f32({rows, inner}, {x.begin(), x.begin() + rows * inner})}, {rows, columns},
                    [&](Ops& ops, auto in) {
                      return ops.linear(as_operand(ops, in[0]), linear, Activation::gelu_erf, ops.operand_type());
                    });
        if (all.empty()) all = found;
        check(same_bits(found, {all.begin(), all.begin() + rows * columns}), __FILE__, __LINE__,
              concat("rows differ: ", precision, ", ", rows, " rows of [", columns, ", ", inner, "]"));
      }
    }
}

// The promise on which the free choice of tiles rests.
TEST("products: every tile of the GPU's kernel gives the same bits, and so do pieces of a split product") {
  if (on_gpu()) return skip("the plug-in chooses its tiles itself; the tuner runs all of them");
  const simt::Hopper device;  // which runs all tiles
  const auto backend = make({.backend = "cuda", .precision = "bf16"});
  // The last: more steps along K than any tile has stages.
  for (const auto& size : {Case{130, 168, 72}, Case{65, 30, 328}, Case{3, 8, 8}, Case{260, 264, 584}}) {
    Random random(5);
    const auto weight =
        constant(*backend, random.normal(size.columns * size.inner), {size.columns, size.inner}, Layout::matrix);
    const auto bias = constant(*backend, random.normal(size.columns), {size.columns}, Layout::vector);
    const std::int64_t pixels = 50;  // images that begin inside tiles
    const auto factors = random.normal((size.rows / pixels + 1) * size.inner);
    const auto x = random.normal(size.rows * size.inner), residual = random.normal(size.rows * size.columns);
    for (const bool scaled : {false, true})
      for (const int splits : {1, 3}) {
        std::vector<float> first;
        for (int tile = 0; tile < static_cast<int>(cuda::product_tiles().size()); ++tile)
          for (const std::int64_t most : {size.rows, std::int64_t{60}}) {  // rows that the workspace has room for
            if (splits == 1 && most != size.rows) continue;
            cuda::Context context;
            context.runtime = cuda::make_runtime(0);
            context.account = std::make_shared<cuda::Account>();
            context.workspace = cuda::Memory(context.runtime, context.account,
                                             static_cast<std::size_t>(4 * splits * size.columns * most),
                                             cuda::Memory::Use::activations, "test");
            const auto found =
                compute(*backend,
                        {input_f32({size.rows, size.inner}, x), input_f32({size.rows, size.columns}, residual),
                         input_f32({size.rows / pixels + 1, size.inner}, factors)},
                        {size.rows, size.columns}, [&](Ops& ops, auto in) {
                          cuda::Product product;
                          const Tensor operand = as_operand(ops, in[0]);
                          product.x = operand.data;
                          product.x_type = operand.dtype;
                          product.rows = size.rows;
                          product.weight = weight.get();
                          product.bias = cuda::cuda(*bias).as<float>();
                          product.accumulate = true;
                          product.out = in[1].data;
                          if (scaled) product.factors = in[2].template as<float>();
                          product.pixels = pixels;
                          if (!ops.measuring()) run_product(context, product, {tile, splits});
                          return in[1];
                        });
            if (first.empty()) first = found;
            check(same_bits(found, first), __FILE__, __LINE__,
                  concat("tile ", tile, " differs: ", splits, " splits, ", most, " rows at once, [", size.columns, ", ",
                         size.inner, "]", scaled ? ", scaled" : ""));
          }
      }
  }
}

// f32 weights beside 16-bit operands: three products of bf16 parts. Same bits in any number of rows, too.
TEST("linear: products of f32 matrices on tensor cores are nearly f32") {
  for (const char* precision : {"fp32", "bf16", "fp16"}) {
    const auto backend = make({.backend = "cuda", .precision = precision});
    for (const auto& size : {Case{150, 200, 144}, Case{70, 130, 1040}, Case{9, 64, 128}, Case{20, 40, 64}}) {
      Random random(6);
      const auto x = random.normal(size.rows * size.inner), w = random.normal(size.columns * size.inner);
      const auto b = random.normal(size.columns);
      const Linear linear{constant(*backend, w, {size.columns, size.inner}, Layout::matrix_f32),
                          constant(*backend, b, {size.columns}, Layout::vector)};
      const auto product = [&](std::int64_t rows) {
        return compute(*backend, {input_f32({rows, size.inner}, {x.begin(), x.begin() + rows * size.inner})},
                       {rows, size.columns},
                       [&](Ops& ops, auto in) { return ops.linear(in[0], linear, Activation::none, DType::f32); });
      };
      const auto found = product(size.rows), one = product(1);
      Doubles expected(found.size());
      for (std::int64_t m = 0; m < size.rows; ++m)
        for (std::int64_t n = 0; n < size.columns; ++n) {
          double& sum = expected[static_cast<std::size_t>(m * size.columns + n)];
          sum = b[static_cast<std::size_t>(n)];
          for (std::int64_t k = 0; k < size.inner; ++k)
            sum += static_cast<double>(x[static_cast<std::size_t>(m * size.inner + k)]) *
                   w[static_cast<std::size_t>(n * size.inner + k)];
        }
      CHECK_BOUND(concat("f32 matrix [", size.columns, ", ", size.inner, "], cuda ", precision),
                  error_of(found, expected), precision == std::string("fp32") ? 1e-6 : 1e-5);
      CHECK(same_bits(one, {found.begin(), found.begin() + size.columns}));
    }
  }
}

TEST("host_product: x·wᵀ") {
  for (const Variant& variant : executors()) {
    const auto backend = make(variant);
    Random random(4);
    const auto x = random.normal(5 * 7), w = random.normal(3 * 7);
    const auto found = backend->host_product(x, w, 5, 7, 3);
    Doubles expected(15);
    for (std::size_t m = 0; m < 5; ++m)
      for (std::size_t n = 0; n < 3; ++n)
        for (std::size_t k = 0; k < 7; ++k) expected[m * 3 + n] += static_cast<double>(x[m * 7 + k]) * w[n * 7 + k];
    CHECK_BOUND("host_product, " + variant.text(), error_of(found, expected), 1e-6);
  }
}

TEST("linear: an operand of the wrong type is refused") {
  for (const Variant& variant : executors()) {
    if (variant.precision == "fp32") continue;
    const auto backend = make(variant);
    const Linear linear{constant(*backend, {1, 2, 3, 4}, {2, 2}, Layout::matrix), nullptr};
    CHECK_THROWS(compute(*backend, {input_f32({1, 2}, {1, 2})}, {1, 2},
                         [&](Ops& ops, auto in) { return ops.linear(in[0], linear, Activation::none, DType::f32); }),
                 ErrorCode::internal,
                 variant.precision == "fp16" ? "linear: expected an operand of type f16"
                                             : "linear: expected an operand of type bf16");
  }
}
