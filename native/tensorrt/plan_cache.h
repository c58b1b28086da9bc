// Built plans on disk: <network>-<key>.plan, beside it <network>-<key>.json, which says what it is. A plan is only used
// if its key, its size and its checksum are those of the JSON file, and the JSON file's key is the one that was asked
// for; anything else is as if it were not there. See docs/tensorrt.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tensorrt/plugin.h"

namespace paella::tensorrt {

// Everything that decides whether a plan may be used. Two keys that differ in anything are two files.
struct PlanKey {
  std::string network;             // "unet", "vqgan.decoder"
  std::string graph;               // SHA-256 of the ONNX graph, which holds names, types and shapes of all weights
  std::string weights;             // SHA-256 over the weights' contents
  std::string flavour;             // "enterprise", "rtx"
  std::string version;             // of the library, in full: "11.2.1.9"
  std::string gpu;                 // its name; for RTX "any": its plans fit every GPU of their compute capability
  std::string compute_capability;  // "9.0"
  std::string precision;           // "bf16"
  std::string profile;             // ranges of all inputs
  std::string flags;               // of the builder

  std::vector<std::pair<const char*, const std::string*>> fields() const;
  std::string hash() const;  // 64 hexadecimal digits
  std::string stem() const;  // file name without its ending
};

struct PlanFile {
  std::vector<std::uint8_t> plan;
  bool stripped = false;
};

class PlanCache {
 public:
  // `folder` is made when it is first needed.
  explicit PlanCache(std::string folder) : folder_(std::move(folder)) {}

  // Held by one process (and thread) for each key; dropped by the destructor, or when the process ends.
  class Lock {
   public:
    explicit Lock(int file) : file_(file) {}
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    int file_;
  };
  // Waits while another builds the same plan. ERR_ABORTED if `cancelled` says so meanwhile; ERR_IO if nothing can be
  // written to the folder: said before a build, not after it.
  std::unique_ptr<Lock> lock(const PlanKey& key, const std::function<bool()>& cancelled) const;

  // Nothing if there is none that may be trusted; `why` then says what was wrong with the one that is there.
  std::optional<PlanFile> find(const PlanKey& key, std::string& why) const;
  // Replaces what is there by a rename. ERR_IO, and nothing is left behind. `build_ms` is for information.
  void store(const PlanKey& key, const BuiltPlan& built, double build_ms) const;
  // Beside a plan: what the library tells about its layers. For people; nothing depends on it.
  void store_layers(const PlanKey& key, const std::string& json) const;
  // What the library itself refused.
  void drop(const PlanKey& key) const;

  const std::string& folder() const { return folder_; }
  std::string plan_path(const PlanKey& key) const { return folder_ + "/" + key.stem() + ".plan"; }
  std::string sidecar_path(const PlanKey& key) const { return folder_ + "/" + key.stem() + ".json"; }

 private:
  void make_folder() const;
  std::string folder_;
};

}  // namespace paella::tensorrt
