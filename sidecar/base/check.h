// CATZILLA_CHECK(condition, "what a reader of the core dump should know"): our own mistakes, always
// on.
//
// The world's failures are values (result.h); a failed CHECK means that our code is wrong, and
// going on would serve wrong bytes. It prints one line and aborts.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace catzilla::base {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition,
                                     const char* message) {
  std::fprintf(stderr, "%s:%d: check failed: %s: %s\n", file, line, condition, message);
  std::abort();
}

}  // namespace catzilla::base

#define CATZILLA_CHECK(condition, message)                                    \
  do {                                                                        \
    if (__builtin_expect(!(condition), 0)) {                                  \
      ::catzilla::base::CheckFailed(__FILE__, __LINE__, #condition, message); \
    }                                                                         \
  } while (false)
