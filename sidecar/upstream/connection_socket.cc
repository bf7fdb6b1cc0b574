// A connection whose server has switched to a WebSocket.
#include <algorithm>
#include <utility>

#include "sidecar/upstream/agent.h"
#include "sidecar/upstream/connection.h"
#include "sidecar/websocket/handshake.h"

namespace catzilla::upstream {

// What comes with the head is the first of what the server says.
void Connection::Switch(std::string_view rest) {
  Call& call = *call_;
  const char* const why =
      websocket::CheckAccept(parser_.head().fields, call.key_, call.subprotocols_);
  if (why != nullptr) return Fail(TargetFailure::kBadAnswer, why);
  state_ = State::kSwitched;
  socket_ = std::make_unique<Socket>(*this, call.socket_rules_, agent_.now_us());
  call.answer_begun_ = true;
  agent_.wheel().Disarm(call);
  if (target_->Succeeded(agent_.now_us())) agent_.TellBack(*call.setup_, *target_);
  agent_.SocketOpened(call);
  ArmSocket();
  origin::ResponseHead head;
  head.status = parser_.head().status;
  head.fields = PassedFields();
  call.socket_->OnAccept(head);
  parser_.Shrink();
  if (state_ == State::kSwitched && !rest.empty()) socket_->OnBytes(rest, agent_.now_us());
}

// From the server...

void Connection::OnPiece(origin::MessageKind kind, std::string_view bytes, bool last) {
  if (call_ == nullptr) return;
  Call& call = *call_;
  call.held_ += bytes.size() + origin::kPieceOverhead;
  call.socket_->OnMessage(kind, bytes, last);
  if (call_ != &call || call.held_ < Call::kWindowBytes) return;
  paused_ = true;
  UpdateWatch();
}

void Connection::OnServerClose(uint16_t code, std::string_view reason) {
  ArmSocket();
  if (call_ != nullptr) call_->socket_->OnClose(code, reason);
}

// To the server...

char* Connection::Grow(std::string_view head, size_t bytes) {
  if (state_ != State::kSwitched || write_failed_) return nullptr;
  if (pending() == 0) progress_us_ = agent_.now_us();
  out_.append(head);
  const size_t at = out_.size();
  out_.resize(at + bytes);
  WantFlush();
  return out_.data() + at;
}

void Connection::NextMaskKey(char (&key)[4]) { agent_.mask_keys_.Next(key); }

// Ends...

void Connection::EndSocket(uint16_t code, std::string_view reason) {
  call_ = nullptr;
  if (!socket_->End(code, reason, agent_.now_us())) return Close();
  paused_ = false;
  UpdateWatch();
  ArmSocket();
}

// Where a Close of ours has still to leave, the connection stays for that.
void Connection::FailSocket(TargetFailure failure, std::string_view cause) {
  if (call_ == nullptr) return Close();
  Agent::Lost lost;
  lost.failure = failure;
  lost.cause = cause;
  lost.connected = lost.anything_sent = true;
  lost.address_index = address_index_;
  Call& call = *std::exchange(call_, nullptr);
  if (socket_->closing()) {
    ArmSocket();
  } else {
    Close();
  }
  agent_.CallFailed(call, lost);
}

// Time...

void Connection::ArmSocket() {
  int64_t due_us = socket_->due_us(agent_.now_us());
  if (call_ != nullptr && !socket_->closing()) {
    due_us = std::min(due_us, agent_.now_us() + call_->setup_->upstream().read_timeout_us);
  }
  agent_.wheel().Arm(*this, due_us);
}

void Connection::OnSocketDeadline() {
  const int64_t now_us = agent_.now_us();
  if (call_ == nullptr || socket_->closing()) {
    return FailSocket(TargetFailure::kReadTimeout, "the server does not answer a Close");
  }
  const int64_t timeout_us = call_->setup_->upstream().read_timeout_us;
  if (pending() > 0 && now_us - progress_us_ >= timeout_us) {
    return FailSocket(TargetFailure::kReadTimeout, "the server reads no more");
  }
  if (const char* why = socket_->Look(!paused_, now_us)) {
    return FailSocket(TargetFailure::kReadTimeout, why);
  }
  ArmSocket();
}

}  // namespace catzilla::upstream
