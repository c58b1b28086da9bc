// Queue, batches, cancelling and disposing, without Node.
#include "pipeline/engine.h"

#include <chrono>
#include <future>
#include <mutex>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "golden.h"
#include "harness.h"

using namespace paella;
using namespace paella::test;

namespace {

EngineOptions options_for(const std::string& model, std::size_t max_batch = 4) {
  EngineOptions options;
  options.model = model;
  options.make_backends = {[] { return cpu::make_backend({.precision = "fp32", .threads = 1}); }};
  options.max_batch = max_batch;
  options.max_delay_ms = 0;
  options.max_queue = 8;
  return options;
}

struct LoadedEngine {
  explicit LoadedEngine(EngineOptions options) {
    std::promise<std::string> loaded;
    engine = std::make_unique<Engine>(
        std::move(options), Engine::LoadCallbacks{nullptr, [&](const EngineInfo&) { loaded.set_value(""); },
                                                  [&](const Error& error) { loaded.set_value(error.what()); }});
    failure = loaded.get_future().get();
  }
  std::unique_ptr<Engine> engine;
  std::string failure;
};

LoadedEngine golden_engine(std::size_t max_batch = 4) {
  return LoadedEngine(options_for(golden_folder() + "/loop", max_batch));
}

// What became of a job: "done", or the code of its error.
struct Outcome {
  std::promise<std::string> promise;
  std::future<std::string> future = promise.get_future();
  GenerateResult result;
  std::chrono::steady_clock::time_point ended;
  JobId id = 0;
};

std::shared_ptr<Outcome> submit(Engine& engine, std::int64_t steps, std::vector<std::uint64_t> seeds = {1},
                                double priority = 0, double deadline_ms = 0,
                                std::function<void(const StepEvent&)> on_step = {},
                                std::vector<std::int32_t> ids = {100, 101, 1}) {
  auto outcome = std::make_shared<Outcome>();
  GenerateRequest request;
  request.condition.ids = std::move(ids);
  request.negative.ids = {1};
  request.shape = {8, 8, steps, steps, SampleMode::multinomial, false};
  request.guidance_scale = {2, 2};
  request.temperature = {1, 0.5};
  request.renoise_steps = steps - 1;
  request.seeds = std::move(seeds);
  request.priority = priority;
  request.deadline_ms = deadline_ms;
  request.step_events = static_cast<bool>(on_step);
  request.on_step = std::move(on_step);
  request.on_done = [outcome](GenerateResult&& result) {
    outcome->result = std::move(result);
    outcome->ended = std::chrono::steady_clock::now();
    outcome->promise.set_value("done");
  };
  request.on_error = [outcome](const Error& error) {
    outcome->ended = std::chrono::steady_clock::now();
    outcome->promise.set_value(code_name(error.code()));
  };
  outcome->id = engine.submit(std::move(request)).id;
  return outcome;
}

// Occupies a worker until released. What its thread waits for outlives this object.
class Blocker {
 public:
  explicit Blocker(Engine& engine) {
    auto started = std::make_shared<std::promise<void>>();
    auto begun = started->get_future();
    engine.submit(
        [started, released = std::shared_future<void>(release_.get_future())](Generator&) {
          started->set_value();
          released.wait();
        },
        [](const Error&) {});
    begun.wait();
  }
  void release() { release_.set_value(); }

 private:
  std::promise<void> release_;
};

}  // namespace

TEST("waiting jobs of one shape run in one batch, with the same tokens as alone") {
  auto loaded = golden_engine(8);
  Engine& engine = *loaded.engine;
  const auto alone = submit(engine, 4, {7});
  CHECK_EQUAL(alone->future.get(), "done");
  std::vector<std::shared_ptr<Outcome>> jobs;
  Blocker blocker(engine);
  for (std::uint64_t seed = 5; seed < 10; ++seed) jobs.push_back(submit(engine, 4, {seed}));
  const auto other = submit(engine, 3, {7});
  blocker.release();
  for (const auto& job : jobs) CHECK_EQUAL(job->future.get(), "done");
  CHECK_EQUAL(other->future.get(), "done");
  for (const auto& job : jobs) CHECK_EQUAL(job->result.batch, std::size_t{5});
  CHECK(jobs[2]->result.images[0].tokens == alone->result.images[0].tokens);
  CHECK(jobs[2]->result.images[0].pixels == alone->result.images[0].pixels);
  const EngineStats stats = engine.stats();
  CHECK_EQUAL(stats.batch_sizes.at(5), std::uint64_t{1});
  CHECK_EQUAL(stats.images, std::uint64_t{7});
}

TEST("prompts of a batch are prepared together, and one that is wrong fails its own job only") {
  auto options = options_for(golden_folder() + "/loop", 8);
  options.model_options.memory = MemoryMode::low;
  auto loaded = LoadedEngine(std::move(options));
  Engine& engine = *loaded.engine;
  const auto job = [&](std::vector<std::int32_t> ids) { return submit(engine, 3, {7}, 0, 0, {}, std::move(ids)); };
  const auto alone = job({102, 1});
  CHECK_EQUAL(alone->future.get(), "done");
  Blocker blocker(engine);
  const auto first = job({102, 103, 1}), wrong = job({99999, 1}), second = job({102, 1}), third = job({105, 1});
  blocker.release();
  CHECK_EQUAL(wrong->future.get(), "ERR_INVALID_OPTION");
  for (const auto& each : {first, second, third}) {
    CHECK_EQUAL(each->future.get(), "done");
    CHECK_EQUAL(each->result.batch, std::size_t{3});
  }
  CHECK(second->result.images[0].tokens == alone->result.images[0].tokens);
  CHECK(first->result.images[0].tokens != alone->result.images[0].tokens);
}

TEST("a job of more images than a batch holds is split, and another job is not starved by it") {
  auto loaded = golden_engine(2);
  Engine& engine = *loaded.engine;
  const auto large = submit(engine, 3, {1, 2, 3, 4, 5});
  const auto small = submit(engine, 4, {3});
  CHECK_EQUAL(large->future.get(), "done");
  CHECK_EQUAL(small->future.get(), "done");
  CHECK_EQUAL(large->result.images.size(), std::size_t{5});
  const auto third = submit(engine, 3, {3});
  CHECK_EQUAL(third->future.get(), "done");
  CHECK(third->result.images[0].tokens == large->result.images[2].tokens);
  CHECK_EQUAL(large->result.images[4].seed, std::uint64_t{5});
}

TEST("higher priority goes first, equal priority in order of arrival") {
  auto loaded = golden_engine(1);
  Engine& engine = *loaded.engine;
  Blocker blocker(engine);
  const auto low = submit(engine, 1, {1}, -1), first = submit(engine, 1, {2}), second = submit(engine, 1, {3}),
             high = submit(engine, 1, {4}, 5);
  blocker.release();
  for (const auto& job : {low, first, second, high}) CHECK_EQUAL(job->future.get(), "done");
  CHECK(high->ended < first->ended && first->ended < second->ended && second->ended < low->ended);
}

TEST("the queue is bounded, deadlines are kept") {
  auto loaded = golden_engine(1);
  Engine& engine = *loaded.engine;
  Blocker blocker(engine);
  const auto late = submit(engine, 1, {1}, 0, 5);
  std::vector<std::shared_ptr<Outcome>> jobs;
  for (std::uint64_t i = 0; i < 7; ++i) jobs.push_back(submit(engine, 1, {i}));
  CHECK_THROWS(submit(engine, 1, {9}), ErrorCode::queue_full, "at most 8 waiting jobs");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  blocker.release();
  CHECK_EQUAL(late->future.get(), "ERR_DEADLINE");
  for (const auto& job : jobs) CHECK_EQUAL(job->future.get(), "done");
}

TEST("a deadline is kept while the engine waits for companions") {
  EngineOptions options = options_for(golden_folder() + "/loop");
  options.max_delay_ms = 3000;
  LoadedEngine loaded(std::move(options));
  const auto head = submit(*loaded.engine, 1);
  const auto late = submit(*loaded.engine, 2, {1}, 0, 20);  // of another shape, behind the head
  CHECK(late->future.wait_for(std::chrono::milliseconds(1500)) == std::future_status::ready);
  CHECK_EQUAL(late->future.get(), "ERR_DEADLINE");
  loaded.engine->dispose(false, {});  // the head need not wait any longer
  CHECK_EQUAL(head->future.get(), "done");
}

TEST("jobs are cancelled in the queue, while running, and alone in a shared batch") {
  auto loaded = golden_engine(4);
  Engine& engine = *loaded.engine;
  {
    Blocker blocker(engine);
    const auto waiting = submit(engine, 1);
    engine.cancel(waiting->id);
    CHECK(waiting->future.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
    CHECK_EQUAL(waiting->future.get(), "ERR_ABORTED");
    blocker.release();
  }
  {
    std::promise<void> begun;
    bool told = false;
    const auto running = submit(engine, 1000, {1}, 0, 0, [&](const StepEvent&) {
      if (!told) begun.set_value();
      told = true;
    });
    begun.get_future().wait();
    engine.cancel(running->id);
    CHECK_EQUAL(running->future.get(), "ERR_ABORTED");
  }
  {
    Blocker blocker(engine);
    std::promise<void> begun;
    bool told = false;
    const auto stays = submit(engine, 60, {1}, 0, 0, [&](const StepEvent&) {
      if (!told) begun.set_value();
      told = true;
    });
    const auto leaves = submit(engine, 60, {2});
    blocker.release();
    begun.get_future().wait();
    engine.cancel(leaves->id);
    CHECK_EQUAL(leaves->future.get(), "ERR_ABORTED");
    CHECK_EQUAL(stays->future.get(), "done");
  }
  engine.cancel(123456);  // nobody
  CHECK_EQUAL(submit(engine, 2)->future.get(), "done");
}

TEST("dispose finishes or aborts, then refuses") {
  {
    auto loaded = golden_engine();
    const auto job = submit(*loaded.engine, 5);
    std::promise<void> stopped;
    loaded.engine->dispose(false, [&] { stopped.set_value(); });
    CHECK_THROWS(submit(*loaded.engine, 1), ErrorCode::disposed, "disposed");
    stopped.get_future().wait();
    CHECK_EQUAL(job->future.get(), "done");
    CHECK_EQUAL(loaded.engine->stats().memory.weights, std::size_t{0});
    bool called = false;
    loaded.engine->dispose(true, [&] { called = true; });
    CHECK(called);
  }
  {
    auto loaded = golden_engine();
    const auto running = submit(*loaded.engine, 1000), waiting = submit(*loaded.engine, 999);
    std::promise<void> stopped;
    loaded.engine->dispose(true, [&] { stopped.set_value(); });
    stopped.get_future().wait();
    CHECK_EQUAL(running->future.get(), "ERR_DISPOSED");
    CHECK_EQUAL(waiting->future.get(), "ERR_DISPOSED");
  }
}

TEST("engines end at any moment") {
  for (int round = 0; round < 20; ++round) {
    auto loaded = golden_engine();
    const auto job = submit(*loaded.engine, 1000);
    std::this_thread::sleep_for(std::chrono::microseconds(300 * round));
    loaded.engine.reset();
    CHECK_EQUAL(job->future.get(), "ERR_DISPOSED");
  }
}

TEST("a model that cannot be loaded is refused with its reason") {
  CHECK(LoadedEngine(options_for("/nowhere")).failure.find("expected a folder with model_index.json") !=
        std::string::npos);
  CHECK(LoadedEngine(options_for("random:nothing")).failure.find("random:<configuration> with one of paella-v3") !=
        std::string::npos);
}

TEST("two engines at once do not disturb each other") {
  auto first = golden_engine(), second = golden_engine();
  std::vector<std::shared_ptr<Outcome>> jobs;
  for (std::uint64_t i = 0; i < 6; ++i) jobs.push_back(submit(i % 2 == 0 ? *first.engine : *second.engine, 5, {i / 2}));
  for (const auto& job : jobs) CHECK_EQUAL(job->future.get(), "done");
  for (std::size_t i = 0; i < 6; i += 2)
    CHECK(jobs[i]->result.images[0].tokens == jobs[i + 1]->result.images[0].tokens);
}

// --- several workers: one queue over several devices ---

static EngineOptions options_for_workers(std::size_t count, std::size_t max_batch = 4) {
  EngineOptions options = options_for(golden_folder() + "/loop", max_batch);
  options.make_backends.assign(count, options.make_backends.front());
  return options;
}

TEST("several workers: a large job is spread over them, image by image the same as on one") {
  auto one = golden_engine();
  LoadedEngine three(options_for_workers(3));
  CHECK_EQUAL(three.failure, "");
  std::vector<std::uint64_t> seeds;
  for (std::uint64_t seed = 0; seed < 12; ++seed) seeds.push_back(seed);
  const auto expected = submit(*one.engine, 6, seeds), found = submit(*three.engine, 6, seeds);
  CHECK_EQUAL(expected->future.get(), "done");
  CHECK_EQUAL(found->future.get(), "done");
  CHECK_EQUAL(found->result.images.size(), seeds.size());
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    CHECK(found->result.images[i].tokens == expected->result.images[i].tokens);
    CHECK_EQUAL(found->result.images[i].seed, seeds[i]);
  }
  const EngineStats stats = three.engine->stats();
  CHECK_EQUAL(stats.images, std::uint64_t{12});
  CHECK_EQUAL(stats.done, std::uint64_t{1});
  CHECK(stats.memory.weights == 3 * one.engine->stats().memory.weights);
}

TEST("several workers: jobs run side by side") {
  LoadedEngine two(options_for_workers(2));
  Blocker blocker(*two.engine);  // occupies one of them
  const auto job = submit(*two.engine, 3);
  CHECK_EQUAL(job->future.get(), "done");
  blocker.release();
}

TEST("several workers: cancelling and disposing reach all parts of a job") {
  for (int round = 0; round < 20; ++round) {
    LoadedEngine two(options_for_workers(2, 2));
    const auto cancelled = submit(*two.engine, 400, {1, 2, 3, 4, 5, 6});
    const auto disposed = submit(*two.engine, 401, {1, 2, 3, 4, 5, 6});
    std::this_thread::sleep_for(std::chrono::microseconds(500 * round));
    two.engine->cancel(cancelled->id);
    CHECK_EQUAL(cancelled->future.get(), "ERR_ABORTED");
    two.engine.reset();
    CHECK_EQUAL(disposed->future.get(), "ERR_DISPOSED");
  }
}

TEST("several workers: one that cannot load fails the engine, once, and the others let go") {
  EngineOptions options = options_for_workers(3);
  options.make_backends[1] = []() -> std::unique_ptr<Backend> {
    fail(ErrorCode::backend_unavailable, "no such device");
  };
  int failures = 0;
  std::promise<void> failed;
  Engine engine(std::move(options), {nullptr, [](const EngineInfo&) { CHECK(false); },
                                     [&](const Error& error) {
                                       CHECK_EQUAL(std::string(error.what()), "no such device");
                                       if (++failures == 1) failed.set_value();
                                     }});
  failed.get_future().wait();
  engine.stop();
  CHECK_EQUAL(failures, 1);
}
