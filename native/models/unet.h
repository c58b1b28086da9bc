// The v3 denoiser (spec section 1): predicts every token of the grid at once, from noisy tokens, the noise level and a
// condition sequence.
//
// Three networks come from one set of weights, split by how often they run:
//   condition   once per prompt   → keys and values of the condition for every attention block (spec 1.8.3)
//   modulation  once per job      → scale and shift of every timestep block for every step (spec 1.3)
//   denoise     once per step     → normalised features before the bias-free head (spec 1.8.1)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/json.h"
#include "models/loader.h"

namespace paella {

struct UnetConfig {
  std::int64_t c_in = 256;
  std::int64_t c_out = 256;
  std::int64_t num_labels = 8192;
  std::int64_t c_r = 64;
  std::int64_t patch_size = 2;
  std::int64_t c_cond = 1024;
  std::vector<std::int64_t> c_hidden = {640, 1280, 1280};
  std::vector<std::int64_t> nhead = {-1, 16, 16};
  std::vector<std::int64_t> blocks = {6, 16, 6};
  std::vector<std::string> level_config = {"CT", "CTA", "CTA"};
  std::int64_t byt5_embd = 2560;
  std::int64_t clip_embd = 1024;        // 0: the model takes no CLIP text embedding
  std::int64_t clip_image_embd = 1024;  // 0: the model takes no CLIP image embedding
  std::int64_t clip_seq_len = 4;

  static UnetConfig from_json(const Json& json, const std::string& label);
  std::int64_t levels() const { return static_cast<std::int64_t>(c_hidden.size()); }
  // Tokens along one side must be a multiple of this.
  std::int64_t token_multiple() const { return patch_size << (levels() - 1); }
};

class Unet {
 public:
  Unet(const UnetConfig& config, Loader& loader);

  const UnetConfig& config() const { return config_; }

  // Inputs: ByT5 states f32 [T, byt5_embd]; then, if `clip_texts` (0 or 1), f32 [1, clip_embd]; then, if `clip_images`
  // (any number), f32 [clip_images, clip_image_embd]; then, if `weighted`, f32 [S] what the attention that each entry
  // gets is multiplied by after the softmax (spec 4.3), which its values take on (spec 1.8.4). Outputs: per attention
  // block, [S, 2c] in operand type, S = T + clip_seq_len·(clip_texts + clip_images).
  std::shared_ptr<const Description> condition(std::int64_t clip_texts, std::int64_t clip_images,
                                               bool weighted = false) const;
  // Input: embeddings f32 [N, c_r], see noise_embedding(). Output: f32 [N, modulation_size()].
  std::shared_ptr<const Description> modulation() const;
  // Inputs: tokens i32 [B, H, W]; modulation table f32 [N, modulation_size()]; step i32 [1], a row of that table;
  // condition lengths i32 [P]; condition of each row i32 [R], R a multiple of B: row r shows image r mod B; then per
  // attention block the condition's keys and values [P, Smax, 2c].
  // Output: features f32 [R, H, W, c_out], after the last LayerNorm.
  //
  // Rows of one image are computed once until their conditions first matter (spec 1.8.2).
  std::shared_ptr<const Description> denoise() const;
  // Input: features f32 [R, H, W, c_out]. Output: logits f32 [R, H, W, V]. The loop uses Sampler::sample instead.
  std::shared_ptr<const Description> logits() const;

  // [V, c_out], no bias.
  const ConstantPtr& head() const;
  std::int64_t modulation_size() const;
  // Width c of each attention block, in order.
  const std::vector<std::int64_t>& attention_widths() const;

  struct Weights;

 private:
  UnetConfig config_;
  std::shared_ptr<const Weights> weights_;
};

// Spec 1.3: sine and cosine of r·10000·f_k in fp32, in the reference's order of operations. r in [0, 1]. → [c_r]
std::vector<float> noise_embedding(float r, std::int64_t c_r);

}  // namespace paella
