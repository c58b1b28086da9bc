#include "pipeline/conditions.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/philox.h"

namespace paella {

namespace {

// A prompt of the full-size model holds about 9 MB in bf16.
constexpr std::size_t cache_limit = std::size_t{256} << 20;
constexpr std::size_t cache_entries = 64;

template <typename T>
void append(std::string& key, const std::vector<T>& values) {
  const std::size_t count = values.size();
  key.append(reinterpret_cast<const char*>(&count), sizeof(count));
  key.append(reinterpret_cast<const char*>(values.data()), count * sizeof(T));
}

// `drawn`: the image embedding that the seed draws. Few are possible, so that seeds share conditions.
std::string key_of(const ConditionInput& prompt, const std::vector<float>& drawn) {
  std::string key;
  append(key, prompt.ids);
  append(key, prompt.states);
  append(key, prompt.clip_ids);
  append(key, std::vector<std::size_t>{prompt.images.size()});
  for (const auto& image : prompt.images) append(key, image);
  append(key, prompt.weights);
  if (prompt.prior) {
    append(key, std::vector<double>{prompt.prior->guidance_scale});  // all its digits
    key += concat(prompt.prior->steps, ' ', static_cast<int>(prompt.prior->method), ' ', prompt.image_seed);
  }
  append(key, drawn);
  return key;
}

// Lets the encoders go, also where encoding fails or is aborted.
class PromptsDone {
 public:
  explicit PromptsDone(Model& model) : model_(model) {}
  ~PromptsDone() { model_.prompts_done(); }
  PromptsDone(const PromptsDone&) = delete;
  PromptsDone& operator=(const PromptsDone&) = delete;

 private:
  Model& model_;
};

// Adds the time of its own life.
class Timer {
 public:
  explicit Timer(double* total) : total_(total) {}
  ~Timer() {
    if (total_ != nullptr)
      *total_ += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double* total_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

Conditions::Conditions(Model& model, Backend& backend) : model_(model), backend_(backend), encoders_(model, backend) {}

std::vector<float> Conditions::encode(std::span<const std::int32_t> ids) {
  const PromptsDone done(model_);
  return encoders_.text(ids);
}

void Conditions::check(const ConditionInput& prompt) const {
  const ModelConfig& config = model_.config();
  const std::int64_t width = config.text_encoder.d_model;
  expect(!prompt.states.empty() || !prompt.ids.empty(), "condition: expected at least one token");
  if (static_cast<std::int64_t>(prompt.states.size()) % width != 0)
    fail(ErrorCode::invalid_option, "condition: expected whole vectors of ", width, " numbers, got ",
         prompt.states.size());
  if (!prompt.clip_ids.empty() && !config.clip_text)
    fail(ErrorCode::invalid_option, "condition: this model has no CLIP text encoder");
  if (!prompt.images.empty() && !config.clip_image)
    fail(ErrorCode::invalid_option, "imagePrompt: this model has no CLIP image encoder");
  if (prompt.prior && (!config.prior || prompt.clip_ids.empty() || !prompt.images.empty()))
    fail(ErrorCode::invalid_option, "prior: expected a model with a prior, a prompt in words, and no image prompt");
  if (prompt.drawn_image && config.image_levels.empty())
    fail(ErrorCode::invalid_option, "condition: this model draws no image embeddings");
}

void Conditions::encode(std::vector<Encoded>& prompts) {
  // One network after another: a memory mode may have room for one only.
  for (Encoded& each : prompts)
    each.states = each.prompt->states.empty() ? encoders_.text(each.prompt->ids) : each.prompt->states;
  for (Encoded& each : prompts)
    if (!each.prompt->clip_ids.empty()) each.clip_text = encoders_.clip_text(each.prompt->clip_ids);
  for (Encoded& each : prompts)
    for (const auto& image : each.prompt->images) {
      const std::vector<float> embedding = encoders_.clip_image(image);
      each.images.insert(each.images.end(), embedding.begin(), embedding.end());
    }
}

std::vector<float> Conditions::drawn_image(const ConditionInput& prompt) const {
  if (!prompt.drawn_image) return {};
  const std::vector<float>& levels = model_.config().image_levels;
  std::vector<float> numbers(static_cast<std::size_t>(model_.config().unet.clip_image_embd));
  for (std::uint32_t k = 0; k < numbers.size(); ++k)
    numbers[k] = levels[drawn_level(prompt.image_seed, k, static_cast<std::uint32_t>(levels.size()))];
  return numbers;
}

// All prompts with the same settings at once.
void Conditions::run_prior(std::vector<Encoded>& prompts, const std::function<bool()>& keep_going) {
  std::vector<Encoded*> waiting;
  for (Encoded& each : prompts)
    if (each.prompt->prior) waiting.push_back(&each);
  while (!waiting.empty()) {
    const PriorSettings settings = *waiting.front()->prompt->prior;
    const auto others = std::stable_partition(waiting.begin(), waiting.end(),
                                              [&](const Encoded* each) { return *each->prompt->prior == settings; });
    const std::vector<Encoded*> group(waiting.begin(), others);
    waiting.erase(waiting.begin(), others);
    std::vector<float> text;
    std::vector<std::uint64_t> seeds;
    for (const Encoded* each : group) {
      text.insert(text.end(), each->clip_text.begin(), each->clip_text.end());
      seeds.push_back(each->prompt->image_seed);
    }
    const std::vector<float> drawn = sample_prior(backend_, model_.prior(), settings, text, seeds, keep_going);
    const auto width = static_cast<std::ptrdiff_t>(model_.config().prior->c_in);
    for (std::size_t i = 0; i < group.size(); ++i) {
      const auto from = drawn.begin() + static_cast<std::ptrdiff_t>(i) * width;
      group[i]->images.assign(from, from + width);
    }
  }
}

std::vector<ConditionPtr> Conditions::resolve(const std::vector<const ConditionInput*>& prompts, ConditionTimes* times,
                                              const std::function<bool()>& keep_going) {
  std::vector<std::string> keys;
  std::unordered_map<std::string, ConditionPtr> found;
  std::vector<Encoded> missing;
  for (const ConditionInput* prompt : prompts) {
    check(*prompt);
    std::vector<float> drawn = drawn_image(*prompt);
    keys.push_back(key_of(*prompt, drawn));
    if (found.contains(keys.back())) continue;
    ConditionPtr known = find(keys.back());
    if (!known) missing.push_back({prompt, keys.back(), {}, {}, std::move(drawn)});
    found.emplace(keys.back(), std::move(known));
  }
  if (!missing.empty()) {
    {
      const PromptsDone done(model_);
      {
        Timer timer(times == nullptr ? nullptr : &times->encode_text);
        encode(missing);
      }
      Timer timer(times == nullptr ? nullptr : &times->prior);
      run_prior(missing, keep_going);
    }
    Timer timer(times == nullptr ? nullptr : &times->encode_text);
    for (const Encoded& each : missing) found[each.key] = keep(each.key, project(each));
  }
  std::vector<ConditionPtr> result;
  for (const std::string& key : keys) result.push_back(found.at(key));
  return result;
}

ConditionPtr Conditions::from_ids(std::span<const std::int32_t> ids) {
  ConditionInput prompt;
  prompt.ids.assign(ids.begin(), ids.end());
  return resolve(prompt);
}

ConditionPtr Conditions::from_states(std::span<const float> states) {
  ConditionInput prompt;
  prompt.states.assign(states.begin(), states.end());
  return resolve(prompt);
}

ConditionPtr Conditions::project(const Encoded& prompt) {
  const DType type = backend_.operand_type();
  const Unet& unet = model_.unet();
  const UnetConfig& config = unet.config();
  const auto tokens = static_cast<std::int64_t>(prompt.states.size()) / config.byt5_embd;
  const std::int64_t texts = prompt.clip_text.empty() ? 0 : 1;
  const std::int64_t images =
      prompt.images.empty() ? 0 : static_cast<std::int64_t>(prompt.images.size()) / config.clip_image_embd;
  const std::vector<float>& weights = prompt.prompt->weights;
  auto condition = std::make_shared<Condition>();
  condition->length = tokens + config.clip_seq_len * (texts + images);
  if (!weights.empty() && static_cast<std::int64_t>(weights.size()) != condition->length)
    fail(ErrorCode::invalid_option, "condition: expected a weight for each of ", condition->length, " entries, got ",
         weights.size());

  std::vector<Buffer> memory;
  std::vector<Tensor> inputs;
  std::vector<TensorSpec> input_specs, outputs;
  const auto add_input = [&](const std::vector<float>& values, Shape shape) {
    input_specs.push_back({shape, DType::f32});
    memory.push_back(backend_.allocate(input_specs.back().bytes()));
    inputs.push_back(memory.back().tensor(shape, DType::f32));
    backend_.upload(values.data(), inputs.back());
  };
  add_input(prompt.states, {tokens, config.byt5_embd});
  if (texts > 0) add_input(prompt.clip_text, {1, config.clip_embd});
  if (images > 0) add_input(prompt.images, {images, config.clip_image_embd});
  if (!weights.empty()) add_input(weights, {condition->length});

  const std::size_t alignment = Arena::alignment;
  std::size_t bytes = 0;
  for (const std::int64_t width : unet.attention_widths()) {
    outputs.push_back({{condition->length, 2 * width}, type});
    bytes += (outputs.back().bytes() + alignment - 1) / alignment * alignment;
  }
  condition->memory = backend_.allocate(std::max<std::size_t>(bytes, alignment));
  auto* at = static_cast<std::uint8_t*>(condition->memory.data());
  for (const TensorSpec& spec : outputs) {
    condition->kv.push_back({at, spec.shape, type});
    at += (spec.bytes() + alignment - 1) / alignment * alignment;
  }
  backend_.compile(unet.condition(texts, images, !weights.empty()), input_specs, outputs)->run(inputs, condition->kv);
  backend_.synchronize();  // before the inputs' memory goes
  return condition;
}

ConditionPtr Conditions::find(const std::string& key) {
  const auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->condition;
}

ConditionPtr Conditions::keep(const std::string& key, ConditionPtr condition) {
  entries_.push_front({key, condition});
  index_[key] = entries_.begin();
  cached_bytes_ += condition->bytes();
  while (entries_.size() > 1 && (cached_bytes_ > cache_limit || entries_.size() > cache_entries)) {
    cached_bytes_ -= entries_.back().condition->bytes();
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return condition;
}

}  // namespace paella
