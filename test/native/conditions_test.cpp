// What pictures are conditioned on, against what the PyTorch reference computed: CLIP's encoders, the prior and its
// sampler, weighted attention.
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/normal.h"
#include "golden.h"
#include "harness.h"
#include "models/byt5.h"
#include "models/clip.h"
#include "models/prior.h"
#include "models/unet.h"
#include "operations.h"
#include "pipeline/prior_sampler.h"

using namespace paella;
using namespace paella::test;

namespace {

constexpr PrecisionCase cases[] = {
    {"fp32", 1e-5}, {"bf16", 2e-2}, {"cuda fp32", 1e-5}, {"cuda bf16", 2e-2}, {"cuda fp16", 4e-3}};

template <typename Network, typename Config>
Network load(const std::string& folder, Backend& backend, Layout matrices = Layout::matrix) {
  const std::string path = golden_folder() + "/" + folder;
  const auto source = open_safetensors(path + "/model.safetensors");
  Loader loader(*source, backend);
  loader.keep_matrices_as(matrices);
  Network network(Config::from_json(Json::parse_file(path + "/config.json"), path), loader);
  source->check_all_used();
  return network;
}

std::vector<float> part(const std::vector<float>& values, std::int64_t first, std::int64_t count) {
  return {values.begin() + first, values.begin() + first + count};
}

}  // namespace

TEST("normal numbers: the bits of docs/randomness.md") {
  Golden golden("normal/io.safetensors");
  const auto seeds = golden.i64("seeds");
  const auto steps = golden.i32("steps");
  const auto expected = golden.f32("elements");
  std::size_t at = 0;
  for (const std::int64_t seed : seeds)
    for (const std::int32_t step : steps)
      for (std::uint32_t k = 0; k < 37; ++k)
        CHECK_EQUAL(
            standard_normal(static_cast<std::uint64_t>(seed), Purpose::prior, static_cast<std::uint32_t>(step), k),
            expected[at++]);
  CHECK_EQUAL(at, expected.size());
}

TEST("CLIP text: embeddings as in the reference, of all lengths") {
  for (const auto& [name, bound] : cases) {
    const auto backend = backend_named(name);
    if (!backend) continue;
    const auto encoder = load<ClipTextEncoder, ClipTextConfig>("clip-text/clip_text", *backend);
    Golden golden("clip-text/clip_text/io.safetensors");
    for (const char* length : {"length_2", "length_9", "length_40", "length_77"}) {
      const auto ids = golden.i32(concat(length, "/ids"));
      const auto count = static_cast<std::int64_t>(ids.size());
      std::vector<std::int32_t> positions(ids.size());
      std::iota(positions.begin(), positions.end(), 0);
      const auto found =
          as<float>(run(*backend, encoder.network(),
                        {input_i32({count}, ids), input_i32({count}, positions),
                         input_f32({encoder.config().heads, 2 * count - 1}, encoder.attention_bias(count)),
                         input_i32({1}, {static_cast<std::int32_t>(count - 1)})},
                        {{{1, encoder.config().embed_dim}, DType::f32}})[0]);
      CHECK_BOUND(concat(name, ' ', length), relative_error(found, golden.f32(concat(length, "/embedding"))), bound);
    }
  }
}

TEST("CLIP image: embeddings as in the reference") {
  for (const auto& [name, bound] : cases) {
    const auto backend = backend_named(name);
    if (!backend) continue;
    const auto encoder = load<ClipImageEncoder, ClipImageConfig>("clip-image/clip_image", *backend);
    const ClipImageConfig& config = encoder.config();
    Golden golden("clip-image/clip_image/io.safetensors");
    const auto pixels = golden.u8("batch/pixels");
    const auto expected = golden.f32("batch/embedding");
    const std::int64_t each = config.image_size * config.image_size * 3, tokens = 1 + config.patches();
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto patches = encoder.patches(
          std::span(pixels).subspan(static_cast<std::size_t>(i * each), static_cast<std::size_t>(each)));
      const auto found =
          as<float>(run(*backend, encoder.network(),
                        {input_u8({tokens, encoder.patch_bytes()}, patches),
                         input_f32({config.heads, 2 * tokens - 1}, encoder.attention_bias()), input_i32({1}, {0})},
                        {{{1, config.embed_dim}, DType::f32}})[0]);
      CHECK_BOUND(concat(name, " picture ", i),
                  relative_error(found, part(expected, i * config.embed_dim, config.embed_dim)), bound);
    }
    CHECK_THROWS(encoder.patches(std::span(pixels).subspan(1)), ErrorCode::internal, "expected 28×28 pixels");
  }
}

// How far rounding moves a network of this width; test/native/quantized_test.cpp checks the rounding itself.
TEST("weights of 8 bits: what encodes prompts stays close to the reference, on every backend") {
  for (const char* name : {"fp32", "bf16", "cuda fp32", "cuda bf16", "cuda fp16"}) {
    const auto backend = backend_named(name);
    if (!backend) continue;
    const std::size_t before = backend->memory().weights;
    const auto text = load<Byt5Encoder, Byt5Config>("text-encoder/text_encoder", *backend, Layout::matrix_w8);
    CHECK(backend->memory().weights > before);
    Golden golden("text-encoder/text_encoder/io.safetensors");
    const auto states = as<float>(run(*backend, text.network(),
                                      {input_i32({40}, golden.i32("length_40/ids")),
                                       input_f32({text.config().num_heads, 79}, text.position_bias(40))},
                                      {{{40, text.config().d_model}, DType::f32}})[0]);
    CHECK_BOUND(concat(name, " ByT5"), relative_error(states, golden.f32("length_40/states")), 4e-2);

    const auto clip = load<ClipTextEncoder, ClipTextConfig>("clip-text/clip_text", *backend, Layout::matrix_w8);
    Golden of_clip("clip-text/clip_text/io.safetensors");
    const auto ids = of_clip.i32("length_40/ids");
    std::vector<std::int32_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    const auto embedding =
        as<float>(run(*backend, clip.network(),
                      {input_i32({40}, ids), input_i32({40}, positions),
                       input_f32({clip.config().heads, 79}, clip.attention_bias(40)), input_i32({1}, {39})},
                      {{{1, clip.config().embed_dim}, DType::f32}})[0]);
    CHECK_BOUND(concat(name, " CLIP"), relative_error(embedding, of_clip.f32("length_40/embedding")), 4e-2);

    const auto exact = load<Prior, PriorConfig>("prior/prior", *backend);
    const auto prior = load<Prior, PriorConfig>("prior/prior", *backend, Layout::matrix_w8);
    const auto from = Random(6).normal(prior.config().c_cond);
    const std::uint64_t seed = 3;
    const auto draw = [&](const Prior& which) {
      return sample_prior(*backend, which, {.steps = 5}, from, {&seed, 1}, [] { return true; });
    };
    CHECK_BOUND(concat(name, " prior"), relative_error(draw(prior), draw(exact)), 8e-2);
  }
}

TEST("prior: the schedule's coefficients") {
  Golden golden("prior/prior/io.safetensors");
  for (const char* mode : {"ddpm", "ddim"})
    for (const std::int64_t steps : {5, 60}) {
      const auto expected = golden.f32(concat("sample/", mode, '_', steps, "/coefficients"));
      const auto times = golden.f32(concat("sample/times_", steps));
      const auto schedule = prior_schedule(
          {.steps = steps, .method = mode == std::string("ddim") ? PriorMethod::ddim : PriorMethod::ddpm});
      CHECK_EQUAL(static_cast<std::int64_t>(schedule.size()), steps);
      double worst = 0;
      for (std::size_t i = 0; i < schedule.size(); ++i) {
        const double found[] = {schedule[i].of_x, schedule[i].of_noise, schedule[i].deviation};
        for (std::size_t j = 0; j < 3; ++j)
          worst = std::max(worst, std::abs(found[j] - expected[3 * i + j]) / std::max(1.0, std::abs(found[j])));
        CHECK_EQUAL(static_cast<float>(schedule[i].noise_level), times[i]);
      }
      CHECK_BOUND(concat("coefficients, ", mode, ' ', steps), worst, 1e-6);
    }
}

TEST("prior: one prediction, and whole loops, as in the reference") {
  for (const auto& [name, bound] : cases) {
    const auto backend = backend_named(name);
    if (!backend) continue;
    const auto prior = load<Prior, PriorConfig>("prior/prior", *backend);
    Golden golden("prior/prior/io.safetensors");
    const auto seeds = golden.i64("sample/seeds");
    const std::vector<std::uint64_t> both(seeds.begin(), seeds.end());
    const auto text = golden.f32("sample/c");
    const std::int64_t width = prior.config().c_in;
    for (const char* mode : {"ddpm", "ddim"})
      for (const std::int64_t steps : {5, 60}) {
        const PriorSettings settings{.steps = steps,
                                     .method = mode == std::string("ddim") ? PriorMethod::ddim : PriorMethod::ddpm};
        const auto all = golden.f32(concat("sample/", mode, '_', steps, "/x"));
        const auto expected = part(all, (steps - 1) * 2 * width, 2 * width);
        const auto found = sample_prior(*backend, prior, settings, text, both, [] { return true; });
        CHECK_BOUND(concat(name, ' ', mode, ' ', steps), relative_error(found, expected), 3 * bound);
        // A row does not know of the others.
        const auto alone =
            sample_prior(*backend, prior, settings, part(text, width, width), {&both[1], 1}, [] { return true; });
        CHECK(same_bits(alone, part(found, width, width)));
      }
    const auto unguided = golden.f32("sample/unguided/x");
    const auto found =
        sample_prior(*backend, prior, {.steps = 5, .guidance_scale = 1}, text, both, [] { return true; });
    CHECK_BOUND(concat(name, " unguided"), relative_error(found, part(unguided, 4 * 2 * width, 2 * width)), 3 * bound);
    int asked = 0;
    CHECK_THROWS(sample_prior(*backend, prior, {.steps = 5}, text, both, [&] { return ++asked < 3; }),
                 ErrorCode::aborted, "prior: aborted before step 3 of 5");
  }
}

TEST("U-Net: conditions with CLIP and weighted attention, as in the reference") {
  for (const auto& [name, bound] : cases) {
    const auto backend = backend_named(name);
    if (!backend) continue;
    const auto unet = load<Unet, UnetConfig>("unet-three-levels/unet", *backend);
    const UnetConfig& config = unet.config();
    Golden golden("unet-conditions/io.safetensors");
    struct Case {
      const char* name;
      bool empty, clip;
      std::int64_t images;
    };
    for (const Case& one :
         {Case{"clip", false, true, 0}, Case{"clip+image", false, true, 1}, Case{"clip+2_images", false, true, 2},
          Case{"unconditional", true, true, 0}, Case{"weights_as_in_4.3", false, true, 1},
          Case{"weights_every_key", false, true, 2}, Case{"weights_short", false, true, 1}}) {
      const Shape expected_shape = golden.shape(concat(one.name, "/condition"));
      const std::int64_t length = expected_shape[1], tokens = length - config.clip_seq_len * (1 + one.images);
      auto byt5 = golden.f32(one.empty ? "byt5_empty" : "byt5");
      byt5.resize(static_cast<std::size_t>(tokens * config.byt5_embd));
      std::vector<Input> inputs{input_f32({tokens, config.byt5_embd}, byt5),
                                input_f32({1, config.clip_embd}, golden.f32("clip"))};
      std::vector<float> images;
      for (std::int64_t i = 0; i < one.images; ++i) {
        const auto image = golden.f32(concat("clip_image_", i));
        images.insert(images.end(), image.begin(), image.end());
      }
      if (one.images > 0) inputs.push_back(input_f32({one.images, config.clip_image_embd}, images));
      const std::string weights = concat(one.name, "/attn_weights");
      if (golden.has(weights)) {
        // They belong to the last keys.
        auto given = golden.f32(weights);
        const auto first = length - static_cast<std::int64_t>(given.size());
        std::vector<float> all(static_cast<std::size_t>(length), 1.0f);
        std::copy(given.begin(), given.end(), all.begin() + std::max<std::int64_t>(first, 0));
        inputs.push_back(input_f32({length}, all));
      }
      std::vector<TensorSpec> outputs;
      for (const std::int64_t c : unet.attention_widths())
        outputs.push_back({{length, 2 * c}, backend->operand_type()});
      const auto kv = run(*backend, unet.condition(1, one.images, golden.has(weights)), inputs, outputs);
      const auto r = golden.f32("r");
      const auto modulation =
          as<float>(run(*backend, unet.modulation(), {input_f32({1, config.c_r}, noise_embedding(r[0], config.c_r))},
                        {{{1, unet.modulation_size()}, DType::f32}})[0]);
      std::vector<Input> all{input_i32({1, 8, 8}, golden.i32("tokens")),
                             input_f32({1, unet.modulation_size()}, modulation), input_i32({1}, {0}),
                             input_i32({1}, {static_cast<std::int32_t>(length)}), input_i32({1}, {0})};
      for (std::size_t block = 0; block < kv.size(); ++block)
        all.push_back({{{1, length, 2 * unet.attention_widths()[block]}, backend->operand_type()}, kv[block]});
      const auto features = as<float>(run(*backend, unet.denoise(), all, {{{1, 8, 8, config.c_out}, DType::f32}})[0]);
      CHECK_BOUND(concat(name, ' ', one.name), relative_error(features, golden.f32(concat(one.name, "/features"))),
                  bound);
    }
  }
}
