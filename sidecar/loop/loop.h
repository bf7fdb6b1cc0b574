// One event loop on one thread, over libuv.
//
// A turn begins with the first callback after a sleep and ends just before the next sleep: the
// clock is read once per turn, deferred work (flushing what was corked) runs at its end, and the
// hooks tell epochs and counters about both.
//
// A turn is bounded: work that defers more work gets kDeferPasses passes, what is deferred after
// them belongs to the next turn, which begins at once. So whoever defers for ever costs a core, but
// never the timers, the sockets or the stop of the others.
//
// Threads: everything here belongs to the thread that calls Run(), but for Stop() of
//          Wakeup/Mailbox.
// Owns:    the uv_loop_t. Handles (Poll, Timer, Wakeup) are owned by whoever made them, must be
//          closed before their owner goes, and before the loop is destroyed.
// Fails:   a loop that cannot be made (no descriptors left) aborts at start.
#pragma once

#include <uv.h>

#include <atomic>
#include <cstdint>
#include <string_view>

#include "sidecar/base/clock.h"
#include "sidecar/base/intrusive_list.h"

namespace catzilla::loop {

// Told when a turn begins and ends. A loop asleep is between the two.
class TurnHooks {
 public:
  virtual void OnTurnBegin(const base::Now& now) = 0;
  virtual void OnTurnEnd(const base::Now& now) = 0;

 protected:
  ~TurnHooks() = default;
};

struct DeferTag;
// Work to be done once at the end of the turn, however often it was asked for.
class Deferred : public base::ListNode<DeferTag> {
 public:
  virtual void RunDeferred() = 0;

 protected:
  ~Deferred() = default;
};

class Loop {
 public:
  explicit Loop(int index = 0);
  ~Loop();  // REQUIRES: every handle is closed and Run() has returned (or never ran).
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  int index() const { return index_; }

  // Runs turns until Stop(). Closing handles may need further turns: see DrainHandles().
  void Run();
  void Stop();  // From this loop's thread. To stop from elsewhere, wake it first.

  // One round without sleeping, or sleeping until something happens. For tests.
  void RunOnce(bool may_wait);

  // Runs until every closed handle has told its owner. Call after Run(), before destroying owners.
  void DrainHandles();

  // The clock of this turn.
  const base::Now& now() const { return now_; }

  // Runs `work` at the end of this turn; once, even if asked several times. Work that has been
  // deferred by deferred work too often in a row waits for the next turn (kDeferPasses).
  void Defer(Deferred& work) {
    if (!work.linked()) deferred_.PushBack(work);
  }

  void AddHooks(TurnHooks* hooks);  // Up to four; borrowed, before Run().

  // How many turns ended with work left over; readable by any thread. Rises all the time only if
  // some work defers itself without getting anywhere.
  uint64_t turns_overrun() const { return turns_overrun_.load(std::memory_order_relaxed); }

  // When the last turn or heartbeat was, for liveness; readable by any thread.
  int64_t last_turn_us() const { return last_turn_us_.load(std::memory_order_relaxed); }
  // How long turns took, added up, and how many there were; readable by any thread.
  uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }
  uint64_t busy_us() const { return busy_us_.load(std::memory_order_relaxed); }

  // For the handles of this room: every callback from libuv comes through here first.
  void EnterTurn() {
    if (!in_turn_) BeginTurn();
  }
  uv_loop_t* uv() { return &uv_; }

 private:
  void BeginTurn();
  void EndTurn();
  void RunDeferred();
  static void OnPrepare(uv_prepare_t* handle);
  static void OnHeartbeat(uv_timer_t* handle);
  static void OnGoOn(uv_idle_t* handle);

  // The end of one pass over the deferred work.
  class PassEnd final : public Deferred {
   public:
    void RunDeferred() override {}
  };

  static constexpr int kHooksMax = 4;
  // A request's way from a worker's bytes to a client's write takes three.
  static constexpr int kDeferPasses = 16;
  static constexpr uint64_t kHeartbeatMs = 1000;

  const int index_;
  uv_loop_t uv_;
  uv_prepare_t prepare_;
  uv_timer_t heartbeat_;
  uv_idle_t go_on_;  // Active while work is left over: the next sleep ends at once.
  bool in_turn_ = false;
  base::Now now_;
  base::List<Deferred, DeferTag> deferred_;
  PassEnd pass_end_;
  TurnHooks* hooks_[kHooksMax] = {};
  int hook_count_ = 0;
  // Written by the loop's thread only.
  std::atomic<int64_t> last_turn_us_{0};
  std::atomic<uint64_t> turns_{0};
  std::atomic<uint64_t> busy_us_{0};
  std::atomic<uint64_t> turns_overrun_{0};
};

}  // namespace catzilla::loop
