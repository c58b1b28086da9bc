// From ONNX to a plan, with TensorRT's own parser.
#pragma once

#include "tensorrt/plugin.h"

namespace paella::tensorrt {

// Types are those of the graph (strongly typed), one optimization profile of the ranges in `request`. On any thread.
// ERR_BACKEND_UNAVAILABLE with TensorRT's own words; ERR_ABORTED when `request.cancelled` said so.
BuiltPlan build_plan(const BuildRequest& request);

}  // namespace paella::tensorrt
