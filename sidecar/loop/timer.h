// One timer, and a wheel for very many deadlines.
//
// Threads: the loop's. Timer is a libuv handle with the same life as Poll (close, then OnClosed).
// A Wheel keeps deadlines that are re-armed far more often than they fire (a connection's): moving
// one further into the future is one store, expiry is noticed within a tick.
#pragma once

#include <uv.h>

#include <cstdint>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/loop/loop.h"

namespace catzilla::loop {

class Timer {
 public:
  class Handler {
   public:
    virtual void OnTimer() = 0;
    virtual void OnTimerClosed() {}

   protected:
    ~Handler() = default;
  };

  Timer(Loop& loop, Handler& handler);
  ~Timer();  // REQUIRES: Close() was called and the loop has run since.
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Fires after `delay_us` (rounded up to milliseconds), then every `repeat_us` if that is not 0.
  void Start(int64_t delay_us, int64_t repeat_us = 0);
  void Stop();
  void Close();
  bool active() const { return active_; }

 private:
  static void OnUvTimer(uv_timer_t* handle);
  static void OnUvClosed(uv_handle_t* handle);

  Loop& loop_;
  Handler& handler_;
  uv_timer_t uv_;
  bool active_ = false;
  bool repeats_ = false;
  bool closing_ = false;
  bool closed_ = false;
};

struct WheelTag;

// Something with a deadline. Embedded in its owner; unlinks itself when destroyed.
class Deadline : public base::ListNode<WheelTag> {
 public:
  virtual void OnDeadline() = 0;

  // 0: none is set.
  int64_t due_us() const { return due_us_; }

 protected:
  virtual ~Deadline() = default;

 private:
  friend class Wheel;
  int64_t due_us_ = 0;
  int64_t slot_us_ = 0;  // The tick it hangs in; never later than due_us_ rounded up.
};

// Limits: kSlots ticks ahead hang in their own slot; later ones are looked at once per round.
class Wheel final : private Timer::Handler {
 public:
  static constexpr int64_t kTickUs = 100'000;
  static constexpr int kSlots = 512;

  explicit Wheel(Loop& loop);

  // Sets or moves the deadline. Fires never early, and at most two ticks late.
  void Arm(Deadline& deadline, int64_t due_us);
  void Disarm(Deadline& deadline) { deadline.due_us_ = 0; }  // Stays linked; costs one store.
  void Close() { timer_.Close(); }

 private:
  void OnTimer() override;
  void Link(Deadline& deadline, int64_t at_us);

  Loop& loop_;
  Timer timer_;
  int64_t swept_us_;  // Every slot up to this tick has been swept.
  base::List<Deadline, WheelTag> slots_[kSlots];
};

}  // namespace catzilla::loop
