#include "sidecar/upstream/socket.h"

#include <algorithm>

#include "sidecar/base/check.h"
#include "sidecar/upstream/connection.h"

namespace catzilla::upstream {

using websocket::Opcode;
using Event = websocket::MessageDecoder::Event;

Socket::Socket(Connection& connection, const SocketRules& rules, int64_t now_us)
    : connection_(connection),
      rules_(rules),
      decoder_(UINT64_MAX, websocket::MessageDecoder::Sender::kServer),
      heard_us_(now_us) {}

// From the server...

void Socket::OnBytes(std::string_view input, int64_t now_us) {
  heard_us_ = now_us;
  pinged_us_ = 0;
  // Once we have closed, what still comes is dropped, up to the server's Close and its end.
  while (state_ == State::kOpen || !input.empty()) {
    const websocket::MessageDecoder::Step step = decoder_.Next(input, {});
    input.remove_prefix(step.consumed);
    switch (step.event) {
      case Event::kNothing:
      case Event::kNeedRoom:
        if (input.empty()) return;
        break;
      case Event::kPiece:
        connection_.OnPiece(
            step.kind == Opcode::kText ? origin::MessageKind::kText : origin::MessageKind::kBinary,
            step.payload, step.last);
        break;
      case Event::kPing:
        if (!closing() && connection_.pending() < Call::kSendBytes) {
          WriteFrame(Opcode::kPong, true, step.payload);
        }
        break;
      case Event::kPong:
        break;
      case Event::kClose:
        return OnClose(step.code, step.payload, now_us);
      case Event::kError:
        if (!closing()) WriteClose(step.code, step.cause, now_us);
        return connection_.FailSocket(TargetFailure::kBadAnswer, step.cause);
    }
  }
}

void Socket::OnClose(uint16_t code, std::string_view reason, int64_t now_us) {
  if (closing()) return;  // It answers ours; the connection's end is the server's to begin.
  WriteClose(code, reason, now_us);
  connection_.OnServerClose(code, reason);
}

// To the server...

void Socket::SendMessage(origin::MessageKind kind, std::string_view bytes, bool last) {
  CATZILLA_CHECK(state_ == State::kOpen, "a message was sent on a WebSocket that is closed");
  const Opcode opcode = sending_                             ? Opcode::kContinuation
                        : kind == origin::MessageKind::kText ? Opcode::kText
                                                             : Opcode::kBinary;
  sending_ = !last;
  WriteFrame(opcode, last, bytes);
}

void Socket::WriteFrame(Opcode opcode, bool last, std::string_view payload) {
  char head[websocket::kFrameHeadBytesMax];
  char key[4];
  connection_.NextMaskKey(key);
  const size_t bytes = websocket::WriteFrameHead(opcode, last, false, payload.size(), head);
  char* const to =
      connection_.Grow({head, websocket::AddMaskKey(key, bytes, head)}, payload.size());
  if (to != nullptr) websocket::Mask(key, 0, payload, to);
}

// A code that is never said stands for a Close without one.
void Socket::WriteClose(uint16_t code, std::string_view reason, int64_t now_us) {
  char payload[websocket::kControlBytesMax];
  const size_t bytes =
      websocket::IsCloseCode(code) ? websocket::WriteClosePayload(code, reason, payload) : 0;
  WriteFrame(Opcode::kClose, true, {payload, bytes});
  state_ = State::kClosing;
  close_due_us_ = now_us + rules_.close_timeout_us;
}

bool Socket::End(uint16_t code, std::string_view reason, int64_t now_us) {
  if (code == websocket::kCloseAbnormal) return false;
  if (!closing()) WriteClose(code, reason, now_us);
  return true;
}

// Time...

int64_t Socket::due_us(int64_t now_us) const {
  if (closing()) return close_due_us_;
  int64_t due_us = INT64_MAX;
  if (pinged_us_ != 0 && rules_.ping_timeout_us > 0) {
    due_us = pinged_us_ + rules_.ping_timeout_us;
  } else if (rules_.ping_interval_us > 0) {
    due_us = std::max(heard_us_, pinged_us_) + rules_.ping_interval_us;
  }
  return std::max(due_us, now_us + 1);
}

const char* Socket::Look(bool reading, int64_t now_us) {
  if (rules_.ping_interval_us == 0) return nullptr;
  if (!reading) {
    heard_us_ = now_us;
    pinged_us_ = 0;
    return nullptr;
  }
  if (pinged_us_ != 0 && rules_.ping_timeout_us > 0) {
    if (now_us - pinged_us_ < rules_.ping_timeout_us) return nullptr;
    return "the server does not answer pings";
  }
  if (now_us - std::max(heard_us_, pinged_us_) < rules_.ping_interval_us) return nullptr;
  pinged_us_ = now_us;
  WriteFrame(Opcode::kPing, true, "catzilla");
  return nullptr;
}

}  // namespace catzilla::upstream
