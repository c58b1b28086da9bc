// How much memory a model takes, from its configuration alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "pipeline/model.h"

namespace paella {

struct MemoryEstimate {
  std::map<std::string, std::int64_t> parameters;  // per component
  std::map<std::string, std::size_t> weights;      // per component, while it is loaded
  std::size_t drawing = 0;                         // buffers and activations beside the weights

  // Weights that are there at once, at most; and with what drawing takes.
  std::size_t loaded(MemoryMode mode) const;
  std::size_t peak(MemoryMode mode) const;

 private:
  std::size_t total() const;
  std::size_t largest_encoder() const;
};

struct EstimateRequest {
  std::string precision;  // fp32, bf16, fp16 or int8
  EncoderWeights encoder_weights = EncoderWeights::full;
  std::int64_t width = 0, height = 0;  // pixels; 0: the model's own
  std::int64_t batch = 1;              // images at a time
};

// Loads the model and draws with guidance, a prompt of 64 bytes and whatever the model has besides, on a backend that
// only counts. Errors as of Model, but for damaged values; ERR_INVALID_OPTION for a size that is no multiple.
MemoryEstimate estimate_memory(const ModelConfig& config, const EstimateRequest& request);

// ERR_OUT_OF_MEMORY, with needed and free bytes, unless the model's weights fit into `free` bytes; 0: not known, and
// nothing is checked. To be called before they are loaded.
void check_room(const ModelConfig& config, const std::string& precision, std::size_t free, const ModelOptions& options);

}  // namespace paella
