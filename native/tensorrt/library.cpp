#include "tensorrt/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <sstream>
#include <system_error>

#include "core/error.h"

namespace paella::tensorrt {

namespace {

namespace fs = std::filesystem;

constexpr const char* title = is_rtx ? "TensorRT-RTX" : "TensorRT";
// Weights are handed to the parser from memory (IParser::loadInitializer), which came with 10.13.
constexpr int oldest_minor = !is_rtx && NV_TENSORRT_MAJOR == 10 ? 13 : 0;
const std::string major_text = std::to_string(NV_TENSORRT_MAJOR);
const std::string inference_stem = is_rtx ? "libtensorrt_rtx.so" : "libnvinfer.so";
const std::string parser_stem = is_rtx ? "libtensorrt_onnxparser_rtx.so" : "libnvonnxparser.so";
const std::string pip_folder = is_rtx ? "tensorrt_rtx_libs" : "tensorrt_libs";

std::string headers_version() { return concat(NV_TENSORRT_MAJOR, '.', NV_TENSORRT_MINOR, '.', NV_TENSORRT_PATCH); }

std::string install_remedy() {
  return concat("Set TENSORRT_ROOT to the folder of ", title, ' ', NV_TENSORRT_MAJOR,
                is_rtx ? concat('.', NV_TENSORRT_MINOR) : "",
                ", or install its libraries with pip (docs/tensorrt.md).");
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void add_site_packages(std::vector<fs::path>& folders, const fs::path& prefix) {
  std::error_code error;
  for (const char* library : {"lib", "lib64"})
    for (fs::directory_iterator python(prefix / library, error), end; !error && python != end;
         python.increment(error)) {
      if (!python->path().filename().string().starts_with("python3")) continue;
      for (const char* packages : {"site-packages", "dist-packages"})
        folders.push_back(python->path() / packages / pip_folder);
    }
}

// Where to look. TENSORRT_ROOT alone, if it is set: whoever names a folder does not want another.
std::vector<fs::path> search_folders() {
  std::vector<fs::path> folders;
  if (const std::string root = environment("TENSORRT_ROOT"); !root.empty()) {
    for (const char* inside : {"lib", "lib64", "targets/x86_64-linux-gnu/lib", "targets/aarch64-linux-gnu/lib"})
      folders.push_back(fs::path(root) / inside);
    folders.emplace_back(root);
    folders.push_back(fs::path(root) / pip_folder);
    return folders;
  }
  std::istringstream loader_path(environment("LD_LIBRARY_PATH"));
  for (std::string folder; std::getline(loader_path, folder, ':');)
    if (!folder.empty()) folders.emplace_back(folder);
  for (const char* prefix : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const std::string value = environment(prefix); !value.empty()) add_site_packages(folders, value);
  if (const std::string home = environment("HOME"); !home.empty())
    add_site_packages(folders, fs::path(home) / ".local");
  for (const char* prefix : {"/usr/local", "/usr"}) add_site_packages(folders, prefix);
  return folders;
}

std::string last_dl_error() {
  const char* text = dlerror();
  return text != nullptr ? text : "no reason given";
}

// "libnvinfer.so.8" beside the wanted "libnvinfer.so.11": what to say when the right one is missing.
std::string other_major(const std::vector<fs::path>& folders) {
  for (const fs::path& folder : folders) {
    std::error_code error;
    for (fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
      const std::string name = file->path().filename().string();
      if (name.starts_with(inference_stem + ".")) return file->path().string();
    }
  }
  return "";
}

template <typename Function>
bool find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

OpenedLibrary refused(OpenedLibrary result, const std::string& reason, const std::string& remedy = install_remedy()) {
  result.info.path.clear();
  result.info.reason = reason;
  result.info.remedy = remedy;
  result.entry = {};
  return result;
}

// The inference library of the right major by file name, opened: from a folder, or by the loader.
void* open_inference(const std::vector<fs::path>& folders, OpenedLibrary& result, std::string& failure) {
  const std::string name = inference_stem + "." + major_text;
  for (const fs::path& folder : folders) {
    const fs::path file = folder / name;
    std::error_code error;
    if (!fs::exists(file, error)) continue;
    result.info.found = true;
    if (void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      result.info.path = file.string();
      return library;
    }
    failure = concat(file.string(), " cannot be opened: ", last_dl_error());
  }
  if (!environment("TENSORRT_ROOT").empty()) return nullptr;
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  result.info.found = true;
  result.info.path = name;
  return library;
}

// ERR text if the library is of a version that these headers do not describe. Classes of TensorRT keep their layout
// within a major version; TensorRT-RTX has renumbered flags between minor versions (1.4 and 1.5).
std::string version_mismatch(int major, int minor, const std::string& found) {
  const bool fits = major == NV_TENSORRT_MAJOR && (is_rtx ? minor == NV_TENSORRT_MINOR : minor >= oldest_minor);
  if (fits) return "";
  return concat("expected ", title, ' ', NV_TENSORRT_MAJOR,
                is_rtx             ? concat('.', NV_TENSORRT_MINOR)
                : oldest_minor > 0 ? concat('.', oldest_minor, " or later")
                                   : ".x",
                ", for which this build has headers (", headers_version(), "), found ", found);
}

OpenedLibrary open_library() {
  OpenedLibrary result;
  const std::vector<fs::path> folders = search_folders();
  std::string failure;
  void* inference = open_inference(folders, result, failure);
  if (inference == nullptr) {
    if (!failure.empty()) return refused(result, failure);
    if (const std::string other = other_major(folders); !other.empty()) {
      result.info.found = true;
      return refused(result, concat("expected ", inference_stem, '.', major_text, " (", title, ' ', major_text,
                                    "), found ", other));
    }
    const std::string root = environment("TENSORRT_ROOT");
    return refused(result, concat(inference_stem, '.', major_text, " was not found",
                                  root.empty() ? "" : concat(" in TENSORRT_ROOT=", root)));
  }
  std::int32_t (*major)() = nullptr;
  std::int32_t (*minor)() = nullptr;
  std::int32_t (*patch)() = nullptr;
  std::int32_t (*build)() = nullptr;
  const std::string path = result.info.path;
  if (!find(inference, "getInferLibMajorVersion", major) || !find(inference, "getInferLibMinorVersion", minor) ||
      !find(inference, "getInferLibPatchVersion", patch) || !find(inference, "getInferLibBuildVersion", build))
    return refused(result, concat(path, " is not a library of ", title, ": it does not tell its version"));
  result.info.version = concat(major(), '.', minor(), '.', patch(), '.', build());
  if (const std::string text = version_mismatch(major(), minor(), concat(result.info.version, " in ", path));
      !text.empty())
    return refused(result, text);
  EntryPoints& entry = result.entry;
  if (!find(inference, "createInferBuilder_INTERNAL", entry.create_builder) ||
      !find(inference, "createInferRuntime_INTERNAL", entry.create_runtime) ||
      !find(inference, "createInferRefitter_INTERNAL", entry.create_refitter))
    return refused(result, concat(path, " can only run plans: expected the whole ", title,
                                  ", found a library without builder, runtime or refitter"));

  // The parser lies beside it.
  const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path();
  const std::string parser_file = (folder / (parser_stem + "." + major_text)).string();
  void* parser = dlopen(parser_file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (parser == nullptr) return refused(result, concat("its ONNX parser cannot be opened: ", last_dl_error()));
  if (!find(parser, "createNvOnnxParser_INTERNAL", entry.create_parser) ||
      !find(parser, "createNvOnnxParserRefitter_INTERNAL", entry.create_parser_refitter))
    return refused(result, concat(parser_file, " is not the ONNX parser of ", title, ' ', major_text));
  return result;
}

}  // namespace

const OpenedLibrary& opened_library() {
  static const OpenedLibrary opened = [] {
    try {
      return open_library();
    } catch (const std::exception& error) {
      return refused({}, error.what());
    }
  }();
  return opened;
}

const EntryPoints& entry_points() {
  const OpenedLibrary& opened = opened_library();
  if (opened.info.path.empty())
    throw Error(ErrorCode::backend_unavailable, concat("backend tensorrt is unavailable: ", opened.info.reason),
                opened.info.remedy);
  return opened.entry;
}

void open_builder_resources() {
  if (is_rtx) return;
  static std::once_flag once;
  std::call_once(once, [] {
    const fs::path folder = fs::path(opened_library().info.path).parent_path();
    std::error_code error;
    if (folder.empty()) return;
    for (fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error))
      if (file->path().filename().string().starts_with("libnvinfer_builder_resource"))
        dlopen(file->path().c_str(), RTLD_LAZY | RTLD_LOCAL);  // if it is needed and missing, the build says so
  });
}

void Logger::log(Severity severity, char const* message) noexcept {
  try {
    using Own = paella::tensorrt::Severity;
    const bool failed = severity == Severity::kINTERNAL_ERROR || severity == Severity::kERROR;
    if (failed) {
      const std::lock_guard lock(mutex_);
      if (errors_.size() < 8) errors_.emplace_back(message);
    }
    if (!log_) return;
    log_(failed                           ? Own::error
         : severity == Severity::kWARNING ? Own::warning
         : severity == Severity::kINFO    ? Own::info
                                          : Own::debug,
         message);
  } catch (...) {  // a message that is lost is no reason to end the process
  }
}

std::string Logger::take_errors() {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const std::string& line : errors_) text += (text.empty() ? "" : "\n") + line;
  errors_.clear();
  return text;
}

}  // namespace paella::tensorrt
