// A strict JSON reader for the small files of a model folder and the headers of safetensors.
//
// Own code, because safetensors demands that duplicate keys are refused, which the common libraries swallow, and
// because no header-only JSON library is to be had from the registries that the set-up uses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace paella {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in file order

  // ERR_MODEL_FORMAT with the byte offset; `label` names the document in messages.
  static Json parse(std::string_view text, const std::string& label);
  static Json parse_file(const std::string& path);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_number() const { return std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  const double* number() const { return std::get_if<double>(&value_); }
  const std::string* string() const { return std::get_if<std::string>(&value_); }
  const Array* array() const { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  // The member of this name; null if there is none or this is no object.
  const Json* find(std::string_view key) const;

 private:
  friend class JsonParser;
  std::variant<std::monostate, bool, double, std::string, Array, Object> value_;
};

// Typed access to one object, with messages like "unet/config.json: c_hidden: expected a whole number from 1 to 65536,
// got "many"". Every member must be asked for: check_all_read() names what is unknown.
class JsonReader {
 public:
  JsonReader(const Json& json, std::string label);
  std::int64_t integer(const char* key, std::int64_t minimum, std::int64_t maximum);
  std::int64_t integer_or(const char* key, std::int64_t fallback, std::int64_t minimum, std::int64_t maximum);
  double number(const char* key, double minimum, double maximum);
  double number_or(const char* key, double fallback, double minimum, double maximum);
  std::string string(const char* key);
  std::string string_or(const char* key, const std::string& fallback);
  std::vector<std::int64_t> integers(const char* key, std::int64_t minimum, std::int64_t maximum);
  std::vector<std::string> strings(const char* key);
  // A number, or [first, last].
  std::pair<double, double> ramp(const char* key, double minimum, double maximum);
  bool has(const char* key) const;  // present and not null
  void ignore(const char* key) { read_.emplace_back(key); }
  void check_all_read() const;

 private:
  const Json* member(const char* key, bool required);
  [[noreturn]] void refuse(const char* key, const std::string& expected, const Json& found) const;
  const Json& json_;
  std::string label_;
  std::vector<std::string> read_;
};

std::string describe(const Json& json);

}  // namespace paella
