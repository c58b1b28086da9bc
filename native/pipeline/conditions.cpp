#include "pipeline/conditions.h"

#include "core/error.h"

namespace paella {

namespace {

// A prompt of the full-size model holds about 9 MB in bf16.
constexpr std::size_t cache_limit = std::size_t{256} << 20;
constexpr std::size_t cache_entries = 64;

template <typename T>
std::string key_of(char kind, std::span<const T> values) {
  std::string key(1, kind);
  key.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return key;
}

}  // namespace

Conditions::Conditions(Model& model, Backend& backend) : model_(model), backend_(backend) {}

void Conditions::encode_into(std::span<const std::int32_t> ids, const Tensor& states) {
  const auto length = static_cast<std::int64_t>(ids.size());
  const Byt5Config& config = model_.config().text_encoder;
  for (const std::int32_t id : ids)
    if (id < 0 || id >= config.vocab_size)
      fail(ErrorCode::invalid_option, "prompt: expected token ids from 0 to ", config.vocab_size - 1, ", got ", id);
  const Byt5Encoder& encoder = model_.text_encoder();
  const std::vector<float> bias = encoder.position_bias(length);
  const TensorSpec ids_spec{{length}, DType::i32}, bias_spec{{config.num_heads, 2 * length - 1}, DType::f32};
  const Buffer ids_memory = backend_.allocate(ids_spec.bytes()), bias_memory = backend_.allocate(bias_spec.bytes());
  const Tensor inputs[] = {ids_memory.tensor(ids_spec.shape, DType::i32),
                           bias_memory.tensor(bias_spec.shape, DType::f32)};
  backend_.upload(ids.data(), inputs[0]);
  backend_.upload(bias.data(), inputs[1]);
  const TensorSpec input_specs[] = {ids_spec, bias_spec};
  const TensorSpec output_specs[] = {{states.shape, states.dtype}};
  backend_.compile(encoder.network(), input_specs, output_specs)->run(inputs, {&states, 1});
  backend_.synchronize();  // before the inputs' memory goes away
}

std::vector<float> Conditions::encode(std::span<const std::int32_t> ids) {
  const Shape shape{static_cast<std::int64_t>(ids.size()), model_.config().text_encoder.d_model};
  std::vector<float> result(static_cast<std::size_t>(shape.elements()));
  const Buffer memory = backend_.allocate(result.size() * sizeof(float));
  const Tensor states = memory.tensor(shape, DType::f32);
  encode_into(ids, states);
  backend_.download(states, result.data());
  model_.text_done();
  return result;
}

Conditions::States Conditions::states_of(const ConditionInput& prompt) {
  const std::int64_t width = model_.config().text_encoder.d_model;
  const bool encoded = !prompt.states.empty();
  expect(encoded || !prompt.ids.empty(), "condition: expected at least one token");
  const auto count = static_cast<std::int64_t>(prompt.states.size());
  if (encoded && count % width != 0)
    fail(ErrorCode::invalid_option, "condition: expected whole vectors of ", width, " numbers, got ", count);
  const Shape shape{encoded ? count / width : static_cast<std::int64_t>(prompt.ids.size()), width};
  States states;
  states.memory = backend_.allocate(static_cast<std::size_t>(shape.elements()) * sizeof(float));
  states.tensor = states.memory.tensor(shape, DType::f32);
  if (encoded)
    backend_.upload(prompt.states.data(), states.tensor);
  else
    encode_into(prompt.ids, states.tensor);
  return states;
}

std::vector<ConditionPtr> Conditions::resolve(const std::vector<const ConditionInput*>& prompts) {
  std::vector<std::string> keys;
  std::unordered_map<std::string, ConditionPtr> found;
  std::vector<States> missing;
  for (const ConditionInput* prompt : prompts) {
    keys.push_back(prompt->states.empty() ? key_of('i', std::span<const std::int32_t>(prompt->ids))
                                          : key_of('s', std::span<const float>(prompt->states)));
    if (found.contains(keys.back())) continue;
    ConditionPtr known = find(keys.back());
    if (!known) {
      missing.push_back(states_of(*prompt));
      missing.back().key = keys.back();
    }
    found.emplace(keys.back(), std::move(known));
  }
  if (!missing.empty()) model_.text_done();
  for (const States& states : missing) found[states.key] = keep(states.key, project(states.tensor));
  std::vector<ConditionPtr> result;
  for (const std::string& key : keys) result.push_back(found.at(key));
  return result;
}

ConditionPtr Conditions::from_ids(std::span<const std::int32_t> ids) {
  const ConditionInput prompt{{ids.begin(), ids.end()}, {}};
  return resolve({&prompt}).front();
}

ConditionPtr Conditions::from_states(std::span<const float> states) {
  const ConditionInput prompt{{}, {states.begin(), states.end()}};
  return resolve({&prompt}).front();
}

ConditionPtr Conditions::project(const Tensor& states) {
  const DType type = backend_.operand_type();
  const Unet& unet = model_.unet();
  const auto& widths = unet.attention_widths();
  auto condition = std::make_shared<Condition>();
  condition->length = states.shape[0];
  const std::size_t alignment = Arena::alignment;
  std::vector<TensorSpec> outputs;
  std::size_t bytes = 0;
  for (const std::int64_t width : widths) {
    outputs.push_back({{condition->length, 2 * width}, type});
    bytes += (outputs.back().bytes() + alignment - 1) / alignment * alignment;
  }
  condition->memory = backend_.allocate(std::max<std::size_t>(bytes, alignment));
  auto* at = static_cast<std::uint8_t*>(condition->memory.data());
  for (const TensorSpec& spec : outputs) {
    condition->kv.push_back({at, spec.shape, type});
    at += (spec.bytes() + alignment - 1) / alignment * alignment;
  }
  const TensorSpec inputs[] = {{states.shape, states.dtype}};
  backend_.compile(unet.condition(0, 0), inputs, outputs)->run({&states, 1}, condition->kv);
  backend_.synchronize();
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
