#include "sidecar/files/page_cache.h"

#include <sys/uio.h>

#include <cerrno>

namespace catzilla::files {

uint64_t CachedBytes(int fd, uint64_t offset, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes; done += kProbeBytes) {
    char byte;
    const iovec one{&byte, 1};
    const ssize_t read = ::preadv2(fd, &one, 1, static_cast<off_t>(offset + done), RWF_NOWAIT);
    if (read < 0 && errno == EAGAIN) return done;
  }
  return bytes;
}

}  // namespace catzilla::files
