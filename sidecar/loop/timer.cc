#include "sidecar/loop/timer.h"

#include <algorithm>

#include "sidecar/base/check.h"

namespace catzilla::loop {

Timer::Timer(Loop& loop, Handler& handler) : loop_(loop), handler_(handler) {
  uv_timer_init(loop_.uv(), &uv_);
  uv_.data = this;
}

Timer::~Timer() { CATZILLA_CHECK(closed_, "a timer was destroyed before it closed"); }

void Timer::Start(int64_t delay_us, int64_t repeat_us) {
  CATZILLA_CHECK(!closing_, "a closed timer was started");
  uv_update_time(loop_.uv());
  const auto to_ms = [](int64_t us) {
    return static_cast<uint64_t>(std::max<int64_t>(us, 0) + 999) / 1000;
  };
  repeats_ = repeat_us > 0;
  active_ = true;
  uv_timer_start(&uv_, &Timer::OnUvTimer, to_ms(delay_us), to_ms(repeat_us));
}

void Timer::Stop() {
  active_ = false;
  if (!closing_) uv_timer_stop(&uv_);
}

void Timer::Close() {
  if (closing_) return;
  closing_ = true;
  active_ = false;
  uv_close(reinterpret_cast<uv_handle_t*>(&uv_), &Timer::OnUvClosed);
}

void Timer::OnUvTimer(uv_timer_t* handle) {
  auto* timer = static_cast<Timer*>(handle->data);
  timer->loop_.EnterTurn();
  if (!timer->repeats_) timer->active_ = false;
  timer->handler_.OnTimer();
}

void Timer::OnUvClosed(uv_handle_t* handle) {
  auto* timer = static_cast<Timer*>(handle->data);
  timer->closed_ = true;
  timer->handler_.OnTimerClosed();
}

Wheel::Wheel(Loop& loop)
    : loop_(loop), timer_(loop, *this), swept_us_(loop.now().monotonic_us / kTickUs * kTickUs) {
  timer_.Start(kTickUs, kTickUs);
}

void Wheel::Arm(Deadline& deadline, int64_t due_us) {
  CATZILLA_CHECK(due_us > 0, "a deadline of zero means none");
  deadline.due_us_ = due_us;
  // Already hanging in an earlier slot: the sweep will move it on. This is the common case.
  if (deadline.linked() && deadline.slot_us_ <= due_us) return;
  deadline.Unlink();
  Link(deadline, due_us);
}

void Wheel::Link(Deadline& deadline, int64_t at_us) {
  const int64_t first_us = swept_us_ + kTickUs;
  const int64_t last_us = swept_us_ + (kSlots - 1) * kTickUs;
  const int64_t tick_us = (at_us + kTickUs - 1) / kTickUs * kTickUs;
  deadline.slot_us_ = std::clamp(tick_us, first_us, last_us);
  slots_[deadline.slot_us_ / kTickUs % kSlots].PushBack(deadline);
}

void Wheel::OnTimer() {
  const int64_t now_us = loop_.now().monotonic_us;
  // After a long sleep each slot needs to be seen only once.
  const int64_t behind_us = now_us - swept_us_;
  if (behind_us > kSlots * kTickUs) {
    swept_us_ = (now_us - (kSlots - 1) * kTickUs) / kTickUs * kTickUs;
  }
  while (swept_us_ + kTickUs <= now_us) {
    swept_us_ += kTickUs;
    // What is due later moves on, so it is collected first: it may land in this very slot again.
    base::List<Deadline, WheelTag> due;
    auto& slot = slots_[swept_us_ / kTickUs % kSlots];
    while (Deadline* deadline = slot.PopFront()) due.PushBack(*deadline);
    while (Deadline* deadline = due.PopFront()) {
      if (deadline->due_us_ == 0) continue;
      if (deadline->due_us_ > now_us) {
        Link(*deadline, deadline->due_us_);
        continue;
      }
      deadline->due_us_ = 0;
      deadline->OnDeadline();
    }
  }
}

}  // namespace catzilla::loop
