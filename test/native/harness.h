// A small test harness: no framework is needed to build the native tests.
//
//   TEST("what must hold") { CHECK(condition); CHECK_EQUAL(found, expected); CHECK_BOUND("features", error, 1e-5); }
//
// Failures are printed and counted; a test goes on after a failed check. Bounds print the largest difference found, so
// that a log shows how much room is left.
#pragma once

#include <functional>
#include <sstream>
#include <string>

namespace paella::test {

void add_test(const char* file, const char* name, std::function<void()> body);
void check(bool passed, const char* file, int line, const std::string& text);
void check_bound(const std::string& what, double found, double bound, const char* file, int line);
// Prints why a test could not run here, and counts it.
void skip(const std::string& why);

// Defined by the program: why none of its tests can run as it was asked to; empty if they can.
std::string why_not_here();

struct Registration {
  Registration(const char* file, const char* name, std::function<void()> body) {
    add_test(file, name, std::move(body));
  }
};

template <typename A, typename B>
void check_equal(const A& found, const B& expected, const char* file, int line, const char* text) {
  std::ostringstream message;
  message << text << ": expected " << expected << ", got " << found;
  check(found == expected, file, line, message.str());
}

}  // namespace paella::test

#define PAELLA_TEST_NAME_(a, b) a##b
#define PAELLA_TEST_NAME(a, b) PAELLA_TEST_NAME_(a, b)
#define TEST(name)                                                                          \
  static void PAELLA_TEST_NAME(test_body_, __LINE__)();                                     \
  static const ::paella::test::Registration PAELLA_TEST_NAME(test_registration_, __LINE__)( \
      __FILE__, name, PAELLA_TEST_NAME(test_body_, __LINE__));                              \
  static void PAELLA_TEST_NAME(test_body_, __LINE__)()
#define CHECK(condition) ::paella::test::check((condition), __FILE__, __LINE__, #condition)
#define CHECK_EQUAL(found, expected) ::paella::test::check_equal((found), (expected), __FILE__, __LINE__, #found)
#define CHECK_BOUND(what, found, bound) ::paella::test::check_bound((what), (found), (bound), __FILE__, __LINE__)
// The expression throws paella::Error with this code and a message that contains `part`.
#define CHECK_THROWS(expression, error_code, part)                                                            \
  do {                                                                                                        \
    bool thrown = false;                                                                                      \
    try {                                                                                                     \
      (void)(expression);                                                                                     \
    } catch (const ::paella::Error& error) {                                                                  \
      thrown = true;                                                                                          \
      ::paella::test::check(error.code() == (error_code), __FILE__, __LINE__,                                 \
                            std::string("code of: ") + error.what());                                         \
      ::paella::test::check(std::string(error.what()).find(part) != std::string::npos, __FILE__, __LINE__,    \
                            std::string("expected a message with \"") + (part) + "\", got: " + error.what()); \
    }                                                                                                         \
    if (!thrown) ::paella::test::check(false, __FILE__, __LINE__, #expression " did not throw");              \
  } while (false)
