#include "sidecar/files/watch.h"

#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/clock.h"
#include "sidecar/files/path.h"

namespace catzilla::files {

namespace {

constexpr uint32_t kEvents = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_DELETE |
                             IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                             IN_ONLYDIR;
// What may make a name in a directory stand for another directory.
constexpr uint32_t kNameEvents = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
constexpr size_t kReadBytes = 64 * 1024;

int64_t NowUs() { return base::ReadClockMicros(CLOCK_MONOTONIC); }

// File systems that other hosts, or a process behind FUSE, change without our kernel knowing.
bool IsShared(long type) {
  static constexpr long kCephMagic = 0x00c36400, kLustreMagic = 0x0bd00bd0, kFuseMagic = 0x65735546,
                        kCifsMagic = 0xff534d42, kSmb2Magic = 0xfe534d42, k9pMagic = 0x01021997;
  static constexpr long kTypes[] = {
      NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, AFS_SUPER_MAGIC, CODA_SUPER_MAGIC, kCephMagic,
      kLustreMagic,    kFuseMagic,      kCifsMagic,      kSmb2Magic,       k9pMagic};
  return std::find(std::begin(kTypes), std::end(kTypes), type & 0xffffffffl) != std::end(kTypes);
}

}  // namespace

Watch::~Watch() { watcher_.Forget(*this); }

void Watch::Cover(std::string_view key) { watcher_.Cover(*this, key); }

std::string Watch::degraded() const {
  base::MutexLock lock(watcher_.mutex_);
  return degraded_;
}

Watcher::Watcher() {
  inotify_ = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify_ < 0) {
    failure_ = std::string("no inotify: ") + std::strerror(errno) +
               (errno == EMFILE ? " (raise fs.inotify.max_user_instances)" : "");
    return;
  }
  wakeup_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wakeup_ < 0) {
    failure_ = std::string("no eventfd: ") + std::strerror(errno);
    return;
  }
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "files/watch");
}

Watcher::~Watcher() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    (void)!::write(wakeup_, &one, sizeof(one));
    thread_.join();
  }
  if (inotify_ >= 0) ::close(inotify_);
  if (wakeup_ >= 0) ::close(wakeup_);
  CATZILLA_CHECK(watches_.empty(), "a watch outlived its watcher");
}

std::unique_ptr<Watch> Watcher::Open(std::string root) {
  std::unique_ptr<Watch> watch(new Watch(*this, std::move(root)));
  base::MutexLock lock(mutex_);
  watches_.push_back(watch.get());
  watch->degraded_ = failure_;
  return watch;
}

// Which directories...

void Watcher::Cover(Watch& watch, std::string_view key) {
  if (!failure_.empty()) return;
  LookAt(watch);
  const std::string path = CollapseSlashes(key);
  if (!Add(watch, "")) return;
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    if (!Add(watch, path.substr(0, slash))) return;
  }
}

// Once, not by Open(): whoever configures must not wait for a file system.
void Watcher::LookAt(Watch& watch) {
  {
    base::MutexLock lock(mutex_);
    if (std::exchange(watch.looked_at_, true)) return;
  }
  struct statfs status{};
  const bool shared = ::statfs(watch.root_.c_str(), &status) == 0 && IsShared(status.f_type);
  if (shared) {
    base::MutexLock lock(mutex_);
    watch.degraded_ = "changes by other hosts on this file system are not told";
  }
  // A root that is itself a symlink, or is replaced as a whole, changes its name's directory.
  const size_t slash = watch.root_.find_last_of('/');
  if (slash == std::string::npos || watch.root_.size() < 2) return;
  (void)AddPath(slash == 0 ? "/" : watch.root_.substr(0, slash),
                {&watch, "", watch.root_.substr(slash + 1)});
}

// False: it is not there, so nothing below it is; the directory above tells when it comes.
bool Watcher::Add(Watch& watch, const std::string& directory) {
  {
    base::MutexLock lock(mutex_);
    if (watch.directories_.contains(directory)) return true;
    if (watch.directories_.size() >= kDirectoriesMax) {
      watch.degraded_ = "files are served from more than 8192 directories";
      return false;
    }
  }
  const std::string path = directory.empty() ? watch.root_ : watch.root_ + "/" + directory;
  return AddPath(path, {&watch, directory, ""});
}

bool Watcher::AddPath(const std::string& path, Interest interest) {
  // What is told between the two steps is lost, and may be: who covers looks afterwards. But if a
  // descriptor has gone meanwhile, it may have been this one.
  constexpr int kTriesMax = 8;
  Watch& watch = *interest.watch;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    uint64_t before = 0;
    {
      base::MutexLock lock(mutex_);
      before = removals_;
    }
    const int descriptor = ::inotify_add_watch(inotify_, path.c_str(), kEvents);
    const int error = errno;
    base::MutexLock lock(mutex_);
    if (descriptor < 0) {
      NoteFailure(watch, path, error);
      return false;
    }
    if (removals_ != before && tries + 1 < kTriesMax) continue;
    std::vector<Interest>& interests = places_[descriptor];
    const bool known = std::any_of(interests.begin(), interests.end(), [&](const Interest& other) {
      return other.watch == interest.watch && other.directory == interest.directory &&
             other.only == interest.only;
    });
    if (interest.only.empty()) watch.directories_.insert_or_assign(interest.directory, descriptor);
    if (!known) interests.push_back(std::move(interest));
    return true;
  }
  return false;
}

void Watcher::NoteFailure(Watch& watch, const std::string& path, int error) {
  if (error == ENOSPC) {
    watch.degraded_ = "the kernel gives no more watches (raise fs.inotify.max_user_watches)";
  } else if (error != ENOENT && error != ENOTDIR && error != ENAMETOOLONG && error != ELOOP) {
    watch.degraded_ = "a directory cannot be watched: " + path + ": " + std::strerror(error);
  }
}

void Watcher::Remove(int descriptor) {
  ++removals_;
  ::inotify_rm_watch(inotify_, descriptor);
}

void Watcher::Forget(Watch& watch) {
  base::MutexLock lock(mutex_);
  std::erase(watches_, &watch);
  for (auto place = places_.begin(); place != places_.end();) {
    const int descriptor = place->first;
    std::erase_if(place->second, [&](const Interest& one) { return one.watch == &watch; });
    if (place->second.empty()) {
      Remove(descriptor);
      place = places_.erase(place);
    } else {
      ++place;
    }
  }
}

// The name may stand for another directory by now: the next Cover() looks again.
void Watcher::Drop(Watch& watch, std::string_view directory) {
  auto place = watch.directories_.lower_bound(directory);
  while (place != watch.directories_.end() && place->first.starts_with(directory)) {
    const bool inside = place->first.size() == directory.size() || directory.empty() ||
                        place->first[directory.size()] == '/';
    if (!inside) {
      ++place;
      continue;
    }
    Release(place->second, watch, place->first);
    place = watch.directories_.erase(place);
  }
}

void Watcher::Release(int descriptor, const Watch& watch, std::string_view directory) {
  const auto place = places_.find(descriptor);
  if (place == places_.end()) return;
  std::erase_if(place->second, [&](const Interest& one) {
    return one.watch == &watch && one.only.empty() && one.directory == directory;
  });
  if (!place->second.empty()) return;
  Remove(descriptor);
  places_.erase(place);
}

// What the kernel tells...

void Watcher::Run() {
  for (;;) {
    pollfd ready[2] = {{inotify_, POLLIN, 0}, {wakeup_, POLLIN, 0}};
    const int timeout_ms = pending_.load() ? static_cast<int>(kQuietUs / 1000) : -1;
    (void)::poll(ready, 2, timeout_ms);
    if ((ready[1].revents & POLLIN) != 0) return;
    if ((ready[0].revents & POLLIN) != 0) Read();
    CountPending();
  }
}

void Watcher::Read() {
  alignas(inotify_event) char buffer[kReadBytes];
  const ssize_t bytes = ::read(inotify_, buffer, sizeof(buffer));
  base::MutexLock lock(mutex_);
  for (ssize_t at = 0; at + static_cast<ssize_t>(sizeof(inotify_event)) <= bytes;) {
    inotify_event event;
    std::memcpy(&event, buffer + at, sizeof(event));
    const char* name = buffer + at + sizeof(event);
    OnEvent(event.wd, event.mask, event.len == 0 ? "" : std::string_view(name));
    at += static_cast<ssize_t>(sizeof(event) + event.len);
  }
}

void Watcher::OnEvent(int descriptor, uint32_t mask, std::string_view name) {
  if ((mask & IN_Q_OVERFLOW) != 0) {
    for (Watch* watch : watches_) Count(*watch);
    return;
  }
  if ((mask & IN_IGNORED) != 0) ++removals_;
  const auto place = places_.find(descriptor);
  if (place == places_.end()) return;
  const std::vector<Interest> interests = place->second;  // Drop() changes it.
  // The directory is gone, or goes by another name now.
  const bool lost = (mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0;
  for (const Interest& interest : interests) {
    if (!interest.only.empty() && interest.only != name) continue;
    if (lost || !interest.only.empty()) {
      Drop(*interest.watch, interest.directory);
    } else if ((mask & kNameEvents) != 0) {
      const std::string below = interest.directory.empty() ? "" : interest.directory + "/";
      Drop(*interest.watch, below + std::string(name));
    }
    Count(*interest.watch);
  }
  if ((mask & IN_IGNORED) != 0) places_.erase(descriptor);
}

void Watcher::Count(Watch& watch) {
  const int64_t now_us = NowUs();
  if (now_us - watch.counted_us_ < kQuietUs) {
    watch.pending_ = true;
    pending_.store(true);
    return;
  }
  watch.counted_us_ = now_us;
  watch.changes_.fetch_add(1, std::memory_order_acq_rel);
}

void Watcher::CountPending() {
  if (!pending_.load()) return;
  base::MutexLock lock(mutex_);
  const int64_t now_us = NowUs();
  bool pending = false;
  for (Watch* watch : watches_) {
    if (!watch->pending_) continue;
    if (now_us - watch->counted_us_ < kQuietUs) {
      pending = true;
      continue;
    }
    watch->pending_ = false;
    watch->counted_us_ = now_us;
    watch->changes_.fetch_add(1, std::memory_order_acq_rel);
  }
  pending_.store(pending);
}

}  // namespace catzilla::files
