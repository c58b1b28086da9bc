#include "cuda/plugin_loader.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <system_error>

#include "core/error.h"
#include "core/plugin_file.h"

namespace paella::cuda {

namespace {

constexpr const char* rebuild = "In a clone run `npm run build -- --cuda`; otherwise use the backend cpu.";

OpenedPlugin missing(OpenedPlugin result) {
  result.reason = "this build does not contain it";
  result.remedy = rebuild;
  return result;
}

OpenedPlugin unfit(OpenedPlugin result, const std::string& reason) {
  result.reason = reason;
  result.remedy = rebuild;
  return result;
}

}  // namespace

OpenedPlugin open_plugin(const std::string& path) {
  OpenedPlugin result;
  result.path = path;
  std::error_code error;
  result.found = std::filesystem::exists(path, error);
  if (!result.found) return missing(result);
  const auto [plugin, reason] = open_plugin_file<Plugin>(path, plugin_entry, plugin_abi);
  if (plugin == nullptr) return unfit(result, reason);
  result.plugin = plugin;
  return result;
}

std::string plugin_folder() {
  Dl_info info = {};
  if (dladdr(reinterpret_cast<const void*>(&plugin_folder), &info) == 0 || info.dli_fname == nullptr) return {};
  // A program that was found through PATH is called by its bare name.
  const std::filesystem::path module = std::strchr(info.dli_fname, '/') != nullptr ? info.dli_fname : "/proc/self/exe";
  std::error_code error;
  const auto real = std::filesystem::canonical(module, error);
  return (error ? module.parent_path() : real.parent_path()).string();
}

const OpenedPlugin& plugin() {
  static const OpenedPlugin opened = [] {
    const char* named = std::getenv("PAELLA_CUDA_PLUGIN");
    if (named == nullptr || *named == '\0')
      return open_plugin((std::filesystem::path(plugin_folder()) / plugin_file).string());
    OpenedPlugin result = open_plugin(named);
    if (!result.found) {
      result.reason = concat("PAELLA_CUDA_PLUGIN: expected a file, got ", named);
      result.remedy = concat("Name a ", plugin_file, " of this version, or unset the variable.");
      result.found = true;  // somebody expects it
    }
    return result;
  }();
  return opened;
}

Availability availability(const OpenedPlugin& opened) {
  Availability result;
  if (opened.plugin == nullptr) {
    result.reason = opened.reason;
    result.remedy = opened.remedy;
    result.unexpected = opened.found;
    return result;
  }
  try {
    result.survey = opened.plugin->survey();
    result.reason = result.survey.reason;
    result.remedy = result.survey.remedy;
    // No driver, or a driver that shows no GPU: a machine like any other.
    result.unexpected = !result.reason.empty() && !result.survey.no_device;
  } catch (const std::exception& error) {
    result.reason = error.what();
    result.remedy =
        "Run NVIDIA's `nvidia-smi`: if it fails too, the driver has to be repaired or the machine restarted.";
    result.unexpected = true;
  }
  result.available = result.reason.empty();
  return result;
}

const Plugin& usable(const OpenedPlugin& opened) {
  if (opened.plugin == nullptr)
    throw Error(ErrorCode::backend_unavailable, concat("backend cuda is unavailable: ", opened.reason), opened.remedy);
  return *opened.plugin;
}

}  // namespace paella::cuda
