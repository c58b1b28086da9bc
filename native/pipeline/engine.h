// One engine: a queue of jobs, and a worker for each device: a thread that owns a backend, a model and everything
// native there. Most engines have one worker.
//
// Calls come from any thread; callbacks run on a worker's thread, or on the calling thread where a call says so. A
// callback must not call back into the engine. Callbacks of one job never run at the same time, except on_step and
// on_preview of a job whose images are spread over several workers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "pipeline/generator.h"

namespace paella {

using JobId = std::uint64_t;

struct StepEvent {
  std::int64_t step = 0, steps = 0;  // step counts from 1
  float noise_level = 0;
  double elapsed_ms = 0;  // since the job began to run
};

struct PreviewEvent {
  std::int64_t step = 0, steps = 0;
  std::size_t index = 0;  // image of the job
  std::vector<std::uint8_t> pixels;
};

struct GeneratedImageData {
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> tokens;
  std::uint64_t seed = 0;
};

struct JobTimes : StageTimes {
  double queue = 0, total = 0;
};

struct GenerateResult {
  std::vector<GeneratedImageData> images;
  JobTimes times;
  std::size_t batch = 0;  // images in the largest batch that the job ran in
};

struct GenerateRequest {
  ConditionInput condition, negative;
  BatchShape shape;
  std::pair<double, double> guidance_scale, temperature;
  std::int64_t renoise_steps = 0;
  double typical_mass = 1;
  std::vector<std::uint64_t> seeds;  // one per image
  std::vector<std::int32_t> init_tokens;
  double priority = 0;     // higher first
  double deadline_ms = 0;  // 0: none
  std::int64_t preview_every = 0;
  bool step_events = false;

  std::function<void(const StepEvent&)> on_step;
  std::function<void(PreviewEvent&&)> on_preview;
  std::function<void(GenerateResult&&)> on_done;
  std::function<void(const Error&)> on_error;
};

struct EngineOptions {
  std::string model;
  ModelOptions model_options;
  // One for each worker; called on its thread.
  std::vector<std::function<std::unique_ptr<Backend>()>> make_backends;
  std::size_t max_batch = 8;
  double max_delay_ms = 1;
  std::size_t max_queue = 256;
};

struct EngineStats {
  std::uint64_t queued = 0, running = 0, done = 0, failed = 0, aborted = 0;
  std::uint64_t images = 0, batches = 0;
  std::map<std::size_t, std::uint64_t> batch_sizes;
  JobTimes times;  // sums
  TransferCounts transfers;
  MemoryUse memory;  // of all workers
  std::size_t cache_bytes = 0;
};

struct EngineInfo {
  ModelConfig config;
  std::map<std::string, std::int64_t> parameters;
  std::map<std::string, std::size_t> bytes;
  std::string backend, device, precision;
};

class Engine {
 public:
  struct LoadCallbacks {
    std::function<void(const LoadProgress&)> on_progress;
    std::function<void(const EngineInfo&)> on_loaded;
    std::function<void(const Error&)> on_error;
  };

  // Starts the workers, which load the model first; on_loaded when all have, on_error when one could not.
  Engine(EngineOptions options, LoadCallbacks callbacks);
  // Aborts everything and joins.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  struct Ticket {
    JobId id = 0;
    std::size_t position = 0;  // jobs in front of it
  };
  // ERR_QUEUE_FULL, ERR_DISPOSED.
  Ticket submit(GenerateRequest request);
  // Anything else that needs the networks: `run` on a worker's thread, then nothing; or on_error.
  Ticket submit(std::function<void(Generator&)> run, std::function<void(const Error&)> on_error);

  // A waiting job is rejected with ERR_ABORTED before this returns (on the calling thread); a running one at the next
  // step, or within one if nobody else shares its batch. Unknown ids are ignored.
  void cancel(JobId id);
  // Stops loading.
  void cancel_load() { load_cancelled_ = true; }

  // `abort`: waiting and running jobs are rejected with ERR_DISPOSED. Otherwise they finish first. `on_stopped` runs
  // once all of them have been answered and the memory is free: on a worker's thread, or on the calling one if the
  // engine has stopped already. Later jobs are refused.
  void dispose(bool abort, std::function<void()> on_stopped);
  // Same as dispose(true), and waits for the threads. Callbacks of pending jobs still run. Idempotent.
  void stop();

  EngineStats stats() const;

 private:
  struct Job;
  using JobPtr = std::shared_ptr<Job>;
  struct Member;
  struct Worker;
  class BatchObserver;

  Ticket enqueue(JobPtr job);

  // On a worker's thread; engine_worker.cpp.
  void worker_main(Worker& worker, const LoadCallbacks& callbacks);
  bool load(Worker& worker, const LoadCallbacks& callbacks);
  bool loaded_everywhere(Worker& worker, const Error* error, const LoadCallbacks& callbacks);
  void serve(Worker& worker);
  void leave(Worker& worker);
  JobPtr wait_for_job(Worker& worker);
  std::vector<Member> take_batch(Worker& worker, const JobPtr& head);
  void run_batch(Worker& worker, std::vector<Member> members);
  // What one image follows, and what guidance leads away from.
  using ConditionPair = std::pair<ConditionPtr, ConditionPtr>;
  // What these images of a job are to follow.
  struct Prompts {
    JobPtr job;
    std::vector<std::size_t> images;
    std::vector<ConditionInput> drawn;  // one for each image, or empty: all follow the job's
  };
  static Prompts prompts_of(const JobPtr& job, std::vector<std::size_t> images);
  std::map<JobPtr, std::vector<ConditionPair>> prepare(Worker& worker, std::vector<Prompts> prompts);
  void keep(const std::vector<Member>& members, GeneratedBatch& batch);
  void run_task(Worker& worker, const JobPtr& job);
  void update_memory_stats(Worker& worker);

  Error reason_for(const Job& job, const Error& error) const;
  void finish(const JobPtr& job);
  // Does nothing if somebody else has answered it.
  void reject(const JobPtr& job, const Error& error);
  void reject_expired(std::unique_lock<std::mutex>& lock);
  void reject_all(const Error& error);

  EngineOptions options_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<JobPtr> queue_;  // highest priority first, then oldest first
  std::vector<std::unique_ptr<Worker>> workers_;
  std::size_t loading_ = 0, alive_ = 0;  // workers
  bool load_failed_ = false;
  std::vector<std::function<void()>> on_stopped_;
  bool disposed_ = false, abort_ = false, stopped_ = false;
  JobId next_id_ = 1;
  EngineStats stats_;

  std::atomic<bool> load_cancelled_{false};
};

}  // namespace paella
