// Being told of changes on disk instead of asking: inotify on the directories that files are served
// from (inotify(7)).
//
// What it promises is only to be earlier than the mount's revalidation window, which always holds:
// changes that the kernel does not tell (by another host on a network file system, through a
// symlink to somewhere else, after an overflow of its queue) are seen by the window. degraded()
// says when that is to be expected.
//
// Threads: changes() by any; Cover() by those of the files executor; the Watcher has one of its
//          own, which waits for the kernel.
// Owns:    the inotify descriptor; a Watch owns its directories' watches.
// Limits:  kDirectoriesMax per Watch, and the kernel's fs.inotify.max_user_watches. A storm of
//          events counts as one change per kQuietUs.
// Fails:   into degraded(), never into serving something else. A file system that hangs holds who
//          calls Cover() up, and nobody else: no lock is held while a path is walked.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "sidecar/base/mutex.h"

namespace catzilla::files {

class Watcher;

// One root. Made by Watcher::Open(), and gone before its Watcher.
class Watch {
 public:
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Another number than before: something below the root, in a covered directory, has changed
  // since.
  uint64_t changes() const { return changes_.load(std::memory_order_acquire); }

  // Sees to it that changes of the directory of `key` ("/css/app.css") and of those above it are
  // told. Call it before looking at the file. May block for a moment.
  void Cover(std::string_view key);

  // Why changes may be seen late; empty: they are told.
  std::string degraded() const;

 private:
  friend class Watcher;
  Watch(Watcher& watcher, std::string root) : watcher_(watcher), root_(std::move(root)) {}

  Watcher& watcher_;
  const std::string root_;
  std::atomic<uint64_t> changes_{1};
  // The rest is guarded by the watcher's mutex.
  std::map<std::string, int, std::less<>> directories_;  // Below the root -> watch descriptor.
  std::string degraded_;
  bool looked_at_ = false;  // What kind of file system it is, and what is above the root.
  int64_t counted_us_ = 0;  // When changes_ rose last.
  bool pending_ = false;    // It is to rise again when the storm's pause is over.
};

class Watcher {
 public:
  static constexpr size_t kDirectoriesMax = 8192;
  static constexpr int64_t kQuietUs = 50'000;

  Watcher();
  ~Watcher();  // REQUIRES: its Watches are gone.
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Never null. `root` need not exist (yet).
  std::unique_ptr<Watch> Open(std::string root);

 private:
  friend class Watch;
  // Whom an event in a directory concerns.
  struct Interest {
    Watch* watch = nullptr;
    std::string directory;  // Below its root; "" is the root itself.
    std::string only;       // If not empty: of the directory above the root, just this name.
  };

  void Cover(Watch& watch, std::string_view key) CATZILLA_EXCLUDES(mutex_);
  void LookAt(Watch& watch) CATZILLA_EXCLUDES(mutex_);
  bool Add(Watch& watch, const std::string& directory) CATZILLA_EXCLUDES(mutex_);
  // Watches `path`, and has what happens there told to `interest`. False: it cannot be.
  bool AddPath(const std::string& path, Interest interest) CATZILLA_EXCLUDES(mutex_);
  void NoteFailure(Watch& watch, const std::string& path, int error) CATZILLA_REQUIRES(mutex_);
  void Remove(int descriptor) CATZILLA_REQUIRES(mutex_);
  void Forget(Watch& watch) CATZILLA_EXCLUDES(mutex_);
  void Drop(Watch& watch, std::string_view directory) CATZILLA_REQUIRES(mutex_);
  void Release(int descriptor, const Watch& watch, std::string_view directory)
      CATZILLA_REQUIRES(mutex_);
  void Run();
  void Read() CATZILLA_EXCLUDES(mutex_);
  void OnEvent(int descriptor, uint32_t mask, std::string_view name) CATZILLA_REQUIRES(mutex_);
  void Count(Watch& watch) CATZILLA_REQUIRES(mutex_);
  void CountPending() CATZILLA_EXCLUDES(mutex_);

  int inotify_ = -1;
  int wakeup_ = -1;
  std::string failure_;  // Why there is no inotify at all. Constant after construction.
  base::Mutex mutex_;
  std::unordered_map<int, std::vector<Interest>> places_ CATZILLA_GUARDED_BY(mutex_);
  std::vector<Watch*> watches_ CATZILLA_GUARDED_BY(mutex_);
  uint64_t removals_ CATZILLA_GUARDED_BY(mutex_) = 0;  // Of descriptors, by us or by the kernel.
  std::atomic<bool> pending_{false};
  std::thread thread_;
};

}  // namespace catzilla::files
