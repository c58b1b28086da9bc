#include "export/exporter.h"

#include <algorithm>
#include <memory>

#include "core/error.h"
#include "onnx/onnx_model.h"
#include "pipeline/model.h"

namespace paella {

namespace {

using NetworkPtr = std::shared_ptr<const Description>;

// One component of a model, loaded into the recorder's backend.
struct Components {
  std::unique_ptr<Unet> unet;
  std::unique_ptr<Vqgan> vqgan;
  std::unique_ptr<Byt5Encoder> text_encoder;
  std::unique_ptr<ClipTextEncoder> clip_text;
  std::unique_ptr<ClipImageEncoder> clip_image;
  std::unique_ptr<Prior> prior;
};

struct NetworkEntry {
  const char* name;
  const char* component;
  NetworkPtr (*make)(const Components& components);
  bool (*has)(const ModelConfig& config);
};

bool always(const ModelConfig&) { return true; }
bool with_text(const ModelConfig& config) { return config.unet.clip_embd > 0; }
bool with_image(const ModelConfig& config) { return config.unet.clip_embd > 0 && config.unet.clip_image_embd > 0; }
bool with_image_alone(const ModelConfig& config) {
  return config.unet.clip_embd == 0 && config.unet.clip_image_embd > 0;
}

bool has_clip_text(const ModelConfig& config) { return config.clip_text.has_value(); }
bool has_clip_image(const ModelConfig& config) { return config.clip_image.has_value(); }
bool has_prior(const ModelConfig& config) { return config.prior.has_value(); }

// Of the same component side by side: it is loaded once and its graphs share a data file.
constexpr NetworkEntry entries[] = {
    {"text-encoder", "text_encoder", [](const Components& c) { return c.text_encoder->network(); }, always},
    {"clip-text", "clip_text", [](const Components& c) { return c.clip_text->network(); }, has_clip_text},
    {"clip-image", "clip_image", [](const Components& c) { return c.clip_image->network(); }, has_clip_image},
    {"prior-condition", "prior", [](const Components& c) { return c.prior->condition(); }, has_prior},
    {"prior-noise", "prior", [](const Components& c) { return c.prior->noise(); }, has_prior},
    {"prior", "prior", [](const Components& c) { return c.prior->denoise(); }, has_prior},
    {"prior-update", "prior", [](const Components& c) { return c.prior->update(); }, has_prior},
    {"unet", "unet", [](const Components& c) { return c.unet->denoise(); }, always},
    {"unet-condition", "unet", [](const Components& c) { return c.unet->condition(0, 0); }, always},
    {"unet-condition-clip", "unet", [](const Components& c) { return c.unet->condition(1, 0); }, with_text},
    {"unet-condition-clip-image", "unet", [](const Components& c) { return c.unet->condition(1, 1); }, with_image},
    {"unet-condition-image", "unet", [](const Components& c) { return c.unet->condition(0, 1); }, with_image_alone},
    {"unet-modulation", "unet", [](const Components& c) { return c.unet->modulation(); }, always},
    {"unet-head", "unet", [](const Components& c) { return c.unet->logits(); }, always},
    {"vqgan-decoder", "vqgan", [](const Components& c) { return c.vqgan->decoder(); }, always},
    {"vqgan-encoder", "vqgan", [](const Components& c) { return c.vqgan->encoder(); }, always},
};

std::string names_of(const ModelConfig& config) {
  std::string names;
  for (const NetworkEntry& entry : entries)
    if (entry.has(config)) names += concat(names.empty() ? "" : ", ", entry.name);
  return names;
}

std::vector<const NetworkEntry*> chosen(const ExportRequest& request, const ModelConfig& config) {
  for (const std::string& name : request.networks) {
    const auto* found = std::find_if(std::begin(entries), std::end(entries),
                                     [&](const NetworkEntry& entry) { return name == entry.name; });
    if (found == std::end(entries) || !found->has(config))
      fail(ErrorCode::invalid_option, "networks: expected some of ", names_of(config), ", got ", name);
  }
  std::vector<const NetworkEntry*> result;
  for (const NetworkEntry& entry : entries) {
    const auto& names = request.networks;
    const bool wanted = names.empty() || std::find(names.begin(), names.end(), entry.name) != names.end();
    if (wanted && entry.has(config)) result.push_back(&entry);
  }
  return result;
}

class Exporter {
 public:
  Exporter(const ExportRequest& request, const std::function<void(const ExportProgress&)>& progress)
      : request_(request), progress_(progress) {
    result_.config = read_model_config(request.model);
  }

  ExportResult run() {
    const auto networks = chosen(request_, result_.config);
    for (auto first = networks.begin(); first != networks.end();) {
      const std::string component = (*first)->component;
      const auto last =
          std::find_if(first, networks.end(), [&](const auto* entry) { return component != entry->component; });
      export_component(component, {first, last});
      first = last;
    }
    return std::move(result_);
  }

 private:
  void report(const std::string& phase, std::uint64_t done, std::uint64_t total) const {
    if (progress_) progress_({phase, done, total});
  }

  void export_component(const std::string& component, const std::vector<const NetworkEntry*>& networks) {
    const auto backend = onnx::make_backend(request_.precision);
    const Components loaded = load(component, *backend);
    std::string stem = component;
    std::replace(stem.begin(), stem.end(), '_', '-');
    if (loaded.text_encoder) result_.relative_biases = loaded.text_encoder->relative_biases();
    onnx::DataFile data(stem + ".onnx.data");
    for (const NetworkEntry* entry : networks) {
      const NetworkPtr network = entry->make(loaded);
      const DType operand = backend->operand_type();
      const onnx::Model model =
          onnx::record(*network, network->signature(operand), operand, data, {.opset = request_.opset, .resolve = {}});
      const std::string file = std::string(entry->name) + ".onnx";
      onnx::write(model.graph, request_.folder + "/" + file);
      result_.networks.push_back(
          {entry->name, file, data.name(), model.signature, model.nodes, model.initializers.size()});
    }
    std::uint64_t written = 0;
    report("writing " + component, 0, data.bytes());
    data.write(request_.folder, [&](std::size_t count) {
      written += count;
      report("writing " + component, written, data.bytes());
    });
    result_.data.push_back({data.name(), component, data.bytes()});
  }

  Components load(const std::string& component, Backend& backend) const {
    Components loaded;
    const ModelConfig& config = result_.config;
    load_component(
        config, component, backend,
        [&](const LoadProgress& progress) { report("reading " + component, progress.loaded, progress.total); },
        [&](Loader& loader) {
          if (component == "unet") loaded.unet = std::make_unique<Unet>(config.unet, loader);
          if (component == "vqgan") loaded.vqgan = std::make_unique<Vqgan>(config.vqgan, loader);
          if (component == "text_encoder")
            loaded.text_encoder = std::make_unique<Byt5Encoder>(config.text_encoder, loader);
          if (component == "clip_text") loaded.clip_text = std::make_unique<ClipTextEncoder>(*config.clip_text, loader);
          if (component == "clip_image")
            loaded.clip_image = std::make_unique<ClipImageEncoder>(*config.clip_image, loader);
          if (component == "prior") loaded.prior = std::make_unique<Prior>(*config.prior, loader);
        });
    return loaded;
  }

  const ExportRequest& request_;
  const std::function<void(const ExportProgress&)>& progress_;
  ExportResult result_;
};

}  // namespace

std::vector<std::string> exportable_networks() {
  std::vector<std::string> names;
  for (const NetworkEntry& entry : entries) names.emplace_back(entry.name);
  return names;
}

ExportResult export_model(const ExportRequest& request, const std::function<void(const ExportProgress&)>& progress) {
  return Exporter(request, progress).run();
}

}  // namespace paella
