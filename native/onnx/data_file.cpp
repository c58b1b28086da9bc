// External data: the initializers of one or several graphs in one file.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "onnx/onnx_model.h"

namespace paella::onnx {

namespace {

constexpr std::size_t write_bytes = std::size_t{4} << 20;

// A new file, written from front to back. Removed again unless it is finished.
class NewFile {
 public:
  explicit NewFile(const std::string& path) : path_(path) {
    file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file_ < 0) refuse(errno);
  }
  ~NewFile() {
    if (file_ < 0) return;
    ::close(file_);
    ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void append(const void* data, std::size_t count) {
    const auto* from = static_cast<const std::uint8_t*>(data);
    while (count > 0) {
      const ssize_t written = ::write(file_, from, std::min(count, write_bytes));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) refuse(written == 0 ? ENOSPC : errno);
      from += written;
      count -= static_cast<std::size_t>(written);
    }
  }
  void finish() {
    const int closed = ::close(file_);
    const int reason = errno;
    file_ = -1;
    if (closed == 0) return;
    ::unlink(path_.c_str());
    refuse(reason);
  }

 private:
  [[noreturn]] void refuse(int reason) const {
    throw Error(ErrorCode::io, concat(path_, ": cannot be written: ", std::strerror(reason)),
                reason == ENOSPC ? "free some space" : "");
  }
  std::string path_;
  int file_ = -1;
};

}  // namespace

const DataFile::Entry& DataFile::place(const std::shared_ptr<const OnnxConstant>& constant) {
  const auto found = places_.find(constant.get());
  if (found != places_.end()) return *found->second;
  auto entry = std::make_unique<Entry>();
  entry->name = constant->name();
  for (int number = 2; !names_.insert(entry->name).second; ++number)
    entry->name = concat(constant->name(), '.', number);
  entry->offset = (bytes_ + alignment - 1) / alignment * alignment;
  entry->constant = constant;
  bytes_ = entry->offset + constant->bytes;
  places_[constant.get()] = entry.get();
  entries_.push_back(std::move(entry));
  return *entries_.back();
}

void DataFile::write(const std::string& folder, const std::function<void(std::size_t)>& progress) const {
  NewFile file(folder + "/" + name_);
  std::vector<std::uint8_t> buffer;
  const std::vector<std::uint8_t> padding(alignment);
  std::uint64_t at = 0;
  for (const auto& entry : entries_) {
    auto gap = static_cast<std::size_t>(entry->offset - at);
    file.append(padding.data(), gap);
    const OnnxConstant& constant = *entry->constant;
    for (std::size_t first = 0; first < constant.bytes; first += write_bytes) {
      const std::size_t count = std::min(write_bytes, constant.bytes - first);
      if (const auto* data = static_cast<const std::uint8_t*>(constant.data())) {
        file.append(data + first, count);
      } else {
        buffer.resize(count);
        constant.read(first, buffer);
        file.append(buffer.data(), count);
      }
      if (progress) progress(count + std::exchange(gap, 0));
    }
    at = entry->offset + constant.bytes;
  }
  file.finish();
}

void write(const std::string& bytes, const std::string& path) {
  NewFile file(path);
  file.append(bytes.data(), bytes.size());
  file.finish();
}

}  // namespace paella::onnx
