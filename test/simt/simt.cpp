#include "simt/simt.h"

#include <omp.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "simt/fiber.h"

namespace paella::simt {

namespace {

constexpr std::size_t stack_bytes = std::size_t{96} << 10;
// Dynamic shared memory begins at a multiple of 128, and of nothing more: whoever needs more has to see to it.
constexpr std::size_t shared_alignment = 2048, shared_offset = 128;

struct Copy {
  void* to = nullptr;
  const void* from = nullptr;
  bool valid = false;
};

struct Thread {
  unsigned index = 0;
  Fiber fiber;
  bool done = false;
  // Waits until this changes from `seen`.
  const unsigned* waits_for = nullptr;
  unsigned seen = 0;
  // Asynchronous copies that have not arrived, oldest first, and where each committed group of them ends.
  std::vector<Copy> copies;
  std::vector<std::size_t> group_ends;
  // Warpgroup products whose results are not there yet, oldest first; the same.
  std::vector<std::function<void()>> products;
  std::vector<std::size_t> product_ends;
};

// A copy of a tile that has been asked for: done when somebody waits for it, or at once.
struct TileCopy {
  TensorMap map;
  std::uint32_t to = 0;
  int inner = 0, row = 0;
};

// A barrier of the hardware in shared memory. Its phase ends when nobody is missing and no byte is.
struct Barrier {
  unsigned count = 0, missing = 0, phase = 0;
  std::int64_t bytes = 0;
  std::vector<TileCopy> copies;
};

struct Warp {
  std::array<std::array<Slot, 32>, 2> slots;
  unsigned arrived = 0, generation = 0, lanes = 0;
};

// A block that a core is running, alone or with the others of its cluster.
struct Block {
  Index index;
  unsigned size = 0, rank = 0;
  std::vector<std::unique_ptr<Thread>> threads;  // of the largest block so far: stacks are kept
  std::vector<Warp> warps;
  unsigned arrived = 0, generation = 0;
  unsigned some_arrived = 0, some_generation = 0;  // of a part of its threads
  std::vector<unsigned char> shared;
  std::unordered_map<std::uint32_t, Barrier> barriers;  // by their address in shared memory
};

// What one core is running.
struct Core {
  std::vector<std::unique_ptr<Block>> blocks;  // of the largest cluster so far
  unsigned count = 0;
  unsigned arrived = 0, generation = 0;  // of the cluster's barrier
  // Copies of tiles arrive, and warpgroups' products are done, at the last moment and not at the first.
  bool late_copies = false, late_products = false;
  const std::function<void()>* kernel = nullptr;
  Block* block = nullptr;  // of the running thread
  Thread* thread = nullptr;
  Fiber scheduler;
};

thread_local Core core;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "simt: block (%u, %u, %u): %s\n", place.block.x, place.block.y, place.block.z, what.c_str());
  std::abort();
}

void yield() { switch_fiber(core.thread->fiber, core.scheduler); }

void wait_for(const unsigned& generation, unsigned seen) {
  Thread& me = *core.thread;
  me.waits_for = &generation;
  me.seen = seen;
  yield();
}

// One more has come to a barrier of `size` threads.
void meet(unsigned& arrived, unsigned& generation, unsigned size) {
  if (++arrived == size) {
    arrived = 0;
    ++generation;
    return;
  }
  wait_for(generation, generation);
}

void finish(Copy& copy) {
  if (copy.valid)
    std::memcpy(copy.to, copy.from, 16);
  else
    std::memset(copy.to, 0, 16);
}

void fiber_main(void*) {
  (*core.kernel)();
  core.thread->done = true;
  yield();
  die("a finished thread was resumed");
}

// Resumes threads in turn until all have ended: upwards or downwards, so that what one thread reads of another without
// a barrier in between is found too early by one of both.
void run_blocks(bool downwards) {
  unsigned all = 0;
  for (unsigned i = 0; i < core.count; ++i) all += core.blocks[i]->size;
  const unsigned size = all / core.count;
  for (unsigned left = all; left > 0; downwards = !downwards) {
    bool progress = false;
    for (unsigned i = 0; i < all; ++i) {
      const unsigned at = downwards ? all - 1 - i : i;
      Block& block = *core.blocks[at / size];
      Thread& thread = *block.threads[at % size];
      if (thread.done || (thread.waits_for != nullptr && *thread.waits_for == thread.seen)) continue;
      thread.waits_for = nullptr;
      core.block = &block;
      core.thread = &thread;
      place.block = block.index;
      place.thread.x = thread.index;
      switch_fiber(core.scheduler, thread.fiber);
      progress = true;
      if (thread.done) --left;
    }
    if (!progress) die("some threads wait at a barrier or a warp's collective that others never reach");
  }
  for (unsigned i = 0; i < core.count; ++i) {
    for (const auto& [address, barrier] : core.blocks[i]->barriers)
      if (!barrier.copies.empty() || barrier.bytes != 0) die("a block ended before its tiles had arrived");
    for (unsigned t = 0; t < core.blocks[i]->size; ++t)
      if (!core.blocks[i]->threads[t]->products.empty()) die("a block ended before its products were done");
  }
}

void prepare_block(Block& block, Index index, unsigned rank, unsigned threads, std::size_t shared_bytes) {
  block.index = index;
  block.rank = rank;
  block.size = threads;
  block.arrived = block.generation = block.some_arrived = block.some_generation = 0;
  block.barriers.clear();
  block.shared.assign(shared_bytes + shared_offset + shared_alignment, 0xff);  // NaN in every float type
  block.warps.resize((threads + 31) / 32);
  for (unsigned w = 0; w < block.warps.size(); ++w) {
    block.warps[w].arrived = block.warps[w].generation = 0;
    block.warps[w].lanes = std::min(32u, threads - 32 * w);
  }
  while (block.threads.size() < threads) block.threads.push_back(std::make_unique<Thread>());
  for (unsigned i = 0; i < threads; ++i) {
    Thread& thread = *block.threads[i];
    thread.index = i;
    thread.done = false;
    thread.waits_for = nullptr;
    thread.copies.clear();
    thread.group_ends.clear();
    thread.products.clear();
    thread.product_ends.clear();
    start_fiber(thread.fiber, stack_bytes, fiber_main, nullptr);
  }
}

void run_grid(const Kernel& kernel) {
  static std::atomic<unsigned> launches{0};
  const unsigned launch = launches++;
  const Index grid = kernel.grid;
  const auto threads = static_cast<unsigned>(kernel.threads), cluster = static_cast<unsigned>(kernel.cluster);
  const std::int64_t clusters = std::int64_t{grid.x} / cluster * grid.y * grid.z;
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < clusters; ++i) {
    const auto at = static_cast<unsigned>(i) * cluster;
    place = {{}, {}, {threads, 1, 1}, grid};
    core.count = cluster;
    core.arrived = core.generation = 0;
    // All eight ways in turn.
    const unsigned way = launch * 3 + at / cluster;
    core.late_copies = way / 2 % 2 != 0;
    core.late_products = way / 4 % 2 != 0;
    core.kernel = &kernel.body;
    while (core.blocks.size() < cluster) core.blocks.push_back(std::make_unique<Block>());
    for (unsigned rank = 0; rank < cluster; ++rank)
      prepare_block(*core.blocks[rank], {(at + rank) % grid.x, (at + rank) / grid.x % grid.y, at / grid.x / grid.y},
                    rank, threads, kernel.shared_bytes);
    run_blocks(way % 2 != 0);
  }
}

// Where address 0 of the block's shared memory is.
unsigned char* shared_base(Block& block) {
  const auto address = reinterpret_cast<std::uintptr_t>(block.shared.data());
  return block.shared.data() + (shared_alignment - address % shared_alignment) % shared_alignment;
}

}  // namespace

constinit thread_local Place place;

unsigned char* dynamic_shared() { return shared_base(*core.block) + shared_offset; }
std::uint32_t shared_address(const void* pointer) {
  const auto distance = static_cast<const unsigned char*>(pointer) - shared_base(*core.block);
  if (distance < 0 || static_cast<std::size_t>(distance) >= core.block->shared.size())
    die("an address that is not in shared memory");
  return static_cast<std::uint32_t>(distance);
}
const unsigned char* shared_memory_at(std::uint32_t address) { return shared_base(*core.block) + address; }

void block_barrier() { meet(core.block->arrived, core.block->generation, core.block->size); }

const Slot* exchange(const Slot& mine) {
  const unsigned index = place.thread.x;
  Warp& warp = core.block->warps[index / 32];
  if (warp.lanes != 32) die("a collective of a warp that is not whole");
  // Two sets of slots: nobody can be two collectives ahead of somebody who still reads.
  auto& slots = warp.slots[warp.generation % 2];
  slots[index % 32] = mine;
  meet(warp.arrived, warp.generation, 32);
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
  core.thread->copies.push_back({shared, global, valid});
}

void cp_async_commit() { core.thread->group_ends.push_back(core.thread->copies.size()); }

namespace {

// Ends all groups but the last `in_flight`.
template <typename Item, typename End>
void end_groups(std::vector<Item>& items, std::vector<std::size_t>& ends, int in_flight, End end) {
  const auto arrived = static_cast<std::ptrdiff_t>(ends.size()) - in_flight;
  if (arrived <= 0) return;
  const auto count = static_cast<std::ptrdiff_t>(ends[static_cast<std::size_t>(arrived - 1)]);
  for (std::ptrdiff_t i = 0; i < count; ++i) end(items[static_cast<std::size_t>(i)]);
  items.erase(items.begin(), items.begin() + count);
  ends.erase(ends.begin(), ends.begin() + arrived);
  for (std::size_t& each : ends) each -= static_cast<std::size_t>(count);
}

}  // namespace

void cp_async_wait(int groups_in_flight) {
  end_groups(core.thread->copies, core.thread->group_ends, groups_in_flight, finish);
}

// --- Hopper ---

namespace {

Barrier& barrier_at(Block& block, std::uint32_t address) {
  const auto found = block.barriers.find(address);
  if (found == block.barriers.end()) die("a barrier that was not made");
  return found->second;
}

void end_phase_if_complete(Barrier& barrier) {
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.count;
  ++barrier.phase;
}

void arrive(Barrier& barrier) {
  if (barrier.missing == 0) die("more arrivals at a barrier than it was made for");
  --barrier.missing;
  end_phase_if_complete(barrier);
}

void copy_tile(Block& block, Barrier& barrier, const TileCopy& copy) {
  const bool gone =
      std::all_of(block.threads.begin(), block.threads.begin() + block.size, [](const auto& t) { return t->done; });
  if (gone) die("a tile for a block that has ended");
  for (int row = 0; row < copy.map.box_rows; ++row)
    for (int piece = 0; piece < 8; ++piece) {
      const std::int64_t r = copy.row + row, k = copy.inner + piece * 8;
      unsigned char* to = shared_base(block) + swizzled_128(copy.to + static_cast<std::uint32_t>(row * 128 + piece * 16));
      std::memset(to, 0, 16);
      if (r >= copy.map.rows || k >= copy.map.inner) continue;
      const auto count = static_cast<std::size_t>(std::min<std::int64_t>(8, copy.map.inner - k));
      std::memcpy(to, static_cast<const std::uint16_t*>(copy.map.data) + r * copy.map.inner + k, count * 2);
    }
  barrier.bytes -= std::int64_t{copy.map.box_rows} * 128;
}

}  // namespace

void barrier_init(const void* barrier, unsigned arrivals) {
  check_aligned(barrier, 8);
  core.block->barriers[shared_address(barrier)] = {arrivals, arrivals, 0, 0, {}};
}
void barrier_expect(const void* barrier, unsigned bytes) {
  Barrier& mine = barrier_at(*core.block, shared_address(barrier));
  mine.bytes += bytes;
  arrive(mine);
}
void barrier_arrive(const void* barrier, unsigned rank) {
  if (rank >= core.count) die("an arrival at a block that is not of this cluster");
  arrive(barrier_at(*core.blocks[rank], shared_address(barrier)));
}
void barrier_wait(const void* barrier, unsigned parity) {
  Barrier& mine = barrier_at(*core.block, shared_address(barrier));
  while (mine.phase % 2 == parity) {
    // What was asked for arrives now; others may still have to ask.
    for (const TileCopy& copy : std::exchange(mine.copies, {})) copy_tile(*core.block, mine, copy);
    const unsigned phase = mine.phase;
    end_phase_if_complete(mine);
    if (mine.phase == phase) wait_for(mine.phase, phase);
  }
}
void tma_load(void* shared, const TensorMap& map, int inner, int row, const void* barrier, unsigned mask) {
  const std::uint32_t to = shared_address(shared);
  if (to % 1024 != 0) die("a swizzled tile that does not begin at a multiple of 1024 bytes");
  for (unsigned rank = 0; rank < 16; ++rank) {
    if ((mask >> rank & 1) == 0) continue;
    if (rank >= core.count) die("a tile for a block that is not of this cluster");
    Block& block = *core.blocks[rank];
    Barrier& theirs = barrier_at(block, shared_address(barrier));
    const TileCopy copy{map, to, inner, row};
    if (core.late_copies) {
      theirs.copies.push_back(copy);
      // Whoever waits already would not look again.
      for (unsigned t = 0; t < block.size; ++t)
        if (block.threads[t]->waits_for == &theirs.phase) block.threads[t]->waits_for = nullptr;
    } else {
      copy_tile(block, theirs, copy);
      end_phase_if_complete(theirs);
    }
  }
}
unsigned cluster_rank() { return core.block->rank; }
void cluster_barrier() { meet(core.arrived, core.generation, core.count * core.block->size); }
void barrier_of(unsigned threads) { meet(core.block->some_arrived, core.block->some_generation, threads); }
void product_begin(std::function<void()> product) {
  if (core.late_products)
    core.thread->products.push_back(std::move(product));
  else
    product();
}
void product_commit() { core.thread->product_ends.push_back(core.thread->products.size()); }
void product_wait(int groups_in_flight) {
  end_groups(core.thread->products, core.thread->product_ends, groups_in_flight,
             [](const std::function<void()>& product) { product(); });
  exchange({});  // a warp waits as one
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
  // Without the instruction, which not every CPU has, a conversion is a call of a hundred instructions.
  static const std::vector<float> table = [] {
    std::vector<float> values(65536);
    for (std::uint32_t i = 0; i < 65536; ++i) {
      const auto word = static_cast<std::uint16_t>(i);
      _Float16 half;
      std::memcpy(&half, &word, 2);
      values[i] = static_cast<float>(half);
    }
    return values;
  }();
  return table[bits];
}
std::uint16_t float_to_half(float value) {
  const auto half = static_cast<_Float16>(value);
  std::uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

void run_now(const Kernel& kernel) { run_grid(kernel); }

}  // namespace paella::simt
