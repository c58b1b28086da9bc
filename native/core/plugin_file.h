// Opens a plug-in of this project: a library with one C function that gives a structure, whose first member `abi` says
// which build it belongs to.
#pragma once

#include <cstring>
#include <string>

#include "core/error.h"

namespace paella {

template <typename Plugin>
struct PluginFile {
  const Plugin* plugin = nullptr;  // null: `reason` says why
  std::string reason;
};

struct LibrarySymbol {
  void* address = nullptr;
  std::string reason;
};
// Opens a library, which stays open for the life of the process, and finds the function in it. Never throws.
LibrarySymbol open_library(const std::string& path, const char* function);

template <typename Plugin>
PluginFile<Plugin> open_plugin_file(const std::string& path, const char* function, const char* abi) {
  const LibrarySymbol symbol = open_library(path, function);
  if (symbol.address == nullptr) return {nullptr, symbol.reason};
  const auto* found = reinterpret_cast<const Plugin* (*)()>(symbol.address)();
  const char* other = found == nullptr ? nullptr : found->abi;
  if (other == nullptr || std::strcmp(other, abi) != 0)
    return {nullptr, concat(path, " belongs to another build: expected ", abi, ", found ", other ? other : "none")};
  return {found, {}};
}

}  // namespace paella
