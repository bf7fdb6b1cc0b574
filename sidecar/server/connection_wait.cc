// What a connection waits for: bytes, room, and for how long.
#include <algorithm>
#include <utility>

#include "sidecar/server/connection.h"

namespace catzilla::server {
namespace {

using stats::CloseReason;

// After an answer that must close while the client still sends: how much and how long we listen on,
// so that the answer is not lost to a reset (RFC 9112 section 9.6).
constexpr int64_t kLingerUs = 2'000'000;

// Whoever connects during a drain and then says nothing does not hold up its end.
constexpr int64_t kDrainIdleUs = 1'000'000;

}  // namespace

bool Connection::IsReading() const {
  return state_ == State::kLingering || ((held_.empty() || starved_) && MayParse());
}

// A change costs two system calls: a client that is silent while its answer is made, as most are,
// goes on being watched for bytes until some come.
void Connection::UpdateWatch() {
  if (!poll_.open()) return;
  unsigned ready = 0;
  if (IsReading()) unread_told_ = false;
  if (!peer_ended_ && !unread_told_) ready |= loop::kReadable;
  // While nothing is read, a client that leaves is told by the kernel's hang-up.
  if (!peer_ended_ && !hangup_told_) ready |= loop::kHangup;
  const bool writing = output_ != nullptr && !output_->empty() && !IsPaused();
  if (yielded_ || writing) ready |= loop::kWritable;
  poll_.Watch(ready);
}

void Connection::ArmDeadline() {
  const bool writing = output_ != nullptr && !output_->empty();
  const int64_t blocked_us = blocked_since_us_;
  if (IsPaused()) {
    // Not the client's fault: its own time begins when there is something for it to take.
    long_.paced_until_us == 0 ? context_.wheel.Disarm(*this)
                              : context_.wheel.Arm(*this, long_.paced_until_us);
    return;
  }
  // A head must be complete in time from its first byte, however it drips; the others count from
  // the last progress.
  int64_t from_us = context_.now().monotonic_us;
  int64_t wait_us = 0;
  switch (state_) {
    case State::kIdle:
      wait_us = writing ? limits_->write_timeout_us : limits_->idle_timeout_us;
      if (!writing && context_.draining) wait_us = std::min(wait_us, kDrainIdleUs);
      if (writing && blocked_us != 0) from_us = blocked_us;
      break;
    case State::kProxyHeader:
    case State::kHead:
      from_us = state_since_us_;
      wait_us = limits_->header_timeout_us;
      break;
    case State::kExchange:
      if (writing) {
        wait_us = limits_->write_timeout_us;
        if (blocked_us != 0) from_us = blocked_us;
      } else if (exchange_->AwaitsClient() && body_wanted_) {
        wait_us = limits_->body_timeout_us;
        if (waits_since_us_ != 0) body_waited_us_ += from_us - std::exchange(waits_since_us_, 0);
      } else {
        if (waits_since_us_ == 0) waits_since_us_ = from_us;
        context_.wheel.Disarm(*this);  // The pool's own deadlines hold now, or the files'.
        return;
      }
      break;
    case State::kLingering:
      from_us = state_since_us_;
      wait_us = kLingerUs;
      break;
    case State::kClosing:
      return;
  }
  context_.wheel.Arm(*this, from_us + wait_us);
}

void Connection::OnDeadline() {
  const bool writing = output_ != nullptr && !output_->empty();
  if (long_.paced_until_us != 0) {
    long_.paced_until_us = 0;
    Flush();
    return;
  }
  switch (state_) {
    case State::kIdle:
      CloseNow(writing ? CloseReason::kWriteTimeout : CloseReason::kIdle);
      return;
    case State::kProxyHeader:
      CloseNow(CloseReason::kProxyHeader);
      return;
    case State::kHead:
      WriteRefusal(408);
      CloseAfterOutput(CloseReason::kHeaderTimeout);
      Flush();
      return;
    case State::kExchange:
      if (writing) {
        CloseNow(CloseReason::kWriteTimeout);
        return;
      }
      exchange_->FailRequest(408);
      RunExchange();
      CloseAfterOutput(CloseReason::kBodyTimeout);
      Flush();
      return;
    case State::kLingering:
      CloseNow(close_reason_);
      return;
    case State::kClosing:
      return;
  }
}

}  // namespace catzilla::server
