#include "sidecar/exchange/upgrade_way.h"

#include <algorithm>
#include <utility>

#include "sidecar/exchange/exchange.h"
#include "sidecar/exchange/request_fields.h"
#include "sidecar/exchange/start_call.h"
#include "sidecar/websocket/handshake.h"

namespace catzilla::exchange {

using websocket::Opcode;
using Event = websocket::MessageDecoder::Event;

UpgradeWay::~UpgradeWay() { Cancel(origin::CancelCode::kUnwanted); }

Next UpgradeWay::Step() {
  if (state_ == State::kOver) return exchange_.Answered();
  if (state_ == State::kAsking && call_ == nullptr) return Start();
  ReturnWindow();
  // What is left in the decoder needs no further byte from the client.
  if (!stalled_ && decoder_.has_value() && decoder_->has_more()) OnBytes({});
  return state_ == State::kOver ? Next::kMore : Next::kWait;
}

// The handshake...

Next UpgradeWay::Start() {
  const http::RequestHead& request = exchange_.request();
  rules_ = exchange_.context().plan->snapshot->websockets;
  const websocket::HandshakeError error = websocket::CheckHandshake(request);
  if (error.status != 0) return exchange_.Refuse({error.status, error.cause, error.fields});
  if (!websocket::OriginAllowed(request, exchange_.facts().scheme(), rules_->origins)) {
    return exchange_.Refuse({403, "websocket_origin"});
  }
  origin::RequestSpec spec;
  // An app sees the handshake as the client sent it; to a server the connection is ours.
  using Connection = RequestFields::Connection;
  RequestFields fields(
      request, nullptr,
      exchange_.route().upstream == nullptr ? Connection::kKept : Connection::kCut);
  exchange_.Describe(&fields, &spec);
  spec.upgrade = true;
  spec.ping_interval_us = rules_->ping_interval_us;
  spec.ping_timeout_us = rules_->ping_timeout_us;
  spec.close_timeout_us = rules_->close_timeout_us;
  origin::Failure failure;
  call_ = StartSocket(exchange_.context(), exchange_.route(), spec, *this, &failure);
  if (call_ != nullptr) {
    exchange_.client().SetBodyReading(false);  // Until it is accepted.
    return Next::kWait;
  }
  const bool anew = failure.kind == origin::FailureKind::kSuperseded && exchange_.MayRouteAnew();
  return anew ? exchange_.RouteAnew({}) : exchange_.RefuseFailed(failure);
}

void UpgradeWay::OnAccept(const origin::ResponseHead& head) {
  exchange_.client().WakeExchange();
  const std::string_view key =
      *exchange_.request().Find(http::HeaderId::kSecWebsocketKey);  // Checked by Start().
  std::string& lines = exchange_.context().scratch;
  lines = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
  lines.append(websocket::AcceptKey(key)).append("\r\n");
  if (rules_->compression) deflate_ = websocket::NegotiateDeflate(exchange_.request());
  if (deflate_.agreed) {
    char terms[128];
    lines.append("Sec-WebSocket-Extensions: ");
    lines.append(websocket::DescribeTerms(deflate_, terms)).append("\r\n");
  }
  if (!exchange_.responder().SwitchProtocols(head, lines)) {
    EndCall(websocket::kCloseAbnormal, "");
    exchange_.Refuse({502, exchange_.record().cause});
    return;
  }
  decoder_.emplace(rules_->message_bytes_max);
  if (deflate_.agreed) decoder_->Inflate(std::make_unique<websocket::Inflater>(15, false));
  state_ = State::kOpen;
  counted_ = true;
  exchange_.context().stats.websockets_open.Add(1);
  heard_us_ = moved_us_ = exchange_.context().now().monotonic_us;
  exchange_.record().accepted_us = heard_us_;
  exchange_.client().SetBodyReading(true);
  ArmOpen();
  if (exchange_.context().draining) OnDrain();
}

// The app answers otherwise, as to any request...

void UpgradeWay::OnResponse(const origin::ResponseHead& response) {
  exchange_.client().WakeExchange();
  state_ = State::kDenied;
  if (!exchange_.SendAppHead(response)) {
    Cancel(origin::CancelCode::kBadAnswer);
    exchange_.Refuse({502, exchange_.record().cause});
    return;
  }
  exchange_.responder().Body(response.body);
}

void UpgradeWay::OnInformational(const origin::ResponseHead& informational) {
  exchange_.responder().Inform(informational);
  exchange_.client().WakeExchange();
}

void UpgradeWay::OnData(std::string_view bytes) {
  exchange_.responder().Body(bytes);
  unconsumed_ += bytes.size();
  ReturnWindow();
  exchange_.client().WakeExchange();
}

// What has not left for the client yet keeps the worker's window taken: a slow reader slows the
// app.
void UpgradeWay::ReturnWindow() {
  if (unconsumed_ == 0) {
    exchange_.responder().ForgetRoom();
  } else if (call_ != nullptr && exchange_.responder().Room()) {
    call_->Consumed(std::exchange(unconsumed_, 0));
  }
}

void UpgradeWay::OnEnd() {
  call_ = nullptr;
  exchange_.client().WakeExchange();
  switch (state_) {
    case State::kDenied:
      exchange_.responder().EndBody();
      exchange_.Answered();
      return;
    case State::kOpen:  // The app has returned without a word.
      return CloseByUs(websocket::kCloseNormal, "");
    case State::kFailing:
      return FinishFailing();
    default:
      return;
  }
}

void UpgradeWay::OnFailure(const origin::Failure& failure) {
  call_ = nullptr;
  exchange_.client().WakeExchange();
  if (state_ == State::kClosing) return;
  if (state_ == State::kFailing) return FinishFailing();
  if (state_ != State::kOpen) {
    // Newer code may have taken over before it had begun: found out again by Start().
    const bool anew = failure.kind == origin::FailureKind::kSuperseded &&
                      exchange_.MayRouteAnew() && state_ == State::kAsking;
    if (!anew) exchange_.RefuseFailed(failure);
    return;
  }
  exchange_.record().cause = origin::FailureName(failure.kind);
  exchange_.record().detail = failure.cause;
  if (sending_) {
    // Half a message cannot be ended by what looks like its other half.
    exchange_.record().end = End::kBroken;
  }
  CloseByUs(leave_code_ != 0 ? leave_code_ : websocket::kCloseInternalError, "");
}

// From the client...

size_t UpgradeWay::OnBytes(std::string_view input) {
  if (state_ != State::kOpen && state_ != State::kClosing) return input.size();
  if (!input.empty()) heard_us_ = exchange_.context().now().monotonic_us;
  if (heard_us_ >= pinged_us_) pinged_us_ = 0;
  return Decode(input);
}

size_t UpgradeWay::Decode(std::string_view input) {
  const std::span<char> buffer = exchange_.context().MessageBuffer();
  const size_t had = input.size();
  while (state_ == State::kOpen || state_ == State::kClosing) {
    // Once the app is through, what still comes is read and dropped, up to the client's Close.
    const size_t room =
        call_ == nullptr ? buffer.size() : std::min(buffer.size(), call_->body_window());
    if (room == 0) {
      stalled_ = true;
      exchange_.client().SetBodyReading(false);
      return had - input.size();
    }
    const websocket::MessageDecoder::Step step = decoder_->Next(input, buffer.first(room));
    input.remove_prefix(step.consumed);
    if (step.event == Event::kNothing && input.empty()) return had;
    Take(step);
  }
  return had;  // Nothing of what is left means anything.
}

void UpgradeWay::Take(const websocket::MessageDecoder::Step& step) {
  ExchangeRecord& record = exchange_.record();
  switch (step.event) {
    case Event::kNothing:
    case Event::kNeedRoom:
      return;
    case Event::kPiece:
      record.received_bytes += step.payload.size();
      exchange_.context().stats.websocket_bytes_received.Add(step.payload.size());
      if (step.last) {
        ++record.received_messages;
        exchange_.context().stats.websocket_messages_received.Add();
      }
      moved_us_ = exchange_.context().now().monotonic_us;
      if (call_ == nullptr) return;
      call_->SendMessage(
          step.kind == Opcode::kText ? origin::MessageKind::kText : origin::MessageKind::kBinary,
          step.payload, step.last);
      return;
    case Event::kPing:
      exchange_.client().WakeExchange();
      if (state_ == State::kOpen) WriteFrame(Opcode::kPong, true, step.payload);
      return;
    case Event::kPong:
      return;
    case Event::kClose:
      return OnClientClose(step.code, step.payload);
    case Event::kError:
      return OnClientError(step.code, step.cause);
  }
}

void UpgradeWay::OnClientClose(uint16_t code, std::string_view reason) {
  exchange_.client().WakeExchange();
  if (state_ == State::kClosing) {  // It answers ours.
    EndCall(close_code_, "");
    return Over(close_code_);
  }
  WriteClose(code, reason);
  EndCall(code, reason);
  Over(code);
}

void UpgradeWay::OnClientError(uint16_t code, std::string_view cause) {
  exchange_.client().WakeExchange();
  exchange_.record().cause = "websocket_protocol";
  exchange_.record().detail = cause;
  refused_client_ = true;
  if (state_ == State::kClosing) {
    EndCall(code, cause);
    return Over(code);
  }
  const int64_t now_us = exchange_.context().now().monotonic_us;
  state_ = State::kFailing;
  close_code_ = code;
  failure_ = cause;
  if (call_ == nullptr || now_us - moved_us_ >= kAnswerUs) return FinishFailing();
  exchange_.context().wheel.Arm(*this, now_us + kAnswerUs);
}

void UpgradeWay::OnBodyRoom() {
  if (!std::exchange(stalled_, false)) return;
  exchange_.client().SetBodyReading(true);
  exchange_.client().WakeExchange();
}

// To the client...

void UpgradeWay::OnMessage(origin::MessageKind kind, std::string_view bytes, bool last) {
  unconsumed_ += bytes.size() + origin::kPieceOverhead;
  if (state_ == State::kOpen || state_ == State::kFailing) {
    WriteMessage(kind, bytes, last);
    moved_us_ = exchange_.context().now().monotonic_us;
  }
  ReturnWindow();
  exchange_.client().WakeExchange();
}

void UpgradeWay::WriteMessage(origin::MessageKind kind, std::string_view bytes, bool last) {
  const bool first = !sending_;
  const bool worth = !last || bytes.size() >= websocket::Deflater::kWorthBytes;
  if (first) deflating_ = deflate_.agreed && worth;
  Context& context = exchange_.context();
  const Opcode opcode = !first                               ? Opcode::kContinuation
                        : kind == origin::MessageKind::kText ? Opcode::kText
                                                             : Opcode::kBinary;
  const std::string_view payload =
      deflating_ ? context.deflater.Piece(bytes, last, deflate_.window_bits) : bytes;
  WriteFrame(opcode, last, payload, deflating_ && first);
  sending_ = !last;
  ExchangeRecord& record = exchange_.record();
  record.body_bytes += bytes.size();
  context.stats.websocket_bytes_sent.Add(bytes.size());
  if (!last) return;
  ++record.sent_messages;
  context.stats.websocket_messages_sent.Add();
}

void UpgradeWay::WriteFrame(Opcode opcode, bool last, std::string_view payload, bool compressed) {
  char head[websocket::kFrameHeadBytesMax];
  const size_t bytes = websocket::WriteFrameHead(opcode, last, compressed, payload.size(), head);
  http::OutputQueue& output = exchange_.client().output();
  output.Append({head, bytes});
  if (!payload.empty()) output.Append(payload);
}

// A code that is never said stands for a Close without one.
void UpgradeWay::WriteClose(uint16_t code, std::string_view reason) {
  char payload[websocket::kControlBytesMax];
  const size_t bytes =
      websocket::IsCloseCode(code) ? websocket::WriteClosePayload(code, reason, payload) : 0;
  WriteFrame(Opcode::kClose, true, {payload, bytes});
}

void UpgradeWay::OnClose(uint32_t code, std::string_view reason) {
  exchange_.client().WakeExchange();
  const bool sound = code == websocket::kCloseNoStatus || websocket::IsCloseCode(code);
  // The app has heard of it where it said it: there is nothing to be told any more.
  EndCall(websocket::kCloseNoStatus, "");
  if (state_ == State::kFailing) return FinishFailing();
  if (state_ != State::kOpen) return;
  CloseByUs(sound ? static_cast<uint16_t>(code) : websocket::kCloseInternalError, reason);
}

// Ends...

void UpgradeWay::CloseByUs(uint16_t code, std::string_view reason) {
  exchange_.client().WakeExchange();
  const base::Now& now = exchange_.context().now();
  state_ = State::kClosing;
  close_code_ = code;
  pinged_us_ = 0;
  WriteClose(code, reason);
  if (std::exchange(stalled_, false)) exchange_.client().SetBodyReading(true);
  close_due_us_ = now.monotonic_us + rules_->close_timeout_us;
  if (leave_due_us_ != 0) close_due_us_ = std::min(close_due_us_, leave_due_us_ - kQuietUs);
  exchange_.context().wheel.Arm(*this, close_due_us_);
}

void UpgradeWay::FinishFailing() {
  WriteClose(close_code_, failure_);
  EndCall(close_code_, failure_);
  Over(close_code_);
}

// The app is told, unless it is through.
void UpgradeWay::EndCall(uint16_t code, std::string_view reason) {
  unconsumed_ = 0;
  if (call_ != nullptr) std::exchange(call_, nullptr)->SendClose(code, reason);
}

void UpgradeWay::Over(uint16_t code) {
  state_ = State::kOver;
  exchange_.context().wheel.Disarm(*this);
  exchange_.record().close_code = code;
  exchange_.client().WakeExchange();
}

void UpgradeWay::Cancel(origin::CancelCode code) {
  exchange_.context().wheel.Disarm(*this);
  if (upgraded()) {
    EndCall(websocket::kCloseAbnormal, "");
    if (state_ != State::kOver) {
      exchange_.record().close_code = close_code_ != 0 ? close_code_ : websocket::kCloseAbnormal;
    }
    state_ = State::kOver;
  } else if (call_ != nullptr) {
    std::exchange(call_, nullptr)->Cancel(code);
  }
  if (std::exchange(counted_, false)) exchange_.context().stats.websockets_open.Add(-1);
}

// Time...

void UpgradeWay::OnDeadline() {
  const int64_t now_us = exchange_.context().now().monotonic_us;
  switch (state_) {
    case State::kOpen:
      if (leave_code_ != 0) LookWhetherToLeave(now_us);
      if (state_ == State::kOpen) LookWhetherAlive(now_us);
      if (state_ == State::kOpen) ArmOpen();
      return;
    case State::kFailing:
      return FinishFailing();
    case State::kClosing:  // It does not answer our Close.
      exchange_.record().cause = "websocket_close_timeout";
      EndCall(close_code_, "");
      return Over(close_code_);
    default:
      return;
  }
}

void UpgradeWay::ArmOpen() {
  const int64_t now_us = exchange_.context().now().monotonic_us;
  int64_t due_us = INT64_MAX;
  if (leave_code_ != 0) due_us = now_us + kLookUs;
  if (pinged_us_ != 0 && rules_->ping_timeout_us > 0) {
    due_us = std::min(due_us, pinged_us_ + rules_->ping_timeout_us);
  } else if (rules_->ping_interval_us > 0) {
    due_us = std::min(due_us, std::max(heard_us_, pinged_us_) + rules_->ping_interval_us);
  }
  if (due_us != INT64_MAX) exchange_.context().wheel.Arm(*this, std::max(due_us, now_us + 1));
}

// A client that says nothing is asked; one that does not answer is taken for gone. While we do not
// read we cannot know.
void UpgradeWay::LookWhetherAlive(int64_t now_us) {
  if (rules_->ping_interval_us == 0) return;
  if (stalled_ || exchange_.client().output().pending_bytes() >= kOutputMark) {
    heard_us_ = now_us;
    pinged_us_ = 0;
    return;
  }
  if (pinged_us_ != 0 && rules_->ping_timeout_us > 0) {
    if (now_us - pinged_us_ < rules_->ping_timeout_us) return;
    exchange_.record().cause = "websocket_ping_timeout";
    exchange_.record().end = End::kClientClosed;
    WriteClose(websocket::kCloseInternalError, "keepalive ping timeout");
    EndCall(websocket::kCloseAbnormal, "keepalive ping timeout");
    return Over(websocket::kCloseInternalError);
  }
  if (now_us - std::max(heard_us_, pinged_us_) < rules_->ping_interval_us) return;
  pinged_us_ = now_us;
  WriteFrame(Opcode::kPing, true, "catzilla");
  exchange_.client().WakeExchange();
}

void UpgradeWay::OnGoingAway(uint16_t code, int64_t due_us) {
  if (leave_code_ != 0) return;
  const int64_t now_us = exchange_.context().now().monotonic_us;
  leave_code_ = code;
  leave_due_us_ = due_us;
  leave_at_us_ = now_us + std::max<int64_t>(due_us - now_us, 0) / 2;
  if (state_ == State::kOpen) exchange_.context().wheel.Arm(*this, now_us + 1);
}

void UpgradeWay::OnDrain() {
  const Context& context = exchange_.context();
  OnGoingAway(websocket::kCloseGoingAway,
              context.now().monotonic_us + context.plan->snapshot->drain.timeout_us);
}

void UpgradeWay::LookWhetherToLeave(int64_t now_us) {
  const bool between = !sending_ && !decoder_->in_message() && !stalled_;
  if (now_us < leave_at_us_ && (!between || now_us - moved_us_ < kQuietUs)) return;
  exchange_.record().cause = leave_code_ == websocket::kCloseGoingAway ? "drain" : "generation";
  CloseByUs(leave_code_, "");
}

}  // namespace catzilla::exchange
