// Philox 4×32-10 (Salmon et al., SC 2011) and the uniform numbers derived from it. docs/randomness.md is the contract:
// every random number is a function of (seed, purpose, step, position, code), on every backend.
#pragma once

#include <array>
#include <cstdint>

#include "core/portable.h"

namespace paella {

enum class Purpose : std::uint32_t {
  initial_noise = 0,
  draw = 1,
  renoise = 2,
  random_weights = 3,
  test = 4,
  prior = 5
};

using PhiloxWords = std::array<std::uint32_t, 4>;

inline constexpr std::uint32_t philox_multiplier_0 = 0xD2511F53u;
inline constexpr std::uint32_t philox_multiplier_1 = 0xCD9E8D57u;
inline constexpr std::uint32_t philox_weyl_0 = 0x9E3779B9u;
inline constexpr std::uint32_t philox_weyl_1 = 0xBB67AE85u;

PAELLA_NUMERIC PhiloxWords philox(PhiloxWords counter, std::uint32_t key_0, std::uint32_t key_1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product_0 = static_cast<std::uint64_t>(philox_multiplier_0) * counter[0];
    const std::uint64_t product_1 = static_cast<std::uint64_t>(philox_multiplier_1) * counter[2];
    counter = {static_cast<std::uint32_t>(product_1 >> 32) ^ counter[1] ^ key_0, static_cast<std::uint32_t>(product_1),
               static_cast<std::uint32_t>(product_0 >> 32) ^ counter[3] ^ key_1, static_cast<std::uint32_t>(product_0)};
    key_0 += philox_weyl_0;
    key_1 += philox_weyl_1;
  }
  return counter;
}

PAELLA_NUMERIC PhiloxWords random_words(std::uint64_t seed, Purpose purpose, std::uint32_t step, std::uint32_t position,
                                        std::uint32_t block) {
  return philox({position, block, step, static_cast<std::uint32_t>(purpose)}, static_cast<std::uint32_t>(seed),
                static_cast<std::uint32_t>(seed >> 32));
}

// Uniform token in [0, codebook_size).
PAELLA_NUMERIC std::int32_t initial_token(std::uint64_t seed, std::uint32_t position, std::int32_t codebook_size) {
  const std::uint32_t word = random_words(seed, Purpose::initial_noise, 0, position, 0)[0];
  return static_cast<std::int32_t>((static_cast<std::uint64_t>(word) * static_cast<std::uint64_t>(codebook_size)) >>
                                   32);
}

// Uniform in [0, 1), 24 bits; a token is re-noised if this is below the next noise level.
PAELLA_NUMERIC float renoise_uniform(std::uint64_t seed, std::uint32_t step, std::uint32_t position) {
  return static_cast<float>(random_words(seed, Purpose::renoise, step, position, 0)[0] >> 8) * 0x1p-24f;
}

// Which of `levels` number `index` of an image embedding has that the seed draws.
PAELLA_NUMERIC std::uint32_t drawn_level(std::uint64_t seed, std::uint32_t index, std::uint32_t levels) {
  const std::uint32_t word = random_words(seed, Purpose::prior, 0, 0, index >> 2)[index & 3];
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(word) * levels) >> 32);
}

}  // namespace paella
