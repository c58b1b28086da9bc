#include "pipeline/generator.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "pipeline/schedule.h"

namespace paella {

namespace {

constexpr std::size_t plans_kept = 4;
// Images are decoded together up to this many tokens: beyond it a batch brings no speed, only memory.
constexpr std::int64_t decode_tokens = 4096;

// Adds the time of its own life to a stage.
class StageTimer {
 public:
  StageTimer(Backend& backend, double& stage) : backend_(backend), stage_(stage) {}
  ~StageTimer() {
    stage_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  [[maybe_unused]] Backend& backend_;
  double& stage_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

TensorSpec spec_of(const Tensor& tensor) { return {tensor.shape, tensor.dtype}; }

std::vector<TensorSpec> specs_of(std::span<const Tensor> tensors) {
  std::vector<TensorSpec> specs;
  for (const Tensor& tensor : tensors) specs.push_back(spec_of(tensor));
  return specs;
}

// Chooses one row of each table: what changes from step to step comes from device memory.
class StepNumbers final : public Description {
 public:
  const char* name() const override { return "step numbers"; }
  void run(Ops& ops, std::span<const Tensor> inputs, std::span<const Tensor> outputs) const override {
    ops.copy(ops.select_row(inputs[0], inputs[1]), outputs[0]);
  }
};

// The distinct conditions of a batch, and which of them each row of the U-Net takes.
struct ConditionRows {
  std::vector<ConditionPtr> distinct;
  std::vector<std::int32_t> index;  // [2B]: conditional rows, then unconditional ones
  std::int64_t longest = 0;
};

ConditionRows condition_rows(const std::vector<ImageRequest>& images) {
  ConditionRows rows;
  const auto place = [&](const ConditionPtr& condition) {
    const auto found = std::find(rows.distinct.begin(), rows.distinct.end(), condition);
    const auto at = found - rows.distinct.begin();
    if (found == rows.distinct.end()) rows.distinct.push_back(condition);
    rows.longest = std::max(rows.longest, condition->length);
    return static_cast<std::int32_t>(at);
  };
  for (const ImageRequest& image : images) rows.index.push_back(place(image.condition));
  for (const ImageRequest& image : images) rows.index.push_back(place(image.negative));
  return rows;
}

}  // namespace

// Buffers and compiled networks for one shape of batch; addresses stay the same from job to job.
struct Generator::Plan {
  BatchShape shape;
  std::int64_t batch = 0, conditions = 0, longest = 0;

  std::vector<Buffer> memory;
  Tensor tokens, noise;              // i32 [B, H, W]
  Tensor features, guided;           // f32 [2B, H, W, C], [B, H, W, C]
  Tensor seed;                       // i64 [B]
  Tensor step;                       // i32 [1]
  Tensor numbers_table, numbers;     // f32 [steps, 4B], [4B]: guidance, temperature, renoise level, typical mass
  Tensor modulation;                 // f32 [steps, modulation_size]
  Tensor condition_length;           // i32 [P]
  Tensor condition_index;            // i32 [2B]
  std::vector<Tensor> condition_kv;  // per attention block [P, Smax, 2c]
  StepInputs step_inputs;

  std::vector<Tensor> guided_inputs, conditional_inputs;
  std::unique_ptr<Network> guided_network, conditional_network, step_network;

  Tensor add(Backend& backend, Shape tensor_shape, DType type) {
    const TensorSpec spec{tensor_shape, type};
    memory.push_back(backend.allocate(std::max<std::size_t>(spec.bytes(), 1)));
    return memory.back().tensor(tensor_shape, type);
  }
};

struct Generator::Step {
  std::int64_t index = 0;
  bool guided = true;
  bool renoise = true;
};

Generator::Generator(const Model& model, Backend& backend)
    : model_(model), backend_(backend), conditions_(model, backend) {}
Generator::~Generator() = default;

void Generator::release_plans() { plans_.clear(); }

Generator::Plan& Generator::plan_for(const BatchShape& shape, const std::vector<ImageRequest>& images) {
  const ConditionRows rows = condition_rows(images);
  const auto batch = static_cast<std::int64_t>(images.size());
  const auto distinct = static_cast<std::int64_t>(rows.distinct.size());
  // Rounded up, so that prompts of similar length share a plan; padding is never attended.
  const std::int64_t longest = (rows.longest + 31) / 32 * 32;
  for (auto it = plans_.begin(); it != plans_.end(); ++it) {
    Plan& plan = **it;
    if (plan.shape == shape && plan.batch == batch && plan.conditions == distinct && plan.longest == longest) {
      plans_.splice(plans_.begin(), plans_, it);
      return plan;
    }
  }
  while (plans_.size() >= plans_kept) plans_.pop_back();

  auto plan = std::make_unique<Plan>();
  plan->shape = shape;
  plan->batch = batch;
  plan->conditions = distinct;
  plan->longest = longest;
  const std::int64_t height = shape.height, width = shape.width, channels = model_.unet->config().c_out;
  const bool guided = shape.conditional_steps > 0;
  const std::int64_t rows_count = guided ? 2 * batch : batch;
  plan->tokens = plan->add(backend_, {batch, height, width}, DType::i32);
  plan->noise = plan->add(backend_, {batch, height, width}, DType::i32);
  plan->features = plan->add(backend_, {rows_count, height, width, channels}, DType::f32);
  if (guided) plan->guided = plan->add(backend_, {batch, height, width, channels}, DType::f32);
  plan->seed = plan->add(backend_, {batch}, DType::i64);
  plan->step = plan->add(backend_, {1}, DType::i32);
  plan->numbers_table = plan->add(backend_, {shape.steps, 4 * batch}, DType::f32);
  plan->numbers = plan->add(backend_, {4 * batch}, DType::f32);
  plan->modulation = plan->add(backend_, {shape.steps, model_.unet->modulation_size()}, DType::f32);
  plan->condition_length = plan->add(backend_, {distinct}, DType::i32);
  plan->condition_index = plan->add(backend_, {2 * batch}, DType::i32);
  for (const std::int64_t c : model_.unet->attention_widths())
    plan->condition_kv.push_back(plan->add(backend_, {distinct, longest, 2 * c}, backend_.operand_type()));
  plan->step_inputs = {plan->seed,
                       plan->step,
                       plan->numbers.slice(0, batch),
                       plan->numbers.slice(batch, batch),
                       plan->numbers.slice(2 * batch, batch),
                       plan->numbers.slice(3 * batch, batch)};

  const auto inputs_for = [&](std::int64_t count) {
    std::vector<Tensor> inputs = {plan->tokens, plan->modulation, plan->step, plan->condition_length,
                                  plan->condition_index.slice(0, count)};
    inputs.insert(inputs.end(), plan->condition_kv.begin(), plan->condition_kv.end());
    return inputs;
  };
  const auto compile = [&](const std::vector<Tensor>& inputs, std::int64_t count) {
    const TensorSpec outputs[] = {spec_of(plan->features.slice(0, count))};
    return backend_.compile(model_.unet->denoise(), specs_of(inputs), outputs);
  };
  plan->conditional_inputs = inputs_for(batch);
  plan->conditional_network = compile(plan->conditional_inputs, batch);
  if (guided) {
    plan->guided_inputs = inputs_for(2 * batch);
    plan->guided_network = compile(plan->guided_inputs, 2 * batch);
  }
  const Tensor number_inputs[] = {plan->numbers_table, plan->step};
  const TensorSpec number_outputs[] = {spec_of(plan->numbers)};
  plan->step_network = backend_.compile(std::make_shared<StepNumbers>(), specs_of(number_inputs), number_outputs);
  plans_.push_front(std::move(plan));
  return *plans_.front();
}

// Everything a job brings along goes up once, before the first step.
void Generator::fill(Plan& plan, const BatchShape& shape, const std::vector<ImageRequest>& images) {
  const std::int64_t batch = plan.batch;
  const std::vector<float> levels = noise_levels(shape.steps);

  std::vector<float> table(static_cast<std::size_t>(shape.steps * 4 * batch));
  std::vector<std::int64_t> seeds;
  for (std::int64_t b = 0; b < batch; ++b) {
    const ImageRequest& image = images[static_cast<std::size_t>(b)];
    seeds.push_back(static_cast<std::int64_t>(image.seed));
    const auto guidance = linspace(image.guidance_scale.first, image.guidance_scale.second, shape.steps);
    const auto temperature = linspace(image.temperature.first, image.temperature.second, shape.steps);
    for (std::int64_t step = 0; step < shape.steps; ++step) {
      const auto at = static_cast<std::size_t>(step);
      float* row = table.data() + step * 4 * batch + b;
      row[0] = guidance[at];
      row[batch] = temperature[at];
      row[2 * batch] = step < image.renoise_steps ? levels[at + 1] : 0.0f;
      row[3 * batch] = static_cast<float>(image.typical_mass);
    }
  }
  backend_.upload(table.data(), plan.numbers_table);
  backend_.upload(seeds.data(), plan.seed);

  const ConditionRows rows = condition_rows(images);
  std::vector<std::int32_t> lengths;
  for (std::size_t p = 0; p < rows.distinct.size(); ++p) {
    const Condition& condition = *rows.distinct[p];
    lengths.push_back(static_cast<std::int32_t>(condition.length));
    for (std::size_t block = 0; block < plan.condition_kv.size(); ++block) {
      const Tensor& all = plan.condition_kv[block];
      const Tensor mine = all.slice(static_cast<std::int64_t>(p), 1).reshaped({all.shape[1], all.shape[2]});
      backend_.copy(condition.kv[block], mine.slice(0, condition.length));
    }
  }
  backend_.upload(lengths.data(), plan.condition_length);
  backend_.upload(rows.index.data(), plan.condition_index);

  std::vector<float> embeddings;
  for (std::int64_t step = 0; step < shape.steps; ++step) {
    const auto embedding = noise_embedding(levels[static_cast<std::size_t>(step)], model_.unet->config().c_r);
    embeddings.insert(embeddings.end(), embedding.begin(), embedding.end());
  }
  if (plan.modulation.elements() > 0) {
    const TensorSpec spec{{shape.steps, model_.unet->config().c_r}, DType::f32};
    const Buffer memory = backend_.allocate(spec.bytes());
    const Tensor input = memory.tensor(spec.shape, spec.dtype);
    backend_.upload(embeddings.data(), input);
    const TensorSpec output = spec_of(plan.modulation);
    backend_.compile(model_.unet->modulation(), {&spec, 1}, {&output, 1})->run({&input, 1}, {&plan.modulation, 1});
    backend_.synchronize();
  }

  const std::int64_t pixels = shape.height * shape.width;
  backend_.sampler().initial_noise(plan.seed, static_cast<std::int32_t>(model_.unet->config().num_labels), plan.noise);
  backend_.copy(plan.noise, plan.tokens);
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::vector<std::int32_t>& tokens = images[static_cast<std::size_t>(b)].init_tokens;
    if (tokens.empty()) continue;
    expect(static_cast<std::int64_t>(tokens.size()) == pixels, "initTokens: expected ", pixels, ", got ",
           tokens.size());
    check_tokens(tokens);
    backend_.upload(tokens.data(), plan.tokens.slice(b, 1));
  }
}

void Generator::run_step(Plan& plan, const BatchShape& shape, const Step& step, StageTimes& times) {
  Sampler& sampler = backend_.sampler();
  const Tensor number_inputs[] = {plan.numbers_table, plan.step};
  plan.step_network->run(number_inputs, {&plan.numbers, 1});
  Tensor features = plan.features.slice(0, plan.batch);
  {
    StageTimer timer(backend_, times.unet);
    if (step.guided) {
      plan.guided_network->run(plan.guided_inputs, {&plan.features, 1});
    } else {
      plan.conditional_network->run(plan.conditional_inputs, {&features, 1});
    }
  }
  if (step.guided) {
    StageTimer timer(backend_, times.guide);
    sampler.guide(plan.features, plan.step_inputs.guidance, plan.guided);
    features = plan.guided;
  }
  {
    StageTimer timer(backend_, times.sample);
    sampler.sample(features, model_.unet->head(), plan.step_inputs, shape.mode, shape.typical, plan.tokens);
  }
  if (step.renoise) {
    StageTimer timer(backend_, times.renoise);
    sampler.renoise(plan.tokens, plan.noise, plan.step_inputs);
  }
}

GeneratedBatch Generator::generate(const BatchShape& shape, const std::vector<ImageRequest>& images,
                                   Observer& observer) {
  expect(!images.empty(), "generate: expected at least one image");
  GeneratedBatch result;
  Plan& plan = plan_for(shape, images);
  fill(plan, shape, images);
  const std::vector<float> levels = noise_levels(shape.steps);
  std::int64_t renoised = 0;
  for (const ImageRequest& image : images) renoised = std::max(renoised, image.renoise_steps);

  for (std::int64_t i = 0; i < shape.steps; ++i) {
    if (!observer.keep_going()) fail(ErrorCode::aborted, "generate: aborted before step ", i + 1, " of ", shape.steps);
    const auto index = static_cast<std::int32_t>(i);
    backend_.upload(&index, plan.step);
    const Step step{i, i < shape.conditional_steps, i < renoised};
    const std::string key = concat("step ", step.guided, ' ', step.renoise, ' ', static_cast<const void*>(&plan));
    backend_.replay(key, [&] { run_step(plan, shape, step, result.times); });
    const bool last = i + 1 == shape.steps;
    if (observer.step_done(i, levels[static_cast<std::size_t>(i)]) && !last) {
      StageTimer timer(backend_, result.times.decode);
      std::vector<std::vector<std::uint8_t>> pixels;
      decode_into(plan.tokens, pixels);
      for (std::size_t b = 0; b < pixels.size(); ++b) observer.preview(i, b, pixels[b]);
    }
    if (observer.wants_tokens()) {
      std::vector<std::int32_t> tokens(static_cast<std::size_t>(plan.tokens.elements()));
      backend_.download(plan.tokens, tokens.data());
      observer.tokens(i, tokens);
    }
  }
  if (!observer.keep_going()) fail(ErrorCode::aborted, "generate: aborted before decoding");

  StageTimer timer(backend_, result.times.decode);
  decode_into(plan.tokens, result.pixels);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(plan.tokens.elements()));
  backend_.download(plan.tokens, tokens.data());
  const auto each = static_cast<std::ptrdiff_t>(shape.height * shape.width);
  for (std::int64_t b = 0; b < plan.batch; ++b)
    result.tokens.emplace_back(tokens.begin() + b * each, tokens.begin() + (b + 1) * each);
  return result;
}

void Generator::decode_into(const Tensor& tokens, std::vector<std::vector<std::uint8_t>>& pixels) {
  const std::int64_t batch = tokens.shape[0], height = tokens.shape[1], width = tokens.shape[2];
  const std::int64_t scale = model_.config.vqgan.pixels_per_token();
  const std::int64_t chunk = std::clamp<std::int64_t>(decode_tokens / (height * width), 1, batch);
  for (std::int64_t first = 0; first < batch; first += chunk) {
    const std::int64_t count = std::min(chunk, batch - first);
    const Tensor input = tokens.slice(first, count);
    const TensorSpec input_spec = spec_of(input);
    const TensorSpec output_spec{{count, height * scale, width * scale, 3}, DType::u8};
    const Buffer memory = backend_.allocate(output_spec.bytes());
    const Tensor output = memory.tensor(output_spec.shape, DType::u8);
    backend_.compile(model_.vqgan->decoder(), {&input_spec, 1}, {&output_spec, 1})->run({&input, 1}, {&output, 1});
    for (std::int64_t b = 0; b < count; ++b) {
      pixels.emplace_back(output_spec.bytes() / static_cast<std::size_t>(count));
      backend_.download(output.slice(b, 1), pixels.back().data());
    }
  }
}

void Generator::check_tokens(std::span<const std::int32_t> tokens) const {
  const std::int64_t codes = model_.config.vqgan.codebook_size;
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
  const auto each = static_cast<std::size_t>(height * width);
  for (std::size_t b = 0; b < images.size(); ++b)
    images[b].init_tokens.assign(tokens.begin() + static_cast<std::ptrdiff_t>(b * each),
                                 tokens.begin() + static_cast<std::ptrdiff_t>((b + 1) * each));
  const BatchShape shape{height, width, 1, 0, SampleMode::argmax, false};
  Plan& plan = plan_for(shape, images);
  fill(plan, shape, images);

  const std::int64_t c_r = model_.unet->config().c_r;
  const std::vector<float> embedding = noise_embedding(noise_level, c_r);
  const TensorSpec embedding_spec{{1, c_r}, DType::f32}, modulation_spec = spec_of(plan.modulation);
  const Buffer embedding_memory = backend_.allocate(embedding_spec.bytes());
  const Tensor input = embedding_memory.tensor(embedding_spec.shape, DType::f32);
  backend_.upload(embedding.data(), input);
  if (plan.modulation.elements() > 0)
    backend_.compile(model_.unet->modulation(), {&embedding_spec, 1}, {&modulation_spec, 1})
        ->run({&input, 1}, {&plan.modulation, 1});
  const std::int32_t first = 0;
  backend_.upload(&first, plan.step);
  plan.conditional_network->run(plan.conditional_inputs, {&plan.features, 1});

  const TensorSpec feature_spec = spec_of(plan.features);
  const TensorSpec logit_spec{plan.features.shape.with_last(model_.unet->config().num_labels), DType::f32};
  const Buffer memory = backend_.allocate(logit_spec.bytes());
  const Tensor logits = memory.tensor(logit_spec.shape, DType::f32);
  backend_.compile(model_.unet->logits(), {&feature_spec, 1}, {&logit_spec, 1})->run({&plan.features, 1}, {&logits, 1});
  std::vector<float> result(static_cast<std::size_t>(logits.elements()));
  backend_.download(logits, result.data());
  return result;
}

std::vector<std::uint8_t> Generator::decode(std::span<const std::int32_t> tokens, std::int64_t height,
                                            std::int64_t width) {
  check_tokens(tokens);
  const TensorSpec spec{{1, height, width}, DType::i32};
  const Buffer memory = backend_.allocate(spec.bytes());
  const Tensor input = memory.tensor(spec.shape, DType::i32);
  backend_.upload(tokens.data(), input);
  std::vector<std::vector<std::uint8_t>> pixels;
  decode_into(input, pixels);
  return std::move(pixels.front());
}

std::vector<std::int32_t> Generator::encode(std::span<const std::uint8_t> pixels, std::int64_t height,
                                            std::int64_t width) {
  const std::int64_t scale = model_.config.vqgan.pixels_per_token();
  expect(height % scale == 0 && width % scale == 0, "encode: expected multiples of ", scale, " pixels, got ", width,
         "×", height);
  const TensorSpec input_spec{{1, height, width, 3}, DType::u8};
  const TensorSpec output_spec{{1, height / scale, width / scale}, DType::i32};
  const Buffer input_memory = backend_.allocate(input_spec.bytes());
  const Buffer output_memory = backend_.allocate(output_spec.bytes());
  const Tensor input = input_memory.tensor(input_spec.shape, DType::u8);
  const Tensor output = output_memory.tensor(output_spec.shape, DType::i32);
  backend_.upload(pixels.data(), input);
  backend_.compile(model_.vqgan->encoder(), {&input_spec, 1}, {&output_spec, 1})->run({&input, 1}, {&output, 1});
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(output.elements()));
  backend_.download(output, tokens.data());
  return tokens;
}

}  // namespace paella
