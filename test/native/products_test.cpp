// linear and linear_add against sums in double precision.
#include <cmath>

#include "core/error.h"
#include "operations.h"

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

}  // namespace

TEST("linear: odd and round sizes, all activations, with and without bias") {
  for (const std::string& precision : precisions()) {
    const auto backend = make({.precision = precision});
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
    CHECK_BOUND("linear, " + precision, worst, bound_for(*backend, 2e-6, 2e-2));
  }
}

TEST("linear_add: adds to what is there") {
  for (const std::string& precision : precisions()) {
    const auto backend = make({.precision = precision});
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
    CHECK_BOUND("linear_add, " + precision, error_of(found, expected), bound_for(*backend, 2e-6, 1e-2));
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

TEST("host_product: x·wᵀ") {
  const auto backend = make({});
  Random random(4);
  const auto x = random.normal(5 * 7), w = random.normal(3 * 7);
  const auto found = backend->host_product(x, w, 5, 7, 3);
  Doubles expected(15);
  for (std::size_t m = 0; m < 5; ++m)
    for (std::size_t n = 0; n < 3; ++n)
      for (std::size_t k = 0; k < 7; ++k) expected[m * 3 + n] += static_cast<double>(x[m * 7 + k]) * w[n * 7 + k];
  CHECK_BOUND("host_product", error_of(found, expected), 1e-6);
}

TEST("linear: an operand of the wrong type is refused") {
  for (const std::string& precision : precisions()) {
    if (precision == "fp32") continue;
    const auto backend = make({.precision = precision});
    const Linear linear{constant(*backend, {1, 2, 3, 4}, {2, 2}, Layout::matrix), nullptr};
    CHECK_THROWS(compute(*backend, {input_f32({1, 2}, {1, 2})}, {1, 2},
                         [&](Ops& ops, auto in) { return ops.linear(in[0], linear, Activation::none, DType::f32); }),
                 ErrorCode::internal, "linear: expected an operand of type bf16");
  }
}
