#include "core/plugin_file.h"

#include <dlfcn.h>

namespace paella {

LibrarySymbol open_library(const std::string& path, const char* function) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* text = dlerror();
    return {nullptr, concat("its library cannot be opened: ", text != nullptr ? text : path)};
  }
  void* address = dlsym(library, function);
  if (address == nullptr) return {nullptr, concat(path, " is not a library of paella-native: it lacks ", function)};
  return {address, {}};
}

}  // namespace paella
