#include "addon/convert.h"

#include <cstring>

namespace paella::addon {

namespace {

[[noreturn]] void refuse(Napi::Env env, const char* key, const char* expected) {
  throw Napi::TypeError::New(env, concat(key, ": expected ", expected));
}

template <typename Array>
Array typed_array(const Napi::Value& value, napi_typedarray_type type, const char* what, const char* expected) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    refuse(value.Env(), what, expected);
  return value.As<Array>();
}

template <typename Array, typename Element>
Napi::Value array_to_js(Napi::Env env, const std::vector<Element>& values) {
  Array array = Array::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(Element));
  return array;
}

Napi::Array pair_to_js(Napi::Env env, const std::pair<double, double>& pair) {
  Napi::Array array = Napi::Array::New(env, 2);
  array.Set(0u, pair.first);
  array.Set(1u, pair.second);
  return array;
}

double as_number(std::uint64_t value) { return static_cast<double>(value); }

}  // namespace

Napi::Value member(const Napi::Object& object, const char* key) { return object.Get(key); }

double number_member(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsNumber()) refuse(object.Env(), key, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

std::string string_member(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) refuse(object.Env(), key, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::pair<double, double> pair_member(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsArray() || value.As<Napi::Array>().Length() != 2) refuse(object.Env(), key, "a pair of numbers");
  const auto pair = value.As<Napi::Array>();
  const Napi::Value first = pair.Get(0u), last = pair.Get(1u);
  if (!first.IsNumber() || !last.IsNumber()) refuse(object.Env(), key, "a pair of numbers");
  return {first.As<Napi::Number>().DoubleValue(), last.As<Napi::Number>().DoubleValue()};
}

std::vector<tensorrt::Profile> engine_profiles(const Napi::Value& value) {
  if (!value.IsArray()) refuse(value.Env(), "profiles", "a list");
  const auto list = value.As<Napi::Array>();
  std::vector<tensorrt::Profile> profiles;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const auto object = list.Get(i).As<Napi::Object>();
    const auto range = [&](const char* key) {
      const Napi::Value found = object.Get(key);
      if (!found.IsArray() || found.As<Napi::Array>().Length() != 3) refuse(object.Env(), key, "three numbers");
      const auto three = found.As<Napi::Array>();
      const auto at = [&](std::uint32_t place) { return three.Get(place).ToNumber().Int64Value(); };
      return tensorrt::Range{at(0), at(1), at(2)};
    };
    profiles.push_back({string_member(object, "name"), string_member(object, "precision"), range("batch"),
                        range("width"), range("height"), range("condition"), range("steps")});
  }
  return profiles;
}

std::vector<std::int32_t> int32_values(const Napi::Value& value, const char* what) {
  return copy_of(typed_array<Napi::Int32Array>(value, napi_int32_array, what, "an Int32Array"));
}

std::vector<float> float32_values(const Napi::Value& value, const char* what) {
  return copy_of(typed_array<Napi::Float32Array>(value, napi_float32_array, what, "a Float32Array"));
}

std::vector<std::uint8_t> uint8_values(const Napi::Value& value, const char* what) {
  return copy_of(typed_array<Napi::Uint8Array>(value, napi_uint8_array, what, "a Uint8Array"));
}

ConditionInput condition_input(const Napi::Value& value) {
  if (!value.IsObject()) refuse(value.Env(), "condition", "an object");
  const auto object = value.As<Napi::Object>();
  ConditionInput input;
  const Napi::Value ids = object.Get("ids"), states = object.Get("states");
  if (!states.IsUndefined()) {
    input.states = float32_values(states, "condition.states");
  } else {
    input.ids = int32_values(ids, "condition.ids");
  }
  if (input.states.empty() && input.ids.empty()) refuse(value.Env(), "condition", "at least one token");
  if (const Napi::Value clip = object.Get("clipIds"); !clip.IsUndefined())
    input.clip_ids = int32_values(clip, "condition.clipIds");
  if (const Napi::Value images = object.Get("images"); images.IsArray()) {
    const auto array = images.As<Napi::Array>();
    for (std::uint32_t i = 0; i < array.Length(); ++i)
      input.images.push_back(uint8_values(array.Get(i), "condition.images"));
  }
  if (const Napi::Value weights = object.Get("weights"); !weights.IsUndefined())
    input.weights = float32_values(weights, "condition.weights");
  if (const Napi::Value prior = object.Get("prior"); prior.IsObject()) {
    const auto settings = prior.As<Napi::Object>();
    input.prior = {.steps = static_cast<std::int64_t>(number_member(settings, "steps")),
                   .guidance_scale = number_member(settings, "guidanceScale"),
                   .method = string_member(settings, "method") == "ddim" ? PriorMethod::ddim : PriorMethod::ddpm};
  }
  input.drawn_image = object.Get("drawnImage").ToBoolean();
  return input;
}

GenerateRequest generate_request(const Napi::Object& object) {
  GenerateRequest request;
  request.condition = condition_input(object.Get("condition"));
  request.negative = condition_input(object.Get("negative"));
  const auto whole = [&](const char* key) { return static_cast<std::int64_t>(number_member(object, key)); };
  request.shape.width = whole("width");
  request.shape.height = whole("height");
  request.shape.steps = whole("steps");
  request.shape.conditional_steps = whole("conditionalSteps");
  request.shape.mode = string_member(object, "sampler") == "argmax" ? SampleMode::argmax : SampleMode::multinomial;
  request.typical_mass = number_member(object, "typicalMass");
  request.shape.typical = request.typical_mass > 0;
  request.renoise_steps = whole("renoiseSteps");
  request.guidance_scale = pair_member(object, "guidanceScale");
  request.temperature = pair_member(object, "temperature");
  const Napi::Value seeds = object.Get("seeds");
  if (!seeds.IsArray() || seeds.As<Napi::Array>().Length() == 0) refuse(object.Env(), "seeds", "an array of numbers");
  const auto array = seeds.As<Napi::Array>();
  for (std::uint32_t i = 0; i < array.Length(); ++i)
    request.seeds.push_back(static_cast<std::uint64_t>(array.Get(i).ToNumber().DoubleValue()));
  const Napi::Value tokens = object.Get("initTokens");
  if (!tokens.IsUndefined()) request.init_tokens = int32_values(tokens, "initTokens");
  request.priority = number_member(object, "priority");
  request.deadline_ms = number_member(object, "deadlineMs");
  request.preview_every = whole("previewEvery");
  request.step_events = object.Get("stepEvents").ToBoolean();
  return request;
}

Napi::Value to_js(Napi::Env env, const std::vector<std::uint8_t>& values) {
  return array_to_js<Napi::Uint8Array>(env, values);
}
Napi::Value to_js(Napi::Env env, const std::vector<std::int32_t>& values) {
  return array_to_js<Napi::Int32Array>(env, values);
}
Napi::Value to_js(Napi::Env env, const std::vector<float>& values) {
  return array_to_js<Napi::Float32Array>(env, values);
}

Napi::Value to_js(Napi::Env env, const JobTimes& times) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("queue", times.queue);
  object.Set("encode_text", times.encode_text);
  object.Set("prior", times.prior);
  object.Set("unet", times.unet);
  object.Set("guide", times.guide);
  object.Set("sample", times.sample);
  object.Set("renoise", times.renoise);
  object.Set("decode", times.decode);
  object.Set("total", times.total);
  return object;
}

Napi::Value to_js(Napi::Env env, const GenerateResult& result) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Array images = Napi::Array::New(env, result.images.size());
  for (std::uint32_t i = 0; i < result.images.size(); ++i) {
    Napi::Object image = Napi::Object::New(env);
    image.Set("pixels", to_js(env, result.images[i].pixels));
    image.Set("tokens", to_js(env, result.images[i].tokens));
    image.Set("seed", as_number(result.images[i].seed));
    images.Set(i, image);
  }
  object.Set("images", images);
  object.Set("timings", to_js(env, result.times));
  object.Set("batch", as_number(result.batch));
  return object;
}

Napi::Value to_js(Napi::Env env, const EngineStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Object jobs = Napi::Object::New(env);
  jobs.Set("queued", as_number(stats.queued));
  jobs.Set("running", as_number(stats.running));
  jobs.Set("done", as_number(stats.done));
  jobs.Set("failed", as_number(stats.failed));
  jobs.Set("aborted", as_number(stats.aborted));
  object.Set("jobs", jobs);
  object.Set("images", as_number(stats.images));
  object.Set("batches", as_number(stats.batches));
  Napi::Object sizes = Napi::Object::New(env);
  for (const auto& [size, count] : stats.batch_sizes) sizes.Set(std::to_string(size), as_number(count));
  object.Set("batchSizes", sizes);
  object.Set("stages", to_js(env, stats.times));
  Napi::Object transfers = Napi::Object::New(env);
  transfers.Set("uploads", as_number(stats.transfers.uploads));
  transfers.Set("downloads", as_number(stats.transfers.downloads));
  transfers.Set("launches", as_number(stats.transfers.launches));
  transfers.Set("synchronizations", as_number(stats.transfers.synchronizations));
  object.Set("transfers", transfers);
  Napi::Object memory = Napi::Object::New(env);
  memory.Set("weights", as_number(stats.memory.weights));
  memory.Set("activations", as_number(stats.memory.activations));
  memory.Set("cache", as_number(stats.cache_bytes));
  memory.Set("current", as_number(stats.memory.weights + stats.memory.activations));
  memory.Set("peak", as_number(stats.memory.peak));
  object.Set("memory", memory);
  return object;
}

Napi::Value to_js(Napi::Env env, const EngineInfo& info, int threads) {
  const ModelConfig& config = info.config;
  const GenerationDefaults& defaults = config.defaults;
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", config.name);
  object.Set("family", config.family);
  Napi::Object parameters = Napi::Object::New(env), bytes = Napi::Object::New(env);
  for (const auto& [component, count] : info.parameters) parameters.Set(component, static_cast<double>(count));
  for (const auto& [component, count] : info.bytes) bytes.Set(component, as_number(count));
  object.Set("parameters", parameters);
  object.Set("bytes", bytes);
  object.Set("sizeMultiple", static_cast<double>(config.size_multiple()));
  object.Set("pixelsPerToken", static_cast<double>(config.vqgan.pixels_per_token()));
  object.Set("vocabularySize", static_cast<double>(config.vqgan.codebook_size));
  object.Set("conditionWidth", static_cast<double>(config.text_encoder.d_model));
  object.Set("maxSize", static_cast<double>(config.max_size()));
  // What of CLIP and the prior the model has: tokens that a text may have, pixels of a picture's side; 0: none.
  object.Set("clipTextLength", config.clip_text ? static_cast<double>(config.clip_text->context_length) : 0);
  object.Set("clipVocabulary", config.clip_text ? static_cast<double>(config.clip_text->vocab_size) : 0);
  object.Set("clipImageSize", config.clip_image ? static_cast<double>(config.clip_image->image_size) : 0);
  object.Set("clipTokens", static_cast<double>(config.unet.clip_seq_len));
  object.Set("hasPrior", config.prior.has_value());
  object.Set("drawnImageEmbedding", !config.image_levels.empty());
  Napi::Object values = Napi::Object::New(env);
  values.Set("width", static_cast<double>(defaults.width));
  values.Set("height", static_cast<double>(defaults.height));
  values.Set("steps", static_cast<double>(defaults.steps));
  values.Set("renoise_steps", static_cast<double>(defaults.renoise_steps));
  values.Set("conditional_steps", static_cast<double>(defaults.conditional_steps));
  values.Set("guidance_scale", pair_to_js(env, defaults.guidance_scale));
  values.Set("temperature", pair_to_js(env, defaults.temperature));
  values.Set("negative_prompt", defaults.negative_prompt);
  values.Set("prior_steps", static_cast<double>(defaults.prior_steps));
  values.Set("prior_guidance_scale", defaults.prior_guidance_scale);
  values.Set("typical_mass",
             defaults.typical_mass ? Napi::Value(Napi::Number::New(env, *defaults.typical_mass)) : env.Null());
  object.Set("defaults", values);
  object.Set("backend", info.backend);
  object.Set("device", info.device);
  object.Set("precision", info.precision);
  object.Set("threads", threads);
  return object;
}

Napi::Value to_js(Napi::Env env, const Error& error) {
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", code_name(error.code()));
  if (!error.remedy().empty()) result.Set("remedy", error.remedy());
  return result.Value();
}

}  // namespace paella::addon
