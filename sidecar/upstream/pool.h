// What the loops share of one pool of servers: its targets as each configuration has them, and who
// waits for one of them.
//
// Threads: any. Counts are atomics; the newest Setup is under a mutex.
// Owns:    Setups and targets by reference; a request holds the Setup that it began with.
// Limits:  queue_max by count over all loops; queue_timeout by age (the loop's wheel); kLoopsMax.
// Order:   a free place goes to the loop whose first waiter is the oldest.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/origin/failure.h"
#include "sidecar/origin/queue_wait.h"
#include "sidecar/upstream/target.h"

namespace catzilla::upstream {

inline constexpr int kLoopsMax = 8;
inline constexpr size_t kTargetsMax = 64;

class Pool;

// A pool as one configuration has it. Immutable.
struct Setup {
  std::shared_ptr<Pool> pool;
  std::shared_ptr<const config::Pool> config;
  uint32_t head_bytes_max = 64 * 1024;  // Of an answer.
  std::vector<std::shared_ptr<Target>> targets;

  const config::Upstream& upstream() const { return *config->upstream; }
};
using SetupRef = std::shared_ptr<const Setup>;

struct PoolStatus {
  std::string name;
  uint32_t queued = 0;
  uint32_t queue_max = 0;
  uint32_t in_flight = 0;
  uint32_t sockets = 0;  // WebSockets, from their handshakes on.
  uint32_t sockets_max = 0;
  uint64_t requests = 0;
  uint64_t retries = 0;
  std::array<uint64_t, origin::kFailureKinds> failures{};
  std::array<uint64_t, origin::kQueueWaitBounds.size() + 1> queue_wait{};  // Not cumulative.
  uint64_t queue_wait_us = 0;
  std::vector<TargetStatus> targets;
};

class Pool final : public std::enable_shared_from_this<Pool> {
 public:
  explicit Pool(std::string name) : name_(std::move(name)) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  const std::string& name() const { return name_; }

  // The same as before if nothing has changed; targets of the same address go on.
  SetupRef Configure(const std::shared_ptr<const config::Pool>& config, uint32_t head_bytes_max);
  SetupRef setup() const;
  void Retire();  // In no configuration any more.

  // A server has taken a connection, ever since the sidecar has started.
  bool ever_ready() const { return ever_ready_.load(std::memory_order_relaxed); }
  void SetReady() {
    if (!ever_ready()) ever_ready_.store(true, std::memory_order_relaxed);
  }

  // A WebSocket more, if there may be one.
  bool TryOpenSocket(uint32_t sockets_max);
  void CloseSocket() { sockets_.fetch_sub(1, std::memory_order_relaxed); }

  // Who waits, on which loop...
  bool TryQueue(uint32_t queue_max);  // False: full.
  // One less; `oldest_us`: since when the loop's first has waited now, 0: there is none.
  void Unqueue(int loop, int64_t oldest_us);
  void SetOldest(int loop, int64_t us) { at(loop).oldest_us.store(us); }
  uint32_t waiting() const { return waiting_.load(); }
  // The loop whose first waiter is the oldest; -1: nobody waits.
  int OldestLoop() const;

  // Counted by the loops.
  void CountRequest(int loop) { Bump(at(loop).requests); }
  void CountRetry(int loop) { Bump(at(loop).retries); }
  void CountFailure(int loop, origin::FailureKind kind) {
    Bump(at(loop).failures[static_cast<size_t>(kind)]);
  }
  void CountQueueWait(int loop, int64_t wait_us);

  PoolStatus Status(int64_t now_us) const;

 private:
  // One loop's; single writer.
  struct alignas(64) Numbers {
    std::atomic<uint64_t> requests{0};
    std::atomic<uint64_t> retries{0};
    std::array<std::atomic<uint64_t>, origin::kFailureKinds> failures{};
    std::array<std::atomic<uint64_t>, origin::kQueueWaitBounds.size() + 1> queue_wait{};
    std::atomic<uint64_t> queue_wait_us{0};
    std::atomic<int64_t> oldest_us{0};
  };
  static void Bump(std::atomic<uint64_t>& counter, uint64_t by = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  Numbers& at(int loop) { return numbers_[static_cast<size_t>(loop)]; }

  const std::string name_;
  std::atomic<bool> ever_ready_{false};
  std::atomic<uint32_t> waiting_{0};
  std::atomic<uint32_t> sockets_{0};
  std::array<Numbers, kLoopsMax> numbers_;
  mutable base::Mutex mutex_;
  SetupRef setup_ CATZILLA_GUARDED_BY(mutex_);
};

}  // namespace catzilla::upstream
