#include "onnx/graph.h"

#include <algorithm>
#include <bit>
#include <protozero/pbf_writer.hpp>

#include "core/error.h"
#include "onnx/schema.h"

namespace paella::onnx {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

namespace {

using protozero::pbf_writer;

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

void write_attribute(pbf_writer& node, const char* name, const AttributeValue& value) {
  pbf_writer out(node, schema::node::attribute);
  out.add_string(schema::attribute::name, name);
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    out.add_int64(schema::attribute::i, *number);
    out.add_enum(schema::attribute::type, schema::attribute::int_type);
  } else if (const auto* real = std::get_if<float>(&value)) {
    out.add_float(schema::attribute::f, *real);
    out.add_enum(schema::attribute::type, schema::attribute::float_type);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    out.add_bytes(schema::attribute::s, *text);
    out.add_enum(schema::attribute::type, schema::attribute::string_type);
  } else {
    for (const std::int64_t each : std::get<std::vector<std::int64_t>>(value))
      out.add_int64(schema::attribute::ints, each);
    out.add_enum(schema::attribute::type, schema::attribute::ints_type);
  }
}

void write_entry(pbf_writer& tensor, const char* key, const std::string& value) {
  pbf_writer entry(tensor, schema::tensor::external_data);
  entry.add_string(schema::entry::key, key);
  entry.add_string(schema::entry::value, value);
}

void write_port(pbf_writer& graph, std::uint32_t field, const Port& port) {
  pbf_writer info(graph, field);
  info.add_string(schema::value_info::name, port.name);
  pbf_writer type(info, schema::value_info::type);
  pbf_writer tensor(type, schema::type::tensor);
  tensor.add_int32(schema::tensor_type::elem_type, schema::data_type(port.type));
  pbf_writer shape(tensor, schema::tensor_type::shape);
  for (const Dim& dim : port.dims) {
    pbf_writer dimension(shape, schema::shape::dim);
    if (dim.constant()) {
      dimension.add_int64(schema::dimension::value, dim.offset);
    } else {
      dimension.add_string(schema::dimension::param, dim.text());
    }
  }
}

}  // namespace

Graph::Graph(std::string name, const Signature& signature, DataFile& data, int opset)
    : name_(std::move(name)), signature_(signature), data_(data), opset_(opset) {}

std::string Graph::node(const char* op, const std::vector<std::string>& inputs, const Attributes& attributes,
                        const std::string& hint) {
  std::string name = concat(hint, hint.empty() ? "" : "/", op, '_', counts_[op]++);
  producers_[name] = nodes_.size();
  nodes_.push_back({name, op, inputs, {name}, attributes});
  return name;
}

std::vector<std::string> Graph::nodes(const char* op, const std::vector<std::string>& inputs, std::size_t outputs,
                                      const Attributes& attributes) {
  const std::string name = concat(op, '_', counts_[op]++);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < outputs; ++i) {
    names.push_back(concat(name, '.', i));
    producers_[names.back()] = nodes_.size();
  }
  nodes_.push_back({name, op, inputs, names, attributes});
  return names;
}

std::string Graph::inlined(DType type, const std::vector<std::int64_t>& dims, std::string bytes) {
  std::string key = concat(name_of(type), dims.size(), ' ');
  key += bytes_of(dims) + bytes;
  const auto [found, fresh] = inline_names_.try_emplace(key, concat("constant_", inline_.size()));
  if (fresh) inline_.push_back({found->second, type, dims, std::move(bytes)});
  return found->second;
}

std::string Graph::scalar(float value) { return inlined(DType::f32, {}, bytes_of(std::vector{value})); }
std::string Graph::scalar(std::int64_t value) { return inlined(DType::i64, {}, bytes_of(std::vector{value})); }
std::string Graph::integers(const std::vector<std::int64_t>& values) {
  return inlined(DType::i64, {static_cast<std::int64_t>(values.size())}, bytes_of(values));
}
std::string Graph::ones(std::int64_t count) {
  return inlined(DType::f32, {count}, bytes_of(std::vector<float>(static_cast<std::size_t>(count), 1.0f)));
}
std::string Graph::zero(DType type) { return inlined(type, {}, std::string(size_of(type), '\0')); }

std::string Graph::initializer(const std::shared_ptr<const OnnxConstant>& constant) {
  const DataFile::Entry& entry = data_.place(constant);
  if (std::find(external_.begin(), external_.end(), &entry) == external_.end()) external_.push_back(&entry);
  return entry.name;
}

void Graph::output(const std::string& value, const std::string& name) {
  const auto producer = producers_.find(value);
  // An input, an initializer or another output keeps its name.
  const bool renamed = producer != producers_.end();
  if (!renamed) {
    nodes_.push_back({name, "Identity", {value}, {name}, {}});
    return;
  }
  const auto rename = [&](std::vector<std::string>& names) { std::replace(names.begin(), names.end(), value, name); };
  for (Node& node : nodes_) {
    rename(node.inputs);
    rename(node.outputs);
  }
  producers_.erase(producer);
}

std::string Graph::serialize() const {
  std::string bytes;
  pbf_writer model(bytes);
  model.add_int64(schema::model::ir_version, opset_ >= 21 ? 10 : 9);
  model.add_string(schema::model::producer_name, "paella-native");
  model.add_string(schema::model::producer_version, PAELLA_VERSION);
  {
    pbf_writer graph(model, schema::model::graph);
    for (const Node& node : nodes_) {
      pbf_writer out(graph, schema::graph::node);
      for (const std::string& input : node.inputs) out.add_string(schema::node::input, input);
      for (const std::string& output : node.outputs) out.add_string(schema::node::output, output);
      out.add_string(schema::node::name, node.name);
      out.add_string(schema::node::op_type, node.op);
      for (const auto& [name, value] : node.attributes) write_attribute(out, name, value);
    }
    graph.add_string(schema::graph::name, name_);
    for (const Inline& each : inline_) {
      pbf_writer out(graph, schema::graph::initializer);
      for (const std::int64_t dim : each.dims) out.add_int64(schema::tensor::dims, dim);
      out.add_int32(schema::tensor::data_type, schema::data_type(each.type));
      out.add_string(schema::tensor::name, each.name);
      out.add_bytes(schema::tensor::raw_data, each.bytes);
    }
    for (const DataFile::Entry* each : external_) {
      pbf_writer out(graph, schema::graph::initializer);
      const Shape& shape = each->constant->shape;
      for (int axis = 0; axis < shape.rank(); ++axis) out.add_int64(schema::tensor::dims, shape[axis]);
      out.add_int32(schema::tensor::data_type, schema::data_type(each->constant->type()));
      out.add_string(schema::tensor::name, each->name);
      write_entry(out, "location", data_.name());
      write_entry(out, "offset", std::to_string(each->offset));
      write_entry(out, "length", std::to_string(each->constant->bytes));
      out.add_enum(schema::tensor::data_location, schema::tensor::external);
    }
    for (const Port& port : signature_.inputs) write_port(graph, schema::graph::input, port);
    for (const Port& port : signature_.outputs) write_port(graph, schema::graph::output, port);
  }
  {
    pbf_writer opset(model, schema::model::opset_import);
    opset.add_int64(schema::opset::version, opset_);
  }
  return bytes;
}

}  // namespace paella::onnx
