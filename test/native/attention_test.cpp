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
    {1, 2, 9, 13, 2, 40, 70, {70, 11}, {0, 1}},  // tiles that hold image and condition keys, and only the latter
    {5, 5, 3, 4, 1, 112, 6, {2, 6, 0}, {1, 0, 2, 2, 0}},
    {1, 1, 8, 8, 1, 32, 64, {64}, {0}},  // whole tiles
    {1, 1, 5, 7, 1, 48, 2, {2}, {0}},
    {1, 2, 6, 11, 1, 96, 5, {5}, {0, 0}},
    {1, 1, 7, 10, 1, 128, 3, {3}, {0}},
    {1, 1, 3, 3, 1, 136, 3, {3}, {0}},  // wider than the tensor cores' tiles
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
  std::vector<std::vector<Variant>> alike;  // variants whose bits agree
  for (const std::string& precision : precisions()) {
    alike.emplace_back();
    for (const int threads : {1, 2, 3}) alike.back().push_back({.precision = precision, .threads = threads});
  }
  for (const Variant& variant : variants())
    if (variant.backend != "cpu") alike.push_back({variant});
  for (const auto& group : alike) {
    std::vector<float> all;
    const Case size{1, 3, 12, 13, 2, 24, 9, {9, 3, 0}, {2, 1, 0}};
    const Data data = data_for(size);
    const std::int64_t each = 12 * 13 * 48;
    for (const Variant& variant : group) {
      const auto backend = make(variant);
      const auto found = attend(*backend, size, data);
      if (all.empty()) all = found;
      CHECK(same_bits(found, all));
      // Row 1 alone, its condition padded to another length with rubbish.
      Case alone{1, 1, 12, 13, 2, 24, 20, {3}, {0}};
      Data own{data.qkv, std::vector<float>(20 * 96, 6e4f)};
      std::copy_n(data.kv.begin() + 9 * 96, 3 * 96, own.kv.begin());
      CHECK(same_bits(attend(*backend, alone, own), {all.begin() + each, all.begin() + 2 * each}));
      // The same image last of five, its row last of ten.
      Case last{5, 10, 12, 13, 2, 24, 9, {9, 3, 0}, std::vector<std::int32_t>(10, 1)};
      Random random(80);
      Data many{random.normal(4 * 3 * each), data.kv};
      many.qkv.insert(many.qkv.end(), data.qkv.begin(), data.qkv.end());
      const auto ten = attend(*backend, last, many);
      CHECK(same_bits({ten.end() - each, ten.end()}, {all.begin() + each, all.begin() + 2 * each}));
    }
  }
}

TEST("image_attention: many keys at once stay exact") {  // several blocks of queries, one row of scores over 2 500 keys
  std::vector<Variant> all;
  for (const std::string& precision : precisions()) all.push_back({.precision = precision});
  for (const Variant& variant : variants())
    if (variant.backend != "cpu") all.push_back(variant);
  for (const Variant& variant : all) {
    const auto backend = make(variant);
    const Case size{1, 1, 50, 50, 1, 8, 3, {3}, {0}};
    const Data data = data_for(size);
    CHECK_BOUND("2500 keys, " + variant.text(), error_of(attend(*backend, size, data), expected_attention(size, data)),
                bound_for(*backend, 2e-6, 2e-2));
  }
}

TEST("image_attention: large scores do not overflow the softmax") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    const Case size{1, 1, 5, 14, 1, 64, 7, {7}, {0}};
    Data data = data_for(size);
    for (std::int64_t pixel = 0; pixel < 70; ++pixel)
      for (std::int64_t i = 0; i < 128; ++i) data.qkv[static_cast<std::size_t>(pixel * 192 + i)] *= i < 64 ? 16 : 64;
    // Hardly more than one key counts; which one, rounding of operands decides at times: only finite and bounded.
    float most = 0;
    for (const float x : attend(*backend, size, data)) most = std::isfinite(x) ? std::max(most, std::abs(x)) : 1e30f;
    CHECK_BOUND("largest value, " + variant.text(), most, 6);
  }
}

TEST("text_attention: unscaled scores plus a bias per distance") {
  for (const Variant& variant : variants()) {
    const auto backend = make(variant);
    double worst = 0;
    for (const auto& [tokens, heads, d] : {std::tuple<std::int64_t, int, std::int64_t>{1, 1, 4},
                                           {5, 2, 8},
                                           {33, 3, 17},
                                           {140, 2, 64},
                                           {65, 1, 24},
                                           {64, 1, 128}}) {
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
