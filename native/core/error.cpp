#include "core/error.h"

namespace paella {

const char* code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_option:
      return "ERR_INVALID_OPTION";
    case ErrorCode::backend_unavailable:
      return "ERR_BACKEND_UNAVAILABLE";
    case ErrorCode::out_of_memory:
      return "ERR_OUT_OF_MEMORY";
    case ErrorCode::model_format:
      return "ERR_MODEL_FORMAT";
    case ErrorCode::model_not_found:
      return "ERR_MODEL_NOT_FOUND";
    case ErrorCode::disposed:
      return "ERR_DISPOSED";
    case ErrorCode::queue_full:
      return "ERR_QUEUE_FULL";
    case ErrorCode::deadline:
      return "ERR_DEADLINE";
    case ErrorCode::numeric:
      return "ERR_NUMERIC";
    case ErrorCode::io:
      return "ERR_IO";
    case ErrorCode::aborted:
      return "ERR_ABORTED";
    case ErrorCode::internal:
      return "ERR_INTERNAL";
  }
  return "ERR_INTERNAL";
}

}  // namespace paella
