#include "simt/simt.h"

#include <omp.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "simt/fiber.h"

namespace paella::simt {

namespace {

constexpr std::size_t stack_bytes = std::size_t{96} << 10;

struct Copy {
  void* to = nullptr;
  const void* from = nullptr;
  bool valid = false;
};

struct Thread {
  Index index;
  Fiber fiber;
  bool done = false;
  // Waits until this changes from `seen`.
  const unsigned* waits_for = nullptr;
  unsigned seen = 0;
  std::deque<std::vector<Copy>> groups;  // committed asynchronous copies, oldest first
  std::vector<Copy> open;
};

struct Warp {
  std::array<std::array<Slot, 32>, 2> slots;
  unsigned arrived = 0, generation = 0, lanes = 0;
};

// The block that a core is running.
struct Block {
  Index index, size, grid;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  unsigned arrived = 0, generation = 0;
  std::vector<unsigned char> shared;
  const std::function<void()>* kernel = nullptr;
  Thread* current = nullptr;
  Fiber scheduler;
};

thread_local Block block;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "simt: block (%u, %u, %u): %s\n", block.index.x, block.index.y, block.index.z, what.c_str());
  std::abort();
}

void yield() { switch_fiber(block.current->fiber, block.scheduler); }

void wait_for(const unsigned& generation, unsigned seen) {
  Thread& me = *block.current;
  me.waits_for = &generation;
  me.seen = seen;
  yield();
}

void finish(Copy& copy) {
  if (copy.valid)
    std::memcpy(copy.to, copy.from, 16);
  else
    std::memset(copy.to, 0, 16);
}

void fiber_main(void*) {
  (*block.kernel)();
  block.current->done = true;
  yield();
  die("a finished thread was resumed");
}

// Resumes threads in turn until all have ended: upwards or downwards, so that what one thread reads of another without
// a barrier in between is found too early by one of both.
void run_block(bool downwards) {
  unsigned left = block.size.x;
  for (; left > 0; downwards = !downwards) {
    bool progress = false;
    for (unsigned i = 0; i < block.size.x; ++i) {
      Thread& thread = block.threads[downwards ? block.size.x - 1 - i : i];
      if (thread.done || (thread.waits_for != nullptr && *thread.waits_for == thread.seen)) continue;
      thread.waits_for = nullptr;
      block.current = &thread;
      switch_fiber(block.scheduler, thread.fiber);
      progress = true;
      if (thread.done) --left;
    }
    if (!progress) die("some threads wait at a barrier or a warp's collective that others never reach");
  }
}

void prepare_block(Index index, Index grid, unsigned threads, std::size_t shared_bytes,
                   const std::function<void()>& kernel) {
  block.index = index;
  block.grid = grid;
  block.size = {threads, 1, 1};
  block.kernel = &kernel;
  block.arrived = block.generation = 0;
  // Alignment of 128 bytes inside; NaN in every float type.
  block.shared.assign(shared_bytes + 128, 0xff);
  block.warps.assign((threads + 31) / 32, {});
  for (unsigned w = 0; w < block.warps.size(); ++w) block.warps[w].lanes = std::min(32u, threads - 32 * w);
  while (block.threads.size() < threads) {
    block.threads.emplace_back();
  }
  block.threads.resize(threads);
  for (unsigned i = 0; i < threads; ++i) {
    Thread& thread = block.threads[i];
    thread.index = {i, 0, 0};
    thread.done = false;
    thread.waits_for = nullptr;
    thread.groups.clear();
    thread.open.clear();
    start_fiber(thread.fiber, stack_bytes, fiber_main, nullptr);
  }
}

void run_grid(Index grid, int threads, std::size_t shared_bytes, const std::function<void()>& kernel) {
  static std::atomic<unsigned> launches{0};
  const unsigned launch = launches++;
  const std::int64_t blocks = std::int64_t{grid.x} * grid.y * grid.z;
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < blocks; ++i) {
    const auto at = static_cast<unsigned>(i);
    prepare_block({at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y}, grid, static_cast<unsigned>(threads),
                  shared_bytes, kernel);
    run_block((launch + at) % 2 != 0);
  }
}

}  // namespace

const Index& this_thread() { return block.current->index; }
const Index& this_block() { return block.index; }
const Index& block_size() { return block.size; }
const Index& grid_size() { return block.grid; }

unsigned char* dynamic_shared() {
  const auto address = reinterpret_cast<std::uintptr_t>(block.shared.data());
  return block.shared.data() + (128 - address % 128) % 128;
}

void block_barrier() {
  if (++block.arrived == block.size.x) {
    block.arrived = 0;
    ++block.generation;
    return;
  }
  wait_for(block.generation, block.generation);
}

const Slot* exchange(const Slot& mine) {
  const unsigned index = block.current->index.x;
  Warp& warp = block.warps[index / 32];
  if (warp.lanes != 32) die("a collective of a warp that is not whole");
  // Two sets of slots: nobody can be two collectives ahead of somebody who still reads.
  auto& slots = warp.slots[warp.generation % 2];
  slots[index % 32] = mine;
  if (++warp.arrived == 32) {
    warp.arrived = 0;
    ++warp.generation;
  } else {
    wait_for(warp.generation, warp.generation);
  }
  return slots.data();
}

void misaligned(const void* pointer, std::size_t bytes) {
  char text[96];
  std::snprintf(text, sizeof(text), "an access of %zu bytes at %p", bytes, pointer);
  die(text);
}

void cp_async_16(void* shared, const void* global, bool valid) {
  // Also where nothing is read.
  check_aligned(shared, 16);
  check_aligned(global, 16);
  block.current->open.push_back({shared, global, valid});
}

void cp_async_commit() {
  block.current->groups.push_back(std::move(block.current->open));
  block.current->open.clear();
}

void cp_async_wait(int groups_in_flight) {
  auto& groups = block.current->groups;
  while (groups.size() > static_cast<std::size_t>(groups_in_flight)) {
    for (Copy& copy : groups.front()) finish(copy);
    groups.pop_front();
  }
}

void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared, bool transposed) {
  const auto address = reinterpret_cast<std::uintptr_t>(shared);
  if (address % 16 != 0) die("ldmatrix: an address that is not a multiple of 16 bytes");
  Slot mine{};
  std::memcpy(&mine, &address, sizeof(address));
  const Slot* lanes = exchange(mine);
  const unsigned lane = this_thread().x % 32, row = lane / 4, pair = lane % 4;
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t halves[2];
    for (unsigned j = 0; j < 2; ++j) {
      const unsigned r_at = transposed ? pair * 2 + j : row, c_at = transposed ? row : pair * 2 + j;
      std::uintptr_t from;
      std::memcpy(&from, &lanes[matrix * 8 + r_at], sizeof(from));
      std::memcpy(&halves[j], reinterpret_cast<const std::uint16_t*>(from) + c_at, 2);
    }
    r[matrix] = halves[0] | static_cast<std::uint32_t>(halves[1]) << 16;
  }
  // The hardware reads before any lane goes on; here a lane could overwrite shared memory that another still has to
  // read.
  exchange({});
}

// Round to nearest even, as the hardware's conversions do.
std::uint16_t float_to_bfloat(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float half_to_float(std::uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, 2);
  return static_cast<float>(half);
}
std::uint16_t float_to_half(float value) {
  const auto half = static_cast<_Float16>(value);
  std::uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

void run_now(Index grid, int threads, std::size_t shared_bytes, const std::function<void()>& kernel) {
  run_grid(grid, threads, shared_bytes, kernel);
}

}  // namespace paella::simt
