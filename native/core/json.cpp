#include "core/json.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <unordered_set>

#include "core/error.h"

namespace paella {

// Recursive descent; depth is bounded so that a hostile file cannot exhaust the stack.
class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& label) : text_(text), label_(label) {}

  Json document() {
    Json result = value(0);
    skip_space();
    if (at_ != text_.size()) refuse("the end of the document");
    return result;
  }

 private:
  static constexpr int max_depth = 64;

  [[noreturn]] void refuse(const std::string& expected) const {
    const std::string found =
        at_ < text_.size() ? concat("byte ", static_cast<int>(static_cast<unsigned char>(text_[at_]))) : "the end";
    fail(ErrorCode::model_format, label_, ": not valid JSON at offset ", at_, ": expected ", expected, ", got ", found);
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json value(int depth) {
    if (depth > max_depth) refuse("at most 64 levels of nesting");
    skip_space();
    Json result;
    if (at_ >= text_.size()) refuse("a value");
    switch (text_[at_]) {
      case '{':
        result.value_ = object(depth);
        break;
      case '[':
        result.value_ = array(depth);
        break;
      case '"':
        result.value_ = string();
        break;
      case 't':
        if (!take_word("true")) refuse("true");
        result.value_ = true;
        break;
      case 'f':
        if (!take_word("false")) refuse("false");
        result.value_ = false;
        break;
      case 'n':
        if (!take_word("null")) refuse("null");
        break;
      default:
        result.value_ = number();
    }
    return result;
  }

  Json::Object object(int depth) {
    Json::Object members;
    std::unordered_set<std::string> keys;
    ++at_;
    skip_space();
    if (take('}')) return members;
    while (true) {
      skip_space();
      if (at_ >= text_.size() || text_[at_] != '"') refuse("a key");
      std::string key = string();
      if (!keys.insert(key).second) fail(ErrorCode::model_format, label_, ": the key \"", key, "\" stands there twice");
      skip_space();
      if (!take(':')) refuse("':'");
      members.emplace_back(std::move(key), value(depth + 1));
      skip_space();
      if (take('}')) return members;
      if (!take(',')) refuse("',' or '}'");
    }
  }

  Json::Array array(int depth) {
    Json::Array elements;
    ++at_;
    skip_space();
    if (take(']')) return elements;
    while (true) {
      elements.push_back(value(depth + 1));
      skip_space();
      if (take(']')) return elements;
      if (!take(',')) refuse("',' or ']'");
    }
  }

  double number() {
    const std::size_t start = at_;
    take('-');
    const auto digits = [this] {
      const std::size_t first = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
      return at_ - first;
    };
    const bool leading_zero = at_ < text_.size() && text_[at_] == '0';
    const std::size_t whole = digits();
    if (whole == 0) refuse("a value");
    if (leading_zero && whole > 1) refuse("a number without leading zeros");
    if (take('.') && digits() == 0) refuse("digits after the point");
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (!take('+')) take('-');
      if (digits() == 0) refuse("digits of the exponent");
    }
    double result = 0;
    const auto [end, status] = std::from_chars(text_.data() + start, text_.data() + at_, result);
    if (status != std::errc() || end != text_.data() + at_ || !std::isfinite(result)) refuse("a number in range");
    return result;
  }

  unsigned hex4() {
    if (at_ + 4 > text_.size()) refuse("four hexadecimal digits");
    unsigned code = 0;
    const auto [end, status] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
    if (status != std::errc() || end != text_.data() + at_ + 4) refuse("four hexadecimal digits");
    at_ += 4;
    return code;
  }

  static void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  void escape(std::string& out) {
    if (at_ >= text_.size()) refuse("an escape");
    const char c = text_[at_++];
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out += c;
        return;
      case 'b':
        out += '\b';
        return;
      case 'f':
        out += '\f';
        return;
      case 'n':
        out += '\n';
        return;
      case 'r':
        out += '\r';
        return;
      case 't':
        out += '\t';
        return;
      case 'u':
        break;
      default:
        --at_;
        refuse("an escape");
    }
    unsigned code = hex4();
    if (code >= 0xD800 && code < 0xDC00) {
      if (!take_word("\\u")) refuse("the second half of a surrogate pair");
      const unsigned low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) refuse("the second half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
      refuse("the first half of a surrogate pair");
    }
    append_utf8(out, code);
  }

  std::string string() {
    std::string out;
    ++at_;
    while (true) {
      if (at_ >= text_.size()) refuse("'\"'");
      const char c = text_[at_];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) refuse("no control characters in a string");
      ++at_;
      if (c == '\\') {
        escape(out);
      } else {
        out += c;
      }
    }
    ++at_;
    return out;
  }

  std::string_view text_;
  const std::string& label_;
  std::size_t at_ = 0;
};

Json Json::parse(std::string_view text, const std::string& label) { return JsonParser(text, label).document(); }

Json Json::parse_file(const std::string& path) {
  // Anything but a file is refused before it is opened: opening a pipe waits for a writer.
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    fail(ErrorCode::model_format, path, ": expected a file, found something else");
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::model_not_found, path, ": expected a readable file, found none");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) fail(ErrorCode::io, path, ": could not be read");
  return parse(text, path);
}

const Json* Json::find(std::string_view key) const {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  for (const auto& [name, value] : *members)
    if (name == key) return &value;
  return nullptr;
}

std::string describe(const Json& json) {
  if (json.is_null()) return "null";
  if (const bool* flag = json.boolean()) return *flag ? "true" : "false";
  if (const double* number = json.number()) return concat(*number);
  if (const std::string* text = json.string()) return concat('"', *text, '"');
  if (const Json::Array* elements = json.array()) {
    if (elements->size() > 8) return concat("an array of ", elements->size());
    std::string out = "[";
    for (std::size_t i = 0; i < elements->size(); ++i) out += (i > 0 ? ", " : "") + describe((*elements)[i]);
    return out + "]";
  }
  return "an object";
}

JsonReader::JsonReader(const Json& json, std::string label) : json_(json), label_(std::move(label)) {
  if (!json.is_object()) fail(ErrorCode::model_format, label_, ": expected an object, got ", describe(json));
}

const Json* JsonReader::member(const char* key, bool required) {
  read_.emplace_back(key);
  const Json* found = json_.find(key);
  if (found == nullptr && required) fail(ErrorCode::model_format, label_, ": ", key, " is missing");
  return found;
}

bool JsonReader::has(const char* key) const {
  const Json* found = json_.find(key);
  return found != nullptr && !found->is_null();
}

void JsonReader::refuse(const char* key, const std::string& expected, const Json& found) const {
  fail(ErrorCode::model_format, label_, ": ", key, ": expected ", expected, ", got ", describe(found));
}

static bool whole_in_range(const Json& json, std::int64_t minimum, std::int64_t maximum) {
  const double* number = json.number();
  return number != nullptr && std::floor(*number) == *number && *number >= static_cast<double>(minimum) &&
         *number <= static_cast<double>(maximum);
}

std::int64_t JsonReader::integer(const char* key, std::int64_t minimum, std::int64_t maximum) {
  const Json& found = *member(key, true);
  if (!whole_in_range(found, minimum, maximum))
    refuse(key, concat("a whole number from ", minimum, " to ", maximum), found);
  return static_cast<std::int64_t>(*found.number());
}

std::int64_t JsonReader::integer_or(const char* key, std::int64_t fallback, std::int64_t minimum,
                                    std::int64_t maximum) {
  if (!has(key)) {
    ignore(key);
    return fallback;
  }
  return integer(key, minimum, maximum);
}

double JsonReader::number(const char* key, double minimum, double maximum) {
  const Json& found = *member(key, true);
  const double* value = found.number();
  if (value == nullptr || !(*value >= minimum && *value <= maximum))
    refuse(key, concat("a number from ", minimum, " to ", maximum), found);
  return *value;
}

double JsonReader::number_or(const char* key, double fallback, double minimum, double maximum) {
  if (!has(key)) {
    ignore(key);
    return fallback;
  }
  return number(key, minimum, maximum);
}

std::string JsonReader::string(const char* key) {
  const Json& found = *member(key, true);
  if (!found.is_string()) refuse(key, "a string", found);
  return *found.string();
}

std::string JsonReader::string_or(const char* key, const std::string& fallback) {
  if (!has(key)) {
    ignore(key);
    return fallback;
  }
  return string(key);
}

std::vector<std::int64_t> JsonReader::integers(const char* key, std::int64_t minimum, std::int64_t maximum) {
  const Json& found = *member(key, true);
  const Json::Array* elements = found.array();
  std::vector<std::int64_t> result;
  const std::string expected = concat("an array of 1 to 16 whole numbers from ", minimum, " to ", maximum);
  if (elements == nullptr || elements->empty() || elements->size() > 16) refuse(key, expected, found);
  for (const Json& element : *elements) {
    if (!whole_in_range(element, minimum, maximum)) refuse(key, expected, found);
    result.push_back(static_cast<std::int64_t>(*element.number()));
  }
  return result;
}

std::vector<std::string> JsonReader::strings(const char* key) {
  const Json& found = *member(key, true);
  const Json::Array* elements = found.array();
  std::vector<std::string> result;
  if (elements == nullptr) refuse(key, "an array of strings", found);
  for (const Json& element : *elements) {
    if (!element.is_string()) refuse(key, "an array of strings", found);
    result.push_back(*element.string());
  }
  return result;
}

std::pair<double, double> JsonReader::ramp(const char* key, double minimum, double maximum) {
  const Json& found = *member(key, true);
  const std::string expected = concat("a number from ", minimum, " to ", maximum, " or a pair [first, last] of them");
  const auto one = [&](const Json& json) {
    const double* value = json.number();
    if (value == nullptr || !(*value >= minimum && *value <= maximum)) refuse(key, expected, found);
    return *value;
  };
  if (const Json::Array* elements = found.array()) {
    if (elements->size() != 2) refuse(key, expected, found);
    return {one((*elements)[0]), one((*elements)[1])};
  }
  const double value = one(found);
  return {value, value};
}

void JsonReader::check_all_read() const {
  for (const auto& [key, value] : *json_.object())
    if (!key.starts_with("_") && std::find(read_.begin(), read_.end(), key) == read_.end())
      fail(ErrorCode::model_format, label_, ": unknown entry \"", key, "\"");
}

}  // namespace paella
