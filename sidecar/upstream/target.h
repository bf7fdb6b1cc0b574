// One server of a pool: what all loops know of its addresses, its load and its health.
//
//   up --failures_max in a row--> passed over --back-off over--> on trial --success--> up
//     \                                ^--failure, twice as long---/
//      \--checks fail--> down --checks pass--> up
// After either way back, a slow start: its share grows from a tenth to all of it.
//
// Threads: any. Counts are atomics; health is under one mutex, taken only while there is something
//          to be remembered.
// Owns:    its addresses.
// Limits:  as its pool's configuration, given with each call.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/endpoint.h"
#include "sidecar/base/mutex.h"
#include "sidecar/config/snapshot.h"

namespace catzilla::upstream {

// X(identifier, the metric's label)
#define CATZILLA_TARGET_FAILURE_LIST(X) \
  X(kRefused, "refused")                \
  X(kUnreachable, "unreachable")        \
  X(kConnectTimeout, "connect_timeout") \
  X(kUnresolved, "unresolved")          \
  X(kClosedEarly, "closed_early")       \
  X(kBrokenOff, "broken_off")           \
  X(kFirstByteTimeout, "timeout")       \
  X(kReadTimeout, "read_timeout")       \
  X(kBadAnswer, "bad_answer")           \
  X(kCheckFailed, "check_failed")

enum class TargetFailure : uint8_t {
#define CATZILLA_TARGET_FAILURE_ENUM(identifier, name) identifier,
  CATZILLA_TARGET_FAILURE_LIST(CATZILLA_TARGET_FAILURE_ENUM)
#undef CATZILLA_TARGET_FAILURE_ENUM
      kCount,  // Not a failure.
};
inline constexpr size_t kTargetFailures = static_cast<size_t>(TargetFailure::kCount);
std::string_view NameOf(TargetFailure failure);

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
using Addresses = std::vector<Address>;

enum class TargetState : uint8_t {
  kUp,
  kSlowStart,
  kTrial,       // One request at a time, until one has succeeded.
  kPassedOver,  // Only if there is no other.
  kDown,        // The checks have failed.
  kUnresolved,  // Its name has no address.
};
inline constexpr size_t kTargetStates = 6;
std::string_view NameOf(TargetState state);

struct TargetStatus {
  std::string target;
  TargetState state = TargetState::kUp;
  uint32_t in_flight = 0;
  uint32_t idle = 0;
  uint64_t requests = 0;
  uint64_t connects = 0;
  std::array<uint64_t, kTargetFailures> failures{};
  std::string last_failure;
};

class Target final {
 public:
  explicit Target(base::Endpoint endpoint);
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  const base::Endpoint& endpoint() const { return endpoint_; }
  const std::string& name() const { return endpoint_.text; }

  // Null: the name has not been resolved.
  std::shared_ptr<const Addresses> addresses() const;
  void SetAddresses(std::shared_ptr<const Addresses> addresses);
  // Which of them the next connection begins with.
  uint32_t NextTurn() { return turn_.fetch_add(1, std::memory_order_relaxed); }

  // No configuration names it any more: what is under way ends, nothing is kept.
  void Retire() { retired_.store(true, std::memory_order_relaxed); }
  bool retired() const { return retired_.load(std::memory_order_relaxed); }

  // Load...
  bool TryAcquire(uint32_t connections_max);
  void Release() { in_flight_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }
  // WebSockets that are open: they hold no place, but are load.
  void CountSocket(int more) { sockets_.fetch_add(static_cast<uint32_t>(more)); }
  uint32_t sockets() const { return sockets_.load(std::memory_order_relaxed); }
  void CountIdle(int more) { idle_.fetch_add(static_cast<uint32_t>(more)); }
  void CountRequest() { requests_.fetch_add(1, std::memory_order_relaxed); }
  void CountConnect() { connects_.fetch_add(1, std::memory_order_relaxed); }

  // Health. Each returns whether what the log should tell has changed...
  bool Succeeded(int64_t now_us);
  bool Failed(TargetFailure failure, const config::Upstream& config, int64_t now_us);
  bool CheckPassed(const config::Upstream& config, int64_t now_us);
  bool CheckFailed(std::string_view why, const config::Upstream& config);
  void CountFailure(TargetFailure failure);
  void SetLastFailure(std::string text);
  bool has_failed_to_resolve() const {
    return failures_[static_cast<size_t>(TargetFailure::kUnresolved)].load() > 0;
  }

  TargetState StateAt(const config::Upstream& config, int64_t now_us) const;
  // Of its share of requests: 0.1 to 1.
  double WeightAt(const config::Upstream& config, int64_t now_us) const;
  // When one that is passed over may be tried again.
  int64_t passed_over_until_us() const { return until_us_.load(std::memory_order_relaxed); }

  TargetStatus Status(const config::Upstream& config, int64_t now_us) const;

 private:
  static constexpr int kDoublingsMax = 5;

  // Constant after construction.
  const base::Endpoint endpoint_;

  std::atomic<bool> retired_{false};
  std::atomic<uint32_t> turn_{0};
  std::atomic<uint32_t> in_flight_{0};
  std::atomic<uint32_t> idle_{0};
  std::atomic<uint32_t> sockets_{0};
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> connects_{0};
  std::array<std::atomic<uint64_t>, kTargetFailures> failures_{};
  // Written under the mutex, read without.
  std::atomic<uint32_t> failures_in_row_{0};
  std::atomic<int64_t> until_us_{0};  // 0: not passed over.
  std::atomic<int64_t> back_us_{0};   // Since when it is back; 0: was never away.
  std::atomic<bool> down_{false};
  std::atomic<bool> resolved_{false};

  mutable base::Mutex mutex_;
  std::shared_ptr<const Addresses> addresses_ CATZILLA_GUARDED_BY(mutex_);
  int doublings_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint32_t checks_passed_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint32_t checks_failed_ CATZILLA_GUARDED_BY(mutex_) = 0;
  std::string last_failure_ CATZILLA_GUARDED_BY(mutex_);
};

}  // namespace catzilla::upstream
