// A backend that computes nothing and keeps nothing, and counts the memory that another would hold: a model is loaded
// on it and a picture drawn without touching a weight.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"

namespace paella {

// `precision`: fp32, bf16, fp16 or int8, whose operands are bf16.
std::unique_ptr<Backend> make_counting_backend(const std::string& precision);

}  // namespace paella
