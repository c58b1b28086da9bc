#include "pipeline/model_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/json.h"

namespace paella {

namespace {

bool is_folder(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

GenerationDefaults read_defaults(const std::string& path, const ModelConfig& config) {
  const Json json = Json::parse_file(path);
  JsonReader reader(json, path);
  GenerationDefaults defaults;
  defaults.width = reader.integer("width", 1, config.max_size());
  defaults.height = reader.integer("height", 1, config.max_size());
  defaults.steps = reader.integer("steps", 1, 1000);
  defaults.renoise_steps = reader.integer_or("renoise_steps", defaults.steps - 1, 0, 1000);
  defaults.conditional_steps = reader.integer_or("conditional_steps", defaults.steps, 0, 1000);
  defaults.guidance_scale = reader.ramp("guidance_scale", -100, 100);
  defaults.temperature = reader.ramp("temperature", 1e-3, 100);
  defaults.negative_prompt = reader.string_or("negative_prompt", "");
  if (reader.has("typical_mass")) defaults.typical_mass = reader.number("typical_mass", 1e-6, 1);
  reader.ignore("typical_mass");
  defaults.prior_steps = reader.integer_or("prior_steps", defaults.prior_steps, 1, 1000);
  defaults.prior_guidance_scale = reader.number_or("prior_guidance_scale", defaults.prior_guidance_scale, -100, 100);
  reader.check_all_read();
  const std::int64_t multiple = config.size_multiple();
  for (const auto& [key, value] : {std::pair{"width", defaults.width}, std::pair{"height", defaults.height}})
    if (value % multiple != 0)
      fail(ErrorCode::model_format, path, ": ", key, ": expected a multiple of ", multiple, ", got ", value);
  return defaults;
}

// What one component makes must fit what the next one takes.
void check_fit(const ModelConfig& config, const std::string& label) {
  if (config.unet.byt5_embd != config.text_encoder.d_model)
    fail(ErrorCode::model_format, label, ": unet byt5_embd: expected the text encoder's d_model ",
         config.text_encoder.d_model, ", got ", config.unet.byt5_embd);
  if (config.unet.num_labels != config.vqgan.codebook_size)
    fail(ErrorCode::model_format, label, ": unet num_labels: expected the vqgan's codebook_size ",
         config.vqgan.codebook_size, ", got ", config.unet.num_labels);
  const auto check = [&](const char* what, std::int64_t expected, const char* of, std::int64_t found) {
    if (expected != found)
      fail(ErrorCode::model_format, label, ": ", what, ": expected ", of, ' ', expected, ", got ", found);
  };
  if (config.clip_text)
    check("unet clip_embd", config.clip_text->embed_dim, "clip_text's embed_dim", config.unet.clip_embd);
  if (config.clip_image)
    check("unet clip_image_embd", config.clip_image->embed_dim, "clip_image's embed_dim", config.unet.clip_image_embd);
  if (!config.image_levels.empty()) {
    if (config.unet.clip_image_embd == 0)
      fail(ErrorCode::model_format, label,
           ": unet clip_image_embd: expected a width of the image embedding that model_index.json has, got 0");
    if (config.prior || config.clip_image)
      fail(ErrorCode::model_format, label, ": image_embedding: expected no prior and no clip_image beside it");
  }
  if (config.prior) {
    if (!config.clip_text) fail(ErrorCode::model_format, label, ": prior: expected clip_text beside it, found none");
    check("prior c_cond", config.clip_text->embed_dim, "clip_text's embed_dim", config.prior->c_cond);
    check("unet clip_image_embd", config.prior->c_in, "prior's c_in", config.unet.clip_image_embd);
  }
}

// {"levels": [numbers]}
std::vector<float> image_levels(const Json& embedding, const std::string& path) {
  const Json* list = embedding.find("levels");
  std::vector<float> levels;
  if (list != nullptr && list->is_array())
    for (const Json& level : *list->array())
      if (const double* number = level.number(); number != nullptr && std::abs(*number) <= 1e6)
        levels.push_back(static_cast<float>(*number));
  if (levels.size() < 2 || levels.size() > 256 || levels.size() != list->array()->size())
    fail(ErrorCode::model_format, path,
         ": image_embedding: expected {\"levels\": [2 to 256 numbers from -1e6 to 1e6]}, got ",
         list != nullptr && list->is_array()
             ? concat(list->array()->size(), " levels, ", levels.size(), " of them such numbers")
             : describe(embedding));
  return levels;
}

ModelConfig read_folder(const std::string& folder) {
  if (!is_folder(folder))
    fail(ErrorCode::model_not_found, "model: expected a folder with model_index.json, found none at ", folder);
  const std::string index_path = folder + "/model_index.json";
  const Json index = Json::parse_file(index_path);
  JsonReader reader(index, index_path);
  const std::string format = reader.string("format");
  if (format != "paella-native")
    fail(ErrorCode::model_format, index_path, ": format: expected \"paella-native\", got \"", format, '"');
  reader.integer("format_version", 1, 1);
  ModelConfig config;
  config.folder = folder;
  config.family = reader.string("family");
  if (config.family != "v3")
    fail(ErrorCode::model_format, index_path, ": family: expected \"v3\", got \"", config.family, '"');
  config.name = reader.string("name");
  std::vector<std::string> components = reader.strings("components");
  std::sort(components.begin(), components.end());
  if (components != std::vector<std::string>{"text_encoder", "unet", "vqgan"})
    fail(ErrorCode::model_format, index_path, ": components: expected text_encoder, unet and vqgan, got ",
         describe(*index.find("components")));
  std::vector<std::string> optional;
  if (index.find("optional_components") != nullptr) optional = reader.strings("optional_components");
  reader.ignore("licence");
  reader.ignore("image_embedding");  // read below
  reader.check_all_read();
  const auto component = [&](const std::string& name) { return folder + "/" + name + "/config.json"; };
  for (const std::string& name : optional) {
    const Json json = Json::parse_file(component(name));
    if (name == "clip_text")
      config.clip_text = ClipTextConfig::from_json(json, component(name));
    else if (name == "clip_image")
      config.clip_image = ClipImageConfig::from_json(json, component(name));
    else if (name == "prior")
      config.prior = PriorConfig::from_json(json, component(name));
    else
      fail(ErrorCode::model_format, index_path, ": optional_components: expected clip_text, clip_image or prior, got ",
           name);
  }
  if (const Json* embedding = index.find("image_embedding")) config.image_levels = image_levels(*embedding, index_path);
  config.text_encoder = Byt5Config::from_json(Json::parse_file(component("text_encoder")), component("text_encoder"));
  config.unet = UnetConfig::from_json(Json::parse_file(component("unet")), component("unet"));
  config.vqgan = VqganConfig::from_json(Json::parse_file(component("vqgan")), component("vqgan"));
  check_fit(config, folder);
  config.defaults = read_defaults(folder + "/generation_config.json", config);
  return config;
}

// --- random configurations ---

// The official pipeline: ByT5-XL, CLIP ViT-H-14, the prior, U-Net of 1.008 billion parameters, VQGAN f4.
ModelConfig paella_v3() {
  ModelConfig config;
  config.clip_text.emplace();
  config.clip_image.emplace();
  config.prior.emplace();
  return config;
}

// The same U-Net and VQGAN with a text encoder of two layers: for measurements that are not about text.
ModelConfig paella_v3_256() {
  ModelConfig config;  // without CLIP and the prior
  config.text_encoder.num_layers = 2;
  return config;
}

// All block kinds and all three levels at a quarter of the width.
ModelConfig paella_v3_small() {
  ModelConfig config = paella_v3_256();
  config.text_encoder = {.d_model = 256, .d_kv = 32, .d_ff = 512, .num_layers = 2, .num_heads = 8};
  config.unet.c_hidden = {160, 320, 320};
  config.unet.nhead = {-1, 4, 4};
  config.unet.blocks = {2, 4, 2};
  config.unet.c_cond = 256;
  config.unet.byt5_embd = 256;
  config.unet.clip_embd = config.unet.clip_image_embd = 64;
  config.vqgan.c_hidden = 96;
  config.vqgan.bottleneck_blocks = 3;
  return config;
}

// The whole pipeline, small.
ModelConfig paella_v3_small_pipeline() {
  ModelConfig config = paella_v3_small();
  config.clip_text.emplace();
  config.clip_image.emplace();
  config.prior.emplace();
  ClipTextConfig& text = *config.clip_text;
  ClipImageConfig& image = *config.clip_image;
  text.embed_dim = image.embed_dim = text.width = 64;
  image.width = 96;
  text.heads = image.heads = 4;
  text.layers = image.layers = 3;
  text.mlp_width = 256;
  image.mlp_width = 384;
  image.image_size = 56;
  *config.prior = {.c_in = 64, .c_hidden = 96, .c_inner = 384, .c_cond = 64, .c_r = 64, .num_layers = 4};
  config.defaults.prior_steps = 12;
  return config;
}

struct RandomConfiguration {
  const char* name;
  ModelConfig (*make)();
};

constexpr RandomConfiguration random_configuration_table[] = {{"paella-v3", paella_v3},
                                                              {"paella-v3-256", paella_v3_256},
                                                              {"paella-v3-small", paella_v3_small},
                                                              {"paella-v3-small-pipeline", paella_v3_small_pipeline}};

ModelConfig random_configuration(const std::string& name) {
  for (const RandomConfiguration& configuration : random_configuration_table)
    if (name == configuration.name) {
      ModelConfig config = configuration.make();
      config.name = "random:" + name;
      return config;
    }
  std::string known;
  for (const std::string& other : random_configurations()) known += (known.empty() ? "" : ", ") + other;
  fail(ErrorCode::model_not_found, "model: expected random:<configuration> with one of ", known, ", got random:", name);
}

}  // namespace

std::vector<std::string> random_configurations() {
  std::vector<std::string> names;
  for (const RandomConfiguration& configuration : random_configuration_table) names.emplace_back(configuration.name);
  return names;
}

ModelConfig read_model_config(const std::string& model) {
  const std::string prefix = "random:";
  return model.starts_with(prefix) ? random_configuration(model.substr(prefix.size())) : read_folder(model);
}

}  // namespace paella
