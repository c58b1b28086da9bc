// The whole loop against the plain order of the reference, and what a batch must not change.
#include <algorithm>

#include "pipeline/generator.h"

#include "core/error.h"
#include "golden.h"
#include "harness.h"
#include "operations.h"
#include "pipeline/estimate.h"
#include "pipeline/schedule.h"

using namespace paella;
using namespace paella::test;

namespace {

struct Setup {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Model> model;
  std::unique_ptr<Generator> generator;
};

// Without a backend if this machine has none of that name.
Setup load_model(const std::string& backend = "fp32", int threads = 2, MemoryMode mode = MemoryMode::resident) {
  Setup setup;
  setup.backend = backend_named(backend, threads);
  if (!setup.backend) return setup;
  setup.model = std::make_unique<Model>(read_model_config(golden_folder() + "/loop"), *setup.backend, nullptr,
                                        ModelOptions{.memory = mode});
  setup.generator = std::make_unique<Generator>(*setup.model, *setup.backend);
  return setup;
}

// Keeps the tokens after each step.
class TokenRecorder final : public Observer {
 public:
  bool wants_tokens() override { return true; }
  void tokens(std::int64_t, const std::vector<std::int32_t>& tokens) override { steps.push_back(tokens); }
  std::vector<std::vector<std::int32_t>> steps;
};

struct GoldenRun {
  BatchShape shape;
  std::vector<ImageRequest> images;
};

GoldenRun golden_run(const std::string& name, Golden& golden, Generator& generator) {
  const Json all = Json::parse_file(golden_folder() + "/loop/runs.json");
  JsonReader reader(*all.find(name), name);
  GoldenRun run;
  run.shape.width = reader.integer("width", 1, 1000);
  run.shape.height = reader.integer("height", 1, 1000);
  run.shape.steps = reader.integer("steps", 1, 1000);
  run.shape.conditional_steps = reader.integer("conditionalSteps", 0, 1000);
  run.shape.mode = reader.string("sampler") == "argmax" ? SampleMode::argmax : SampleMode::multinomial;
  const double mass = reader.number("typicalMass", 0, 1);
  run.shape.typical = mass > 0;
  const ConditionPtr condition = generator.conditions().from_ids(golden.i32("prompt_ids"));
  const ConditionPtr negative = generator.conditions().from_ids(golden.i32("negative_ids"));
  for (const std::int64_t seed : golden.i64(name + "/seeds")) {
    ImageRequest image;
    image.seed = static_cast<std::uint64_t>(seed);
    image.condition = condition;
    image.negative = negative;
    image.guidance_scale = reader.ramp("guidanceScale", -100, 100);
    image.temperature = reader.ramp("temperature", 0, 100);
    image.renoise_steps = reader.integer("renoiseSteps", 0, 1000);
    image.typical_mass = mass;
    if (name == "init") image.init_tokens = golden.i32("init_tokens");
    run.images.push_back(image);
  }
  return run;
}

// Five prompts of different length, seven images with numbers of their own.
std::vector<ImageRequest> mixed_images(Generator& generator) {
  std::vector<ImageRequest> images;
  for (int i = 0; i < 7; ++i) {
    ImageRequest image;
    image.seed = static_cast<std::uint64_t>(100 + i);
    std::vector<std::int32_t> ids;
    for (int k = 0; k < 3 + 9 * (i % 5); ++k) ids.push_back(100 + (k * 7 + i) % 20);
    ids.push_back(1);
    image.condition = generator.conditions().from_ids(ids);
    image.negative = generator.conditions().from_ids(std::vector<std::int32_t>{1});
    image.guidance_scale = {2.0 + i, 1.0};
    image.temperature = {1.0, 0.3 + 0.1 * i};
    image.renoise_steps = i;
    images.push_back(image);
  }
  return images;
}

}  // namespace

TEST("the loop draws the reference's tokens, step by step") {
  Golden golden("loop/io.safetensors");
  for (const char* backend : {"fp32", "cuda fp32"})
    for (const char* name : {"plain", "init", "argmax", "typical"}) {
      Setup setup = load_model(backend);
      GoldenRun run = golden_run(name, golden, *setup.generator);
      TokenRecorder recorder;
      const GeneratedBatch batch = setup.generator->generate(run.shape, run.images, recorder);
      const auto expected = golden.i32(std::string(name) + "/tokens");
      const std::size_t each = recorder.steps.front().size();
      CHECK_EQUAL(recorder.steps.size() * each, expected.size());
      for (std::size_t step = 0; step < recorder.steps.size(); ++step) {
        int wrong = 0;
        for (std::size_t i = 0; i < each; ++i) wrong += recorder.steps[step][i] != expected[step * each + i];
        if (wrong > 0)
          check(false, __FILE__, __LINE__,
                concat(backend, ", ", name, ", step ", step, ": ", wrong, " of ", each, " tokens differ"));
      }
      const auto rgb = golden.u8(std::string(name) + "/rgb");
      const auto margin = golden.f32(std::string(name) + "/rgb_margin");
      int wrong = 0;
      std::size_t at = 0;
      for (const auto& pixels : batch.pixels)
        for (const std::uint8_t value : pixels) {
          wrong += value != rgb[at] && margin[at] > 1e-2f;
          ++at;
        }
      CHECK_EQUAL(at, rgb.size());
      CHECK_EQUAL(wrong, 0);
    }
}

TEST("encoder states of a prompt give the same image as its ids") {
  Setup setup = load_model();
  Golden golden("loop/io.safetensors");
  GoldenRun run = golden_run("plain", golden, *setup.generator);
  Observer quiet;
  const auto expected = setup.generator->generate(run.shape, run.images, quiet).tokens;
  const auto states = setup.generator->conditions().encode(golden.i32("prompt_ids"));
  for (ImageRequest& image : run.images) image.condition = setup.generator->conditions().from_states(states);
  CHECK(setup.generator->generate(run.shape, run.images, quiet).tokens == expected);
  CHECK_BOUND("states", relative_error(states, golden.f32("prompt_states")), 1e-5);
}

TEST("a seed gives the same tokens and pixels alone, in a batch of seven, and with other thread counts") {
  const BatchShape shape{8, 12, 6, 4, SampleMode::multinomial, false};
  Observer quiet;
  for (const std::string backend : {"fp32", "bf16", "cuda fp32", "cuda bf16"}) {
    Setup setup = load_model(backend);
    if (!setup.backend) continue;
    const auto images = mixed_images(*setup.generator);
    const GeneratedBatch together = setup.generator->generate(shape, images, quiet);
    for (std::size_t i = 0; i < images.size(); ++i) {
      const GeneratedBatch alone = setup.generator->generate(shape, {images[i]}, quiet);
      CHECK(alone.tokens[0] == together.tokens[i]);
      CHECK(alone.pixels[0] == together.pixels[i]);
    }
    CHECK(together.tokens[0] != together.tokens[1]);
    Setup single = load_model(backend, 1);
    const auto same = single.generator->generate(shape, mixed_images(*single.generator), quiet);
    CHECK(same.tokens == together.tokens);
  }
}

TEST("typical filtering and argmax do not depend on the batch either") {
  for (const char* backend : {"fp32", "cuda fp32", "cuda bf16"}) {
    Setup setup = load_model(backend);
    Observer quiet;
    for (const BatchShape& shape :
         {BatchShape{8, 8, 3, 3, SampleMode::multinomial, true}, BatchShape{8, 8, 3, 0, SampleMode::argmax, false}}) {
      auto images = mixed_images(*setup.generator);
      for (ImageRequest& image : images) image.typical_mass = 0.5;
      const auto together = setup.generator->generate(shape, images, quiet).tokens;
      for (std::size_t i = 0; i < images.size(); ++i)
        CHECK(setup.generator->generate(shape, {images[i]}, quiet).tokens[0] == together[i]);
    }
  }
}

TEST("initial tokens decide what the first step sees") {
  Setup setup = load_model();
  Observer quiet;
  auto images = mixed_images(*setup.generator);
  images.resize(1);
  const BatchShape shape{8, 8, 1, 1, SampleMode::argmax, false};
  const auto plain = setup.generator->generate(shape, images, quiet).tokens;
  images[0].init_tokens.assign(64, 5);
  CHECK(setup.generator->generate(shape, images, quiet).tokens != plain);
  images[0].init_tokens[3] = 24;
  CHECK_THROWS(setup.generator->generate(shape, images, quiet), ErrorCode::invalid_option, "from 0 to 23, got 24");
}

TEST("predict, encode and decode check their input") {
  Setup setup = load_model();
  const auto condition = setup.generator->conditions().from_ids(std::vector<std::int32_t>{1});
  const std::vector<std::int32_t> tokens(64, 1);
  const auto logits = setup.generator->predict(tokens, 1, 8, 8, 0.5f, condition);
  CHECK_EQUAL(logits.size(), std::size_t{64 * 24});
  std::vector<std::int32_t> two(128, 1);
  const auto both = setup.generator->predict(two, 2, 8, 8, 0.5f, condition);
  CHECK(std::equal(logits.begin(), logits.end(), both.begin()));
  CHECK_THROWS(setup.generator->decode(std::vector<std::int32_t>(64, -1), 8, 8), ErrorCode::invalid_option, "got -1");
  CHECK_THROWS(setup.generator->conditions().from_ids(std::vector<std::int32_t>{384}), ErrorCode::invalid_option,
               "from 0 to 383, got 384");
  CHECK_THROWS(setup.generator->conditions().from_states(std::vector<float>(25)), ErrorCode::invalid_option,
               "whole vectors of 24");
}

TEST("an observer stops a batch before any step") {
  Setup setup = load_model();
  struct Stopper final : Observer {
    int asked = 0;
    bool keep_going() override { return ++asked < 3; }
  } stopper;
  const auto images = mixed_images(*setup.generator);
  CHECK_THROWS(setup.generator->generate({8, 8, 5, 5, SampleMode::multinomial, false}, images, stopper),
               ErrorCode::aborted, "before step 3 of 5");
  // And the generator goes on working.
  Observer quiet;
  CHECK_EQUAL(setup.generator->generate({8, 8, 2, 2, SampleMode::multinomial, false}, images, quiet).tokens.size(),
              images.size());
}

TEST("on a CPU a step is told when it is done, before the next one begins") {
  Setup setup = load_model();
  // `keep_going` is asked before each step, and before decoding.
  struct Watcher final : Observer {
    std::string told;
    bool keep_going() override { return told += 'b', true; }
    void step_done(std::int64_t, float) override { told += 'd'; }
  } watcher;
  auto images = mixed_images(*setup.generator);
  images.resize(1);
  setup.generator->generate({8, 8, 3, 3, SampleMode::multinomial, false}, images, watcher);
  CHECK_EQUAL(watcher.told, "bdbdbdb");
}

// What crosses between host and device for one job of eight steps whose prompts are known: spec of the GPU engines.
TEST("a GPU's job: one block up, a launch a step and one to decode, one block down; then one launch for all of it") {
  Setup setup = load_model("cuda bf16");
  const BatchShape shape{8, 8, 8, 8, SampleMode::multinomial, false};
  auto images = mixed_images(*setup.generator);
  images.resize(2);
  struct Watcher final : Observer {
    std::int64_t steps = 0;
    bool watches() override { return true; }
    void step_done(std::int64_t step, float) override { CHECK_EQUAL(step, steps++); }
  };
  const auto job = [&](Observer& observer, std::uint64_t launches) {
    const TransferCounts before = setup.backend->transfers();
    GeneratedBatch batch = setup.generator->generate(shape, images, observer);
    const TransferCounts after = setup.backend->transfers();
    CHECK_EQUAL(after.uploads - before.uploads, 1u);
    CHECK_EQUAL(after.launches - before.launches, launches);
    CHECK_EQUAL(after.downloads - before.downloads, 1u);
    CHECK_EQUAL(after.synchronizations - before.synchronizations, 0u);
    return batch;
  };
  Watcher warm, first, second;
  Observer quiet;
  setup.generator->generate(shape, images, warm);  // takes memory and captures
  const GeneratedBatch watched = job(first, 9);
  CHECK_EQUAL(first.steps, 8);
  CHECK(job(second, 9).pixels == watched.pixels);
  // Nobody watches, and the job is known to be short.
  setup.generator->set_longest_replay(1e9);
  const GeneratedBatch whole = job(quiet, 1);
  CHECK(whole.pixels == watched.pixels && whole.tokens == watched.tokens);
}

TEST("a GPU's previews show the tokens of their step") {
  Setup setup = load_model("cuda fp32");
  struct Previewer final : Observer {
    std::vector<std::vector<std::uint8_t>> previews;
    std::vector<std::vector<std::int32_t>> tokens_seen;
    bool watches() override { return true; }
    bool wants_preview(std::int64_t step) override { return step == 1; }
    void preview(std::int64_t, std::size_t, const std::vector<std::uint8_t>& pixels) override {
      previews.push_back(pixels);
    }
    bool wants_tokens() override { return true; }
    void tokens(std::int64_t, const std::vector<std::int32_t>& tokens) override { tokens_seen.push_back(tokens); }
  } previewer;
  auto images = mixed_images(*setup.generator);
  images.resize(1);
  setup.generator->generate({8, 8, 4, 4, SampleMode::multinomial, false}, images, previewer);
  CHECK_EQUAL(previewer.previews.size(), 1u);
  CHECK_EQUAL(previewer.tokens_seen.size(), 4u);
  CHECK(setup.generator->decode(previewer.tokens_seen[1], 8, 8) == previewer.previews[0]);
}

TEST("memory modes: the same images, and what is not needed is not there") {
  const BatchShape shape{8, 8, 3, 2, SampleMode::multinomial, false};
  Observer quiet;
  struct Seen {
    std::vector<std::vector<std::int32_t>> tokens;
    std::size_t weights_after = 0;
  };
  const auto run = [&](MemoryMode mode, const std::string& backend) {
    Setup setup = load_model(backend, 2, mode);
    Seen seen;
    for (int round = 0; round < 2; ++round) {  // the second finds its prompts in the cache
      auto images = mixed_images(*setup.generator);
      images.resize(3);
      for (const auto& tokens : setup.generator->generate(shape, images, quiet).tokens) seen.tokens.push_back(tokens);
    }
    seen.weights_after = setup.backend->memory().weights;
    const auto& bytes = setup.model->bytes();
    const std::size_t text = bytes.at("text_encoder"), rest = bytes.at("unet") + bytes.at("vqgan");
    CHECK_EQUAL(seen.weights_after, mode == MemoryMode::resident ? text + rest : rest);
    setup.generator->conditions().encode(std::vector<std::int32_t>{7, 8, 1});
    CHECK_EQUAL(setup.backend->memory().weights, mode == MemoryMode::resident   ? text + rest
                                                 : mode == MemoryMode::balanced ? rest
                                                                                : bytes.at("vqgan"));
    // What was let go comes back.
    auto images = mixed_images(*setup.generator);
    images.resize(3);
    CHECK(setup.generator->generate(shape, images, quiet).tokens[0] == seen.tokens[0]);
    return seen;
  };
  for (const char* backend : {"fp32", "cuda fp32"}) {
    const Seen resident = run(MemoryMode::resident, backend);
    CHECK(run(MemoryMode::balanced, backend).tokens == resident.tokens);
    CHECK(run(MemoryMode::low, backend).tokens == resident.tokens);
  }
}

TEST("memory modes: low never holds text encoder and U-Net together") {
  Setup setup = load_model("fp32", 2, MemoryMode::low);
  const auto& bytes = setup.model->bytes();
  // Loading made each in turn; its peak is the larger of the two and the VQGAN, and a little for the moment.
  const std::size_t all = bytes.at("text_encoder") + bytes.at("unet") + bytes.at("vqgan");
  CHECK(setup.backend->memory().peak < all);
}

// The same code is counted as is run; what a backend keeps beyond it (packing, working memory of operations) is small.
TEST("memory is estimated from the configuration") {
  const ModelConfig config = read_model_config(golden_folder() + "/loop");
  for (const char* precision : {"fp32", "bf16"}) {
    const std::string name = concat("cuda ", precision);
    const MemoryEstimate estimate = estimate_memory(config, {.precision = precision, .width = 32, .height = 32});
    for (const MemoryMode mode : {MemoryMode::resident, MemoryMode::balanced, MemoryMode::low}) {
      Setup setup = load_model(name, 2, mode);
      CHECK(setup.model->parameters() == estimate.parameters);
      // What a backend keeps beyond the numbers themselves: f32 matrices as two of 16 bits, and what is aligned.
      for (const auto& [component, bytes] : setup.model->bytes()) {
        const double share = static_cast<double>(estimate.weights.at(component)) / static_cast<double>(bytes);
        check(share > 0.4 && share < 1.01, __FILE__, __LINE__,
              concat(name, ' ', component, ": expected about ", bytes, ", estimated ", estimate.weights.at(component)));
      }
      CHECK(estimate.loaded(mode) <= setup.backend->memory().peak && estimate.peak(mode) >= estimate.loaded(mode));
    }
    CHECK(estimate.loaded(MemoryMode::low) < estimate.loaded(MemoryMode::resident));
    CHECK(estimate.peak(MemoryMode::resident) > estimate.loaded(MemoryMode::resident));
  }
  const auto at = [&](EncoderWeights weights, std::int64_t size, std::int64_t batch) {
    return estimate_memory(
        config, {.precision = "bf16", .encoder_weights = weights, .width = size, .height = size, .batch = batch});
  };
  const MemoryEstimate usual = at(EncoderWeights::full, 32, 1);
  CHECK(at(EncoderWeights::int8, 32, 1).weights.at("text_encoder") < usual.weights.at("text_encoder"));
  CHECK(at(EncoderWeights::full, 64, 1).drawing > usual.drawing &&
        at(EncoderWeights::full, 32, 4).drawing > usual.drawing);
  CHECK_THROWS(at(EncoderWeights::full, 33, 1), ErrorCode::invalid_option, "width: expected a multiple of");
  CHECK_THROWS(estimate_memory(config, {.precision = "fp8"}), ErrorCode::invalid_option, "precision");
}

TEST("a model that has no room is refused before it is loaded") {
  const ModelConfig config = read_model_config(golden_folder() + "/loop");
  CHECK_THROWS(check_room(config, "bf16", 10'000, {}), ErrorCode::out_of_memory, "bytes needed, 10000 bytes free");
  // Fits by an upper bound, fits when counted, and is not known.
  const std::size_t needed = estimate_memory(config, {.precision = "bf16"}).loaded(MemoryMode::resident);
  for (const std::size_t free : {std::size_t{1} << 40, needed, std::size_t{0}}) check_room(config, "bf16", free, {});
  CHECK_THROWS(check_room(config, "bf16", needed - 1, {}), ErrorCode::out_of_memory, "weights of");
  // Full weights would not fit; nor would all at once.
  check_room(config, "bf16", needed - 1, {.encoder_weights = EncoderWeights::int8});
  check_room(config, "bf16", needed - 1, {.memory = MemoryMode::low});
}

TEST("schedules") {
  CHECK(linspace(2, 4, 3) == (std::vector<float>{2, 3, 4}));
  CHECK(linspace(2, 4, 1) == (std::vector<float>{2}));
  CHECK(noise_levels(4) == (std::vector<float>{1, 0.75f, 0.5f, 0.25f, 0}));
  Golden golden("loop/io.safetensors");
  CHECK_BOUND("times", relative_error(noise_levels(8), golden.f32("plain/times")), 1e-6);
  CHECK_BOUND("guidance", relative_error(linspace(3, 1.5, 8), golden.f32("plain/guidance")), 1e-6);
}

TEST("seeds that draw the same image embedding share a condition") {
  const auto backend = backend_named("fp32", 1);
  Model model(read_model_config(PAELLA_SOURCE_DIR "/models/tiny"), *backend, nullptr, ModelOptions{});
  Conditions conditions(model, *backend);
  const auto condition = [&](std::uint64_t seed) {
    ConditionInput prompt;
    prompt.ids = {100, 101, 102, 1};
    prompt.drawn_image = true;
    prompt.image_seed = seed;
    return conditions.resolve(prompt);
  };
  // Seeds 1 and 33 both draw levels 1, 0 and 4 of 6 (scripts/reference/philox.py); seed 2 draws others.
  const ConditionPtr first = condition(1);
  CHECK(first != condition(2));
  CHECK(first == condition(33));
}
