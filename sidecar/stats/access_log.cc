#include "sidecar/stats/access_log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sidecar/base/clock.h"

namespace catzilla::stats {
namespace {

// Without waiting: a named pipe that nobody has opened for reading is refused (ENXIO), one that
// nobody reads any more takes less.
base::Result<int, std::string> OpenPath(const std::string& path) {
  if (path == "-") return STDOUT_FILENO;
  const int fd =
      ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
  if (fd >= 0) return fd;
  const bool unread = errno == ENXIO;
  return base::Fail("access log " + path + ": " +
                    (unread ? "a pipe that nobody reads (start its reader first)"
                            : std::strerror(errno) +
                                  std::string(" (choose a folder that the sidecar may write, or "
                                              "\"-\")")));
}

void CloseOwned(int fd) {
  if (fd >= 0 && fd != STDOUT_FILENO) ::close(fd);
}

}  // namespace

LogRing::LogRing(uint32_t bytes)
    : mask_(std::bit_ceil<uint64_t>(std::max<uint32_t>(bytes, 2 * AccessLog::kLineBytesMax)) - 1),
      bytes_(new char[mask_ + 1]) {}

bool LogRing::Push(std::string_view line) {
  const uint64_t head = head_.load(std::memory_order_relaxed);
  const uint64_t used = head - tail_.load(std::memory_order_acquire);
  if (mask_ + 1 - used < line.size()) return false;
  const size_t at = head & mask_;
  const size_t first = std::min<size_t>(line.size(), mask_ + 1 - at);
  std::memcpy(bytes_.get() + at, line.data(), first);
  std::memcpy(bytes_.get(), line.data() + first, line.size() - first);
  head_.store(head + line.size(), std::memory_order_release);
  return true;
}

void LogRing::Peek(std::string_view* first, std::string_view* second) const {
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  const size_t ready = head_.load(std::memory_order_acquire) - tail;
  const size_t at = tail & mask_;
  const size_t run = std::min<size_t>(ready, mask_ + 1 - at);
  *first = {bytes_.get() + at, run};
  *second = {bytes_.get(), ready - run};
}

void LogRing::Pop(size_t bytes) {
  tail_.store(tail_.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
}

base::Result<std::unique_ptr<AccessLog>, std::string> AccessLog::Open(const std::string& path,
                                                                      int loops,
                                                                      uint32_t ring_bytes) {
  auto fd = OpenPath(path);
  if (!fd.ok()) return base::Fail(std::move(fd).error());
  return std::unique_ptr<AccessLog>(new AccessLog(*fd, loops, ring_bytes));
}

AccessLog::AccessLog(int fd, int loops, uint32_t ring_bytes) : fd_(fd), lines_(fd) {
  for (int i = 0; i < loops; ++i) rings_.push_back(std::make_unique<LogRing>(ring_bytes));
  writer_ = std::thread([this] { RunWriter(); });
  pthread_setname_np(writer_.native_handle(), "access-log");
}

AccessLog::~AccessLog() {
  stopping_.store(true);
  {
    base::MutexLock lock(mutex_);
    wake_.Signal();
  }
  writer_.join();
  CloseOwned(next_fd_);
  CloseOwned(fd_);
}

base::Result<base::Unit, std::string> AccessLog::Switch(const std::string& path) {
  auto fd = OpenPath(path);
  if (!fd.ok()) return base::Fail(std::move(fd).error());
  CloseOwned(next_fd_.exchange(*fd));
  base::MutexLock lock(mutex_);
  wake_.Signal();
  return base::Unit{};
}

void AccessLog::TakeNext() {
  const int next = next_fd_.exchange(-1);
  if (next < 0) return;
  CloseOwned(std::exchange(fd_, next));
  lines_.Reset(next);
}

bool AccessLog::Write(int loop, std::string_view line) {
  if (!rings_[static_cast<size_t>(loop)]->Push(line)) return false;
  // The writer rests between rounds, so this lock is taken at most once a round.
  if (asleep_.load(std::memory_order_relaxed) && asleep_.exchange(false)) {
    base::MutexLock lock(mutex_);
    wake_.Signal();
  }
  return true;
}

void AccessLog::RunWriter() {
  for (;;) {
    TakeNext();
    const bool wrote = WriteOnce();
    base::MutexLock lock(mutex_);
    if (stopping_.load()) break;
    if (wrote) {
      wake_.WaitFor(mutex_, kRestUs);
      continue;
    }
    asleep_.store(true);
    // A line pushed before the flag was seen waits for a heartbeat at most.
    wake_.WaitFor(mutex_, kFlushUs);
    asleep_.store(false);
  }
  TakeNext();
  WriteOnce();
}

bool AccessLog::WriteOnce() {
  bool wrote = false;
  for (size_t i = 0; i < rings_.size(); ++i) {
    wrote |= WriteRing(*rings_[ring_]);
    // A line that was begun is ended before another ring has its turn.
    if (lines_.in_line()) break;
    ring_ = (ring_ + 1) % rings_.size();
  }
  lost_.store(lines_.lost(), std::memory_order_relaxed);
  return wrote;
}

// What is in a ring now; a line that wraps is in both of its runs. While somebody may still read,
// what is not taken stays in the ring, where the loop counts what does not fit.
bool AccessLog::WriteRing(LogRing& ring) {
  std::string_view first;
  std::string_view second;
  ring.Peek(&first, &second);
  if (first.empty()) return false;
  for (std::string_view run : {first, second}) {
    const size_t taken = lines_.Write(run, kFlushUs, &stopping_);
    ring.Pop(taken);
    run.remove_prefix(taken);
    if (run.empty()) continue;
    if (!stopping_.load()) return true;
    lines_.Drop(run);
    ring.Pop(run.size());
  }
  return true;
}

}  // namespace catzilla::stats
