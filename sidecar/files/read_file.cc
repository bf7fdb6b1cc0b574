#include "sidecar/files/read_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <new>

#include "sidecar/files/content_hash.h"

namespace catzilla::files {

namespace {

// At most `bytes_max`; fewer: the file ends there.
int ReadAtMost(int fd, uint64_t bytes_max, std::string* bytes) {
  try {
    bytes->resize(bytes_max);
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  size_t got = 0;
  while (got < bytes->size()) {
    const ssize_t n = pread(fd, bytes->data() + got, bytes->size() - got, static_cast<off_t>(got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  bytes->resize(got);
  return 0;
}

}  // namespace

int ReadWhole(int fd, uint64_t size, std::string* bytes) {
  // One more: a file that has grown shows it.
  if (const int error = ReadAtMost(fd, size + 1, bytes); error != 0) return error;
  if (bytes->size() == size) return 0;
  bytes->resize(std::min<size_t>(bytes->size(), size));
  return EAGAIN;
}

int ReadToEnd(int fd, uint64_t bytes_max, std::string* bytes) {
  if (const int error = ReadAtMost(fd, bytes_max + 1, bytes); error != 0) return error;
  return bytes->size() > bytes_max ? EFBIG : 0;
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
