// Exports the networks of a model to ONNX files (docs/onnx.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/signature.h"
#include "pipeline/model_folder.h"

namespace paella {

struct ExportRequest {
  std::string model;                       // as for read_model_config()
  std::string folder;                      // exists; holds none of the files that will be written
  std::string precision = "fp32";          // fp32, bf16 or fp16
  std::vector<std::string> networks = {};  // names of exportable_networks(); empty: all that the model has
  int opset = 20;
};

struct ExportedNetwork {
  std::string name, file, data_file;
  Signature signature;
  std::size_t nodes = 0, initializers = 0;
};

struct ExportedData {
  std::string file;
  std::string component;  // whose weights these are: "unet", …
  std::uint64_t bytes = 0;
};

struct ExportResult {
  ModelConfig config;
  // With the text encoder: what its input `position_bias` is made of, [relative_buckets, num_heads].
  std::vector<float> relative_biases;
  std::vector<ExportedNetwork> networks;
  std::vector<ExportedData> data;
};

struct ExportProgress {
  std::string phase;                  // "reading unet", "writing unet"
  std::uint64_t done = 0, total = 0;  // bytes; total 0: not known
};

// All names that can be asked for, in the order in which they are written.
std::vector<std::string> exportable_networks();

// `progress` may throw to cancel, and is called often. Of each component the weights are read, its graphs recorded, the
// weights written and let go. ERR_INVALID_OPTION for an unknown network or one that this model does not have, and what
// read_model_config(), the weights and onnx::record() throw; ERR_IO. What was written before an error stays in the
// folder.
ExportResult export_model(const ExportRequest& request,
                          const std::function<void(const ExportProgress&)>& progress = {});

}  // namespace paella
