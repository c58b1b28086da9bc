#include "cpu/memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "core/error.h"
#include "cpu/features.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace paella::cpu {

namespace {

// Below this an allocation is not compared with the free memory of the machine: reading /proc costs more than it helps.
constexpr std::size_t small_allocation = std::size_t{16} << 20;
// From here on pages of 2 MB pay: products stream through weights, and each page walk stalls them.
constexpr std::size_t huge_page = std::size_t{2} << 20;
// Left to the rest of the process and the system.
constexpr std::size_t reserve = std::size_t{64} << 20;

std::size_t& of(MemoryUse& use, Use kind) { return kind == Use::weights ? use.weights : use.activations; }

[[noreturn]] void refuse(std::size_t bytes, std::size_t free, const std::string& purpose) {
  throw Error(ErrorCode::out_of_memory,
              concat("not enough memory for ", purpose, ": ", bytes, " bytes needed, ", free, " bytes free"),
              "Use a smaller image, a smaller batch or precision bf16, or free memory.");
}

}  // namespace

void Account::add(Use kind, std::size_t bytes) {
  of(use, kind) += bytes;
  use.peak = std::max(use.peak, use.weights + use.activations);
}

void Account::subtract(Use kind, std::size_t bytes) { of(use, kind) -= bytes; }

Memory::Memory(std::size_t bytes, Use kind, std::shared_ptr<Account> account, const std::string& purpose)
    : bytes_(bytes), kind_(kind), account_(std::move(account)) {
  if (bytes == 0) return;
  if (bytes >= small_allocation) {
    const std::size_t free = memory_available();
    if (bytes > free || free - bytes < reserve) refuse(bytes, free, purpose);
  }
  const std::size_t alignment = bytes >= 2 * huge_page ? huge_page : Arena::alignment;
  data_ = ::operator new(bytes, std::align_val_t{alignment}, std::nothrow);
  if (data_ == nullptr) refuse(bytes, memory_available(), purpose);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (alignment == huge_page) madvise(data_, bytes / huge_page * huge_page, MADV_HUGEPAGE);  // a wish; may be refused
#endif
  account_->add(kind, bytes);
}

void Memory::reset() {
  if (data_ != nullptr) {
    const std::size_t alignment = bytes_ >= 2 * huge_page ? huge_page : Arena::alignment;
    ::operator delete(data_, std::align_val_t{alignment});
    account_->subtract(kind_, bytes_);
  }
  data_ = nullptr;
  bytes_ = 0;
  account_.reset();
}

void Memory::swap(Memory& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(kind_, other.kind_);
  std::swap(account_, other.account_);
}

}  // namespace paella::cpu
