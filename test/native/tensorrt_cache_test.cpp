// Cached plans: what is in the key, that nothing damaged or foreign is used, locks, and what a full or read-only disk
// does.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/json.h"
#include "harness.h"
#include "tensorrt/plan_cache.h"
#include "tensorrt/profile.h"
#include "tensorrt/sha256.h"
#include "tensorrt_fixture.h"

using namespace paella;
using namespace paella::tensorrt;
using namespace paella::test;

namespace {

namespace fs = std::filesystem;

PlanKey key() {
  return {"vqgan.decoder",   "g0",  "w0",   "enterprise",  "11.2.1.9",
          "NVIDIA \"H200\"", "9.0", "bf16", "batch=1:1:4", "strip"};
}

BuiltPlan built(std::size_t bytes = 5000) {
  BuiltPlan result;
  for (std::size_t i = 0; i < bytes; ++i) result.plan.push_back(static_cast<std::uint8_t>(i * 7));
  result.io = {{"tokens", DType::i32, {-1, -1, -1}, true}, {"pixels", DType::u8, {-1, -1, -1, 3}, false}};
  result.stripped = true;
  result.layers = 9;
  return result;
}

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// `damage` is done to a stored plan; then it is as if it were not there, and `why` says what is wrong.
void refused(const std::string& expected, const std::function<void(const PlanCache&)>& damage) {
  const TemporaryFolder folder;
  const PlanCache cache(folder.path());
  cache.store(key(), built(), 10);
  std::string why;
  CHECK(cache.find(key(), why).has_value() && why.empty());
  damage(cache);
  CHECK(!cache.find(key(), why).has_value());
  check(why.find(expected) != std::string::npos, __FILE__, __LINE__, "expected \"" + expected + "\", got: " + why);
  cache.store(key(), built(), 10);
  CHECK(cache.find(key(), why).has_value());
}

}  // namespace

TEST("sha256: the examples of FIPS 180-4, and pieces of any size") {
  CHECK_EQUAL(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK_EQUAL(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK_EQUAL(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string text(1000000, 'a');
  CHECK_EQUAL(sha256(text), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  for (const std::size_t part : {1u, 55u, 56u, 63u, 64u, 65u, 1000u}) {
    Sha256 hash;
    for (std::size_t at = 0; at < 5000; at += part) hash.add(text.data(), std::min(part, 5000 - at));
    CHECK_EQUAL(hash.hex(), sha256(text.substr(0, 5000)));
  }
}

TEST("plan cache: everything that decides about a plan is in its key") {
  const PlanKey original = key();
  std::set<std::string> hashes = {original.hash()}, stems = {original.stem()};
  for (std::size_t i = 0; i < original.fields().size(); ++i) {
    PlanKey other = key();
    *const_cast<std::string*>(other.fields()[i].second) += "'";
    hashes.insert(other.hash());
    stems.insert(other.stem());
  }
  CHECK_EQUAL(hashes.size(), original.fields().size() + 1);
  CHECK_EQUAL(stems.size(), hashes.size());
  // Where one field ends and the next begins is part of it.
  PlanKey a = key(), b = key();
  a.gpu = "A1", a.compute_capability = "2";
  b.gpu = "A", b.compute_capability = "12";
  CHECK(a.hash() != b.hash());
  CHECK(original.stem().starts_with("vqgan-decoder-"));
}

TEST("plan cache: what is stored is found, and described beside it") {
  const TemporaryFolder folder;
  const PlanCache cache(folder.path() + "/a/b");
  std::string why;
  CHECK(!cache.find(key(), why).has_value() && why.empty());
  cache.store(key(), built(), 1234.5);
  const auto found = cache.find(key(), why);
  CHECK(found.has_value() && found->plan == built().plan && found->stripped);
  const Json sidecar = Json::parse_file(cache.sidecar_path(key()));
  CHECK_EQUAL(*sidecar.find("gpu")->string(), key().gpu);
  CHECK_EQUAL(*sidecar.find("bytes")->number(), 5000);
  CHECK_EQUAL(*sidecar.find("buildMs")->number(), 1234);
  CHECK_EQUAL(*sidecar.find("sha256")->string(), sha256(read(cache.plan_path(key()))));
  CHECK_EQUAL(sidecar.find("tensors")->array()->size(), 2u);
  PlanKey other = key();
  other.version = "11.2.1.10";
  CHECK(!cache.find(other, why).has_value() && why.empty());
  cache.drop(key());
  CHECK(!cache.find(key(), why).has_value() && why.empty());
}

TEST("plan cache: damaged, foreign and outdated plans are not used") {
  refused("bytes, found 4000", [](const PlanCache& cache) { fs::resize_file(cache.plan_path(key()), 4000); });
  refused("bytes, found 0", [](const PlanCache& cache) { fs::resize_file(cache.plan_path(key()), 0); });
  refused("checksum", [](const PlanCache& cache) {
    std::string plan = read(cache.plan_path(key()));
    plan[2500] ^= 1;
    write(cache.plan_path(key()), plan);
  });
  refused(".plan is missing", [](const PlanCache& cache) { fs::remove(cache.plan_path(key())); });
  refused(".json is missing", [](const PlanCache& cache) { fs::remove(cache.sidecar_path(key())); });
  refused("expected", [](const PlanCache& cache) { write(cache.sidecar_path(key()), "{\"format\": 1"); });
  refused("expected format 1", [](const PlanCache& cache) { write(cache.sidecar_path(key()), "{\"format\": 2}"); });
  // The files of another GPU, under this one's name.
  refused("expected key", [](const PlanCache& cache) {
    PlanKey other = key();
    other.gpu = "NVIDIA A100";
    cache.store(other, built(), 1);
    fs::rename(cache.plan_path(other), cache.plan_path(key()));
    fs::rename(cache.sidecar_path(other), cache.sidecar_path(key()));
  });
  // Edited by hand.
  refused("gpu: expected", [](const PlanCache& cache) {
    std::string text = read(cache.sidecar_path(key()));
    const auto at = text.find("H200");
    text.replace(at, 4, "H100");
    write(cache.sidecar_path(key()), text);
  });
}

TEST("plan cache: a folder that cannot be written to is said before a build") {
  const TemporaryFolder folder;
  write(folder.path() + "/file", "no folder");
  const PlanCache cache(folder.path() + "/file/cache");
  CHECK_THROWS(cache.lock(key(), {}), ErrorCode::io, "file/cache");
  CHECK_THROWS(cache.store(key(), built(), 1), ErrorCode::io, "file/cache");
  std::string why;
  CHECK(!cache.find(key(), why).has_value());
}

TEST("plan cache: a full disk leaves the old plan and nothing else") {
  const TemporaryFolder folder;
  const PlanCache cache(folder.path());
  cache.store(key(), built(), 1);
  // A limit on the size of files does what a full disk does; in a child process, because it cannot be lifted again.
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20000, 20000};
    setrlimit(RLIMIT_FSIZE, &limit);
    int code = 1;
    try {
      cache.store(key(), built(200000), 1);
    } catch (const Error& error) {
      const bool named = std::string(error.what()).find("200000 bytes cannot be written") != std::string::npos;
      code = error.code() == ErrorCode::io && named && !error.remedy().empty() ? 0 : 2;
    }
    _exit(code);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  std::string why;
  const auto found = cache.find(key(), why);
  CHECK(found.has_value() && found->plan.size() == 5000);
  CHECK_EQUAL(folder.files("").size(), 2u);
}

TEST("plan cache: one builder at a time, of threads and of processes") {
  const TemporaryFolder folder;
  const PlanCache cache(folder.path());
  std::atomic<int> inside{0}, most{0}, turns{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      const auto lock = cache.lock(key(), {});
      most = std::max(most.load(), ++inside);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      --inside;
      ++turns;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK_EQUAL(turns.load(), 4);
  CHECK_EQUAL(most.load(), 1);

  auto held = cache.lock(key(), {});
  CHECK_THROWS(cache.lock(key(), [] { return true; }), ErrorCode::aborted, "another process builds");
  PlanKey other = key();
  other.network = "unet";
  CHECK(cache.lock(other, {}) != nullptr);  // another plan has another lock
  // A process that dies leaves its lock free.
  held.reset();
  const pid_t child = fork();
  if (child == 0) {
    const auto taken = cache.lock(key(), {});
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(cache.lock(key(), [] { return true; }) != nullptr);
  // Whoever cleans the folder takes the file of a lock away: the next one must not believe in it.
  held = cache.lock(key(), {});
  fs::remove(folder.files(".lock").back());
  CHECK(cache.lock(key(), [] { return true; }) != nullptr);
}

TEST("profiles: ranges of a network's sizes, checked against the network") {
  Signature signature;
  signature.symbols = {{"batch", {}},      {"rows", {1, "batch"}}, {"height", {8, {}}},
                       {"width", {8, {}}}, {"conditions", {}},     {"condition_length", {}}};
  signature.inputs = {{"tokens", {"batch", "height", Dim("width").divided_by(2)}, DType::i32},
                      {"index", {"rows"}, DType::i32}};
  Profile profile{"test", "", {1, 2, 4}, {64, 64, 128}, {64, 128, 256}, {32, 64, 96}, {1, 8, 12}};
  const Ranges ranges = ranges_of(profile, signature, 4);
  CHECK(ranges.at("batch") == (Range{1, 2, 4}) && ranges.at("rows") == (Range{1, 4, 8}));
  CHECK(ranges.at("width") == (Range{16, 16, 32}) && ranges.at("height") == (Range{16, 32, 64}));
  CHECK(ranges.at("conditions") == (Range{1, 3, 8}) && ranges.at("condition_length") == (Range{32, 64, 96}));
  const auto inputs = input_ranges(signature, ranges);
  CHECK(inputs.at(0).maximum == (std::vector<std::int64_t>{4, 64, 16}));
  CHECK(inputs.at(1).optimum == (std::vector<std::int64_t>{4}));

  const TensorSpec specs[] = {{{2, 32, 8}, DType::i32}, {{4}, DType::i32}};
  const auto symbols = symbols_of(signature, specs);
  CHECK(symbols.has_value() && symbols->at("width") == 16 && symbols->at("rows") == 4);
  CHECK(covers(ranges, *symbols));
  auto outside = *symbols;
  outside["height"] = 72;
  CHECK(!covers(ranges, outside));
  CHECK_EQUAL(text_of(exactly({{"batch", 2}, {"rows", 4}})), "batch=2:2:2 rows=4:4:4");
  const TensorSpec other_type[] = {{{2, 32, 8}, DType::f32}, {{4}, DType::i32}};
  CHECK(!symbols_of(signature, other_type).has_value());

  profile.width = {64, 72, 128};
  CHECK_THROWS(ranges_of(profile, signature, 4), ErrorCode::invalid_option,
               "profile test: width: expected multiples of 32 pixels, got 72");
  profile.width = {128, 64, 128};
  CHECK_THROWS(ranges_of(profile, signature, 4), ErrorCode::invalid_option, "minimum ≤ optimum ≤ maximum");
  profile.width = {64, 64, 128};
  profile.condition = {1, 32, 32};
  CHECK_THROWS(ranges_of(profile, signature, 4), ErrorCode::invalid_option, "condition: expected multiples of 32");
}
