// Which sizes an engine is built for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/signature.h"
#include "tensorrt/plugin.h"

namespace paella::tensorrt {

struct Range {
  std::int64_t minimum = 1, optimum = 1, maximum = 1;
  friend bool operator==(const Range&, const Range&) = default;
};

// An entry of engines/profiles.json: what people ask for, in images and pixels.
struct Profile {
  std::string name;
  std::string precision;  // empty: any
  Range batch;            // images
  Range width, height;    // pixels
  Range condition;        // tokens of a prompt, padded to a multiple of 32
  Range steps;
};

// What it means for the symbols of a network's signature. `pixels_per_token` of the model's VQGAN. ERR_INVALID_OPTION
// if a size breaks a rule of the network, e.g. is no multiple of what the model takes.
using Ranges = std::map<std::string, Range>;
Ranges ranges_of(const Profile& profile, const Signature& signature, std::int64_t pixels_per_token);

// The values that give the signature's inputs these shapes; nothing if there are none.
std::optional<std::map<std::string, std::int64_t>> symbols_of(const Signature& signature,
                                                              std::span<const TensorSpec> inputs);
bool covers(const Ranges& ranges, const std::map<std::string, std::int64_t>& symbols);
Ranges exactly(const std::map<std::string, std::int64_t>& symbols);

std::vector<InputRange> input_ranges(const Signature& signature, const Ranges& ranges);
// "batch=1:1:4 height=64:64:64 …": part of the key.
std::string text_of(const Ranges& ranges);

}  // namespace paella::tensorrt
