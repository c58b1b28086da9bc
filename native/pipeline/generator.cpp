#include "pipeline/generator.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "pipeline/plan.h"
#include "pipeline/run_network.h"
#include "pipeline/schedule.h"

namespace paella {

namespace {

constexpr std::size_t plans_kept = 4;

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Plan::Step step_at(const BatchShape& shape, std::int64_t renoised, std::int64_t i) {
  return {i < shape.conditional_steps, i < renoised};
}

}  // namespace

Generator::Generator(Model& model, Backend& backend) : model_(model), backend_(backend), conditions_(model, backend) {
  model_.on_unet_release([this] { release_plans(); });
}
Generator::~Generator() = default;

void Generator::release_plans() { plans_.clear(); }

Plan& Generator::plan_for(const BatchShape& shape, const std::vector<ImageRequest>& images) {
  for (auto it = plans_.begin(); it != plans_.end(); ++it)
    if ((*it)->fits(shape, images)) {
      plans_.splice(plans_.begin(), plans_, it);
      return *plans_.front();
    }
  while (plans_.size() >= plans_kept) plans_.pop_back();
  plans_.push_front(std::make_unique<Plan>(model_, backend_, shape, images));
  return *plans_.front();
}

GeneratedBatch Generator::generate(const BatchShape& shape, const std::vector<ImageRequest>& images,
                                   Observer& observer) {
  expect(!images.empty(), "generate: expected at least one image");
  std::int64_t renoised = 0;
  for (const ImageRequest& image : images) {
    check_tokens(image.init_tokens);
    renoised = std::max(renoised, image.renoise_steps);
  }
  GeneratedBatch result;
  StageTimes& times = result.times;
  Plan& plan = plan_for(shape, images);
  const auto start = Clock::now();
  plan.upload(images, noise_levels(shape.steps));
  const bool whole = backend_.asynchronous() && !observer.watches() && !observer.wants_tokens() && plan.last_ms > 0 &&
                     plan.last_ms < longest_replay_ms_;
  if (whole) {
    if (!observer.keep_going()) fail(ErrorCode::aborted, "generate: aborted before the first step");
    backend_.replay(concat(plan.key(), "loop ", renoised), [&] {
      plan.begin();
      for (std::int64_t i = 0; i < shape.steps; ++i) plan.step(step_at(shape, renoised, i), times);
      plan.decode(times);
    });
  } else {
    run_steps(plan, shape, renoised, observer, times);
    backend_.replay(plan.key() + "decode", [&] { plan.decode(times); });
  }
  plan.download(result);
  plan.last_ms = milliseconds_since(start);
  if (backend_.asynchronous()) times.unet += plan.last_ms;
  return result;
}

// Step by step. Where operations only enqueue, one step is always in line behind the one that runs: the device never
// waits for the host, and whoever watches or aborts is heard at the next step.
void Generator::run_steps(Plan& plan, const BatchShape& shape, std::int64_t renoised, Observer& observer,
                          StageTimes& times) {
  const std::vector<float> levels = noise_levels(shape.steps);
  std::vector<std::uint64_t> marks;
  std::int64_t reported = 0;
  const auto report_until = [&](std::int64_t steps) {
    for (; reported < steps; ++reported) {
      backend_.wait(marks[static_cast<std::size_t>(reported)]);
      observer.step_done(reported, levels[static_cast<std::size_t>(reported)]);
    }
  };
  for (std::int64_t i = 0; i < shape.steps; ++i) {
    if (!observer.keep_going()) fail(ErrorCode::aborted, "generate: aborted before step ", i + 1, " of ", shape.steps);
    const Plan::Step step = step_at(shape, renoised, i);
    backend_.replay(concat(plan.key(), "step ", step.guided, step.renoise, i == 0 ? " first" : ""), [&] {
      if (i == 0) plan.begin();
      plan.step(step, times);
    });
    marks.push_back(backend_.mark());
    report_until(backend_.asynchronous() ? i : i + 1);
    if (i + 1 < shape.steps && observer.wants_preview(i)) {
      backend_.replay(plan.key() + "decode", [&] { plan.decode(times); });
      report_until(i + 1);
      const auto pixels = plan.download_pixels();
      for (std::size_t b = 0; b < pixels.size(); ++b) observer.preview(i, b, pixels[b]);
    }
    if (observer.wants_tokens()) observer.tokens(i, plan.download_tokens());
  }
  report_until(shape.steps);
  if (!observer.keep_going()) fail(ErrorCode::aborted, "generate: aborted before decoding");
}

void Generator::check_tokens(std::span<const std::int32_t> tokens) const {
  const std::int64_t codes = model_.config().vqgan.codebook_size;
  for (const std::int32_t token : tokens)
    if (token < 0 || token >= codes)
      fail(ErrorCode::invalid_option, "tokens: expected numbers from 0 to ", codes - 1, ", got ", token);
}

std::vector<float> Generator::predict(std::span<const std::int32_t> tokens, std::int64_t batch, std::int64_t height,
                                      std::int64_t width, float noise_level, const ConditionPtr& condition) {
  check_tokens(tokens);
  // One step whose features are asked for instead of being drawn from: the plan of a conditional step fits.
  ImageRequest image;
  image.condition = image.negative = condition;
  image.guidance_scale = image.temperature = {1, 1};
  std::vector<ImageRequest> images(static_cast<std::size_t>(batch), image);
  const auto each = static_cast<std::ptrdiff_t>(height * width);
  for (std::ptrdiff_t b = 0; b < batch; ++b)
    images[static_cast<std::size_t>(b)].init_tokens.assign(tokens.begin() + b * each, tokens.begin() + (b + 1) * each);
  Plan& plan = plan_for({height, width, 1, 0, SampleMode::argmax, false}, images);
  const float levels[] = {noise_level, 0};
  plan.upload(images, levels);
  plan.begin();
  const Tensor& features = plan.conditional_features();

  const TensorSpec feature_spec{features.shape, features.dtype};
  const TensorSpec logit_spec{features.shape.with_last(model_.config().unet.num_labels), DType::f32};
  const Buffer memory = backend_.allocate(logit_spec.bytes());
  const Tensor logits = memory.tensor(logit_spec.shape, DType::f32);
  backend_.compile(model_.unet().logits(), {&feature_spec, 1}, {&logit_spec, 1})->run({&features, 1}, {&logits, 1});
  std::vector<float> result(static_cast<std::size_t>(logits.elements()));
  backend_.download(logits, result.data());
  return result;
}

std::vector<std::uint8_t> Generator::decode(std::span<const std::int32_t> tokens, std::int64_t height,
                                            std::int64_t width) {
  check_tokens(tokens);
  const std::int64_t scale = model_.config().vqgan.pixels_per_token();
  return run_network<std::uint8_t>(backend_, model_.vqgan().decoder(),
                                   {{tokens.data(), {{1, height, width}, DType::i32}}},
                                   {{1, height * scale, width * scale, 3}, DType::u8});
}

std::vector<std::int32_t> Generator::encode(std::span<const std::uint8_t> pixels, std::int64_t height,
                                            std::int64_t width) {
  const std::int64_t scale = model_.config().vqgan.pixels_per_token();
  expect(height % scale == 0 && width % scale == 0, "encode: expected multiples of ", scale, " pixels, got ", width,
         "×", height);
  return run_network<std::int32_t>(backend_, model_.vqgan().encoder(),
                                   {{pixels.data(), {{1, height, width, 3}, DType::u8}}},
                                   {{1, height / scale, width / scale}, DType::i32});
}

}  // namespace paella
