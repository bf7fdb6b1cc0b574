#include "sidecar/upstream/call.h"

#include <algorithm>

#include "sidecar/base/check.h"
#include "sidecar/upstream/agent.h"

namespace catzilla::upstream {

size_t Call::body_window() const {
  if (switched_) {
    return body_over_ ? 0 : kSendBytes - std::min(kSendBytes, connection_->pending());
  }
  if (state_ != State::kOpen || !streaming_ || awaits_continue_ || body_over_) return 0;
  return kSendBytes - std::min(kSendBytes, connection_->pending());
}

void Call::SendBody(std::string_view bytes, bool last) {
  if (body_ended() || !streaming_) return;
  CATZILLA_CHECK(state_ == State::kOpen || bytes.empty(), "a body was sent to nobody");
  body_begun_ = body_begun_ || !bytes.empty();
  body_over_ = request_over_ = last;
  if (state_ != State::kOpen) return;
  connection_->SendBody(bytes, last);
  if (!last || answer_begun_) return;
  // The time for the answer begins when all has been asked.
  soft_due_us_ = agent_.now_us() + budget_us_;
  agent_.ArmSoft(*this);
}

void Call::Consumed(size_t bytes) {
  if (bytes == 0) return;
  CATZILLA_CHECK(state_ == State::kOpen, "bytes of a call that is over were given back");
  held_ -= std::min(held_, bytes);
  connection_->Resume();
}

void Call::Cancel(origin::CancelCode code) {
  (void)code;  // HTTP/1.1 has one way to say it: the connection ends.
  agent_.CancelCall(*this);
}

void Call::SendMessage(origin::MessageKind kind, std::string_view bytes, bool last) {
  CATZILLA_CHECK(switched_, "a message was sent on a WebSocket that is not open");
  connection_->SendMessage(kind, bytes, last);
}

void Call::SendClose(uint16_t code, std::string_view reason) {
  CATZILLA_CHECK(switched_, "a WebSocket was closed that is not open");
  agent_.EndSocket(*this, code, reason);
}

void Call::OnDeadline() { agent_.OnCallDeadline(*this); }

}  // namespace catzilla::upstream
