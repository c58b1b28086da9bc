#include "engines/engine_builder.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "core/error.h"
#include "cuda/plugin_loader.h"
#include "onnx/onnx_model.h"
#include "pipeline/model.h"
#include "tensorrt/engine_store.h"

namespace paella {

namespace {

using tensorrt::EngineStore;
using tensorrt::Profile;

struct NetworkEntry {
  const char* name;
  const char* component;
};
constexpr NetworkEntry entries[] = {{"unet", "unet"}, {"vqgan-decoder", "vqgan"}};

// The GPU that plans are for, and what keeps it current on this thread while it is needed.
struct Target {
  const tensorrt::Plugin* plugin = nullptr;
  std::string gpu, compute_capability;
  bool strip = true;
  std::unique_ptr<Backend> cuda;
};

Target target_of(const EngineBuildRequest& request) {
  Target target;
  if (!request.compute_capability.empty()) {
    if (request.flavour == "enterprise")
      fail(ErrorCode::invalid_option,
           "computeCapability: expected nothing with the full TensorRT, which builds for the "
           "GPU at hand only, got ",
           request.compute_capability);
    target.plugin = &usable(choose(tensorrt::plugins(), "rtx", std::nullopt));
    target.compute_capability = request.compute_capability;
    target.strip = false;  // needs the GPU
    const auto dot = request.compute_capability.find('.');
    const std::string refusal = target.plugin->refusal(std::stoi(request.compute_capability.substr(0, dot)),
                                                       std::stoi(request.compute_capability.substr(dot + 1)));
    if (!refusal.empty()) fail(ErrorCode::backend_unavailable, "backend tensorrt is unavailable: ", refusal);
    return target;
  }
  const cuda::Availability found = cuda::availability(cuda::plugin());
  if (!found.available)
    throw Error(
        ErrorCode::backend_unavailable,
        concat("backend tensorrt is unavailable: no plan can be built for the GPU of this machine: ", found.reason),
        "Name a compute capability, for which TensorRT-RTX builds without a GPU.");
  const auto& devices = found.survey.devices;
  if (request.device < 0 || static_cast<std::size_t>(request.device) >= devices.size())
    fail(ErrorCode::invalid_option, "device: expected a number below ", devices.size(), ", got ", request.device);
  const cuda::DeviceInfo& device = devices[static_cast<std::size_t>(request.device)];
  target.plugin = &usable(choose(tensorrt::plugins(), request.flavour, device));
  target.gpu = device.name;
  target.compute_capability = concat(device.major, '.', device.minor);
  target.cuda = cuda::usable(cuda::plugin()).make_backend({.precision = request.precision, .device = request.device});
  return target;
}

std::vector<NetworkEntry> chosen(const EngineBuildRequest& request) {
  std::vector<NetworkEntry> result;
  for (const std::string& name : request.networks)
    if (std::none_of(std::begin(entries), std::end(entries), [&](const auto& entry) { return name == entry.name; }))
      fail(ErrorCode::invalid_option, "networks: expected some of unet, vqgan-decoder, got ", name);
  for (const NetworkEntry& entry : entries)
    if (request.networks.empty() ||
        std::find(request.networks.begin(), request.networks.end(), entry.name) != request.networks.end())
      result.push_back(entry);
  return result;
}

std::vector<Profile> chosen_profiles(const EngineBuildRequest& request) {
  std::vector<Profile> result;
  for (const Profile& profile : request.profiles)
    if (profile.precision.empty() || profile.precision == request.precision) result.push_back(profile);
  if (result.empty())
    fail(ErrorCode::invalid_option, "profiles: expected at least one for precision ", request.precision, ", got ",
         request.profiles.empty() ? "none" : "none for it");
  return result;
}

std::shared_ptr<const Description> load_network(const ModelConfig& config, const NetworkEntry& entry, Backend& backend,
                                                const EngineBuildEvents& events) {
  std::shared_ptr<const Description> network;
  load_component(
      config, entry.component, backend,
      [&](const LoadProgress&) {
        if (events.cancelled && events.cancelled()) throw Error(ErrorCode::aborted, "the build was cancelled");
      },
      [&](Loader& loader) {
        if (std::string_view(entry.component) == "unet")
          network = Unet(config.unet, loader).denoise();
        else
          network = Vqgan(config.vqgan, loader).decoder();
      });
  return network;
}

}  // namespace

std::vector<std::string> engine_networks() {
  std::vector<std::string> names;
  for (const NetworkEntry& entry : entries) names.emplace_back(entry.name);
  return names;
}

std::vector<BuiltEngine> build_engines(const EngineBuildRequest& request, const EngineBuildEvents& events) {
  const ModelConfig config = read_model_config(request.model);
  const std::vector<NetworkEntry> networks = chosen(request);
  const std::vector<Profile> profiles = chosen_profiles(request);
  const Target target = target_of(request);
  EngineStore::Options options;
  options.folder = request.folder;
  options.gpu = target.gpu;
  options.compute_capability = target.compute_capability;
  options.precision = request.precision;
  options.workspace_bytes = request.workspace_bytes;
  options.strip = target.strip;
  options.progress = events.progress;
  options.cancelled = events.cancelled;
  options.log = events.log;
  EngineStore store(*target.plugin, options);
  std::vector<BuiltEngine> result;
  for (const NetworkEntry& entry : networks) {
    const auto backend = onnx::make_backend(request.precision);
    const auto network = load_network(config, entry, *backend, events);
    const tensorrt::Recording recording = store.record(*network, backend->operand_type());
    // All of them before the first build, which takes minutes.
    std::vector<tensorrt::Ranges> ranges;
    for (const Profile& profile : profiles)
      ranges.push_back(ranges_of(profile, recording.signature, config.vqgan.pixels_per_token()));
    for (std::size_t i = 0; i < profiles.size(); ++i) {
      const EngineStore::Plan plan = store.plan(recording, ranges[i]);
      result.push_back({entry.name, profiles[i].name, plan.path, plan.key.hash(), plan.built, plan.file.plan.size(),
                        plan.why_rebuilt});
    }
  }
  return result;
}

}  // namespace paella
