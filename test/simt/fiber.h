// Threads of control that switch by hand.
#pragma once

#include <cstddef>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace paella::simt {

struct Fiber {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context{};
#endif
  std::unique_ptr<unsigned char[]> stack;
};

// The next switch to `fiber` begins `main`, which must never return. Its stack is kept from use to use.
void start_fiber(Fiber& fiber, std::size_t stack_bytes, void (*main)(void*), void* argument);
// Stores the present state in `from` and goes on with `to`.
void switch_fiber(Fiber& from, Fiber& to);

}  // namespace paella::simt
