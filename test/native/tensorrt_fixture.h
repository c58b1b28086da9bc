// A stand-in for TensorRT's plug-ins, within the test: it "builds" a few bytes, and what its engines compute is said by
// the test. Everything that is asked of it is written down.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tensorrt/plugin.h"

namespace paella::test {

// Removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string path() const { return path_.string(); }
  // Files with this ending.
  std::vector<std::string> files(const std::string& ending) const;

 private:
  std::filesystem::path path_;
};

struct FakeTensorRt {
  FakeTensorRt();

  // "build unet", "load unet stripped", "enqueue unet", …
  std::vector<std::string> calls;
  std::size_t count(const std::string& call) const;

  std::string version = "11.2.1.9";
  std::string refuse_build;  // an error of the next builds
  std::string refuse_load;   // of loading plans of this many loads
  int refusals = 0;
  std::size_t scratch_bytes = 1000;
  // One network at one set of shapes, made when the engine's execution is made; addresses by the tensors' names.
  using Compute = std::function<void(const std::map<std::string, void*>&)>;
  std::function<Compute(const std::string& network, const std::map<std::string, Shape>& inputs)> compile;
  // Inputs and outputs of its engines: outputs first, inputs in reverse order, so that only names can be relied on.
  std::map<std::string, std::vector<tensorrt::IoTensor>> io;
  // Asked during a build, as the library asks its progress monitor.
  std::function<void(const tensorrt::BuildRequest&)> on_build;
  std::vector<std::pair<void*, std::size_t>> scratches;  // of each enqueue
  std::vector<void*> streams;

  const tensorrt::Plugin& plugin() const { return plugin_; }

 private:
  tensorrt::Plugin plugin_;
};

}  // namespace paella::test
