#include "tensorrt/plugin.h"

#include "core/error.h"
#include "tensorrt/builder.h"
#include "tensorrt/engine.h"
#include "tensorrt/library.h"

#define PAELLA_TEXT_(x) #x
#define PAELLA_TEXT(x) PAELLA_TEXT_(x)

namespace paella::tensorrt {

namespace {

const Library& library() { return opened_library().info; }

// NVIDIA's support matrices; a build on such a GPU would fail with the library's own words, but only after the model
// was loaded.
std::string refusal(int major, int minor) {
  const int capability = major * 10 + minor;
  if (is_rtx && (capability == 80 || capability == 90 || capability < 75))
    return concat("TensorRT-RTX does not support compute capability ", major, '.', minor,
                  ": use the full TensorRT there");
  if (!is_rtx && capability < 75)
    return concat("TensorRT ", NV_TENSORRT_MAJOR, " needs compute capability 7.5 or later, found ", major, '.', minor);
  return "";
}

constexpr Plugin exported = {plugin_abi,
                             is_rtx ? "rtx" : "enterprise",
#if defined(TRT_MAJOR_RTX)
                             PAELLA_TEXT(TRT_MAJOR_RTX) "." PAELLA_TEXT(TRT_MINOR_RTX) "." PAELLA_TEXT(TRT_PATCH_RTX),
#elif defined(TRT_MAJOR_ENTERPRISE)
                             PAELLA_TEXT(TRT_MAJOR_ENTERPRISE) "." PAELLA_TEXT(TRT_MINOR_ENTERPRISE) "." PAELLA_TEXT(
                                 TRT_PATCH_ENTERPRISE),
#else
                             PAELLA_TEXT(NV_TENSORRT_MAJOR) "." PAELLA_TEXT(NV_TENSORRT_MINOR) "." PAELLA_TEXT(
                                 NV_TENSORRT_PATCH),
#endif
                             library,
                             refusal,
                             build_plan,
                             load_engine};

}  // namespace

}  // namespace paella::tensorrt

const paella::tensorrt::Plugin* paella_tensorrt_plugin() { return &paella::tensorrt::exported; }
