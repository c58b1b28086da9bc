// A graph that grows node by node, and its serialized form.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "onnx/onnx_model.h"

namespace paella::onnx {

using AttributeValue = std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>>;
using Attributes = std::vector<std::pair<const char*, AttributeValue>>;

class Graph {
 public:
  Graph(std::string name, const Signature& signature, DataFile& data, int opset);

  // Appends a node with one output, whose name is returned. `hint` begins the name: what it works for.
  std::string node(const char* op, const std::vector<std::string>& inputs, const Attributes& attributes = {},
                   const std::string& hint = {});
  // The same with several outputs.
  std::vector<std::string> nodes(const char* op, const std::vector<std::string>& inputs, std::size_t outputs,
                                 const Attributes& attributes = {});

  // Initializers inside the graph; equal ones are one.
  std::string scalar(float value);
  std::string scalar(std::int64_t value);
  std::string integers(const std::vector<std::int64_t>& values);
  std::string ones(std::int64_t count);  // f32
  std::string zero(DType type);          // scalar
  // In the data file.
  std::string initializer(const std::shared_ptr<const OnnxConstant>& constant);

  // The value becomes an output of the graph under `name`.
  void output(const std::string& value, const std::string& name);

  std::size_t size() const { return nodes_.size(); }
  const std::vector<const DataFile::Entry*>& initializers() const { return external_; }
  std::string serialize() const;

 private:
  struct Node {
    std::string name, op;
    std::vector<std::string> inputs, outputs;
    Attributes attributes;
  };
  struct Inline {
    std::string name;
    DType type;
    std::vector<std::int64_t> dims;
    std::string bytes;
  };
  std::string inlined(DType type, const std::vector<std::int64_t>& dims, std::string bytes);

  std::string name_;
  const Signature& signature_;
  DataFile& data_;
  int opset_;
  std::vector<Node> nodes_;
  std::vector<Inline> inline_;
  std::map<std::string, std::string> inline_names_;  // by type, shape and contents
  std::vector<const DataFile::Entry*> external_;
  std::map<std::string, int> counts_;             // nodes per operator
  std::map<std::string, std::size_t> producers_;  // value → node
};

}  // namespace paella::onnx
