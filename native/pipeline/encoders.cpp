#include "pipeline/encoders.h"

#include <numeric>

#include "core/error.h"
#include "pipeline/run_network.h"

namespace paella {

namespace {

// A prompt of 100 bytes holds 1 MB of ByT5-XL's states, the longest one 8 MB.
constexpr std::size_t entries_kept = 64, bytes_kept = std::size_t{128} << 20;

template <typename T>
std::string key_of(const char* kind, std::span<const T> values) {
  std::string key = kind;
  key.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return key;
}

void check_ids(const char* what, std::span<const std::int32_t> ids, std::int64_t count) {
  expect(!ids.empty(), what, ": expected at least one token");
  for (const std::int32_t id : ids)
    if (id < 0 || id >= count)
      fail(ErrorCode::invalid_option, what, ": expected token ids from 0 to ", count - 1, ", got ", id);
}

}  // namespace

PromptEncoders::Values PromptEncoders::remembered(std::string key, const std::function<Values()>& encode) {
  if (const auto found = index_.find(key); found != index_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->second;
  }
  const auto bytes_of = [](const auto& entry) { return entry.first.size() + entry.second.size() * sizeof(float); };
  entries_.emplace_front(key, encode());
  index_[std::move(key)] = entries_.begin();
  bytes_ += bytes_of(entries_.front());
  while (entries_.size() > 1 && (entries_.size() > entries_kept || bytes_ > bytes_kept)) {
    bytes_ -= bytes_of(entries_.back());
    index_.erase(entries_.back().first);
    entries_.pop_back();
  }
  return entries_.front().second;
}

std::vector<float> PromptEncoders::text(std::span<const std::int32_t> ids) {
  const Byt5Config& config = model_.config().text_encoder;
  check_ids("prompt", ids, config.vocab_size);
  return remembered(key_of("text", ids), [&] {
    const auto length = static_cast<std::int64_t>(ids.size());
    const Byt5Encoder& encoder = model_.text_encoder();
    const std::vector<float> bias = encoder.position_bias(length);
    return run_network<float>(
        backend_, encoder.network(),
        {{ids.data(), {{length}, DType::i32}}, {bias.data(), {{config.num_heads, 2 * length - 1}, DType::f32}}},
        {{length, config.d_model}, DType::f32});
  });
}

std::vector<float> PromptEncoders::clip_text(std::span<const std::int32_t> ids) {
  const ClipTextConfig& config = *model_.config().clip_text;
  check_ids("prompt for CLIP", ids, config.vocab_size);
  const auto length = static_cast<std::int64_t>(ids.size());
  if (length > config.context_length)
    fail(ErrorCode::invalid_option, "prompt for CLIP: expected at most ", config.context_length, " tokens, got ",
         length);
  return remembered(key_of("clip text", ids), [&] {
    const ClipTextEncoder& encoder = model_.clip_text();
    const std::vector<float> bias = encoder.attention_bias(length);
    std::vector<std::int32_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    const std::int32_t last = positions.back();
    return run_network<float>(backend_, encoder.network(),
                              {{ids.data(), {{length}, DType::i32}},
                               {positions.data(), {{length}, DType::i32}},
                               {bias.data(), {{config.heads, 2 * length - 1}, DType::f32}},
                               {&last, {{1}, DType::i32}}},
                              {{1, config.embed_dim}, DType::f32});
  });
}

std::vector<float> PromptEncoders::clip_image(std::span<const std::uint8_t> pixels) {
  const ClipImageConfig& config = *model_.config().clip_image;
  return remembered(key_of("clip image", pixels), [&] {
    const ClipImageEncoder& encoder = model_.clip_image();
    const std::vector<std::uint8_t> patches = encoder.patches(pixels);
    const std::vector<float> bias = encoder.attention_bias();
    const std::int32_t first = 0;
    const std::int64_t tokens = 1 + config.patches();
    return run_network<float>(backend_, encoder.network(),
                              {{patches.data(), {{tokens, encoder.patch_bytes()}, DType::u8}},
                               {bias.data(), {{config.heads, 2 * tokens - 1}, DType::f32}},
                               {&first, {{1}, DType::i32}}},
                              {{1, config.embed_dim}, DType::f32});
  });
}

}  // namespace paella
