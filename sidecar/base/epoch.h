// Lets readers walk shared structures without a lock, and frees what writers unlinked only when no
// reader can still see it.
//
// A reader is inside its epoch from Enter() to Leave(): for a loop that is one turn, so a lookup
// costs nothing and a loop asleep in epoll holds nothing back. What a reader wants to keep past its
// turn, it takes a reference of.
//
// Threads: one Reader per loop, used by that loop's thread alone. Retire() and Reclaim() by any
//          thread. Threads without a loop (control, tests) use a Guard for a short while.
// Owns:    retired objects, until their deleter has run; it runs on whichever thread reclaims,
//          never under a lock, and must not enter the domain.
// Limits:  EpochLimits: past `objects_max` or `bytes_max` of garbage saturated() is true. Garbage
//          that a reader may still see cannot be freed, so the reaction is the callers': tables
//          stop admitting (base::CacheTable declines) until the readers have moved on.
// Fails:   never.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/base/mutex.h"

namespace catzilla::base {

struct EpochLimits {
  size_t objects_max = 64 * 1024;
  size_t bytes_max = 64u << 20;
};

struct EpochStats {
  uint64_t retired = 0;
  uint64_t reclaimed = 0;
  size_t pending_objects = 0;
  size_t pending_bytes = 0;
};

class EpochDomain {
 public:
  class alignas(64) Reader : private ListNode<EpochDomain> {
   public:
    explicit Reader(EpochDomain& domain);
    ~Reader();  // REQUIRES: left.
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // At the start of a turn. Inside an epoch it moves to the newest one: pointers found before are
    // void.
    void Enter() {
      const uint64_t now = domain_.epoch_.load(std::memory_order_acquire);
#if defined(__SANITIZE_THREAD__)
      epoch_.exchange(now, std::memory_order_seq_cst);  // TSan does not model fences.
#else
      // Release: the reads of the turn before come first. The fence keeps the turn's reads behind
      // it.
      epoch_.store(now, std::memory_order_release);
      std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
    }
    // Before sleeping. Idempotent.
    void Leave() { epoch_.store(kQuiescent, std::memory_order_release); }
    bool inside() const { return epoch_.load(std::memory_order_relaxed) != kQuiescent; }

   private:
    friend class EpochDomain;
    template <typename T, typename U>
    friend class List;
    EpochDomain& domain_;
    std::atomic<uint64_t> epoch_{kQuiescent};
  };

  // Inside an epoch for a scope; costs two locks.
  class Guard {
   public:
    explicit Guard(EpochDomain& domain) : reader_(domain) { reader_.Enter(); }
    ~Guard() { reader_.Leave(); }

   private:
    Reader reader_;
  };

  using Deleter = void (*)(void*);

  explicit EpochDomain(EpochLimits limits = {});
  ~EpochDomain();  // REQUIRES: no Reader is alive. Frees what is left.
  EpochDomain(const EpochDomain&) = delete;
  EpochDomain& operator=(const EpochDomain&) = delete;

  // Keeps `object` until Reclaim() finds that no reader can hold it any more, and then calls
  // deleter(object). Runs no deleter itself, so it may be called under a lock.
  // REQUIRES: `object` can no longer be found: it was unlinked before, by this thread.
  void Retire(void* object, Deleter deleter, size_t bytes);

  // Frees what can be freed, and returns how many. Cheap when there is nothing. Writers call it
  // after they retired and unlocked; loops after Leave(), so that an idle process holds no garbage.
  size_t Reclaim();

  bool saturated() const {
    return pending_objects_.load(std::memory_order_relaxed) > limits_.objects_max ||
           pending_bytes_.load(std::memory_order_relaxed) > limits_.bytes_max;
  }
  EpochStats stats() const;

 private:
  static constexpr uint64_t kQuiescent = ~uint64_t{0};

  struct Retired {
    void* object;
    Deleter deleter;
    size_t bytes;
    uint64_t epoch;
  };

  uint64_t OldestReader() CATZILLA_REQUIRES(mutex_);

  const EpochLimits limits_;
  std::atomic<uint64_t> epoch_{1};
  std::atomic<size_t> pending_objects_{0};
  std::atomic<size_t> pending_bytes_{0};
  std::atomic<uint64_t> retired_{0};
  std::atomic<uint64_t> reclaimed_{0};
  mutable Mutex mutex_;
  List<Reader, EpochDomain> readers_ CATZILLA_GUARDED_BY(mutex_);
  std::deque<Retired> garbage_ CATZILLA_GUARDED_BY(mutex_);  // Epochs rise from front to back.
};

}  // namespace catzilla::base
