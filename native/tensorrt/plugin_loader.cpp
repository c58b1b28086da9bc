#include "tensorrt/plugin_loader.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "core/error.h"
#include "core/plugin_file.h"

namespace paella::tensorrt {

namespace {

constexpr const char* rebuild = "In a clone run `npm run build -- --tensorrt`; otherwise use the backend cuda or cpu.";

OpenedPlugin unfit(OpenedPlugin result, const std::string& reason) {
  result.reason = reason;
  result.remedy = rebuild;
  return result;
}

std::string title(const Plugin& plugin) {
  return concat(std::string_view(plugin.flavour) == "rtx" ? "TensorRT-RTX " : "TensorRT ", plugin.headers);
}

// "11.4.0" → {11, 4, 0}
std::vector<int> numbers(const char* version) {
  std::vector<int> result;
  for (char* at = const_cast<char*>(version); *at != '\0'; at += *at == '.')
    result.push_back(static_cast<int>(std::strtol(at, &at, 10)));
  return result;
}

// Full TensorRT before RTX, newer before older, what cannot be used last.
bool before(const OpenedPlugin& a, const OpenedPlugin& b) {
  if (a.plugin == nullptr || b.plugin == nullptr) return a.plugin != nullptr && b.plugin == nullptr;
  const int flavours = std::strcmp(a.plugin->flavour, b.plugin->flavour);
  if (flavours != 0) return flavours < 0;
  return numbers(a.plugin->headers) > numbers(b.plugin->headers);
}

}  // namespace

OpenedPlugin open_plugin(const std::string& path) {
  OpenedPlugin result;
  result.path = path;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return unfit(result, concat("there is no file ", path));
  const auto [plugin, reason] = open_plugin_file<Plugin>(path, plugin_entry, plugin_abi);
  if (plugin == nullptr) return unfit(result, reason);
  result.plugin = plugin;
  return result;
}

std::vector<OpenedPlugin> open_plugins(const std::string& folder) {
  std::vector<OpenedPlugin> result;
  std::error_code error;
  for (std::filesystem::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
    const std::string name = file->path().filename().string();
    if (name.starts_with(plugin_prefix) && name.ends_with(".so")) result.push_back(open_plugin(file->path().string()));
  }
  std::sort(result.begin(), result.end(), before);
  return result;
}

const std::vector<OpenedPlugin>& plugins() {
  static const std::vector<OpenedPlugin> opened = [] {
    const char* named = std::getenv("PAELLA_TENSORRT_PLUGIN");
    if (named == nullptr || *named == '\0') return open_plugins(cuda::plugin_folder());
    return std::vector<OpenedPlugin>{open_plugin(named)};
  }();
  return opened;
}

Choice choose(const std::vector<OpenedPlugin>& opened, const std::string& flavour,
              const std::optional<cuda::DeviceInfo>& gpu) {
  Choice result;
  bool any = false;
  const auto note = [&](const std::string& reason, const std::string& remedy) {
    result.reason += (result.reason.empty() ? "" : "; ") + reason;
    if (result.remedy.empty()) result.remedy = remedy;
  };
  for (const OpenedPlugin& each : opened) {
    if (each.plugin == nullptr) {
      note(each.reason, each.remedy);
      result.unexpected = true;
      continue;
    }
    const Plugin& plugin = *each.plugin;
    if (!flavour.empty() && flavour != plugin.flavour) continue;
    any = true;
    const Library& library = plugin.library();
    if (library.path.empty()) {
      note(concat(title(plugin), ": ", library.reason), library.remedy);
      result.unexpected = result.unexpected || library.found;
      continue;
    }
    if (const std::string refusal = gpu ? plugin.refusal(gpu->major, gpu->minor) : ""; !refusal.empty()) {
      note(refusal, "See docs/tensorrt.md for which GPU needs which TensorRT, or use the backend cuda.");
      result.unexpected = true;
      continue;
    }
    return {&plugin, "", "", false};
  }
  if (!any && result.reason.empty()) {
    result.reason = flavour.empty() ? "this build does not contain it"
                                    : concat("this build has no plug-in for the flavour ", flavour);
    result.remedy = rebuild;
  }
  return result;
}

const Plugin& usable(const Choice& choice) {
  if (choice.plugin == nullptr)
    throw Error(ErrorCode::backend_unavailable, concat("backend tensorrt is unavailable: ", choice.reason),
                choice.remedy);
  return *choice.plugin;
}

}  // namespace paella::tensorrt
