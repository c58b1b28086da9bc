// Literal random bits: the same on every backend, compiler and instruction set. docs/randomness.md.
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/gumbel.h"
#include "core/philox.h"
#include "cpu/features.h"
#include "cpu/kernels/kernels.h"
#include "operations.h"

using namespace paella;
using namespace paella::test;

TEST("philox: test vectors of the Random123 library") {
  CHECK((philox({0, 0, 0, 0}, 0, 0) == PhiloxWords{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  CHECK((philox({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u) == PhiloxWords{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  CHECK((philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, 0xa4093822u, 0x299f31d0u) ==
         PhiloxWords{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST("gumbel: literal bits") {
  struct Literal {
    std::uint32_t word;
    float exponential, gumbel;
  };
  for (const Literal& literal : {Literal{0u, 0x1p-33f, 0x1.6dfb52p+4f},
                                 {1u, 0x1.8p-32f, 0x1.5c6766p+4f},
                                 {255u, 0x1.ffp-25f, 0x1.0a3326p+4f},
                                 {1u << 16, 0x1.0001p-16f, 0x1.62e41p+3f},
                                 {1u << 24, 0x1.008056p-8f, 0x1.62c422p+2f},
                                 {1u << 31, 0x1.62e43p-1f, 0x1.774f2ap-2f},
                                 {0xC0000000u, 0x1.62e43p+0f, -0x1.4e7936p-2f},
                                 {0xFFFFFF00u, 0x1.0a2b24p+4f, -0x1.67e092p+1f},
                                 {0xFFFFFFFFu, 0x1.0a2b24p+4f, -0x1.67e092p+1f}}) {
    CHECK_EQUAL(exponential_from_word(literal.word), literal.exponential);
    CHECK_EQUAL(gumbel_from_word(literal.word), literal.gumbel);
  }
}

TEST("gumbel: close to the logarithms of the C library, over all magnitudes") {
  double worst_exponential = 0, worst_gumbel = 0;
  const auto test = [&](std::uint32_t word) {
    const float raw = std::fma(static_cast<float>(word), 0x1p-32f, 0x1p-33f);
    const double v = std::min(raw, 1.0f - 0x1p-24f), e = -std::log1p(-v), g = -std::log(e);
    const auto unit = [](double x) {
      const auto size = static_cast<float>(std::abs(x));
      return static_cast<double>(std::nextafter(size, 1e30f)) - size;
    };
    worst_exponential = std::max(worst_exponential, std::abs(exponential_from_word(word) - e) / unit(e));
    // Near its zero, g = −log(E) inherits E's rounding: measured in units of 0.5.
    worst_gumbel = std::max(worst_gumbel, std::abs(gumbel_from_word(word) - g) / std::max(unit(g), unit(0.5)));
  };
  for (std::uint64_t word = 0; word < (1ull << 32); word += 3989) test(static_cast<std::uint32_t>(word));
  for (int shift = 0; shift < 32; ++shift)
    for (std::uint32_t i = 0; i < 2000; ++i) test((1u << shift) + i - 1000);
  CHECK_BOUND("E in units in the last place", worst_exponential, 1.5);
  CHECK_BOUND("g in units in the last place", worst_gumbel, 2.5);
  CHECK(gumbel_from_word(0) < gumbel_max);
}

TEST("gumbel: vectors of every width give the scalar's bits") {
  std::vector<std::uint32_t> words;
  for (std::uint32_t i = 0; i < 20003; ++i) words.push_back(i < 64 ? i : i * 2654435761u);
  std::vector<float> scalar(words.size()), vector(words.size());
  for (std::size_t i = 0; i < words.size(); ++i) scalar[i] = gumbel_from_word(words[i]);
  for (const cpu::Isa isa : {cpu::Isa::baseline, cpu::Isa::avx2, cpu::Isa::avx512, cpu::Isa::avx512_bf16}) {
    if (!cpu::supported(isa)) continue;
    cpu::kernels_for(isa).gumbel(words.data(), static_cast<std::int64_t>(words.size()), vector.data());
    CHECK(same_bits(scalar, vector));
  }
}

TEST("initial noise and renoising: literal numbers") {
  constexpr std::uint64_t largest = (std::uint64_t{1} << 53) - 1;
  CHECK_EQUAL(initial_token(1, 0, 8192), 7293);
  CHECK_EQUAL(initial_token(1, 3, 8192), 6206);
  CHECK_EQUAL(initial_token(largest, 0, 8192), 2645);
  CHECK_EQUAL(initial_token(largest, 4095, 8192), 2587);
  CHECK_EQUAL(renoise_uniform(7, 3, 0), 0x1.69c162p-1f);
  CHECK_EQUAL(renoise_uniform(7, 3, 3), 0x1.dfe9a4p-1f);
  for (std::uint32_t position = 0; position < 1000; ++position) {
    const float u = renoise_uniform(7, 3, position);
    CHECK(u >= 0 && u < 1);
  }
}

TEST("image embeddings that the seed draws: literal numbers") {
  const auto levels = [](std::uint64_t seed, std::uint32_t count) {
    std::vector<std::uint32_t> drawn;
    for (std::uint32_t k = 0; k < 9; ++k) drawn.push_back(drawn_level(seed, k, count));
    return drawn;
  };
  CHECK((levels(0, 6) == std::vector<std::uint32_t>{0, 5, 5, 2, 4, 0, 5, 3, 4}));
  CHECK((levels(7, 6) == std::vector<std::uint32_t>{3, 4, 4, 3, 1, 3, 5, 5, 0}));
  CHECK(
      (levels((std::uint64_t{1} << 53) - 1, 256) == std::vector<std::uint32_t>{28, 243, 185, 1, 50, 125, 248, 95, 74}));
}
