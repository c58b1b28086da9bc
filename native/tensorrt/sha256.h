// SHA-256 (FIPS 180-4), for the keys and checksums of cached plans: readable by any tool, and by Node.js.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace paella::tensorrt {

class Sha256 {
 public:
  Sha256& add(const void* data, std::size_t bytes);
  Sha256& add(std::string_view text) { return add(text.data(), text.size()); }
  // 64 hexadecimal digits; nothing may be added afterwards.
  std::string hex();

 private:
  void block(const std::uint8_t* data);
  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> buffer_{};
  std::size_t filled_ = 0;
  std::uint64_t bytes_ = 0;
};

inline std::string sha256(std::string_view data) { return Sha256().add(data).hex(); }

}  // namespace paella::tensorrt
