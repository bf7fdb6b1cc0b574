#include "sidecar/files/read_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <new>

#include "sidecar/files/content_hash.h"

namespace catzilla::files {

int ReadWhole(int fd, uint64_t size, std::string* bytes) {
  try {
    bytes->resize(size + 1);  // One more: a file that has grown shows it.
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  size_t got = 0;
  while (got < bytes->size()) {
    const ssize_t n = pread(fd, bytes->data() + got, bytes->size() - got, got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    got += n;
  }
  bytes->resize(std::min<size_t>(got, size));
  return got == size ? 0 : EAGAIN;
}

std::string ContentTag(std::string_view bytes, std::string_view suffix) {
  return std::string("\"").append(ToHex(HashContent(bytes))).append(suffix).append("\"");
}

std::string StatusTag(const FileIdentity& identity, std::string_view suffix) {
  const bool weak = identity.modified_ns < 2'000'000'000;
  char text[64];
  const int bytes =
      std::snprintf(text, sizeof(text), "%s\"%" PRIx64 "-%" PRIx64 "-%" PRIx64, weak ? "W/" : "",
                    static_cast<uint64_t>(identity.modified_ns), identity.size, identity.inode);
  return std::string(text, bytes).append(suffix).append("\"");
}

}  // namespace catzilla::files
