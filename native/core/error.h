// The one error type of the project, and how messages are put together.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace paella {

enum class ErrorCode {
  invalid_option,
  backend_unavailable,
  out_of_memory,
  model_format,
  model_not_found,
  disposed,
  queue_full,
  deadline,
  numeric,
  io,
  aborted,
  internal,
};

// "ERR_INVALID_OPTION", …: the `code` of the JavaScript error.
const char* code_name(ErrorCode code);

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, std::string remedy = {})
      : std::runtime_error(message), code_(code), remedy_(std::move(remedy)) {}
  ErrorCode code() const { return code_; }
  // What the user can do about it; may be empty.
  const std::string& remedy() const { return remedy_; }

 private:
  ErrorCode code_;
  std::string remedy_;
};

template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  throw Error(code, concat(parts...));
}

// For what only a defect of ours can violate.
template <typename... Parts>
void expect(bool condition, const Parts&... parts) {
  if (!condition) fail(ErrorCode::internal, parts...);
}

}  // namespace paella
