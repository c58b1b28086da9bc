#include "pipeline/engine.h"

#include <algorithm>

#include "pipeline/engine_job.h"

namespace paella {

Engine::Engine(EngineOptions options, LoadCallbacks callbacks) : options_(std::move(options)) {
  expect(!options_.make_backends.empty(), "engine: expected at least one backend");
  loading_ = alive_ = options_.make_backends.size();
  for (std::size_t i = 0; i < alive_; ++i) {
    workers_.push_back(std::make_unique<Worker>());
    workers_.back()->index = i;
  }
  for (const auto& worker : workers_)
    worker->thread = std::thread([this, &worker = *worker, callbacks] { worker_main(worker, callbacks); });
}

Engine::~Engine() { stop(); }

Engine::Ticket Engine::submit(GenerateRequest request) {
  auto job = std::make_shared<Job>();
  job->priority = request.priority;
  job->deadline_ms = request.deadline_ms;
  if (request.deadline_ms > 0) job->deadline = job->submitted + milliseconds(request.deadline_ms);
  job->on_error = request.on_error;
  job->request = std::move(request);
  return enqueue(std::move(job));
}

Engine::Ticket Engine::submit(std::function<void(Generator&)> run, std::function<void(const Error&)> on_error) {
  auto job = std::make_shared<Job>();
  job->task = std::move(run);
  job->on_error = std::move(on_error);
  return enqueue(std::move(job));
}

Engine::Ticket Engine::enqueue(JobPtr job) {
  Ticket ticket;
  {
    std::lock_guard lock(mutex_);
    if (disposed_) throw disposed_error();
    if (queue_.size() >= options_.max_queue)
      throw Error(ErrorCode::queue_full,
                  concat("queue: expected at most ", options_.max_queue, " waiting jobs, got one more"),
                  "wait for earlier calls, or load with a larger maxQueue");
    job->id = ticket.id = next_id_++;
    const auto place = std::find_if(queue_.begin(), queue_.end(),
                                    [&](const JobPtr& other) { return other->priority < job->priority; });
    ticket.position = static_cast<std::size_t>(place - queue_.begin());
    for (const auto& worker : workers_) ticket.position += worker->running.size();
    queue_.insert(place, std::move(job));
  }
  wake_.notify_all();
  return ticket;
}

void Engine::cancel(JobId id) {
  JobPtr waiting;
  {
    std::lock_guard lock(mutex_);
    const auto is_it = [&](const JobPtr& job) { return job->id == id; };
    bool running = false;
    for (const auto& worker : workers_)
      for (const JobPtr& job : worker->running)
        if (is_it(job)) job->cancelled = running = true;
    const auto found = std::find_if(queue_.begin(), queue_.end(), is_it);
    if (found != queue_.end()) {
      if (!running) waiting = *found;
      queue_.erase(found);
    }
    for (const auto& worker : workers_) {
      const std::vector<JobPtr>& jobs = worker->running;
      const bool all = !jobs.empty() &&
                       std::all_of(jobs.begin(), jobs.end(), [](const JobPtr& job) { return job->cancelled.load(); });
      if (all) worker->interrupt = true;
    }
  }
  if (waiting) reject(waiting, aborted_error());
}

void Engine::dispose(bool abort, std::function<void()> on_stopped) {
  bool already = false;
  {
    std::lock_guard lock(mutex_);
    disposed_ = true;
    already = stopped_;
    if (abort) {
      abort_ = true;
      load_cancelled_ = true;
      for (const auto& worker : workers_) worker->interrupt = true;
    }
    if (!already && on_stopped) on_stopped_.push_back(std::move(on_stopped));
  }
  wake_.notify_all();
  if (already && on_stopped) on_stopped();
}

void Engine::stop() {
  dispose(true, {});
  for (const auto& worker : workers_)
    if (worker->thread.joinable()) worker->thread.join();
}

EngineStats Engine::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.queued = queue_.size();
  for (const auto& worker : workers_) {
    stats.running += worker->running.size();
    stats.memory.weights += worker->memory.weights;
    stats.memory.activations += worker->memory.activations;
    stats.memory.peak += worker->memory.peak;
    stats.cache_bytes += worker->cache_bytes;
    stats.transfers.uploads += worker->transfers.uploads;
    stats.transfers.downloads += worker->transfers.downloads;
    stats.transfers.launches += worker->transfers.launches;
    stats.transfers.synchronizations += worker->transfers.synchronizations;
  }
  return stats;
}

// An interrupted network only knows that it was interrupted; this knows by whom.
Error Engine::reason_for(const Job& job, const Error& error) const {
  std::lock_guard lock(mutex_);
  return abort_ ? disposed_error() : job.cancelled ? aborted_error() : error;
}

void Engine::finish(const JobPtr& job) {
  if (job->answered.exchange(true)) return;
  {
    std::lock_guard lock(mutex_);
    job->result.times.total = milliseconds_since(job->started);
    for (const auto& worker : workers_) std::erase(worker->running, job);
    ++stats_.done;
    stats_.times.queue += job->result.times.queue;
    stats_.times.total += job->result.times.total;
  }
  job->request.on_done(std::move(job->result));
}

void Engine::reject(const JobPtr& job, const Error& error) {
  if (job->answered.exchange(true)) return;
  {
    std::lock_guard lock(mutex_);
    std::erase(queue_, job);
    for (const auto& worker : workers_) std::erase(worker->running, job);
    ++(error.code() == ErrorCode::aborted || error.code() == ErrorCode::disposed ? stats_.aborted : stats_.failed);
  }
  job->on_error(error);
}

// Waiting jobs whose deadline has passed. Called with the mutex held; callbacks run without it.
void Engine::reject_expired(std::unique_lock<std::mutex>& lock) {
  const auto now = Clock::now();
  std::vector<JobPtr> expired;
  std::erase_if(queue_, [&](const JobPtr& job) {
    const bool late = job->deadline <= now && !job->begun;
    if (late) expired.push_back(job);
    return late;
  });
  if (expired.empty()) return;
  lock.unlock();
  for (const JobPtr& job : expired)
    reject(job,
           Error(ErrorCode::deadline, concat("deadlineMs: expected to start within ", job->deadline_ms,
                                             " ms, still waiting after ", milliseconds_since(job->submitted), " ms")));
  lock.lock();
}

void Engine::reject_all(const Error& error) {
  std::vector<JobPtr> waiting;
  {
    std::lock_guard lock(mutex_);
    disposed_ = true;
    waiting.swap(queue_);
  }
  for (const JobPtr& job : waiting) reject(job, error);
}

}  // namespace paella
