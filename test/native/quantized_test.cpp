// Weights of 8 bits (Layout::matrix_w8, matrix_w8a8) against sums in double precision over the same rounded numbers.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/eight_bits.h"
#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

// [rows, columns] → the nearest multiples of each row's own step, the largest of it being 127 steps.
Doubles rounded_rows(const std::vector<float>& values, std::int64_t rows, std::int64_t columns) {
  Doubles out(values.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    float largest = 0;
    for (std::int64_t i = 0; i < columns; ++i)
      largest = std::max(largest, std::abs(values[static_cast<std::size_t>(row * columns + i)]));
    // In f32, as the definition says: ties fall to the same side.
    const float step = largest / 127, inverse = largest > 0 ? 127 / largest : 0;
    for (std::int64_t i = 0; i < columns; ++i) {
      const auto at = static_cast<std::size_t>(row * columns + i);
      out[at] = static_cast<double>(step) * std::nearbyint(values[at] * inverse);
    }
  }
  return out;
}

struct Case {
  std::int64_t rows, columns, inner;
};
// The last one is multiplied in parts: by columns as matrix_w8, by rows as matrix_w8a8.
constexpr Case cases[] = {{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {64, 96, 64}, {40, 1100, 4096}, {700, 4096, 48}};

// Numbers that bf16 and fp16 hold exactly, so that only the 8 bits count.
std::vector<float> short_numbers(Random& random, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  const auto integers = random.integers(count, 255);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(integers[i] - 127) / 32;
  return values;
}

double gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }

// out = gelu(x·wᵀ + b) and residual + x·wᵀ + b, with x and w as the layout rounds them.
double worst_error(const Variant& variant, Layout layout, const Case& size) {
  const auto backend = make(variant);
  const auto [rows, columns, inner] = size;
  Random random(static_cast<std::uint64_t>(columns));
  const auto x = short_numbers(random, rows * inner);
  const auto w = random.normal(columns * inner, 1 / std::sqrt(static_cast<float>(inner))), b = random.normal(columns);
  const auto residual = random.normal(rows * columns);
  const Doubles x_seen = layout == Layout::matrix_w8a8 ? rounded_rows(x, rows, inner) : doubles(x);
  const Doubles w_seen = rounded_rows(w, columns, inner);
  Doubles activated, added = doubles(residual);
  for (std::int64_t m = 0; m < rows; ++m)
    for (std::int64_t n = 0; n < columns; ++n) {
      double sum = b[static_cast<std::size_t>(n)];
      for (std::int64_t k = 0; k < inner; ++k)
        sum += x_seen[static_cast<std::size_t>(m * inner + k)] * w_seen[static_cast<std::size_t>(n * inner + k)];
      activated.push_back(gelu(sum));
      added[static_cast<std::size_t>(m * columns + n)] += sum;
    }
  const Linear linear{constant(*backend, w, {columns, inner}, layout),
                      constant(*backend, b, {columns}, Layout::vector)};
  double worst = 0;
  for (const bool operand_out : {false, true}) {
    const auto found = compute(*backend, {input_f32({rows, inner}, x)}, {rows, columns}, [&](Ops& ops, auto in) {
      return ops.linear(as_operand(ops, in[0]), linear, Activation::gelu_erf,
                        operand_out ? ops.operand_type() : DType::f32);
    });
    // Rounding of the result to bf16 is not what this is about.
    worst = std::max(worst, error_of(found, activated) - (operand_out && variant.precision != "fp32" ? 3e-3 : 0));
  }
  const auto found = compute(*backend, {input_f32({rows, inner}, x), input_f32({rows, columns}, residual)},
                             {rows, columns}, [&](Ops& ops, auto in) {
                               ops.linear_add(in[1], as_operand(ops, in[0]), linear);
                               return in[1];
                             });
  return std::max(worst, error_of(found, added));
}

bool has_int8() {
  const auto precisions = cpu::describe().precisions;
  return std::find(precisions.begin(), precisions.end(), "int8") != precisions.end();
}

}  // namespace

TEST("weights of 8 bits: the largest weight of a row is met, halves go to even numbers") {
  const std::vector<float> row{-254, 3, 5, -7, 120.9f, 0};  // steps of 2
  std::vector<std::int8_t> integers(row.size());
  CHECK_EQUAL(round_to_8_bits(row, integers.data()), 2.0f);
  CHECK((integers == std::vector<std::int8_t>{-127, 2, 2, -4, 60, 0}));
  std::vector<float> exact{127, 0.5f, 1.5f, -2.5f}, in_place = exact;
  CHECK_EQUAL(round_to_8_bits(exact, in_place.data()), 1.0f);
  CHECK((in_place == std::vector<float>{127, 0, 2, -2}));
  // 127 over the smallest floats is not finite: such rows are zeros, and their scale stays a number.
  for (const float tiny : {0.0f, 1e-40f, 9e-36f}) {
    const std::vector<float> small{tiny, -tiny, 0};
    std::vector<std::int8_t> zeros(3, 5);
    CHECK(std::isfinite(round_to_8_bits(small, zeros.data())));
    CHECK((zeros == std::vector<std::int8_t>{0, 0, 0}));
  }
}

TEST("weights of 8 bits: products of all sizes, on every backend") {
  for (const Variant& variant : variants()) {
    double worst = 0;
    for (const Case& size : cases) {
      if (variant.backend == "cuda" && size.rows * size.columns > 40000) continue;  // emulated: seconds each
      worst = std::max(worst, worst_error(variant, Layout::matrix_w8, size));
    }
    // A GPU rounds the widened weights to its operand type; the CPU multiplies the integers and scales the sums.
    const bool rounds = variant.backend == "cuda" && variant.precision != "fp32";
    CHECK_BOUND("matrix_w8, " + variant.text(), worst, !rounds ? 2e-6 : variant.precision == "bf16" ? 6e-3 : 8e-4);
  }
}

TEST("products of 8 bits: all sizes, on every instruction set") {
  if (!has_int8() || on_gpu()) return skip("this CPU has no instructions for products of 8 bits");
  for (const std::string& isa : instruction_sets()) {
    double worst = 0;
    for (const Case& size : cases)
      worst = std::max(worst, worst_error({.precision = "int8", .isa = isa}, Layout::matrix_w8a8, size));
    CHECK_BOUND("matrix_w8a8, " + isa, worst, 2e-6);
  }
}

TEST("products of 8 bits: a row has the same bits in any number of rows and with any number of threads") {
  const std::int64_t most = 700, columns = 1100, inner = 1030;
  Random random(4);
  const auto x = random.normal(most * inner), w = random.normal(columns * inner);
  for (const Layout layout : {Layout::matrix_w8, Layout::matrix_w8a8}) {
    if (layout == Layout::matrix_w8a8 && !has_int8()) continue;
    std::vector<float> all;
    for (const int threads : {2, 1, 3}) {
      const auto backend = make({.precision = has_int8() ? "int8" : "fp32", .threads = threads});
      const Linear linear{constant(*backend, w, {columns, inner}, layout), nullptr};
      for (const std::int64_t rows : {most, std::int64_t{1}, std::int64_t{130}}) {
        const auto found = compute(*backend, {input_f32({rows, inner}, {x.begin(), x.begin() + rows * inner})},
                                   {rows, columns}, [&](Ops& ops, auto in) {
                                     return ops.linear(as_operand(ops, in[0]), linear, Activation::none, DType::f32);
                                   });
        if (all.empty()) all = found;
        CHECK(same_bits(found, {all.begin(), all.begin() + rows * columns}));
      }
    }
  }
}

TEST("products of 8 bits: what is not a number stays visible, in its own row only") {
  if (!has_int8() || on_gpu()) return skip("this CPU has no instructions for products of 8 bits");
  const auto backend = make({.precision = "int8"});
  const std::int64_t rows = 4, columns = 20, inner = 35;
  Random random(5);
  auto x = random.normal(rows * inner);
  x[static_cast<std::size_t>(1 * inner + 34)] = std::numeric_limits<float>::quiet_NaN();
  x[static_cast<std::size_t>(3 * inner + 2)] = std::numeric_limits<float>::infinity();
  const Linear linear{constant(*backend, random.normal(columns * inner), {columns, inner}, Layout::matrix_w8a8),
                      nullptr};
  const auto found = compute(*backend, {input_f32({rows, inner}, x)}, {rows, columns}, [&](Ops& ops, auto in) {
    return ops.linear(as_operand(ops, in[0]), linear, Activation::none, DType::f32);
  });
  for (std::int64_t m = 0; m < rows; ++m)
    for (std::int64_t n = 0; n < columns; ++n)
      CHECK_EQUAL(std::isnan(found[static_cast<std::size_t>(m * columns + n)]), m == 1 || m == 3);
}

TEST("products of 8 bits: weights of zero, and memory") {
  const auto backend = make({});
  const std::size_t before = backend->memory().weights;
  const auto zeros = constant(*backend, std::vector<float>(200 * 300), {200, 300}, Layout::matrix_w8);
  CHECK(zeros->bytes >= 200 * 300 + 200 * 4 && zeros->bytes < 200 * 300 * 2);
  CHECK_EQUAL(backend->memory().weights, before + zeros->bytes);
  const auto found =
      compute(*backend, {input_f32({2, 300}, std::vector<float>(600, 1))}, {2, 200}, [&](Ops& ops, auto in) {
        return ops.linear(as_operand(ops, in[0]), {zeros, nullptr}, Activation::none, DType::f32);
      });
  CHECK(found == std::vector<float>(400));
  std::vector<float> bad(4, 1);
  bad[2] = std::numeric_limits<float>::infinity();
  CHECK_THROWS(constant(*backend, bad, {2, 2}, Layout::matrix_w8), ErrorCode::numeric, "expected finite weights");
}
