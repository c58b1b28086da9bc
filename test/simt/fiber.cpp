#include "simt/fiber.h"

#include <cstdint>
#include <cstdlib>

namespace paella::simt {

#if defined(__x86_64__)

// Saves what the System V calling convention asks a function to keep, and swaps stacks. ucontext would do the same with
// two system calls a switch; a kernel makes millions.
asm(R"(
.text
.hidden paella_simt_switch
.globl paella_simt_switch
.type paella_simt_switch, @function
paella_simt_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size paella_simt_switch, .-paella_simt_switch
.hidden paella_simt_begin
.globl paella_simt_begin
.type paella_simt_begin, @function
paella_simt_begin:
  mov %r12, %rdi
  call *%rbx
  ud2
.size paella_simt_begin, .-paella_simt_begin
)");
extern "C" void paella_simt_switch(void** from, void* to);
extern "C" void paella_simt_begin();

void start_fiber(Fiber& fiber, std::size_t stack_bytes, void (*main)(void*), void* argument) {
  if (!fiber.stack) fiber.stack = std::make_unique_for_overwrite<unsigned char[]>(stack_bytes);
  auto top = reinterpret_cast<std::uintptr_t>(fiber.stack.get() + stack_bytes) & ~std::uintptr_t{15};
  auto* slot = reinterpret_cast<std::uintptr_t*>(top) - 3;  // so that a call finds the stack aligned to 16
  *slot = reinterpret_cast<std::uintptr_t>(&paella_simt_begin);  // where the first switch returns to
  *--slot = 0;                                                   // rbp
  *--slot = reinterpret_cast<std::uintptr_t>(main);              // rbx
  *--slot = reinterpret_cast<std::uintptr_t>(argument);          // r12
  for (int i = 0; i < 3; ++i) *--slot = 0;                       // r13, r14, r15
  fiber.stack_pointer = slot;
}

void switch_fiber(Fiber& from, Fiber& to) { paella_simt_switch(&from.stack_pointer, to.stack_pointer); }

#else

void start_fiber(Fiber& fiber, std::size_t stack_bytes, void (*main)(void*), void* argument) {
  if (!fiber.stack) fiber.stack = std::make_unique_for_overwrite<unsigned char[]>(stack_bytes);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = stack_bytes;
  fiber.context.uc_link = nullptr;
  // makecontext passes ints only.
  const auto function = reinterpret_cast<std::uintptr_t>(main), data = reinterpret_cast<std::uintptr_t>(argument);
  void (*begin)(unsigned, unsigned, unsigned, unsigned) = [](unsigned a, unsigned b, unsigned c, unsigned d) {
    reinterpret_cast<void (*)(void*)>(std::uintptr_t{a} << 32 | b)(reinterpret_cast<void*>(std::uintptr_t{c} << 32 | d));
  };
  makecontext(&fiber.context, reinterpret_cast<void (*)()>(begin), 4, static_cast<unsigned>(function >> 32),
              static_cast<unsigned>(function), static_cast<unsigned>(data >> 32), static_cast<unsigned>(data));
}

void switch_fiber(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }

#endif

}  // namespace paella::simt
