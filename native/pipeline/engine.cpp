#include "pipeline/engine.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <new>

namespace paella {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Clock::duration milliseconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(value));
}

Error disposed_error() { return {ErrorCode::disposed, "the engine has been disposed"}; }
Error aborted_error() { return {ErrorCode::aborted, "the job was aborted"}; }

// Whatever was thrown, as our own error.
Error current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return {ErrorCode::out_of_memory, "out of host memory", "use a smaller size, count or maxBatch"};
  } catch (const std::exception& error) {
    return {ErrorCode::internal, error.what()};
  } catch (...) {
    return {ErrorCode::internal, "unknown error"};
  }
}

void add(JobTimes& sum, const JobTimes& times) {
  sum.queue += times.queue;
  sum.encode_text += times.encode_text;
  sum.unet += times.unet;
  sum.guide += times.guide;
  sum.sample += times.sample;
  sum.renoise += times.renoise;
  sum.decode += times.decode;
  sum.total += times.total;
}

}  // namespace

struct Engine::Job {
  JobId id = 0;
  Clock::time_point submitted = Clock::now(), started;
  double priority = 0;
  Clock::time_point deadline = Clock::time_point::max();
  double deadline_ms = 0;
  std::atomic<bool> cancelled{false};
  bool answered = false;  // engine's thread, or under the mutex while waiting
  bool prepared = false;

  // Either a task …
  std::function<void(Generator&)> task;
  // … or images.
  GenerateRequest request;
  ConditionPtr condition, negative;
  std::size_t next_image = 0;  // images before this one are done or running
  GenerateResult result;

  std::function<void(const Error&)> on_error;
  bool is_task() const { return static_cast<bool>(task); }
};

// One image of a batch.
struct Engine::Member {
  JobPtr job;
  std::size_t image = 0;  // of the job
};

// Turns what the generator reports into the events of each job, and notices who has left.
class Engine::BatchObserver final : public Observer {
 public:
  BatchObserver(Engine& engine, const std::vector<JobPtr>& jobs, const std::vector<Member>& members, std::int64_t steps)
      : engine_(engine), jobs_(jobs), members_(members), steps_(steps) {}

  bool keep_going() override {
    {
      std::unique_lock lock(engine_.mutex_);
      engine_.reject_expired(lock);
      if (engine_.abort_) return false;
    }
    bool anyone = false;
    for (const JobPtr& job : jobs_) {
      if (job->cancelled && !job->answered) engine_.reject(job, aborted_error());
      anyone = anyone || !job->answered;
    }
    return anyone;
  }

  bool step_done(std::int64_t step, float noise_level) override {
    bool preview = false;
    for (const JobPtr& job : jobs_) {
      if (job->answered) continue;
      if (job->request.step_events)
        job->request.on_step({step + 1, steps_, noise_level, milliseconds_since(job->started)});
      preview = preview || previews(*job, step);
    }
    return preview;
  }

  void preview(std::int64_t step, std::size_t image, const std::vector<std::uint8_t>& pixels) override {
    const Member& member = members_[image];
    if (!member.job->answered && previews(*member.job, step))
      member.job->request.on_preview({step + 1, steps_, member.image, pixels});
  }

 private:
  static bool previews(const Job& job, std::int64_t step) {
    return job.request.preview_every > 0 && (step + 1) % job.request.preview_every == 0;
  }

  Engine& engine_;
  const std::vector<JobPtr>& jobs_;
  const std::vector<Member>& members_;
  std::int64_t steps_;
};

Engine::Engine(EngineOptions options, LoadCallbacks callbacks) : options_(std::move(options)) {
  thread_ = std::thread([this, callbacks = std::move(callbacks)] { thread_main(callbacks); });
}

Engine::~Engine() { stop(); }

// --- any thread ---

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
    ticket.position = static_cast<std::size_t>(place - queue_.begin()) + running_.size();
    queue_.insert(place, std::move(job));
  }
  wake_.notify_all();
  return ticket;
}

void Engine::cancel(JobId id) {
  JobPtr waiting;
  {
    std::lock_guard lock(mutex_);
    const auto found = std::find_if(queue_.begin(), queue_.end(), [&](const JobPtr& job) { return job->id == id; });
    if (found != queue_.end() && (*found)->next_image == 0) {
      waiting = *found;
      queue_.erase(found);
      waiting->answered = true;
      ++stats_.aborted;
    } else if (found != queue_.end()) {
      (*found)->cancelled = true;  // between two of its batches; the engine's thread answers it
    } else {
      for (const JobPtr& job : running_)
        if (job->id == id) job->cancelled = true;
      const bool all = !running_.empty() && std::all_of(running_.begin(), running_.end(),
                                                        [](const JobPtr& job) { return job->cancelled.load(); });
      if (all) interrupt_ = true;
    }
  }
  if (waiting) waiting->on_error(aborted_error());
}

void Engine::dispose(bool abort, std::function<void()> on_stopped) {
  bool already = false;
  {
    std::lock_guard lock(mutex_);
    disposed_ = true;
    already = stopped_;
    if (abort) {
      abort_ = true;
      interrupt_ = true;
      load_cancelled_ = true;
    }
    if (!already && on_stopped) on_stopped_.push_back(std::move(on_stopped));
  }
  wake_.notify_all();
  if (already && on_stopped) on_stopped();
}

void Engine::stop() {
  dispose(true, {});
  if (thread_.joinable()) thread_.join();
}

EngineStats Engine::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.queued = queue_.size();
  stats.running = running_.size();
  return stats;
}

// --- the engine's thread ---

void Engine::thread_main(const LoadCallbacks& callbacks) {
  if (load(callbacks)) serve();
  reject_all(disposed_error());
  // Everything native goes before anybody hears that the engine has stopped.
  generator_.reset();
  model_.reset();
  backend_.reset();
  std::vector<std::function<void()>> listeners;
  {
    std::lock_guard lock(mutex_);
    disposed_ = stopped_ = true;
    stats_.memory = {};
    stats_.cache_bytes = 0;
    listeners.swap(on_stopped_);
  }
  for (const auto& listener : listeners) listener();
}

bool Engine::load(const LoadCallbacks& callbacks) {
  try {
    ModelConfig config = read_model_config(options_.model);
    backend_ = options_.make_backend();
    backend_->set_interrupt(&interrupt_);
    model_ = std::make_unique<Model>(std::move(config), *backend_, [&](const LoadProgress& progress) {
      if (load_cancelled_) throw aborted_error();
      if (callbacks.on_progress) callbacks.on_progress(progress);
    });
    generator_ = std::make_unique<Generator>(*model_, *backend_);
    update_memory_stats();
    callbacks.on_loaded({model_->config, model_->parameters, model_->bytes, backend_->name(), backend_->device(),
                         backend_->precision()});
    return true;
  } catch (...) {
    callbacks.on_error(current_error());
    return false;
  }
}

void Engine::serve() {
  while (const JobPtr head = wait_for_job()) {
    if (head->is_task()) {
      run_task(head);
    } else {
      run_batch(take_companions(head));
    }
    {
      std::lock_guard lock(mutex_);
      running_.clear();
      interrupt_ = abort_;
    }
    update_memory_stats();
  }
}

// The next job, moved from the queue to running_; null: stop. Waits a little for companions if there is room.
Engine::JobPtr Engine::wait_for_job() {
  std::unique_lock lock(mutex_);
  while (true) {
    reject_expired(lock);
    if (abort_ || (disposed_ && queue_.empty())) return nullptr;
    if (!queue_.empty()) {
      const JobPtr head = queue_.front();
      std::size_t images = 0;
      for (const JobPtr& job : queue_)
        if (!job->is_task() && !head->is_task() && job->request.shape == head->request.shape)
          images += job->request.seeds.size() - job->next_image;
      const auto ready = head->submitted + milliseconds(options_.max_delay_ms);
      if (head->is_task() || disposed_ || images >= options_.max_batch || Clock::now() >= ready) {
        queue_.erase(queue_.begin());
        running_ = {head};
        return head;
      }
      auto until = ready;
      for (const JobPtr& job : queue_) until = std::min(until, job->deadline);
      wake_.wait_until(lock, until);
      continue;
    }
    wake_.wait(lock);
  }
}

// Waiting jobs of the same shape, oldest first, as long as the batch has room.
std::vector<Engine::JobPtr> Engine::take_companions(const JobPtr& head) {
  std::lock_guard lock(mutex_);
  std::vector<JobPtr> jobs = {head};
  std::size_t images = head->request.seeds.size() - head->next_image;
  for (auto it = queue_.begin(); it != queue_.end() && images < options_.max_batch;) {
    const JobPtr& job = *it;
    if (job->is_task() || !(job->request.shape == head->request.shape)) {
      ++it;
      continue;
    }
    images += job->request.seeds.size() - job->next_image;
    jobs.push_back(job);
    it = queue_.erase(it);
  }
  running_ = jobs;
  return jobs;
}

// Encodes the prompts of a job that runs for the first time. False: it failed and was answered.
bool Engine::prepare(const JobPtr& job) {
  if (job->cancelled) {
    reject(job, aborted_error());
    return false;
  }
  if (job->prepared) return true;
  job->started = Clock::now();
  job->result.times.queue = std::chrono::duration<double, std::milli>(job->started - job->submitted).count();
  try {
    Conditions& conditions = generator_->conditions();
    const auto resolve = [&](const ConditionInput& input) {
      return input.states.empty() ? conditions.from_ids(input.ids) : conditions.from_states(input.states);
    };
    job->condition = resolve(job->request.condition);
    job->negative = resolve(job->request.negative);
  } catch (...) {
    reject(job, reason_for(*job, current_error()));
    return false;
  }
  job->result.times.encode_text = milliseconds_since(job->started);
  job->result.images.resize(job->request.seeds.size());
  job->prepared = true;
  return true;
}

std::vector<Engine::Member> Engine::assign(const std::vector<JobPtr>& jobs) const {
  std::vector<Member> members;
  for (const JobPtr& job : jobs)
    while (job->next_image < job->request.seeds.size() && members.size() < options_.max_batch)
      members.push_back({job, job->next_image++});
  return members;
}

void Engine::run_batch(std::vector<JobPtr> jobs) {
  std::erase_if(jobs, [&](const JobPtr& job) { return !prepare(job); });
  if (jobs.empty()) return;
  const std::vector<Member> members = assign(jobs);
  std::vector<ImageRequest> images;
  for (const Member& member : members) {
    const GenerateRequest& request = member.job->request;
    images.push_back({request.seeds[member.image], member.job->condition, member.job->negative, request.guidance_scale,
                      request.temperature, request.renoise_steps, request.typical_mass, request.init_tokens});
  }
  const BatchShape shape = jobs.front()->request.shape;
  try {
    BatchObserver observer(*this, jobs, members, shape.steps);
    GeneratedBatch batch = generator_->generate(shape, images, observer);
    std::vector<const Job*> seen;
    for (std::size_t i = 0; i < members.size(); ++i) {
      Job& job = *members[i].job;
      GeneratedImageData& image = job.result.images[members[i].image];
      image.pixels = std::move(batch.pixels[i]);
      image.tokens = std::move(batch.tokens[i]);
      image.seed = job.request.seeds[members[i].image];
      job.result.batch = std::max(job.result.batch, members.size());
      if (std::find(seen.begin(), seen.end(), &job) != seen.end()) continue;
      seen.push_back(&job);
      JobTimes stages;
      static_cast<StageTimes&>(stages) = batch.times;
      add(job.result.times, stages);
    }
    JobTimes spent;
    static_cast<StageTimes&>(spent) = batch.times;
    std::lock_guard lock(mutex_);
    ++stats_.batches;
    ++stats_.batch_sizes[members.size()];
    stats_.images += members.size();
    add(stats_.times, spent);
  } catch (...) {
    const Error error = current_error();
    for (const JobPtr& job : jobs)
      if (!job->answered) reject(job, reason_for(*job, error));
    return;
  }
  for (const JobPtr& job : jobs) {
    if (job->answered) continue;
    if (job->cancelled) {
      reject(job, aborted_error());
    } else if (job->next_image == job->request.seeds.size()) {
      finish(job);
    } else {
      // More images than a batch holds: back to the place that its age and priority give it.
      std::lock_guard lock(mutex_);
      const auto place = std::find_if(queue_.begin(), queue_.end(), [&](const JobPtr& other) {
        return other->priority < job->priority || (other->priority == job->priority && other->id > job->id);
      });
      queue_.insert(place, job);
    }
  }
}

// An interrupted network only knows that it was interrupted; this knows by whom.
Error Engine::reason_for(const Job& job, const Error& error) const {
  std::lock_guard lock(mutex_);
  return abort_ ? disposed_error() : job.cancelled ? aborted_error() : error;
}

void Engine::run_task(const JobPtr& job) {
  if (job->cancelled) return reject(job, aborted_error());
  const auto start = Clock::now();
  try {
    job->task(*generator_);
  } catch (...) {
    return reject(job, reason_for(*job, current_error()));
  }
  job->answered = true;
  std::lock_guard lock(mutex_);
  ++stats_.done;
  stats_.times.total += milliseconds_since(start);
}

void Engine::finish(const JobPtr& job) {
  job->answered = true;
  job->result.times.total = milliseconds_since(job->started);
  {
    std::lock_guard lock(mutex_);
    std::erase(running_, job);
    ++stats_.done;
    stats_.times.queue += job->result.times.queue;
    stats_.times.encode_text += job->result.times.encode_text;
    stats_.times.total += job->result.times.total;
  }
  job->request.on_done(std::move(job->result));
}

void Engine::reject(const JobPtr& job, const Error& error) {
  job->answered = true;
  {
    std::lock_guard lock(mutex_);
    std::erase(running_, job);
    ++(error.code() == ErrorCode::aborted || error.code() == ErrorCode::disposed ? stats_.aborted : stats_.failed);
  }
  job->on_error(error);
}

// Waiting jobs whose deadline has passed. Called with the mutex held; callbacks run without it.
void Engine::reject_expired(std::unique_lock<std::mutex>& lock) {
  const auto now = Clock::now();
  std::vector<JobPtr> expired;
  std::erase_if(queue_, [&](const JobPtr& job) {
    const bool late = job->deadline <= now && job->next_image == 0;
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
    running_.clear();
  }
  for (const JobPtr& job : waiting)
    if (!job->answered) reject(job, error);
}

void Engine::update_memory_stats() {
  const MemoryUse memory = backend_->memory();
  const TransferCounts transfers = backend_->transfers();
  const std::size_t cache = generator_->conditions().cached_bytes();
  std::lock_guard lock(mutex_);
  stats_.memory = memory;
  stats_.transfers = transfers;
  stats_.cache_bytes = cache;
}

}  // namespace paella
