#include "sidecar/loop/loop.h"

#include "sidecar/base/check.h"

namespace catzilla::loop {

Loop::Loop(int index) : index_(index), now_(base::ReadClock()) {
  CATZILLA_CHECK(uv_loop_init(&uv_) == 0, "no event loop could be made (descriptors exhausted?)");
  prepare_.data = this;
  uv_prepare_init(&uv_, &prepare_);
  uv_prepare_start(&prepare_, &Loop::OnPrepare);
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
  heartbeat_.data = this;
  uv_timer_init(&uv_, &heartbeat_);
  uv_timer_start(&heartbeat_, &Loop::OnHeartbeat, kHeartbeatMs, kHeartbeatMs);
  go_on_.data = this;
  uv_idle_init(&uv_, &go_on_);
  last_turn_us_.store(now_.monotonic_us, std::memory_order_relaxed);
}

Loop::~Loop() {
  uv_close(reinterpret_cast<uv_handle_t*>(&go_on_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&heartbeat_), nullptr);
  DrainHandles();
  CATZILLA_CHECK(uv_loop_close(&uv_) == 0, "a handle of the loop was left open");
}

void Loop::Run() {
  uv_run(&uv_, UV_RUN_DEFAULT);
  if (in_turn_) EndTurn();
}

void Loop::Stop() { uv_stop(&uv_); }

void Loop::RunOnce(bool may_wait) {
  uv_run(&uv_, may_wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
  if (in_turn_) EndTurn();
}

void Loop::DrainHandles() {
  // The heartbeat would keep a waiting run alive, so rounds do not wait: closing takes one each.
  for (int round = 0; round < 4; ++round) uv_run(&uv_, UV_RUN_NOWAIT);
  if (in_turn_) EndTurn();
}

void Loop::AddHooks(TurnHooks* hooks) {
  CATZILLA_CHECK(hook_count_ < kHooksMax, "too many turn hooks");
  hooks_[hook_count_++] = hooks;
}

void Loop::BeginTurn() {
  in_turn_ = true;
  now_ = base::ReadClock();
  for (int i = 0; i < hook_count_; ++i) hooks_[i]->OnTurnBegin(now_);
}

// Deferred work may defer more. A pass is what was deferred before it began.
void Loop::RunDeferred() {
  for (int pass = 0; pass < kDeferPasses && !deferred_.empty(); ++pass) {
    deferred_.PushBack(pass_end_);
    while (Deferred* work = deferred_.PopFront()) {
      if (work == &pass_end_) break;
      work->RunDeferred();
    }
  }
  const bool left = !deferred_.empty();
  if (!left && uv_is_active(reinterpret_cast<uv_handle_t*>(&go_on_)) == 0) return;
  if (left) {
    turns_overrun_.store(turns_overrun() + 1, std::memory_order_relaxed);
    uv_idle_start(&go_on_, &Loop::OnGoOn);
  } else {
    uv_idle_stop(&go_on_);
  }
}

void Loop::EndTurn() {
  RunDeferred();
  for (int i = 0; i < hook_count_; ++i) hooks_[i]->OnTurnEnd(now_);
  const int64_t end_us = base::ReadClockMicros(CLOCK_MONOTONIC);
  turns_.store(turns() + 1, std::memory_order_relaxed);
  busy_us_.store(busy_us() + static_cast<uint64_t>(end_us - now_.monotonic_us),
                 std::memory_order_relaxed);
  last_turn_us_.store(end_us, std::memory_order_relaxed);
  in_turn_ = false;
}

void Loop::OnPrepare(uv_prepare_t* handle) {
  auto* loop = static_cast<Loop*>(handle->data);
  if (loop->in_turn_) loop->EndTurn();
}

void Loop::OnGoOn(uv_idle_t* handle) { static_cast<Loop*>(handle->data)->EnterTurn(); }

void Loop::OnHeartbeat(uv_timer_t* handle) { static_cast<Loop*>(handle->data)->EnterTurn(); }

}  // namespace catzilla::loop
