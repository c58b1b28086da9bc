// The safetensors container: 8 bytes length of the header (little-endian), a JSON header, then the data of all tensors.
// The checks are those of the reference implementation (Rust crate `safetensors`).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "core/weights.h"

namespace paella {

namespace {

constexpr std::uint64_t max_header_bytes = 100'000'000;

// A file mapped read-only for as long as this lives.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    // Without O_NONBLOCK, opening a pipe would wait for a writer. Files take no notice of it.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
      const int reason = errno;
      const ErrorCode code = reason == ENOENT ? ErrorCode::model_not_found : ErrorCode::io;
      fail(code, path, ": expected a readable file: ", std::strerror(reason));
    }
    struct stat status{};
    const bool is_file = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    bytes_ = is_file ? static_cast<std::size_t>(status.st_size) : 0;
    if (bytes_ > 0) data_ = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, file, 0);
    const int reason = errno;
    ::close(file);
    if (!is_file) fail(ErrorCode::model_format, path, ": expected a file, found something else");
    if (data_ == MAP_FAILED) {
      data_ = nullptr;
      fail(ErrorCode::io, path, ": could not be mapped: ", std::strerror(reason));
    }
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::uint8_t> bytes() const { return {static_cast<const std::uint8_t*>(data_), bytes_}; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

struct ElementType {
  const char* name;
  std::size_t bytes;
  std::optional<DType> type;  // nothing: valid in a file, but no type that we read
};

const ElementType* find_type(std::string_view name) {
  static const ElementType types[] = {
      {"F32", 4, DType::f32}, {"BF16", 2, DType::bf16}, {"F16", 2, DType::f16}, {"I32", 4, DType::i32},
      {"I64", 8, DType::i64}, {"U8", 1, DType::u8},     {"F64", 8, {}},         {"I16", 2, {}},
      {"I8", 1, {}},          {"U16", 2, {}},           {"U32", 4, {}},         {"U64", 8, {}},
      {"BOOL", 1, {}},        {"F8_E4M3", 1, {}},       {"F8_E5M2", 1, {}},
  };
  for (const ElementType& type : types)
    if (name == type.name) return &type;
  return nullptr;
}

struct Entry {
  std::string name;
  Shape shape;
  const ElementType* type = nullptr;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool used = false;
};

std::uint64_t whole(const Json& json, const std::string& label, const std::string& what) {
  const double* value = json.number();
  if (value == nullptr || *value < 0 || *value > 9007199254740992.0 ||
      static_cast<double>(static_cast<std::uint64_t>(*value)) != *value)
    fail(ErrorCode::model_format, label, ": ", what, ": expected a whole number, got ", describe(json));
  return static_cast<std::uint64_t>(*value);
}

Entry read_entry(const std::string& name, const Json& json, const std::string& label) {
  Entry entry;
  entry.name = name;
  const std::string place = concat(label, ": tensor \"", name, '"');
  const Json* type = json.find("dtype");
  const Json* shape = json.find("shape");
  const Json* offsets = json.find("data_offsets");
  if (type == nullptr || shape == nullptr || offsets == nullptr || json.object()->size() != 3)
    fail(ErrorCode::model_format, place, ": expected just dtype, shape and data_offsets, got ", describe(json));
  if (type->string() != nullptr) entry.type = find_type(*type->string());
  if (entry.type == nullptr)
    fail(ErrorCode::model_format, place, ": expected an element type of safetensors, got ", describe(*type));
  if (shape->array() == nullptr || shape->array()->size() > Shape::max_rank)
    fail(ErrorCode::model_format, place, ": expected a shape of at most ", Shape::max_rank, " dimensions, got ",
         describe(*shape));
  std::vector<std::int64_t> dims;
  std::uint64_t bytes = entry.type->bytes;
  for (const Json& dim : *shape->array()) {
    const std::uint64_t size = whole(dim, place, "shape");
    if (__builtin_mul_overflow(bytes, size, &bytes) || bytes > (std::uint64_t{1} << 53))
      fail(ErrorCode::model_format, place, ": the shape ", describe(*shape), " is too large");
    dims.push_back(static_cast<std::int64_t>(size));
  }
  entry.shape = Shape(dims);
  if (offsets->array() == nullptr || offsets->array()->size() != 2)
    fail(ErrorCode::model_format, place, ": expected two data_offsets, got ", describe(*offsets));
  entry.begin = whole((*offsets->array())[0], place, "data_offsets");
  entry.end = whole((*offsets->array())[1], place, "data_offsets");
  if (entry.begin > entry.end || entry.end - entry.begin != bytes)
    fail(ErrorCode::model_format, place, ": expected ", bytes, " bytes for ", entry.type->name, " ", entry.shape.text(),
         ", found the offsets ", describe(*offsets));
  return entry;
}

struct Header {
  std::vector<Entry> entries;  // in the order of their data
  std::size_t data_start = 0;
};

Header read_header(std::span<const std::uint8_t> bytes, const std::string& label) {
  if (bytes.size() < 8)
    fail(ErrorCode::model_format, label, ": expected a safetensors file, found only ", bytes.size(), " bytes");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = (length << 8) | bytes[static_cast<std::size_t>(i)];
  if (length > max_header_bytes)
    fail(ErrorCode::model_format, label, ": expected a header of at most ", max_header_bytes, " bytes, found ", length);
  if (length > bytes.size() - 8)
    fail(ErrorCode::model_format, label, ": expected a header of ", length, " bytes, found only ", bytes.size() - 8,
         ": the file is truncated or no safetensors file");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  if (text.empty() || text[0] != '{') fail(ErrorCode::model_format, label, ": expected a header that begins with '{'");
  const Json json = Json::parse(text, label);

  Header header;
  header.data_start = 8 + static_cast<std::size_t>(length);
  for (const auto& [name, value] : *json.object()) {
    if (name == "__metadata__") {
      const Json::Object* members = value.object();
      const bool valid = members != nullptr && std::all_of(members->begin(), members->end(), [](const auto& member) {
                           return member.second.is_string();
                         });
      if (!valid) fail(ErrorCode::model_format, label, ": __metadata__: expected an object of strings");
      continue;
    }
    header.entries.push_back(read_entry(name, value, label));
  }
  std::sort(header.entries.begin(), header.entries.end(),
            [](const Entry& a, const Entry& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  std::uint64_t expected = 0;
  for (const Entry& entry : header.entries) {
    if (entry.begin != expected)
      fail(ErrorCode::model_format, label, ": tensor \"", entry.name, "\": expected data at offset ", expected,
           ", found ", entry.begin);
    expected = entry.end;
  }
  const std::uint64_t present = bytes.size() - header.data_start;
  if (expected != present)
    fail(ErrorCode::model_format, label, ": expected ", expected, " bytes of tensor data, found ", present,
         present < expected ? ": the file is truncated" : "");
  return header;
}

class Safetensors final : public WeightSource {
 public:
  Safetensors(std::shared_ptr<MappedFile> file, std::span<const std::uint8_t> bytes, std::string label)
      : file_(std::move(file)), bytes_(bytes), label_(std::move(label)), header_(read_header(bytes, label_)) {
    for (std::size_t i = 0; i < header_.entries.size(); ++i) index_.emplace(header_.entries[i].name, i);
  }

  bool has(const std::string& name) const override { return index_.count(name) > 0; }

  HostTensor get(const std::string& name, const Shape& shape) override {
    const auto found = index_.find(name);
    if (found == index_.end())
      fail(ErrorCode::model_format, label_, ": tensor \"", name, "\" is missing; expected it with shape ",
           shape.text());
    Entry& entry = header_.entries[found->second];
    if (entry.shape != shape)
      fail(ErrorCode::model_format, label_, ": tensor \"", name, "\": expected shape ", shape.text(), ", found ",
           entry.shape.text());
    if (!entry.type->type)
      fail(ErrorCode::model_format, label_, ": tensor \"", name, "\": expected F32, F16 or BF16 values, found ",
           entry.type->name);
    entry.used = true;
    return {name, entry.shape, *entry.type->type, bytes_.data() + header_.data_start + entry.begin, file_};
  }

  void release(const HostTensor& tensor) override {
    if (!file_) return;
    // Only whole pages inside the tensor: its neighbours may still be in use.
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto start = reinterpret_cast<std::uintptr_t>(tensor.data);
    const std::uintptr_t first = (start + page - 1) / page * page;
    const std::uintptr_t last =
        (start + static_cast<std::size_t>(tensor.elements()) * size_of(tensor.dtype)) / page * page;
    if (last > first) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }

  void check_all_used() const override {
    std::string extra;
    int count = 0;
    for (const Entry& entry : header_.entries) {
      if (entry.used) continue;
      if (++count <= 5) extra += concat(extra.empty() ? "" : ", ", '"', entry.name, "\" ", entry.shape.text());
    }
    if (count > 0)
      fail(ErrorCode::model_format, label_, ": ", count, count == 1 ? " tensor is" : " tensors are",
           " not part of this configuration: ", extra, count > 5 ? ", …" : "");
  }

  const Header& header() const { return header_; }

 private:
  std::shared_ptr<MappedFile> file_;
  std::span<const std::uint8_t> bytes_;
  std::string label_;
  Header header_;
  std::map<std::string, std::size_t> index_;
};

std::unique_ptr<Safetensors> open_file(const std::string& path) {
  auto file = std::make_shared<MappedFile>(path);
  const auto bytes = file->bytes();
  return std::make_unique<Safetensors>(std::move(file), bytes, path);
}

}  // namespace

std::unique_ptr<WeightSource> open_safetensors(const std::string& path) { return open_file(path); }

std::unique_ptr<WeightSource> parse_safetensors(std::span<const std::uint8_t> bytes, const std::string& label) {
  return std::make_unique<Safetensors>(nullptr, bytes, label);
}

std::vector<TensorInfo> list_safetensors(const std::string& path) {
  std::vector<TensorInfo> result;
  const auto file = open_file(path);
  for (const Entry& entry : file->header().entries)
    result.push_back({entry.name, entry.shape, entry.type->type.value_or(DType::u8)});
  return result;
}

}  // namespace paella
