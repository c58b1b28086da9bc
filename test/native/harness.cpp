// usage: paella_tests [part of a file or test name …]      exit 0: all passed; 77: none can run here
#include "harness.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

namespace paella::test {

namespace {

struct Test {
  std::string file;
  const char* name;
  std::function<void()> body;
};

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

int failures = 0;
int skipped = 0;

std::string short_name(const char* file) {
  const char* slash = std::strrchr(file, '/');
  return slash != nullptr ? slash + 1 : file;
}

bool selected(const Test& test, int count, char** parts) {
  for (int i = 1; i < count; ++i)
    if (test.file.find(parts[i]) != std::string::npos || std::strstr(test.name, parts[i]) != nullptr) return true;
  return count < 2;
}

}  // namespace

void add_test(const char* file, const char* name, std::function<void()> body) {
  tests().push_back({short_name(file), name, std::move(body)});
}

void check(bool passed, const char* file, int line, const std::string& text) {
  if (passed) return;
  ++failures;
  std::printf("    FAILED %s:%d: %s\n", short_name(file).c_str(), line, text.c_str());
}

void check_bound(const std::string& what, double found, double bound, const char* file, int line) {
  const bool passed = found <= bound;  // false for NaN too
  if (passed) {
    std::printf("    %s: %.3g (bound %.3g)\n", what.c_str(), found, bound);
    return;
  }
  ++failures;
  std::printf("    FAILED %s:%d: %s: expected at most %.3g, got %.3g\n", short_name(file).c_str(), line, what.c_str(),
              bound, found);
}

void skip(const std::string& why) {
  ++skipped;
  std::printf("    SKIPPED: %s\n", why.c_str());
}

}  // namespace paella::test

int main(int count, char** arguments) {
  using namespace paella::test;
  if (const std::string why = why_not_here(); !why.empty()) {
    skip(why);
    return 77;
  }
  int run = 0, failed = 0;
  for (const Test& test : tests()) {
    if (!selected(test, count, arguments)) continue;
    ++run;
    std::printf("%s: %s\n", test.file.c_str(), test.name);
    std::fflush(stdout);
    const int before = failures;
    try {
      test.body();
    } catch (const std::exception& error) {
      ++failures;
      std::printf("    FAILED: exception: %s\n", error.what());
    }
    if (failures > before) ++failed;
  }
  std::printf("%d tests, %d failed, %d skipped\n", run, failed, skipped);
  return failed == 0 && run > 0 ? 0 : 1;
}
