// Memory for activations: a stack with marks. Sized by a measuring pass over the same code, so that the real passes
// never allocate and every tensor lies at the same address each time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/error.h"

namespace paella {

class Arena {
 public:
  static constexpr std::size_t alignment = 64;

  // Starts a measuring pass: addresses are meaningless and nothing may touch them.
  void measure() {
    base_ = nullptr;
    capacity_ = top_ = peak_ = 0;
    measuring_ = true;
  }
  // Starts a real pass in memory that the caller owns; `base` is aligned to `alignment`.
  void use(void* base, std::size_t capacity) {
    base_ = static_cast<std::uint8_t*>(base);
    capacity_ = capacity;
    top_ = peak_ = 0;
    measuring_ = false;
  }
  bool measuring() const { return measuring_; }
  std::size_t peak() const { return peak_; }

  void* allocate(std::size_t bytes) {
    const std::size_t offset = top_;
    top_ += (bytes + alignment - 1) / alignment * alignment;
    peak_ = std::max(peak_, top_);
    if (measuring_) return nullptr;
    expect(top_ <= capacity_, "arena: expected at most ", capacity_, " bytes as measured, got ", top_);
    return base_ + offset;
  }

  // Frees, when it ends, what was allocated since it began.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.top_) {}
    ~Scope() { arena_.top_ = mark_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::size_t mark_;
  };

 private:
  std::uint8_t* base_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t top_ = 0;
  std::size_t peak_ = 0;
  bool measuring_ = false;
};

}  // namespace paella
