#include <cmath>
#include <limits>

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

constexpr Activation activations[] = {Activation::none, Activation::gelu_erf, Activation::gelu_tanh, Activation::silu};

std::vector<std::uint8_t> pixels_of(Backend& backend, const std::vector<float>& x) {
  const Shape shape{1, 1, static_cast<std::int64_t>(x.size()), 1};
  const auto network = std::make_shared<Lambda>(
      [](Ops& ops, std::span<const Tensor> in, std::span<const Tensor> out) { ops.to_pixels(in[0], out[0]); });
  return run(backend, network, {input_f32(shape, x)}, {{shape, DType::u8}})[0];
}

}  // namespace

TEST("activate and gated") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    double worst = 0;
    for (const Activation activation : activations)
      for (const std::int64_t columns : {1, 7, 33, 64, 260}) {
        const std::int64_t rows = 29;
        Random random(10);
        auto x = random.normal(rows * 2 * columns, 3);
        x[0] = 100;
        x[1] = -100;
        const Shape shape{rows, 2 * columns};
        Doubles expected(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) expected[i] = activated(activation, x[i]);
        const auto found = compute(*backend, {input_f32(shape, x)}, shape, [&](Ops& ops, auto in) {
          return ops.activate(in[0], activation, ops.operand_type());
        });
        worst = std::max(worst, error_of(found, expected));
        Doubles products(static_cast<std::size_t>(rows * columns));
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t c = 0; c < columns; ++c) {
            const auto at = static_cast<std::size_t>(row * 2 * columns + c);
            products[static_cast<std::size_t>(row * columns + c)] =
                activated(activation, x[at]) * x[at + static_cast<std::size_t>(columns)];
          }
        for (const bool from_operand : {false, true}) {
          const auto gated = compute(*backend, {input_f32(shape, x)}, {rows, columns}, [&](Ops& ops, auto in) {
            return ops.gated(from_operand ? as_operand(ops, in[0]) : in[0], activation);
          });
          worst = std::max(worst, error_of(gated, products));
        }
      }
    CHECK_BOUND("activate and gated, " + variant.text(), worst, bound_for(*backend, 1e-6, 1e-2));
  }
}

TEST("gather and gather_patches: rows of tables") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    for (const std::int64_t channels : {1, 37, 64, 640}) {
      const std::int64_t codes = 50, height = 4, width = 6;
      Random random(11);
      const auto indices = random.integers(2 * height * width, static_cast<std::int32_t>(codes));
      std::vector<std::vector<float>> values;
      std::array<ConstantPtr, 4> tables;
      for (std::size_t s = 0; s < 4; ++s) {
        values.push_back(random.normal(codes * channels));
        tables[s] = constant(*backend, values[s], {codes, channels}, Layout::table);
      }
      const auto b = random.normal(channels);
      const auto bias = constant(*backend, b, {channels}, Layout::vector);
      const Input tokens = input_i32({2, height, width}, indices);
      const auto rows = compute(*backend, {tokens}, {2, height, width, channels},
                                [&](Ops& ops, auto in) { return ops.gather(tables[0], in[0]); });
      Doubles expected;
      for (const std::int32_t index : indices)
        for (std::int64_t c = 0; c < channels; ++c)
          expected.push_back(values[0][static_cast<std::size_t>(index * channels + c)]);
      CHECK_BOUND("gather, " + variant.text(), error_of(rows, expected), bound_for(*backend, 0, 5e-3));

      const auto found = compute(*backend, {tokens}, {2, height / 2, width / 2, channels},
                                 [&](Ops& ops, auto in) { return ops.gather_patches(tables, bias, in[0]); });
      Doubles sums;
      for (std::int64_t image = 0; image < 2; ++image)
        for (std::int64_t y = 0; y < height / 2; ++y)
          for (std::int64_t x = 0; x < width / 2; ++x)
            for (std::int64_t c = 0; c < channels; ++c) {
              double sum = b[static_cast<std::size_t>(c)];
              for (std::int64_t s = 0; s < 4; ++s) {
                const std::int64_t at = (image * height + 2 * y + s / 2) * width + 2 * x + s % 2;
                const std::int64_t token = indices[static_cast<std::size_t>(at)];
                sum += values[static_cast<std::size_t>(s)][static_cast<std::size_t>(token * channels + c)];
              }
              sums.push_back(sum);
            }
      CHECK_BOUND("gather_patches, " + variant.text(), error_of(found, sums), bound_for(*backend, 1e-6, 5e-3));
    }
  }
}

TEST("modulate, add, columns, repeat, select_row") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    for (const std::int64_t channels : {9, 35, 64, 1280}) {
      const std::int64_t rows = 21;
      Random random(12);
      const auto x = random.normal(rows * channels), y = random.normal(rows * channels);
      const auto table = random.normal(3 * 2 * channels);
      const Shape shape{1, 3, 7, channels};
      const std::vector<Input> inputs{input_f32(shape, x), input_f32(shape, y), input_f32({3, 2 * channels}, table),
                                      input_i32({1}, {2})};
      const auto modulated = compute(*backend, inputs, shape, [&](Ops& ops, auto in) {
        ops.modulate(in[0], ops.select_row(in[2], in[3]));
        ops.add(in[0], in[1]);
        return in[0];
      });
      Doubles expected(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t c = i % static_cast<std::size_t>(channels), n = static_cast<std::size_t>(channels);
        expected[i] = x[i] * (1.0 + table[4 * n + c]) + table[5 * n + c] + y[i];
      }
      CHECK_BOUND("modulate and add, " + variant.text(), error_of(modulated, expected), 1e-6);

      const auto some =
          compute(*backend, inputs, shape.with_last(4), [&](Ops& ops, auto in) { return ops.columns(in[0], 5, 4); });
      bool right = true;
      for (std::int64_t i = 0; i < rows * 4; ++i)
        right &= some[static_cast<std::size_t>(i)] == x[static_cast<std::size_t>(i / 4 * channels + 5 + i % 4)];
      CHECK(right);

      const auto twice =
          compute(*backend, inputs, shape.with_first(3), [&](Ops& ops, auto in) { return ops.repeat(in[0], 3); });
      for (std::size_t copy = 0; copy < 3; ++copy)
        CHECK(same_bits(x, {twice.begin() + static_cast<std::ptrdiff_t>(copy * x.size()),
                            twice.begin() + static_cast<std::ptrdiff_t>((copy + 1) * x.size())}));
    }
  }
}

TEST("cuda: tokens and rows outside of their tables read the nearest row") {
  for (const Variant& variant : cuda_variants()) {
    const auto backend = make(variant);
    const std::int64_t codes = 3, channels = 8;
    std::vector<float> values(static_cast<std::size_t>(codes * channels));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    const auto table = constant(*backend, values, {codes, channels}, Layout::table);
    const auto zero = constant(*backend, std::vector<float>(8), {channels}, Layout::vector);
    const std::vector<float> first(values.begin(), values.begin() + channels),
        last(values.end() - channels, values.end());
    const std::int32_t lowest = std::numeric_limits<std::int32_t>::min();
    for (const std::int32_t token : {lowest, -1, 3, std::numeric_limits<std::int32_t>::max()}) {
      const std::vector<float>& expected = token < 0 ? first : last;
      CHECK(same_bits(compute(*backend, {input_i32({1}, {token})}, {1, channels},
                              [&](Ops& ops, auto in) { return ops.gather(table, in[0]); }),
                      expected));
      std::vector<float> four;
      for (const float value : expected) four.push_back(4 * value);
      const std::array<ConstantPtr, 4> tables{table, table, table, table};
      CHECK(same_bits(compute(*backend, {input_i32({1, 2, 2}, {token, token, token, token})}, {1, 1, 1, channels},
                              [&](Ops& ops, auto in) { return ops.gather_patches(tables, zero, in[0]); }),
                      four));
      CHECK(same_bits(compute(*backend, {input_f32({codes, channels}, values), input_i32({1}, {token})}, {channels},
                              [](Ops& ops, auto in) { return ops.select_row(in[0], in[1]); }),
                      expected));
    }
  }
}

TEST("cuda: copies between all types and places, aligned or not") {
  for (const Variant& variant : cuda_variants()) {
    const auto backend = make(variant);
    bool right = true;
    for (const std::int64_t channels : {1, 3, 5, 8, 24, 1000}) {
      const Shape shape{5, channels}, rest = shape.with_first(4);
      std::vector<float> x(static_cast<std::size_t>(shape.elements()));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251);  // exact in 16 bits
      const std::vector<float> expected(x.begin() + channels, x.end());
      for (const DType first : {DType::f32, DType::bf16, DType::f16})
        for (const DType second : {DType::f32, DType::bf16, DType::f16})
          right &= same_bits(compute(*backend, {input_f32(shape, x)}, rest,
                                     [&](Ops& ops, auto in) {
                                       const Tensor made = ops.convert(in[0], first);
                                       const Tensor part = ops.allocate(rest, second);
                                       ops.copy(made.slice(1, 4), part);
                                       const Tensor all = ops.allocate(shape, first);
                                       ops.copy(part, all.slice(1, 4));
                                       return all.slice(1, 4);
                                     }),
                             expected);
      std::vector<float> twice = expected;
      for (float& value : twice) value *= 2;
      right &= same_bits(compute(*backend, {input_f32(shape, x)}, rest,
                                 [&](Ops& ops, auto in) {
                                   const Tensor sum = ops.allocate(shape, DType::f32).slice(1, 4);
                                   ops.copy(in[0].slice(1, 4), sum);
                                   ops.add(sum, in[0].slice(1, 4));
                                   return ops.activate(sum, Activation::none, DType::f32);
                                 }),
                         twice);
      std::vector<std::uint8_t> bytes(x.size());
      for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
      const auto network =
          std::make_shared<Lambda>([](Ops& ops, std::span<const Tensor> in, std::span<const Tensor> out) {
            ops.copy(ops.repeat(in[0].slice(1, 4), 3).slice(4, 4), out[0]);
            ops.copy(in[1].slice(1, 4), out[1]);
          });
      std::vector<std::int32_t> numbers(bytes.begin(), bytes.end());
      const auto found = run(*backend, network, {input_u8(shape, bytes), input_i32(shape, numbers)},
                             {{rest, DType::u8}, {rest, DType::i32}});
      right &= found[0] == std::vector<std::uint8_t>(bytes.begin() + channels, bytes.end());
      right &= as<std::int32_t>(found[1]) == std::vector<std::int32_t>(numbers.begin() + channels, numbers.end());
    }
    CHECK(right);
  }
}

TEST("to_pixels rounds half to even and clamps; from_pixels is its inverse") {
  for (const Variant& variant : variants()) {
    if (variant.precision != "fp32") continue;
    const auto backend = make(variant);
    std::vector<float> all(256);
    for (std::size_t i = 0; i < 256; ++i) all[i] = static_cast<float>(i) / 255.0f;
    const auto same = pixels_of(*backend, all);
    bool right = true;
    for (std::size_t i = 0; i < 256; ++i) right &= same[i] == i;
    CHECK(right);
    const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
    const auto edge = pixels_of(*backend, {-1, 2, nan, infinity, -infinity, 0.5f, 0.5f / 255 * 1.001f});
    const std::vector<std::uint8_t> expected{0, 255, 0, 255, 0, 128, 1};  // 127.5 is halfway: to the even 128
    CHECK(edge == expected);
    std::vector<std::uint8_t> bytes(256);
    for (std::size_t i = 0; i < 256; ++i) bytes[i] = static_cast<std::uint8_t>(i);
    const auto back = compute(*backend, {input_u8({1, 1, 256, 1}, bytes)}, {1, 1, 256, 1},
                              [](Ops& ops, auto in) { return ops.from_pixels(in[0]); });
    CHECK(same_bits(back, all));
  }
}

TEST("nearest_code: lowest index on ties") {
  for (const Variant& variant : variants()) {
    if (variant.precision != "fp32") continue;
    const auto backend = make(variant);
    for (const std::int64_t codes : {1, 5, 100, 517}) {
      const std::int64_t channels = 4, rows = 77;
      Random random(13);
      auto table = random.uniform(codes * channels, 0, 1);
      if (codes > 50) std::copy_n(table.begin() + 12 * channels, channels, table.begin() + 40 * channels);  // a twin
      auto x = random.uniform(rows * channels, 0, 1);
      if (codes > 50) std::copy_n(table.begin() + 40 * channels, channels, x.begin());
      const auto codebook = constant(*backend, table, {codes, channels}, Layout::table_f32);
      const Shape shape{1, 7, 11, channels};
      const auto network =
          std::make_shared<Lambda>([&](Ops& ops, auto in, auto out) { ops.nearest_code(in[0], codebook, out[0]); });
      const auto found = as<std::int32_t>(run(*backend, network, {input_f32(shape, x)}, {{{1, 7, 11}, DType::i32}})[0]);
      bool right = true;
      for (std::int64_t row = 0; row < rows; ++row) {
        double best = 1e30;
        std::int32_t winner = -1;
        for (std::int64_t k = 0; k < codes; ++k) {
          double distance = 0;
          for (std::int64_t c = 0; c < channels; ++c) {
            const double d = static_cast<double>(table[static_cast<std::size_t>(k * channels + c)]) -
                             x[static_cast<std::size_t>(row * channels + c)];
            distance += d * d;
          }
          if (distance < best) {
            best = distance;
            winner = static_cast<std::int32_t>(k);
          }
        }
        right &= found[static_cast<std::size_t>(row)] == winner;
      }
      CHECK(right);
    }
  }
}
