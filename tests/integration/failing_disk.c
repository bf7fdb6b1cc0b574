// Preloaded before libc: files whose name ends in ".bad" cannot be read, those in ".half" not behind
// their first MiB, as on a disk that fails.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

static int ends_in(int fd, const char* suffix) {
  char link[64], name[4096];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t bytes = readlink(link, name, sizeof(name) - 1);
  if (bytes < (ssize_t)strlen(suffix)) return 0;
  name[bytes] = 0;
  return strcmp(name + bytes - strlen(suffix), suffix) == 0;
}

ssize_t pread(int fd, void* buffer, size_t bytes, off_t offset) {
  static ssize_t (*real)(int, void*, size_t, off_t);
  if (real == NULL) real = (ssize_t(*)(int, void*, size_t, off_t))dlsym(RTLD_NEXT, "pread");
  if (ends_in(fd, ".bad")) {
    errno = EIO;
    return -1;
  }
  return real(fd, buffer, bytes, offset);
}

ssize_t pread64(int fd, void* buffer, size_t bytes, off_t offset) {
  return pread(fd, buffer, bytes, offset);
}

ssize_t sendfile(int out, int in, off_t* offset, size_t bytes) {
  static ssize_t (*real)(int, int, off_t*, size_t);
  if (real == NULL) real = (ssize_t(*)(int, int, off_t*, size_t))dlsym(RTLD_NEXT, "sendfile");
  if (ends_in(in, ".half") && *offset >= 1 << 20) {
    errno = EIO;
    return -1;
  }
  return real(out, in, offset, bytes);
}

ssize_t sendfile64(int out, int in, off_t* offset, size_t bytes) {
  return sendfile(out, in, offset, bytes);
}
