#include "tensorrt/plan_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/json.h"
#include "tensorrt/sha256.h"

namespace paella::tensorrt {

namespace {

namespace fs = std::filesystem;

constexpr int sidecar_format = 1;

constexpr const char* remedy_of(int code) {
  return code == ENOSPC || code == EDQUOT
             ? "Free some space, or name another folder in PAELLA_CACHE; `paella engine clean` removes plans."
             : "Name a folder that can be written to in the environment variable PAELLA_CACHE.";
}

[[noreturn]] void io_failure(const std::string& path, const std::string& what, int code) {
  throw Error(ErrorCode::io, concat(path, ": ", what, ": ", std::strerror(code)), remedy_of(code));
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr const char* digits = "0123456789abcdef";
      result += "\\u00";
      result += digits[c >> 4 & 15];
      result += digits[c & 15];
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string sidecar_text(const PlanKey& key, const BuiltPlan& built, const std::string& checksum, double build_ms) {
  std::ostringstream out;
  out << "{\n  \"format\": " << sidecar_format << ",\n  \"paella\": " << quoted(PAELLA_VERSION)
      << ",\n  \"key\": " << quoted(key.hash());
  for (const auto& [name, value] : key.fields()) out << ",\n  " << quoted(name) << ": " << quoted(*value);
  char built_at[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  std::strftime(built_at, sizeof built_at, "%Y-%m-%dT%H:%M:%SZ", &utc);
  out << ",\n  \"bytes\": " << built.plan.size() << ",\n  \"sha256\": " << quoted(checksum)
      << ",\n  \"stripped\": " << (built.stripped ? "true" : "false")
      << ",\n  \"buildMs\": " << static_cast<std::int64_t>(build_ms) << ",\n  \"builtAt\": " << quoted(built_at)
      << ",\n  \"layers\": " << built.layers << ",\n  \"tensors\": [";
  const char* separator = "\n";
  for (const IoTensor& tensor : built.io) {
    out << separator << "    {\"name\": " << quoted(tensor.name) << ", \"input\": " << (tensor.input ? "true" : "false")
        << ", \"type\": " << quoted(name_of(tensor.dtype)) << ", \"shape\": [";
    for (std::size_t i = 0; i < tensor.dims.size(); ++i) out << (i > 0 ? ", " : "") << tensor.dims[i];
    out << "]}";
    separator = ",\n";
  }
  out << "\n  ]";
  out << "\n}\n";
  return out.str();
}

// A file under a name of its own that becomes the wanted one when it is whole; removed if that does not happen.
void write_whole(const std::string& path, const void* data, std::size_t bytes) {
  std::string temporary = path + ".XXXXXX";
  const int file = mkstemp(temporary.data());
  if (file < 0) io_failure(path, "cannot be written", errno);
  int code = 0;
  const auto* at = static_cast<const std::uint8_t*>(data);
  for (std::size_t left = bytes; left > 0 && code == 0;) {
    const ssize_t written = write(file, at, std::min<std::size_t>(left, std::size_t{1} << 30));
    if (written < 0) {
      if (errno != EINTR) code = errno;
      continue;
    }
    at += written;
    left -= static_cast<std::size_t>(written);
  }
  // mkstemp's own mode keeps everybody else out; a plan is no secret.
  if (code == 0 && (fchmod(file, 0644) != 0 || fsync(file) != 0)) code = errno;
  if (close(file) != 0 && code == 0) code = errno;
  if (code == 0 && rename(temporary.c_str(), path.c_str()) != 0) code = errno;
  if (code == 0) return;
  unlink(temporary.c_str());
  io_failure(path, concat(bytes, " bytes cannot be written"), code);
}

// Members of the JSON file as text; numbers as they are written by sidecar_text.
std::string member(const Json& json, const char* name) {
  const Json* found = json.find(name);
  const std::string* text = found == nullptr ? nullptr : found->string();
  return text == nullptr ? "" : *text;
}

}  // namespace

std::vector<std::pair<const char*, const std::string*>> PlanKey::fields() const {
  return {{"network", &network},
          {"graph", &graph},
          {"weights", &weights},
          {"flavour", &flavour},
          {"version", &version},
          {"gpu", &gpu},
          {"computeCapability", &compute_capability},
          {"precision", &precision},
          {"profile", &profile},
          {"flags", &flags}};
}

std::string PlanKey::hash() const {
  Sha256 hash;
  for (const auto& [name, value] : fields()) hash.add(name).add(concat('=', value->size(), ':')).add(*value).add("\n");
  return hash.hex();
}

std::string PlanKey::stem() const {
  std::string name = network;
  for (char& c : name)
    if (c == '.' || c == '/' || c == ' ') c = '-';
  return name + "-" + hash().substr(0, 32);
}

PlanCache::Lock::~Lock() { close(file_); }

void PlanCache::make_folder() const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) io_failure(folder_, "cannot be made", error.value());
}

std::unique_ptr<PlanCache::Lock> PlanCache::lock(const PlanKey& key, const std::function<bool()>& cancelled) const {
  make_folder();
  const std::string path = folder_ + "/" + key.stem() + ".lock";
  for (;;) {
    const int file = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (file < 0) io_failure(path, "cannot be written", errno);
    auto held = std::make_unique<Lock>(file);
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) io_failure(path, "cannot be locked", errno);
      if (cancelled && cancelled())
        throw Error(ErrorCode::aborted, concat(key.network, ": cancelled while another process builds the same plan"));
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    // Somebody may have cleaned the folder meanwhile: then this is the lock of a file that nobody else can open.
    struct stat mine = {}, there = {};
    if (fstat(file, &mine) == 0 && stat(path.c_str(), &there) == 0 && mine.st_ino == there.st_ino) return held;
  }
}

std::optional<PlanFile> PlanCache::find(const PlanKey& key, std::string& why) const {
  why.clear();
  const std::string sidecar = sidecar_path(key), path = plan_path(key);
  std::error_code error;
  const bool described = fs::exists(sidecar, error), there = fs::exists(path, error);
  if (!described && !there) return std::nullopt;
  if (!described || !there) {
    why = concat(described ? path : sidecar, " is missing");
    return std::nullopt;
  }
  try {
    const Json json = Json::parse_file(sidecar);
    const Json* format = json.find("format");
    if (format == nullptr || format->number() == nullptr || *format->number() != sidecar_format) {
      why = concat(sidecar, ": expected format ", sidecar_format);
      return std::nullopt;
    }
    if (member(json, "key") != key.hash()) {
      why = concat(sidecar, ": expected key ", key.hash(), ", found ", member(json, "key"));
      return std::nullopt;
    }
    for (const auto& [name, value] : key.fields())
      if (member(json, name) != *value) {
        why = concat(sidecar, ": ", name, ": expected ", *value, ", found ", member(json, name));
        return std::nullopt;
      }
    PlanFile file;
    std::ifstream in(path, std::ios::binary);
    const auto size = fs::file_size(path, error);
    const Json* bytes = json.find("bytes");
    if (!in || error || bytes == nullptr || bytes->number() == nullptr ||
        static_cast<double>(size) != *bytes->number()) {
      why = concat(path, ": expected ", bytes != nullptr && bytes->number() != nullptr ? *bytes->number() : 0,
                   " bytes, found ", size);
      return std::nullopt;
    }
    file.plan.resize(size);
    in.read(reinterpret_cast<char*>(file.plan.data()), static_cast<std::streamsize>(size));
    if (!in || Sha256().add(file.plan.data(), file.plan.size()).hex() != member(json, "sha256")) {
      why = concat(path, ": its checksum is not the one that was stored");
      return std::nullopt;
    }
    const Json* stripped = json.find("stripped");
    file.stripped = stripped != nullptr && stripped->boolean() != nullptr && *stripped->boolean();
    return file;
  } catch (const std::exception& failure) {
    why = concat(sidecar, ": ", failure.what());
    return std::nullopt;
  }
}

void PlanCache::store(const PlanKey& key, const BuiltPlan& built, double build_ms) const {
  make_folder();
  const std::string checksum = Sha256().add(built.plan.data(), built.plan.size()).hex();
  const std::string text = sidecar_text(key, built, checksum, build_ms);
  // The plan first: between the two renames it does not fit to the old description, and nobody trusts it.
  write_whole(plan_path(key), built.plan.data(), built.plan.size());
  try {
    write_whole(sidecar_path(key), text.data(), text.size());
  } catch (...) {
    unlink(plan_path(key).c_str());
    throw;
  }
}

void PlanCache::store_layers(const PlanKey& key, const std::string& json) const {
  write_whole(folder_ + "/" + key.stem() + ".layers.json", json.data(), json.size());
}

void PlanCache::drop(const PlanKey& key) const {
  unlink(sidecar_path(key).c_str());
  unlink(plan_path(key).c_str());
}

}  // namespace paella::tensorrt
