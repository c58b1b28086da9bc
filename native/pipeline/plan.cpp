#include "pipeline/plan.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "core/error.h"
#include "pipeline/schedule.h"

namespace paella {

namespace {

// Images are decoded together up to this many tokens: beyond it a batch brings no speed, only memory.
constexpr std::int64_t decode_tokens = 4096;

// Adds the time of its own life to a stage. Where operations only enqueue, the generator times the job as a whole.
class StageTimer {
 public:
  StageTimer(const Backend& backend, double& stage) : stage_(backend.asynchronous() ? nullptr : &stage) {}
  ~StageTimer() {
    if (stage_ != nullptr)
      *stage_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double* stage_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

TensorSpec spec_of(const Tensor& tensor) { return {tensor.shape, tensor.dtype}; }

std::vector<TensorSpec> specs_of(std::span<const Tensor> tensors) {
  std::vector<TensorSpec> specs;
  for (const Tensor& tensor : tensors) specs.push_back(spec_of(tensor));
  return specs;
}

// Chooses one row of a table: what changes from step to step comes from device memory.
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
  // Rounded up, so that prompts of similar length share a plan; padding is never attended.
  rows.longest = (rows.longest + 31) / 32 * 32;
  return rows;
}

// Gives tensors places one after another.
class Layouter {
 public:
  void add(Tensor& tensor, Shape shape, DType type) {
    tensor = {nullptr, shape, type};
    placed_.push_back({&tensor, bytes_});
    bytes_ += (tensor.bytes() + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
  }
  std::size_t bytes() const { return bytes_; }
  void set_base(void* base) const {
    for (const auto& [tensor, at] : placed_) tensor->data = static_cast<std::uint8_t*>(base) + at;
  }

 private:
  std::vector<std::pair<Tensor*, std::size_t>> placed_;
  std::size_t bytes_ = 0;
};

}  // namespace

Plan::Plan(Model& model, Backend& backend, const BatchShape& shape, const std::vector<ImageRequest>& images)
    : model_(model), backend_(backend), shape_(shape), batch_(static_cast<std::int64_t>(images.size())) {
  static std::atomic<std::uint64_t> number{0};
  key_ = concat("plan ", number++, ' ');
  const ConditionRows conditions = condition_rows(images);
  distinct_ = static_cast<std::int64_t>(conditions.distinct.size());
  longest_ = conditions.longest;
  lay_out();
  compile();
}

Plan::~Plan() { backend_.forget(key_); }

bool Plan::fits(const BatchShape& shape, const std::vector<ImageRequest>& images) const {
  if (shape != shape_ || static_cast<std::int64_t>(images.size()) != batch_) return false;
  const ConditionRows conditions = condition_rows(images);
  return static_cast<std::int64_t>(conditions.distinct.size()) == distinct_ && conditions.longest == longest_;
}

void Plan::lay_out() {
  const std::int64_t height = shape_.height, width = shape_.width, scale = model_.config().vqgan.pixels_per_token();
  Layouter block;
  block.add(seed_, {batch_}, DType::i64);
  block.add(step_, {1}, DType::i32);
  block.add(numbers_table_, {shape_.steps, 4 * batch_}, DType::f32);
  block.add(embeddings_, {shape_.steps, model_.config().unet.c_r}, DType::f32);
  block.add(condition_length_, {distinct_}, DType::i32);
  block.add(condition_index_, {2 * batch_}, DType::i32);
  block.add(first_tokens_, {batch_, height, width}, DType::i32);
  fault_at_ = block.bytes();
  block.add(fault_, {1}, DType::i32);
  up_bytes_ = block.bytes();
  block.add(tokens_, {batch_, height, width}, DType::i32);
  block.add(pixels_, {batch_, height * scale, width * scale, 3}, DType::u8);
  block_ = backend_.allocate(block.bytes());
  block.set_base(block_.data());

  const auto add = [&](Tensor& tensor, Shape shape, DType type) {
    const TensorSpec spec{shape, type};
    memory_.push_back(backend_.allocate(std::max<std::size_t>(spec.bytes(), 1)));
    tensor = memory_.back().tensor(shape, type);
  };
  const std::int64_t channels = model_.config().unet.c_out;
  add(noise_, {batch_, height, width}, DType::i32);
  add(features_, {rows(), height, width, channels}, DType::f32);
  if (shape_.conditional_steps > 0) add(guided_, {batch_, height, width, channels}, DType::f32);
  add(numbers_, {4 * batch_}, DType::f32);
  add(modulation_, {shape_.steps, model_.unet().modulation_size()}, DType::f32);
  for (const std::int64_t c : model_.unet().attention_widths()) {
    condition_kv_.emplace_back();
    add(condition_kv_.back(), {distinct_, longest_, 2 * c}, backend_.operand_type());
  }
  step_inputs_ = {seed_,
                  step_,
                  numbers_.slice(0, batch_),
                  numbers_.slice(batch_, batch_),
                  numbers_.slice(2 * batch_, batch_),
                  numbers_.slice(3 * batch_, batch_),
                  fault_};
}

std::vector<Tensor> Plan::denoise_inputs(std::int64_t rows) const {
  std::vector<Tensor> inputs = {tokens_, modulation_, step_, condition_length_, condition_index_.slice(0, rows)};
  inputs.insert(inputs.end(), condition_kv_.begin(), condition_kv_.end());
  return inputs;
}

std::unique_ptr<Network> Plan::compile_denoise(std::int64_t rows) {
  const TensorSpec outputs[] = {spec_of(features_.slice(0, rows))};
  return backend_.compile(model_.unet().denoise(), specs_of(denoise_inputs(rows)), outputs);
}

void Plan::compile() {
  conditional_inputs_ = denoise_inputs(batch_);
  conditional_network_ = compile_denoise(batch_);
  if (shape_.conditional_steps > 0) {
    guided_inputs_ = denoise_inputs(2 * batch_);
    guided_network_ = compile_denoise(2 * batch_);
  }
  const Tensor numbers_inputs[] = {numbers_table_, step_};
  const TensorSpec numbers_outputs[] = {spec_of(numbers_)};
  numbers_network_ = backend_.compile(std::make_shared<StepNumbers>(), specs_of(numbers_inputs), numbers_outputs);
  if (modulation_.elements() > 0) {
    const TensorSpec input = spec_of(embeddings_), output = spec_of(modulation_);
    modulation_network_ = backend_.compile(model_.unet().modulation(), {&input, 1}, {&output, 1});
  }
  const std::int64_t chunk = std::clamp<std::int64_t>(decode_tokens / (shape_.height * shape_.width), 1, batch_);
  for (std::int64_t first = 0; first < batch_; first += chunk) {
    const std::int64_t count = std::min(chunk, batch_ - first);
    Decoding decoding{nullptr, tokens_.slice(first, count), pixels_.slice(first, count)};
    if (!decodings_.empty() && decodings_.back().tokens.shape == decoding.tokens.shape) {
      decoding.network = decodings_.back().network;
    } else {
      const TensorSpec input = spec_of(decoding.tokens), output = spec_of(decoding.pixels);
      decoding.network = backend_.compile(model_.vqgan().decoder(), {&input, 1}, {&output, 1});
    }
    decodings_.push_back(std::move(decoding));
  }
}

void Plan::upload(const std::vector<ImageRequest>& images, std::span<const float> levels) {
  staging_.assign(up_bytes_, 0);
  const auto staged = [&](const Tensor& tensor) {
    return staging_.data() + (tensor.as<std::uint8_t>() - static_cast<std::uint8_t*>(block_.data()));
  };
  const auto put = [&](const Tensor& tensor, const void* values, std::size_t bytes) {
    if (bytes > 0) std::memcpy(staged(tensor), values, bytes);
  };
  auto* table = reinterpret_cast<float*>(staged(numbers_table_));
  for (std::int64_t b = 0; b < batch_; ++b) {
    const ImageRequest& image = images[static_cast<std::size_t>(b)];
    const auto guidance = linspace(image.guidance_scale.first, image.guidance_scale.second, shape_.steps);
    const auto temperature = linspace(image.temperature.first, image.temperature.second, shape_.steps);
    for (std::int64_t step = 0; step < shape_.steps; ++step) {
      const auto at = static_cast<std::size_t>(step);
      float* row = table + step * 4 * batch_ + b;
      row[0] = guidance[at];
      row[batch_] = temperature[at];
      row[2 * batch_] = step < image.renoise_steps ? levels[at + 1] : 0.0f;
      row[3 * batch_] = static_cast<float>(image.typical_mass);
    }
    reinterpret_cast<std::int64_t*>(staged(seed_))[b] = static_cast<std::int64_t>(image.seed);
    const std::int64_t pixels = shape_.height * shape_.width;
    auto* first = reinterpret_cast<std::int32_t*>(staged(first_tokens_)) + b * pixels;
    if (image.init_tokens.empty()) {
      std::fill_n(first, pixels, -1);
    } else {
      expect(static_cast<std::int64_t>(image.init_tokens.size()) == pixels, "initTokens: expected ", pixels, ", got ",
             image.init_tokens.size());
      std::copy(image.init_tokens.begin(), image.init_tokens.end(), first);
    }
  }
  std::vector<float> embeddings;
  for (std::int64_t step = 0; step < shape_.steps; ++step) {
    const auto embedding = noise_embedding(levels[static_cast<std::size_t>(step)], model_.config().unet.c_r);
    embeddings.insert(embeddings.end(), embedding.begin(), embedding.end());
  }
  put(embeddings_, embeddings.data(), embeddings_.bytes());

  const ConditionRows rows = condition_rows(images);
  std::vector<std::int32_t> lengths;
  for (const ConditionPtr& condition : rows.distinct) lengths.push_back(static_cast<std::int32_t>(condition->length));
  put(condition_length_, lengths.data(), condition_length_.bytes());
  put(condition_index_, rows.index.data(), condition_index_.bytes());
  backend_.upload(staging_.data(), {block_.data(), {static_cast<std::int64_t>(up_bytes_)}, DType::u8});

  if (rows.distinct == loaded_) return;
  loaded_.clear();  // in case a copy fails
  for (std::size_t p = 0; p < rows.distinct.size(); ++p) {
    const Condition& condition = *rows.distinct[p];
    for (std::size_t i = 0; i < condition_kv_.size(); ++i) {
      const Tensor& all = condition_kv_[i];
      const Tensor mine = all.slice(static_cast<std::int64_t>(p), 1).reshaped({all.shape[1], all.shape[2]});
      backend_.copy(condition.kv[i], mine.slice(0, condition.length));
    }
  }
  loaded_ = rows.distinct;
}

void Plan::begin() {
  if (modulation_network_) modulation_network_->run({&embeddings_, 1}, {&modulation_, 1});
  Sampler& sampler = backend_.sampler();
  sampler.initial_noise(seed_, static_cast<std::int32_t>(model_.config().unet.num_labels), noise_);
  sampler.start(first_tokens_, noise_, tokens_);
}

const Tensor& Plan::conditional_features() {
  conditional_network_->run(conditional_inputs_, {&features_, 1});
  return features_;
}

void Plan::step(const Step& step, StageTimes& times) {
  Sampler& sampler = backend_.sampler();
  const Tensor numbers_inputs[] = {numbers_table_, step_};
  numbers_network_->run(numbers_inputs, {&numbers_, 1});
  Tensor features = features_.slice(0, batch_);
  {
    StageTimer timer(backend_, times.unet);
    if (step.guided)
      guided_network_->run(guided_inputs_, {&features_, 1});
    else
      conditional_network_->run(conditional_inputs_, {&features, 1});
  }
  if (step.guided) {
    StageTimer timer(backend_, times.guide);
    sampler.guide(features_, step_inputs_.guidance, guided_);
    features = guided_;
  }
  {
    StageTimer timer(backend_, times.sample);
    sampler.sample(features, model_.unet().head(), step_inputs_, shape_.mode, shape_.typical, tokens_);
  }
  if (step.renoise) {
    StageTimer timer(backend_, times.renoise);
    sampler.renoise(tokens_, noise_, step_inputs_);
  }
  sampler.advance(step_);
}

void Plan::decode(StageTimes& times) {
  StageTimer timer(backend_, times.decode);
  for (const Decoding& decoding : decodings_) decoding.network->run({&decoding.tokens, 1}, {&decoding.pixels, 1});
}

void Plan::download(GeneratedBatch& batch) {
  std::vector<std::uint8_t> results(block_.bytes() - fault_at_);
  auto* from = static_cast<std::uint8_t*>(block_.data()) + fault_at_;
  backend_.download({from, {static_cast<std::int64_t>(results.size())}, DType::u8}, results.data());
  const auto at = [&](const Tensor& tensor) { return results.data() + (tensor.as<std::uint8_t>() - from); };
  if (*reinterpret_cast<const std::int32_t*>(at(fault_)) != 0) throw no_finite_logit();
  const std::int64_t tokens = tokens_.elements() / batch_, bytes = pixels_.elements() / batch_;
  const auto* token = reinterpret_cast<const std::int32_t*>(at(tokens_));
  const std::uint8_t* pixel = at(pixels_);
  for (std::int64_t b = 0; b < batch_; ++b) {
    batch.tokens.emplace_back(token + b * tokens, token + (b + 1) * tokens);
    batch.pixels.emplace_back(pixel + b * bytes, pixel + (b + 1) * bytes);
  }
}

std::vector<std::vector<std::uint8_t>> Plan::download_pixels() {
  std::vector<std::vector<std::uint8_t>> images;
  for (std::int64_t b = 0; b < batch_; ++b) {
    const Tensor image = pixels_.slice(b, 1);
    images.emplace_back(image.bytes());
    backend_.download(image, images.back().data());
  }
  return images;
}

std::vector<std::int32_t> Plan::download_tokens() {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(tokens_.elements()));
  backend_.download(tokens_, tokens.data());
  return tokens;
}

}  // namespace paella
