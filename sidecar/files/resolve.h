// Opening what a relative path names, without ever leaving the root.
//
// openat2(RESOLVE_BENEATH) does it in the kernel, safe against renames and symlinks swapped in
// between. Where the kernel or a seccomp profile refuses openat2, the path is walked by hand, one
// O_NOFOLLOW open per segment, from descriptors that were reached from the root (`method_name()`
// shows it).
//
// Threads: Open() from any thread that may block. The root is re-opened by one of them at a time.
// Owns:    the root's descriptor. Limits: kSymlinksMax links in one walk; EAGAIN is retried
//          kTriesMax times.
// Fails:   with errno; HttpStatusOf() gives the status.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/mutex.h"
#include "sidecar/base/result.h"
#include "sidecar/base/unique_fd.h"
#include "sidecar/config/snapshot.h"

namespace catzilla::files {

using base::UniqueFd;

enum class ResolveMethod : uint8_t { kOpenat2, kWalk };

// What openat2 says on this machine; asked once by whoever makes a Resolver.
ResolveMethod DetectResolveMethod();

struct Opened {
  UniqueFd fd;           // A regular file, open for reading, or a directory.
  struct stat status{};  // fstat of it: never of the name.
};

class Resolver {
 public:
  static constexpr int kSymlinksMax = 40;
  static constexpr int kTriesMax = 64;

  Resolver(std::string root, config::Symlinks symlinks, ResolveMethod method)
      : root_path_(std::move(root)), symlinks_(symlinks), method_(method) {}

  // Opens `relative` ("" is the root itself; no leading slash). FIFOs, devices and sockets are
  // ENOENT. The root is opened anew if the descriptor is older than `root_age_us_max`: it may be a
  // symlink that has been swapped, or a directory that was replaced.
  base::Result<Opened, int> Open(const std::string& relative, int64_t now_us,
                                 int64_t root_age_us_max);

  // The next Open() opens the root anew.
  void ForgetRoot() CATZILLA_EXCLUDES(mutex_);

  ResolveMethod method() const { return method_; }
  const char* method_name() const {
    return method_ == ResolveMethod::kOpenat2 ? "openat2" : "walk";
  }

 private:
  using SharedFd = std::shared_ptr<const UniqueFd>;

  base::Result<SharedFd, int> Root(int64_t now_us, int64_t age_us_max) CATZILLA_EXCLUDES(mutex_);
  int OpenByKernel(int root, const std::string& relative) const;
  int OpenByWalk(int root, const std::string& relative) const;

  // Constant after construction.
  const std::string root_path_;
  const config::Symlinks symlinks_;
  const ResolveMethod method_;

  base::Mutex mutex_;
  SharedFd root_ CATZILLA_GUARDED_BY(mutex_);
  int64_t root_opened_us_ CATZILLA_GUARDED_BY(mutex_) = 0;
};

// 404 for what is not there or not allowed to be seen, 403 for permission, 503 for our own
// shortage, 500 for the rest.
uint16_t HttpStatusOf(int error);

}  // namespace catzilla::files
