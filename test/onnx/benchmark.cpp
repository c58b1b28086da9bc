// Time and memory of exporting the U-Net of 1.008 billion parameters; `npm run bench:onnx` runs it.
//
//   paella_onnx_bench weights <new folder>                      a model of that size with random weights, as files
//   paella_onnx_bench export <model> <empty folder> <precision> the U-Net's graphs and weights; one JSON object
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>

#include "core/error.h"
#include "core/weights.h"
#include "export/exporter.h"
#include "onnx/onnx_model.h"

using namespace paella;

namespace {

// A line of /proc/self/status, in bytes.
double status_bytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  std::string word;
  while (file >> word)
    if (word == key) {
      double kilobytes = 0;
      file >> kilobytes;
      return kilobytes * 1024;
    }
  return 0;
}

// Notes what a network asks for; every tensor is the same zeros.
class Listing final : public WeightSource {
 public:
  bool has(const std::string&) const override { return false; }
  HostTensor get(const std::string& name, const Shape& shape) override {
    tensors.push_back({name, shape, DType::f32});
    if (zeros_->size() < static_cast<std::size_t>(shape.elements()))
      zeros_ = std::make_shared<std::vector<float>>(static_cast<std::size_t>(shape.elements()));
    return {name, shape, DType::f32, zeros_->data(), zeros_};
  }
  void release(const HostTensor&) override {}
  void check_all_used() const override {}
  std::vector<TensorInfo> tensors;

 private:
  std::shared_ptr<std::vector<float>> zeros_ = std::make_shared<std::vector<float>>();
};

void write_text(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

void write_weights(const std::string& path, const std::vector<TensorInfo>& tensors) {
  std::string header = "{";
  std::uint64_t at = 0;
  for (const TensorInfo& tensor : tensors) {
    const std::uint64_t end = at + static_cast<std::uint64_t>(tensor.shape.elements()) * sizeof(float);
    header += concat(at == 0 ? "" : ",", '"', tensor.name, "\":{\"dtype\":\"F32\",\"shape\":", tensor.shape.text(),
                     ",\"data_offsets\":[", at, ',', end, "]}");
    at = end;
  }
  header += "}";
  std::ofstream out(path, std::ios::binary);
  const std::uint64_t length = header.size();
  out.write(reinterpret_cast<const char*>(&length), 8);
  out << header;
  const auto source = random_weights(1);
  for (const TensorInfo& tensor : tensors) {
    const HostTensor values = source->get(tensor.name, tensor.shape);
    out.write(static_cast<const char*>(values.data),
              tensor.shape.elements() * static_cast<std::int64_t>(sizeof(float)));
    source->release(values);
  }
  out.flush();
  if (!out) fail(ErrorCode::io, path, ": cannot be written");
}

void make_model(const std::string& folder) {
  for (const char* name : {"", "/unet", "/vqgan", "/text_encoder"}) ::mkdir((folder + name).c_str(), 0777);
  write_text(folder + "/model_index.json",
             R"({"format": "paella-native", "format_version": 1, "family": "v3", "name": "paella-v3",
                 "components": ["text_encoder", "unet", "vqgan"]})");
  write_text(folder + "/generation_config.json",
             R"({"width": 256, "height": 256, "steps": 12, "guidance_scale": 8, "temperature": [0.7, 0.3]})");
  write_text(folder + "/text_encoder/config.json",
             R"({"d_model": 2560, "d_kv": 64, "d_ff": 6720, "num_layers": 36, "num_heads": 32, "vocab_size": 384})");
  write_text(folder + "/unet/config.json",
             R"({"c_in": 256, "c_out": 256, "num_labels": 8192, "c_r": 64, "patch_size": 2, "c_cond": 1024,
                 "c_hidden": [640, 1280, 1280], "nhead": [-1, 16, 16], "blocks": [6, 16, 6],
                 "level_config": ["CT", "CTA", "CTA"], "byt5_embd": 2560, "clip_embd": 1024, "clip_image_embd": 1024})");
  write_text(folder + "/vqgan/config.json",
             R"({"levels": 2, "bottleneck_blocks": 12, "c_hidden": 384, "c_latent": 4, "codebook_size": 8192})");
  Listing listing;
  const auto backend = onnx::make_backend("fp32");
  Loader loader(listing, *backend);
  const Unet unet(read_model_config(folder).unet, loader);
  std::cerr << loader.parameters() << " parameters\n";
  write_weights(folder + "/unet/model.safetensors", listing.tensors);
}

void run_export(const std::string& model, const std::string& folder, const std::string& precision) {
  using Clock = std::chrono::steady_clock;
  std::map<std::string, double> seconds;  // by phase
  double anonymous = 0;
  const auto start = Clock::now();
  auto last = start;
  std::string phase = "reading unet";
  const auto count = [&](const std::string& now) {
    const auto time = Clock::now();
    seconds[phase] += std::chrono::duration<double>(time - last).count();
    last = time;
    phase = now;
    anonymous = std::max(anonymous, status_bytes("RssAnon:"));
  };
  const ExportResult result =
      export_model({.model = model, .folder = folder, .precision = precision, .networks = {"unet"}},
                   [&](const ExportProgress& progress) { count(progress.phase); });
  count(phase);
  const double all = std::chrono::duration<double>(Clock::now() - start).count();
  constexpr double gigabyte = 1e9;
  std::printf(
      "{\"precision\": \"%s\", \"weights\": \"%s\", \"nodes\": %zu, \"data_GB\": %.2f, \"read_and_record_s\": %.1f, "
      "\"write_s\": %.1f, \"total_s\": %.1f, \"peak_anonymous_GB\": %.2f, \"peak_resident_GB\": %.2f}\n",
      precision.c_str(), model.starts_with("random:") ? "made while exporting" : "mapped file",
      result.networks[0].nodes, static_cast<double>(result.data[0].bytes) / gigabyte, seconds["reading unet"],
      seconds["writing unet"], all, anonymous / gigabyte, status_bytes("VmHWM:") / gigabyte);
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> words(arguments + 1, arguments + count);
  try {
    if (words.size() == 2 && words[0] == "weights") return make_model(words[1]), 0;
    if (words.size() == 4 && words[0] == "export") return run_export(words[1], words[2], words[3]), 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  std::cerr << "usage: paella_onnx_bench weights <new folder> | export <model> <empty folder> <precision>\n";
  return 2;
}
