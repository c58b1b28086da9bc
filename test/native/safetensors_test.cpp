// The container's checks, and a fixed number of damaged files: each is either read or refused with a typed error.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/philox.h"
#include "core/weights.h"
#include "harness.h"

using namespace paella;

namespace {

std::vector<std::uint8_t> file_of(const std::string& header, std::size_t data_bytes) {
  std::vector<std::uint8_t> bytes(8 + header.size() + data_bytes);
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(header.size() >> (8 * i));
  std::copy(header.begin(), header.end(), bytes.begin() + 8);
  return bytes;
}

std::unique_ptr<WeightSource> parse(const std::vector<std::uint8_t>& bytes) { return parse_safetensors(bytes, "test"); }

const std::string valid_header =
    R"({"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("y":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"z":{"dtype":"I64","shape":[],"data_offsets":[32,40]}})";

}  // namespace

TEST("a valid file is read") {
  const auto bytes = file_of(valid_header, 40);
  const auto source = parse(bytes);
  CHECK(source->has("x") && source->has("y") && !source->has("__metadata__"));
  CHECK_EQUAL(source->get("x", {2, 3}).elements(), 6);
  CHECK(source->get("y", {4}).dtype == DType::bf16);
  CHECK_THROWS(source->check_all_used(), ErrorCode::model_format, "1 tensor is not part of this configuration: \"z\"");
  source->get("z", {});
  source->check_all_used();
  CHECK_THROWS(source->get("w", {1}), ErrorCode::model_format, "\"w\" is missing");
  CHECK_THROWS(source->get("x", {3, 2}), ErrorCode::model_format, "expected shape [3, 2], found [2, 3]");
}

TEST("the checks of the reference reader") {
  const auto refuse = [](const std::string& header, std::size_t data, const char* part) {
    const auto bytes = file_of(header, data);
    CHECK_THROWS(parse(bytes), ErrorCode::model_format, part);
  };
  CHECK_THROWS(parse({1, 2, 3}), ErrorCode::model_format, "only 3 bytes");
  auto long_header = file_of("{}", 0);
  long_header[4] = 1;
  CHECK_THROWS(parse(long_header), ErrorCode::model_format, "at most 100000000 bytes");
  auto cut = file_of(valid_header, 40);
  cut.resize(60);
  CHECK_THROWS(parse(cut), ErrorCode::model_format, "truncated");
  refuse(valid_header, 39, "found 39: the file is truncated");
  refuse(valid_header, 41, "expected 40 bytes of tensor data, found 41");
  refuse(" {}", 0, "begins with '{'");
  refuse("{", 0, "not valid JSON");
  refuse("{} x", 0, "not valid JSON");
  refuse(
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      8, "stands there twice");
  refuse(R"({"x":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4, "element type");
  refuse(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "expected 8 bytes");
  refuse(R"({"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "whole number");
  refuse(R"({"x":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, "whole number");
  refuse(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "expected data at offset 0, found 4");
  refuse(
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
      6, "expected data at offset 4, found 2");
  refuse(R"({"x":{"dtype":"F32","shape":[9007199254740992,9007199254740992],"data_offsets":[0,4]}})", 4, "too large");
  refuse(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", 4, "just dtype");
  refuse(R"({"__metadata__":{"a":1}})", 0, "__metadata__");
  refuse(R"({"x":1})", 0, "just dtype");
}

TEST("values of every stored type") {
  const std::uint16_t bf16[] = {0x3F80, 0xC000};
  CHECK(to_f32({"x", {2}, DType::bf16, bf16}) == (std::vector<float>{1, -2}));
  const std::uint16_t f16[] = {0x3C00, 0xC000, 0x0001, 0x8000, 0x7BFF};
  CHECK(to_f32({"x", {5}, DType::f16, f16}) == (std::vector<float>{1, -2, 0x1p-24f, -0.0f, 65504}));
  const std::uint16_t infinite[] = {0x7C00};
  CHECK_THROWS(to_f32({"w.x", {1}, DType::f16, infinite}), ErrorCode::numeric, "w.x: expected finite weights");
  const std::int64_t whole[] = {1};
  CHECK_THROWS(to_f32({"x", {1}, DType::i64, whole}), ErrorCode::model_format, "F32, F16 or BF16");
}

TEST("random weights are the same for the same name and seed only") {
  const auto first = random_weights(1), second = random_weights(1), other = random_weights(2);
  const auto values = to_f32(first->get("a", {5, 7}));
  CHECK(values == to_f32(second->get("a", {5, 7})));
  CHECK(values != to_f32(second->get("b", {5, 7})));
  CHECK(values != to_f32(other->get("a", {5, 7})));
}

TEST("JSON") {
  const auto text = [](const char* document) { return *Json::parse(document, "test").string(); };
  CHECK_EQUAL(text(R"("a\u00e9\ud83d\ude00\n")"), "a\xC3\xA9\xF0\x9F\x98\x80\n");
  for (const char* bad : {"", "01", "1.", "1e", "+1", "nul", "\"a", "\"\\x\"", "[1,]", "{\"a\" 1}", "\"\\ud800\"",
                          "\"\x01\"", "1e999", "[1] 2", "{\"a\":1,\"a\":2}"})
    CHECK_THROWS(Json::parse(bad, "test"), ErrorCode::model_format, "test");
  CHECK_THROWS(Json::parse(std::string(100000, '['), "test"), ErrorCode::model_format, "64 levels");
}

TEST("20,000 damaged files are read or refused, never more") {
  const auto valid = file_of(valid_header, 40);
  int read = 0, refused = 0;
  for (std::uint32_t round = 0; round < 20000; ++round) {
    std::vector<std::uint8_t> bytes = valid;
    std::uint32_t draw = 0;
    const auto random = [&](std::size_t below) {
      return random_words(7, Purpose::test, round, draw++, 0)[0] % static_cast<std::uint32_t>(below);
    };
    const std::uint32_t edits = 1 + random(4);
    for (std::uint32_t edit = 0; edit < edits && !bytes.empty(); ++edit) {
      const std::size_t at = random(bytes.size());
      switch (random(5)) {
        case 0:
          bytes[at] = static_cast<std::uint8_t>(random(256));
          break;
        case 1:
          bytes[at] ^= static_cast<std::uint8_t>(1u << random(8));
          break;
        case 2:
          bytes.resize(at);
          break;
        case 3:
          bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), "0123456789{}[]\",:-e"[random(19)]);
          break;
        default:
          bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at));
          break;
      }
    }
    // An exact copy on the heap, so that the sanitizer sees every read beyond its end.
    const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
    try {
      const auto source = parse_safetensors(exact, "fuzz");
      if (source->has("x")) {
        try {
          const HostTensor x = source->get("x", {2, 3});
          if (x.dtype == DType::f32) to_f32(x);
        } catch (const Error&) {
        }
      }
      ++read;
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::model_format);
      ++refused;
    }
  }
  CHECK(read > 100 && refused > 10000);
}
