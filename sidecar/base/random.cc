#include "sidecar/base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "sidecar/base/check.h"

namespace catzilla::base {

void FillRandom(void* bytes, size_t size) {
  char* next = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t got = ::getrandom(next, size, 0);
    CATZILLA_CHECK(got > 0 || errno == EINTR, "the kernel gives no random bytes");
    if (got <= 0) continue;
    next += got;
    size -= static_cast<size_t>(got);
  }
}

}  // namespace catzilla::base
