// Parallel loops of one backend. Every backend has its own thread count.
//
// OpenMP is used because oneDNN brings it: both then share one team of threads. Its setting "number of threads" belongs
// to the calling thread, so each entry point of the backend sets it (ThreadScope) and puts the old value back: two
// backends in one process do not disturb each other. libgomp's threads spin for a while between loops, which is what
// makes short loops worth it; where more threads than cores want to run, it is ruin. lib/native/loader.ts sets
// GOMP_SPINCOUNT to a value in between, unless that or OMP_WAIT_POLICY is set.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace paella::cpu {

class ThreadScope {
 public:
  explicit ThreadScope(int threads) : previous_(omp_get_max_threads()) {
    if (previous_ != threads) omp_set_num_threads(threads);
  }
  ~ThreadScope() { omp_set_num_threads(previous_); }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int previous_;
};

// Work below this is done by the calling thread alone: waking the others costs some microseconds.
inline constexpr double parallel_grain_ns = 8000;

// body(begin, end, thread) over [0, count) in one contiguous part per thread. `item_ns`: rough cost of one item.
template <typename Body>
void parallel_range(int threads, std::int64_t count, double item_ns, const Body& body) {
  if (count <= 0) return;
  const double work = item_ns * static_cast<double>(count);
  const std::int64_t useful =
      std::max<std::int64_t>(1, std::min<std::int64_t>(count, static_cast<std::int64_t>(2 * work / parallel_grain_ns)));
  const int parts = static_cast<int>(std::min<std::int64_t>(threads, useful));
  if (parts == 1) {
    body(std::int64_t{0}, count, 0);
    return;
  }
  // The team always has the same size, even if some threads stay without work: libgomp would otherwise end threads and
  // start new ones between two loops.
  std::exception_ptr error;
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
    if (thread < parts) {
      try {
        const std::int64_t begin = count * thread / parts, end = count * (thread + 1) / parts;
        if (begin < end) body(begin, end, thread);
      } catch (...) {  // must not leave the region
#pragma omp critical(paella_parallel_error)
        if (!error) error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

// body(index, thread) for tasks of unequal cost, each taken by whichever thread is free.
template <typename Body>
void parallel_tasks(int threads, std::int64_t count, double item_ns, const Body& body) {
  if (threads == 1 || count <= 1 || item_ns * static_cast<double>(count) < parallel_grain_ns) {
    for (std::int64_t index = 0; index < count; ++index) body(index, 0);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::int64_t index = 0; index < count; ++index) {
    try {
      body(index, omp_get_thread_num());
    } catch (...) {
#pragma omp critical(paella_parallel_error)
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace paella::cpu
