// Host memory with an account of who holds how much, and refusal before the system would kill the process.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "core/backend.h"

namespace paella::cpu {

enum class Use { weights, activations };

struct Account {
  MemoryUse use;
  void add(Use kind, std::size_t bytes);
  void subtract(Use kind, std::size_t bytes);
};

// Aligned memory that is counted in an account for as long as it lives. Move-only; not initialised.
class Memory {
 public:
  Memory() = default;
  // `purpose` completes the sentence "not enough memory for …".
  Memory(std::size_t bytes, Use kind, std::shared_ptr<Account> account, const std::string& purpose);
  ~Memory() { reset(); }
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    if (this != &other) {
      reset();
      swap(other);
    }
    return *this;
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  void reset();

 private:
  void swap(Memory& other) noexcept;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Use kind_ = Use::activations;
  std::shared_ptr<Account> account_;
};

}  // namespace paella::cpu
