#include <cmath>

#include "operations.h"

using namespace paella;
using namespace paella::test;

namespace {

struct Case {
  std::int64_t images, rows, height, width;
  int heads;
  std::int64_t d, longest;
  std::vector<std::int32_t> lengths;  // per condition
  std::vector<std::int32_t> index;    // per row
};

const Case cases[] = {
    {1, 1, 1, 1, 1, 1, 1, {0}, {0}},
    {1, 2, 3, 5, 2, 7, 4, {4, 1}, {0, 1}},
    {2, 4, 4, 4, 4, 16, 9, {9, 3, 5}, {2, 0, 1, 1}},
    {2, 2, 8, 9, 3, 80, 40, {40, 5}, {0, 1}},
    {1, 2, 16, 16, 2, 64, 41, {41, 37}, {1, 0}},
    {1, 1, 2, 3, 2, 33, 1, {1}, {0}},
};

struct Data {
  std::vector<float> qkv, kv;
};

Data data_for(const Case& size) {
  Random random(8);
  const std::int64_t c = size.heads * size.d;
  return {random.normal(size.images * size.height * size.width * 3 * c),
          random.normal(static_cast<std::int64_t>(size.lengths.size()) * size.longest * 2 * c)};
}

std::vector<float> attend(Backend& backend, const Case& size, const Data& data) {
  const std::int64_t c = size.heads * size.d;
  const auto conditions = static_cast<std::int64_t>(size.lengths.size());
  return compute(backend,
                 {input_f32({size.images, size.height, size.width, 3 * c}, data.qkv),
                  input_f32({conditions, size.longest, 2 * c}, data.kv), input_i32({conditions}, size.lengths),
                  input_i32({size.rows}, size.index)},
                 {size.rows, size.height, size.width, c}, [&](Ops& ops, auto in) {
                   return ops.image_attention(as_operand(ops, in[0]), {as_operand(ops, in[1]), in[2], in[3]},
                                              size.heads);
                 });
}

// Image tokens first, then the condition's.
Doubles expected_attention(const Case& size, const Data& data) {
  const std::int64_t pixels = size.height * size.width, c = size.heads * size.d;
  Doubles out(static_cast<std::size_t>(size.rows * pixels * c));
  for (std::int64_t row = 0; row < size.rows; ++row) {
    const std::int64_t image = row % size.images, condition = size.index[static_cast<std::size_t>(row)];
    const std::int64_t keys = pixels + size.lengths[static_cast<std::size_t>(condition)];
    const auto value = [&](std::int64_t key, std::int64_t part, std::int64_t channel) -> double {
      if (key < pixels) return data.qkv[static_cast<std::size_t>(((image * pixels + key) * 3 + part) * c + channel)];
      return data
          .kv[static_cast<std::size_t>(((condition * size.longest + key - pixels) * 2 + part - 1) * c + channel)];
    };
    for (std::int64_t query = 0; query < pixels; ++query)
      for (std::int64_t head = 0; head < size.heads; ++head) {
        Doubles p(static_cast<std::size_t>(keys));
        double total = 0;
        for (std::int64_t key = 0; key < keys; ++key) {
          double score = 0;
          for (std::int64_t i = 0; i < size.d; ++i)
            score += value(query, 0, head * size.d + i) * value(key, 1, head * size.d + i);
          total += p[static_cast<std::size_t>(key)] = std::exp(score / std::sqrt(static_cast<double>(size.d)));
        }
        for (std::int64_t i = 0; i < size.d; ++i) {
          double sum = 0;
          for (std::int64_t key = 0; key < keys; ++key)
            sum += p[static_cast<std::size_t>(key)] / total * value(key, 2, head * size.d + i);
          out[static_cast<std::size_t>((row * pixels + query) * c + head * size.d + i)] = sum;
        }
      }
  }
  return out;
}

}  // namespace

TEST("image_attention: image keys, then each row's own condition") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    double worst = 0;
    for (const Case& size : cases) {
      const Data data = data_for(size);
      worst = std::max(worst, error_of(attend(*backend, size, data), expected_attention(size, data)));
    }
    CHECK_BOUND("image_attention, " + variant.text(), worst, bound_for(*backend, 2e-6, 2e-2));
  }
}

TEST("image_attention: a row's bits depend on nothing but the row") {
  for (const std::string& precision : precisions()) {
    std::vector<float> all;
    const Case size{1, 3, 12, 13, 2, 24, 9, {9, 3, 0}, {2, 1, 0}};
    const Data data = data_for(size);
    const std::int64_t each = 12 * 13 * 48;
    for (const int threads : {1, 2, 3}) {
      const auto backend = make({.precision = precision, .threads = threads});
      const auto found = attend(*backend, size, data);
      if (all.empty()) all = found;
      CHECK(same_bits(found, all));
      // Row 1 alone, its condition padded to another length with rubbish.
      Case alone{1, 1, 12, 13, 2, 24, 20, {3}, {0}};
      Data own{data.qkv, std::vector<float>(20 * 96, 1e30f)};
      std::copy_n(data.kv.begin() + 9 * 96, 3 * 96, own.kv.begin());
      CHECK(same_bits(attend(*backend, alone, own), {all.begin() + each, all.begin() + 2 * each}));
    }
  }
}

TEST("image_attention: many keys at once stay exact") {  // several blocks of queries, one row of scores over 2 500 keys
  for (const std::string& precision : precisions()) {
    const auto backend = make({.precision = precision});
    const Case size{1, 1, 50, 50, 1, 8, 3, {3}, {0}};
    const Data data = data_for(size);
    CHECK_BOUND("2500 keys, " + precision, error_of(attend(*backend, size, data), expected_attention(size, data)),
                bound_for(*backend, 2e-6, 2e-2));
  }
}

TEST("text_attention: unscaled scores plus a bias per distance") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    double worst = 0;
    for (const auto& [tokens, heads, d] :
         {std::tuple<std::int64_t, int, std::int64_t>{1, 1, 4}, {5, 2, 8}, {33, 3, 17}, {140, 2, 64}}) {
      Random random(9);
      const std::int64_t c = heads * d;
      const auto qkv = random.normal(tokens * 3 * c, 0.5f), bias = random.normal(heads * (2 * tokens - 1));
      const auto found =
          compute(*backend, {input_f32({tokens, 3 * c}, qkv), input_f32({heads, 2 * tokens - 1}, bias)}, {tokens, c},
                  [&](Ops& ops, auto in) { return ops.text_attention(as_operand(ops, in[0]), in[1], heads); });
      Doubles expected(found.size());
      const auto value = [&](std::int64_t token, std::int64_t part, std::int64_t channel) -> double {
        return qkv[static_cast<std::size_t>((token * 3 + part) * c + channel)];
      };
      for (std::int64_t query = 0; query < tokens; ++query)
        for (std::int64_t head = 0; head < heads; ++head) {
          Doubles p(static_cast<std::size_t>(tokens));
          double total = 0;
          for (std::int64_t key = 0; key < tokens; ++key) {
            double score = bias[static_cast<std::size_t>(head * (2 * tokens - 1) + tokens - 1 + key - query)];
            for (std::int64_t i = 0; i < d; ++i) score += value(query, 0, head * d + i) * value(key, 1, head * d + i);
            total += p[static_cast<std::size_t>(key)] = std::exp(score);
          }
          for (std::int64_t i = 0; i < d; ++i)
            for (std::int64_t key = 0; key < tokens; ++key)
              expected[static_cast<std::size_t>(query * c + head * d + i)] +=
                  p[static_cast<std::size_t>(key)] / total * value(key, 2, head * d + i);
        }
      worst = std::max(worst, error_of(found, expected));
    }
    CHECK_BOUND("text_attention, " + variant.text(), worst, bound_for(*backend, 3e-6, 2e-2));
  }
}
