// The worker of one device: loads, takes jobs from the queue, runs them in batches, leaves.
#include <algorithm>
#include <map>
#include <new>

#include "pipeline/engine_job.h"
#include "pipeline/estimate.h"

namespace paella {

namespace {

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

void add(StageTimes& sum, const StageTimes& times) {
  sum.encode_text += times.encode_text;
  sum.prior += times.prior;
  sum.unet += times.unet;
  sum.guide += times.guide;
  sum.sample += times.sample;
  sum.renoise += times.renoise;
  sum.decode += times.decode;
}

}  // namespace

// Turns what the generator reports into the events of each job, and notices who has left.
class Engine::BatchObserver final : public Observer {
 public:
  BatchObserver(Engine& engine, std::vector<JobPtr> jobs, const std::vector<Member>& members, std::int64_t steps)
      : engine_(engine), jobs_(std::move(jobs)), members_(members), steps_(steps) {}

  bool keep_going() override {
    {
      std::unique_lock lock(engine_.mutex_);
      engine_.reject_expired(lock);
      if (engine_.abort_) return false;
    }
    bool anyone = false;
    for (const JobPtr& job : jobs_) {
      if (job->cancelled) engine_.reject(job, aborted_error());
      anyone = anyone || !job->answered;
    }
    return anyone;
  }

  bool watches() override {
    return std::any_of(jobs_.begin(), jobs_.end(),
                       [](const JobPtr& job) { return job->request.step_events || job->request.preview_every > 0; });
  }

  void step_done(std::int64_t step, float noise_level) override {
    for (const JobPtr& job : jobs_)
      if (!job->answered && job->request.step_events)
        job->request.on_step({step + 1, steps_, noise_level, milliseconds_since(job->started)});
  }

  bool wants_preview(std::int64_t step) override {
    return std::any_of(jobs_.begin(), jobs_.end(),
                       [&](const JobPtr& job) { return !job->answered && previews(*job, step); });
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
  std::vector<JobPtr> jobs_;
  const std::vector<Member>& members_;
  std::int64_t steps_;
};

void Engine::worker_main(Worker& worker, const LoadCallbacks& callbacks) {
  if (load(worker, callbacks)) serve(worker);
  leave(worker);
}

// True: every worker has loaded, and jobs may come.
bool Engine::load(Worker& worker, const LoadCallbacks& callbacks) {
  try {
    ModelConfig config = read_model_config(options_.model);
    worker.backend = options_.make_backends[worker.index]();
    worker.backend->set_interrupt(&worker.interrupt);
    const auto on_progress = [&](const LoadProgress& progress) {
      if (load_cancelled_) throw aborted_error();
      if (callbacks.on_progress && worker.index == 0) callbacks.on_progress(progress);
    };
    check_room(config, worker.backend->precision(), worker.backend->free_memory(), options_.model_options);
    worker.model = std::make_unique<Model>(std::move(config), *worker.backend, on_progress, options_.model_options);
    worker.generator = std::make_unique<Generator>(*worker.model, *worker.backend);
    update_memory_stats(worker);
  } catch (...) {
    const Error error = current_error();
    return loaded_everywhere(worker, &error, callbacks);
  }
  return loaded_everywhere(worker, nullptr, callbacks);
}

// Tells how this worker's loading ended, and waits for the others. The last one announces the engine; the first that
// fails announces that, and the others give up.
bool Engine::loaded_everywhere(Worker& worker, const Error* error, const LoadCallbacks& callbacks) {
  std::unique_lock lock(mutex_);
  const bool first_failure = error != nullptr && !load_failed_;
  if (error != nullptr) load_failed_ = load_cancelled_ = true;
  const bool last = loading_ == 1 && !load_failed_;
  if (first_failure || last) {
    lock.unlock();
    if (first_failure) {
      callbacks.on_error(*error);
    } else {
      std::string devices;
      for (const auto& each : workers_) devices += (devices.empty() ? "" : " + ") + each->backend->device();
      const Model& model = *worker.model;
      callbacks.on_loaded({model.config(), model.parameters(), model.bytes(), worker.backend->name(), devices,
                           worker.backend->precision()});
    }
    lock.lock();
  }
  --loading_;
  wake_.notify_all();
  wake_.wait(lock, [&] { return loading_ == 0 || load_failed_; });
  return !load_failed_;
}

void Engine::serve(Worker& worker) {
  while (const JobPtr head = wait_for_job(worker)) {
    if (head->is_task())
      run_task(worker, head);
    else
      run_batch(worker, take_batch(worker, head));
    {
      std::lock_guard lock(mutex_);
      worker.running.clear();
      worker.interrupt = abort_;
    }
    update_memory_stats(worker);
  }
}

void Engine::leave(Worker& worker) {
  // Everything native goes before anybody hears that the engine has stopped.
  worker.generator.reset();
  worker.model.reset();
  worker.backend.reset();
  bool last = false;
  {
    std::lock_guard lock(mutex_);
    worker.memory = {};
    worker.cache_bytes = 0;
    last = --alive_ == 0;
  }
  if (!last) return;
  reject_all(disposed_error());
  std::vector<std::function<void()>> listeners;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    listeners.swap(on_stopped_);
  }
  for (const auto& listener : listeners) listener();
}

// The next job; null: stop. A task leaves the queue; a job of images stays until take_batch() has what it wants of it.
// Waits a little for companions if there is room.
Engine::JobPtr Engine::wait_for_job(Worker& worker) {
  std::unique_lock lock(mutex_);
  while (true) {
    reject_expired(lock);
    if (abort_ || (disposed_ && queue_.empty())) return nullptr;
    if (queue_.empty()) {
      wake_.wait(lock);
      continue;
    }
    const JobPtr head = queue_.front();
    std::size_t images = 0;
    for (const JobPtr& job : queue_)
      if (!job->is_task() && !head->is_task() && job->request.shape == head->request.shape)
        images += job->images_left();
    const auto ready = head->submitted + milliseconds(options_.max_delay_ms);
    if (head->is_task() || disposed_ || images >= options_.max_batch || Clock::now() >= ready) {
      if (!head->is_task()) return head;
      queue_.erase(queue_.begin());
      worker.running = {head};
      head->begun = true;
      head->started = Clock::now();
      return head;
    }
    auto until = ready;
    for (const JobPtr& job : queue_) until = std::min(until, job->deadline);
    wake_.wait_until(lock, until);
  }
}

// Images of waiting jobs of head's shape, in the queue's order, as many as a batch holds. With several workers: no more
// than this one's share of what waits. A job with images left keeps its place for the next batch, here or elsewhere.
std::vector<Engine::Member> Engine::take_batch(Worker& worker, const JobPtr& head) {
  std::lock_guard lock(mutex_);
  const auto fits = [&](const JobPtr& job) { return !job->is_task() && job->request.shape == head->request.shape; };
  std::size_t waiting = 0, idle = 0;
  for (const JobPtr& job : queue_)
    if (fits(job)) waiting += job->images_left();
  for (const auto& other : workers_) idle += other->running.empty();
  const std::size_t share = (waiting + idle - 1) / std::max<std::size_t>(idle, 1);
  const std::size_t room = std::clamp<std::size_t>(share, 1, options_.max_batch);

  std::vector<Member> members;
  worker.running.clear();
  for (auto it = queue_.begin(); it != queue_.end() && members.size() < room;) {
    const JobPtr job = *it;
    if (!fits(job)) {
      ++it;
      continue;
    }
    if (!job->begun) {
      job->begun = true;
      job->started = Clock::now();
      job->result.times.queue = std::chrono::duration<double, std::milli>(job->started - job->submitted).count();
      job->result.images.resize(job->request.seeds.size());
    }
    worker.running.push_back(job);
    while (job->images_left() > 0 && members.size() < room) members.push_back({job, job->next_image++});
    it = job->images_left() == 0 ? queue_.erase(it) : it + 1;
  }
  if (!queue_.empty()) wake_.notify_all();
  return members;
}

Engine::Prompts Engine::prompts_of(const JobPtr& job, std::vector<std::size_t> images) {
  Prompts prompts{job, std::move(images), {}};
  // With an image embedding that is drawn every image has a condition of its own, from its seed.
  if (job->request.condition.prior || job->request.condition.drawn_image)
    for (const std::size_t image : prompts.images) {
      prompts.drawn.push_back(job->request.condition);
      prompts.drawn.back().image_seed = job->request.seeds[image];
    }
  return prompts;
}

// Encodes prompts, or finds them in this worker's cache. All of a batch at once: a memory mode that holds one network
// at a time then loads each only once. Jobs that cannot be prepared are rejected, and missing in the result.
std::map<Engine::JobPtr, std::vector<Engine::ConditionPair>> Engine::prepare(Worker& worker,
                                                                             std::vector<Prompts> prompts) {
  std::erase_if(prompts, [&](const Prompts& each) {
    if (each.job->cancelled) reject(each.job, aborted_error());
    return each.job->answered.load();
  });
  if (prompts.empty()) return {};
  std::vector<const ConditionInput*> all;
  for (const Prompts& each : prompts) {
    all.push_back(&each.job->request.negative);
    if (each.drawn.empty()) all.push_back(&each.job->request.condition);
    for (const ConditionInput& drawn : each.drawn) all.push_back(&drawn);
  }
  std::map<JobPtr, std::vector<ConditionPair>> result;
  try {
    ConditionTimes times;
    const auto anyone = [&] {
      return std::any_of(prompts.begin(), prompts.end(), [](const Prompts& each) { return !each.job->cancelled; });
    };
    const auto found = worker.generator->conditions().resolve(all, &times, anyone);
    std::lock_guard lock(mutex_);
    std::size_t at = 0;
    for (const Prompts& each : prompts) {
      const ConditionPtr& negative = found[at++];
      for (std::size_t i = 0; i < each.images.size(); ++i)
        result[each.job].emplace_back(found[at + (each.drawn.empty() ? 0 : i)], negative);
      at += std::max<std::size_t>(each.drawn.size(), 1);
      // Each has waited for all of it.
      each.job->result.times.encode_text += times.encode_text;
      each.job->result.times.prior += times.prior;
    }
    stats_.times.encode_text += times.encode_text;
    stats_.times.prior += times.prior;
  } catch (...) {
    if (prompts.size() == 1) {
      reject(prompts.front().job, reason_for(*prompts.front().job, current_error()));
      return {};
    }
    // One of them is to blame, or all have left: each by itself.
    for (Prompts& each : prompts) result.merge(prepare(worker, {std::move(each)}));
  }
  return result;
}

void Engine::run_batch(Worker& worker, std::vector<Member> members) {
  std::map<JobPtr, std::vector<std::size_t>> images_of;
  std::vector<JobPtr> jobs;  // in the order of the members
  for (const auto& [job, image] : members) {
    if (!images_of.contains(job)) jobs.push_back(job);
    images_of[job].push_back(image);
  }
  std::vector<Prompts> prompts;
  for (const JobPtr& job : jobs) prompts.push_back(prompts_of(job, images_of[job]));
  auto conditions = prepare(worker, std::move(prompts));
  std::erase_if(jobs, [&](const JobPtr& job) { return !conditions.contains(job); });
  std::erase_if(members, [&](const Member& member) { return !conditions.contains(member.job); });
  if (members.empty()) return;

  const BatchShape shape = jobs.front()->request.shape;
  GeneratedBatch batch;
  try {
    std::vector<ImageRequest> images;
    std::map<JobPtr, std::size_t> next;
    for (const auto& [job, image] : members) {
      const GenerateRequest& request = job->request;
      const auto& [conditional, unconditional] = conditions[job][next[job]++];
      images.push_back({request.seeds[image], conditional, unconditional, request.guidance_scale, request.temperature,
                        request.renoise_steps, request.typical_mass, request.init_tokens});
    }
    BatchObserver observer(*this, jobs, members, shape.steps);
    batch = worker.generator->generate(shape, images, observer);
  } catch (...) {
    const Error error = current_error();
    for (const JobPtr& job : jobs) reject(job, reason_for(*job, error));
    return;
  }
  keep(members, batch);
}

// Hands the images of a batch to their jobs, and answers those that are complete.
void Engine::keep(const std::vector<Member>& members, GeneratedBatch& batch) {
  std::vector<JobPtr> jobs, complete;
  {
    std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < members.size(); ++i) {
      const JobPtr& job = members[i].job;
      GeneratedImageData& image = job->result.images[members[i].image];
      image.pixels = std::move(batch.pixels[i]);
      image.tokens = std::move(batch.tokens[i]);
      image.seed = job->request.seeds[members[i].image];
      if (++job->done_images == job->request.seeds.size()) complete.push_back(job);
      if (std::find(jobs.begin(), jobs.end(), job) == jobs.end()) jobs.push_back(job);
    }
    for (const JobPtr& job : jobs) {
      job->result.batch = std::max(job->result.batch, members.size());
      add(job->result.times, batch.times);
    }
    ++stats_.batches;
    ++stats_.batch_sizes[members.size()];
    stats_.images += members.size();
    add(stats_.times, batch.times);
  }
  for (const JobPtr& job : jobs)
    if (job->cancelled) reject(job, aborted_error());
  for (const JobPtr& job : complete) finish(job);
}

void Engine::run_task(Worker& worker, const JobPtr& job) {
  if (job->cancelled) return reject(job, aborted_error());
  try {
    job->task(*worker.generator);
  } catch (...) {
    return reject(job, reason_for(*job, current_error()));
  }
  job->answered = true;
  std::lock_guard lock(mutex_);
  ++stats_.done;
  stats_.times.total += milliseconds_since(job->started);
}

void Engine::update_memory_stats(Worker& worker) {
  const MemoryUse memory = worker.backend->memory();
  const TransferCounts transfers = worker.backend->transfers();
  const std::size_t cache = worker.generator->conditions().cached_bytes();
  std::lock_guard lock(mutex_);
  worker.memory = memory;
  worker.transfers = transfers;
  worker.cache_bytes = cache;
}

}  // namespace paella
