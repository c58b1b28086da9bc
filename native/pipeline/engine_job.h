// What the two halves of the engine share; see engine.h.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "pipeline/engine.h"

namespace paella {

using Clock = std::chrono::steady_clock;

inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}
inline Clock::duration milliseconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(value));
}

inline Error disposed_error() { return {ErrorCode::disposed, "the engine has been disposed"}; }
inline Error aborted_error() { return {ErrorCode::aborted, "the job was aborted"}; }

struct Engine::Job {
  JobId id = 0;
  Clock::time_point submitted = Clock::now();
  double priority = 0;
  Clock::time_point deadline = Clock::time_point::max();
  double deadline_ms = 0;
  std::atomic<bool> cancelled{false};
  std::atomic<bool> answered{false};

  // Either a task …
  std::function<void(Generator&)> task;
  // … or images.
  GenerateRequest request;
  std::function<void(const Error&)> on_error;

  // Under the engine's mutex.
  Clock::time_point started;
  bool begun = false;          // a worker has taken it, or some of its images
  std::size_t next_image = 0;  // images before this one are done or running; the job waits while there are others
  std::size_t done_images = 0;
  GenerateResult result;

  bool is_task() const { return static_cast<bool>(task); }
  std::size_t images_left() const { return request.seeds.size() - next_image; }
};

// One image of a batch.
struct Engine::Member {
  JobPtr job;
  std::size_t image = 0;  // of the job
};

struct Engine::Worker {
  std::size_t index = 0;
  // Its own thread's.
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Model> model;
  std::unique_ptr<Generator> generator;
  std::atomic<bool> interrupt{false};  // stops the running networks between operations
  // Under the engine's mutex.
  std::vector<JobPtr> running;
  MemoryUse memory;
  TransferCounts transfers;
  std::size_t cache_bytes = 0;
  std::thread thread;
};

}  // namespace paella
