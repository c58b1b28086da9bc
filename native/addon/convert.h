// Between JavaScript values and C++ ones. Requests have been checked in lib/; what is wrong here is a defect there, and
// throws a TypeError instead of crashing.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "pipeline/engine.h"
#include "tensorrt/profile.h"

namespace paella::addon {

Napi::Value member(const Napi::Object& object, const char* key);
double number_member(const Napi::Object& object, const char* key);
std::string string_member(const Napi::Object& object, const char* key);
std::pair<double, double> pair_member(const Napi::Object& object, const char* key);

template <typename Array>
auto copy_of(const Array& array) {
  using Element = std::remove_cv_t<std::remove_pointer_t<decltype(array.Data())>>;
  return std::vector<Element>(array.Data(), array.Data() + array.ElementLength());
}

std::vector<std::int32_t> int32_values(const Napi::Value& value, const char* what);
std::vector<float> float32_values(const Napi::Value& value, const char* what);
std::vector<std::uint8_t> uint8_values(const Napi::Value& value, const char* what);

std::vector<tensorrt::Profile> engine_profiles(const Napi::Value& value);
ConditionInput condition_input(const Napi::Value& value);
GenerateRequest generate_request(const Napi::Object& object);

Napi::Value to_js(Napi::Env env, const std::vector<std::uint8_t>& values);
Napi::Value to_js(Napi::Env env, const std::vector<std::int32_t>& values);
Napi::Value to_js(Napi::Env env, const std::vector<float>& values);
Napi::Value to_js(Napi::Env env, const JobTimes& times);
Napi::Value to_js(Napi::Env env, const GenerateResult& result);
Napi::Value to_js(Napi::Env env, const EngineStats& stats);
Napi::Value to_js(Napi::Env env, const EngineInfo& info, int threads);
// A plain Error with `code` and, if there is one, `remedy`.
Napi::Value to_js(Napi::Env env, const Error& error);

}  // namespace paella::addon
