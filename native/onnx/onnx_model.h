// ONNX from the one description of each network: an executor of core/ops.h that records instead of computing.
//
//   const auto backend = onnx::make_backend("bf16");
//   Unet unet(config, Loader(source, *backend));                    // constants become references to the weights
//   const auto network = unet.denoise();
//   const DType operand = backend->operand_type();
//   onnx::DataFile data("unet.onnx.data");
//   const onnx::Model model = onnx::record(*network, network->signature(operand), operand, data);
//   onnx::write(model.graph, folder + "/unet.onnx"); data.write(folder, progress);
//
// The graph has exactly the inputs and outputs of the signature, by its names and in its order. Types are explicit
// (strongly typed), activations are [B, H, W, C] as in core/ops.h. Opset 20 to 22, no control flow, no custom operator.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/signature.h"

namespace paella::onnx {

// The values of one constant, as they will stand in the model: in `type`, row-major, in the shape that the network
// gave. Refers to the mapped weights file where it can; what was derived at load is held here.
class OnnxConstant final : public Constant, public std::enable_shared_from_this<OnnxConstant> {
 public:
  OnnxConstant(const HostTensor& tensor, Layout layout, DType type);
  const std::string& name() const { return tensor_.name; }
  DType type() const { return type_; }
  Layout layout() const { return layout_; }
  // Bytes [first, first + out.size()), converted on the way; both are multiples of the element's size.
  void read(std::size_t first, std::span<std::uint8_t> out) const;
  // All of them, if they lie in memory as they are wanted; else null.
  const void* data() const;

 private:
  HostTensor tensor_;  // its owner keeps the memory
  Layout layout_;
  DType type_;
};

// Where a graph's initializers lie in a file beside it. Several graphs may share one: a constant is written once.
class DataFile {
 public:
  static constexpr std::size_t alignment = 4096;  // a page: so that the file can be mapped
  explicit DataFile(std::string name) : name_(std::move(name)) {}

  struct Entry {
    std::string name;  // unique within the file
    std::uint64_t offset = 0;
    std::shared_ptr<const OnnxConstant> constant;
  };
  // The place of a constant, which is a new one the first time.
  const Entry& place(const std::shared_ptr<const OnnxConstant>& constant);

  // File name, relative to the graph's folder.
  const std::string& name() const { return name_; }
  // In the order of their offsets.
  const std::vector<std::unique_ptr<Entry>>& entries() const { return entries_; }
  std::uint64_t bytes() const { return bytes_; }

  // Streams everything to folder/name(), which must not exist. `progress` is told the bytes written since the last
  // call, bytes() in all, and may throw to cancel. ERR_IO. A file that was not finished is removed.
  void write(const std::string& folder, const std::function<void(std::size_t)>& progress = {}) const;

 private:
  std::string name_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::map<const OnnxConstant*, const Entry*> places_;
  std::set<std::string> names_;
  std::uint64_t bytes_ = 0;
};

struct Model {
  std::string graph;  // a serialized onnx.ModelProto that refers to the data file
  // Those of the data file that this graph uses, by the names that they have in the graph.
  std::vector<const DataFile::Entry*> initializers;
  Signature signature;
  int opset = 0;
  std::size_t nodes = 0;
};

constexpr int oldest_opset = 20, newest_opset = 22;

struct RecordOptions {
  int opset = oldest_opset;
  // How constants of this backend are found in those of another that holds one of each. Default: they are ours.
  std::function<std::shared_ptr<const OnnxConstant>(const Constant&)> resolve;
};

// `operand`: what products read, as of the backend that holds the constants. Fixed sizes:
// record(network, signature.fixed({{"batch", 1}, …}), …). Another type of an output or input, where the network knows
// two: change it in the signature. ERR_INTERNAL if the description does something with a size that the graph cannot
// follow; ERR_INVALID_OPTION for an opset that is not supported.
Model record(const Description& network, const Signature& signature, DType operand, DataFile& data,
             const RecordOptions& options = {});

// Writes a file that must not exist. ERR_IO; nothing is left of a file that was not finished.
void write(const std::string& bytes, const std::string& path);

// Holds constants and nothing else: what else a backend can do fails with ERR_INTERNAL. precision: fp32, bf16 or fp16
// (ERR_INVALID_OPTION). Constants that are not finite, or not in fp16: ERR_NUMERIC.
std::unique_ptr<Backend> make_backend(const std::string& precision);
// The same constant, for backends that keep one beside their own.
std::shared_ptr<const OnnxConstant> make_constant(const HostTensor& tensor, Layout layout, DType operand);

}  // namespace paella::onnx
