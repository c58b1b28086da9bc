// TensorRT's libraries, opened at run time. Compiled once for each set of headers; nothing of TensorRT is linked.
#pragma once

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tensorrt/plugin.h"

namespace paella::tensorrt {

#if defined(TRT_MAJOR_RTX)
inline constexpr bool is_rtx = true;
#else
inline constexpr bool is_rtx = false;
#endif

// Entry points by name. Null pointers until `opened.path` is set.
struct EntryPoints {
  void* (*create_builder)(void* logger, std::int32_t version) = nullptr;
  void* (*create_runtime)(void* logger, std::int32_t version) = nullptr;
  void* (*create_refitter)(void* engine, void* logger, std::int32_t version) = nullptr;
  void* (*create_parser)(void* network, void* logger, int version) = nullptr;
  void* (*create_parser_refitter)(void* refitter, void* logger, int version) = nullptr;
};

struct OpenedLibrary {
  Library info;
  EntryPoints entry;
};

// The one of this process; opened by the first call, never closed.
const OpenedLibrary& opened_library();
// ERR_BACKEND_UNAVAILABLE with the reason if there is none.
const EntryPoints& entry_points();

// Before a build: full TensorRT looks for its builder resources on the loader path only, so those that lie beside the
// library are opened here, where they are found by their name afterwards.
void open_builder_resources();

// Passes on what TensorRT says, and keeps the errors for the message of the exception that follows. TensorRT calls it
// from threads of its own.
class Logger final : public nvinfer1::ILogger {
 public:
  explicit Logger(Log log) : log_(std::move(log)) {}
  void log(Severity severity, char const* message) noexcept override;
  // What was said as errors since the last call, one per line; empty if nothing was.
  std::string take_errors();

 private:
  Log log_;
  std::mutex mutex_;
  std::vector<std::string> errors_;
};

}  // namespace paella::tensorrt
