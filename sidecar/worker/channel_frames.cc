// What a worker sends on a lane: the sidecar's column of the state table in frames.md.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "sidecar/http/text.h"
#include "sidecar/worker/channel.h"
#include "sidecar/worker/dispatcher.h"

namespace catzilla::worker {

namespace {

// In lower case: whoever frames the answer, keeps it or cuts its connection fields compares so.
bool IsNameChar(unsigned char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')) return true;
  return c != 0 && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr;
}

// What may never leave on the wire towards a client: names that are no tokens or have capitals,
// control characters in a value (RFC 9110 section 5.5), lengths that are no numbers or that
// contradict each other.
bool FieldsMayLeave(const FieldsView& fields) {
  std::optional<uint64_t> length;
  for (const Field field : fields) {
    if (field.name.empty()) return false;
    if (!std::all_of(field.name.begin(), field.name.end(),
                     [](char c) { return IsNameChar(static_cast<unsigned char>(c)); })) {
      return false;
    }
    if (std::any_of(field.value.begin(), field.value.end(), [](char c) {
          const auto byte = static_cast<unsigned char>(c);
          return (byte < 0x20 && byte != '\t') || byte == 0x7f;
        })) {
      return false;
    }
    if (field.name != "content-length") continue;
    uint64_t value = 0;
    if (!http::ParseDecimal(field.value, &value) || (length && *length != value)) return false;
    length = value;
  }
  return true;
}

}  // namespace

void Channel::ProcessFrames() {
  FrameView frame;
  while (!closed()) {
    switch (reader_.Next(&frame)) {
      case FrameReader::Step::kMore:
        return;
      case FrameReader::Step::kError:
        ProtocolError(reader_.error().message, reader_.error().code);
        return;
      case FrameReader::Step::kFrame:
        OnFrame(frame);
        break;
    }
  }
}

void Channel::OnFrame(const FrameView& frame) {
  if (const char* why = CheckFrame(frame)) return ProtocolError(why);
  switch (frame.header.type) {
    case FrameType::kPing:
      if (++pongs_held_ > kPongsHeldMax) return ProtocolError("PINGs whose answers are not read");
      return Append(FrameType::kPong, 0, 0, 0, frame.payload);
    case FrameType::kPong:
      ping_open_ = false;
      return;
    case FrameType::kWindow:
      return OnWindow(frame.header);
    case FrameType::kCredit:
      return OnCredit(frame.header);
    case FrameType::kGoaway:
      return OnGoaway(frame);
    case FrameType::kResponse:
    case FrameType::kResponseData:
    case FrameType::kInformational:
    case FrameType::kTrailers:
    case FrameType::kSendfile:
    case FrameType::kEnd:
    case FrameType::kDetached:
    case FrameType::kWsAccept:
    case FrameType::kWsMessage:
    case FrameType::kWsClose: {
      Call* call = Find(frame.header.stream);
      if (call == nullptr || call->state_ == Call::State::kDetached) {
        return ProtocolError("a frame on a stream that is closed or was never opened");
      }
      return OnStreamFrame(frame, *call);
    }
    default:
      return ProtocolError("a frame that a worker does not send on a lane");
  }
}

void Channel::OnStreamFrame(const FrameView& frame, Call& call) {
  const uint32_t stream = frame.header.stream;
  call.response_begun_ = call.response_begun_ || frame.header.type != FrameType::kEnd;
  switch (frame.header.type) {
    case FrameType::kResponse:
      OnResponse(frame, call);
      break;
    case FrameType::kResponseData:
      OnResponseData(frame, call);
      break;
    case FrameType::kInformational:
      OnInformational(frame, call);
      break;
    case FrameType::kTrailers:
      OnTrailers(frame, call);
      break;
    case FrameType::kSendfile:
      OnSendfile(frame, call);
      break;
    case FrameType::kWsAccept:
      OnAccept(frame, call);
      break;
    case FrameType::kWsMessage:
      OnMessage(frame, call);
      break;
    case FrameType::kWsClose:
      OnClose(frame, call);
      break;
    case FrameType::kDetached:
      call.detached_ = true;
      ReturnCredit(call);
      break;
    default:
      return OnWorkerEnd(call, static_cast<EndCode>(frame.header.aux), frame.payload);
  }
  // The observer may have cancelled the call, never freed it: that takes the END.
  if (!closed() && frame.header.end() && Find(stream) == &call) {
    OnWorkerEnd(call, EndCode::kComplete, {});
  }
}

void Channel::OnResponse(const FrameView& frame, Call& call) {
  ResponseView view;
  bool sound = false;
  if (call.response_seen_) return ProtocolError("a second RESPONSE on a stream");
  if (const char* why = DecodeResponse(frame.payload, &view, &sound)) return ProtocolError(why);
  if (view.body.size() > limits_.data_bytes_max) {
    return ProtocolError("the inline body of a RESPONSE is larger than agreed");
  }
  call.response_seen_ = true;
  call.request_.clear();
  call.detached_ = call.detached_ || (view.flags & kDetachedAnswer) != 0;
  pool_->CountAnswer(dispatcher_.index(), view.lane);
  worker_->handler_us.fetch_add(view.handler_us, std::memory_order_relaxed);
  // A stream may live for hours: it takes its place on the lane, but keeps no request waiting.
  if (!frame.header.end() || call.detached_) ReturnCredit(call);
  if (call.state_ == Call::State::kCancelled) return;
  dispatcher_.wheel_.Disarm(call);  // It was for the beginning of the answer.
  if (!sound || view.status < 200 || view.status > 599 || !FieldsMayLeave(view.fields)) {
    return AnswerUnusable(call,
                          "the app's answer has a status or a header field that cannot be sent");
  }
  if (view.fields.bytes().size() > pool_->response_head_bytes_max()) {
    return AnswerUnusable(call,
                          "the head of the app's answer is larger than limits.max_response_header");
  }
  ResponseHead head;
  head.status = view.status;
  head.complete = frame.header.end();
  head.handler_us = view.handler_us;
  head.fields = dispatcher_.ListFields(view.fields);
  head.body = view.body;
  call.observer_->OnResponse(head);
}

void Channel::AnswerUnusable(Call& call, std::string_view cause) {
  origin::Observer* observer = call.observer_;
  Cancel(call, CancelCode::kBadAnswer);
  dispatcher_.ArmHard(call);
  pool_->CountFailure(dispatcher_.index(), FailureKind::kBadAnswer);
  observer->OnFailure({FailureKind::kBadAnswer, 0, cause});
}

void Channel::OnInformational(const FrameView& frame, Call& call) {
  HeadView view;
  if (call.response_seen_) return ProtocolError("INFORMATIONAL behind RESPONSE");
  if (const char* why = DecodeHead(frame.payload, &view)) return ProtocolError(why);
  if (call.state_ == Call::State::kCancelled) return;
  // An interim answer that cannot be sent is left out; the answer itself is still to come.
  if (view.status < 102 || view.status > 199 || !FieldsMayLeave(view.fields)) return;
  ResponseHead head;
  head.status = view.status;
  head.fields = dispatcher_.ListFields(view.fields);
  call.observer_->OnInformational(head);
}

void Channel::OnResponseData(const FrameView& frame, Call& call) {
  const auto bytes = static_cast<uint32_t>(frame.payload.size());
  if (!call.response_seen_ || call.trailers_seen_ || call.accepted_) {
    return ProtocolError("RESPONSE_DATA before RESPONSE or behind TRAILERS");
  }
  if (!TakeWindow(call, bytes)) return ProtocolError("RESPONSE_DATA past the window");
  if (call.state_ == Call::State::kCancelled) return ReturnToLane(bytes);
  if (bytes == 0) return;
  call.held_ += bytes;
  call.observer_->OnData(frame.payload);
}

bool Channel::TakeWindow(Call& call, uint32_t bytes) {
  if (bytes > receive_window_ || bytes > call.receive_window_) return false;
  receive_window_ -= bytes;
  call.receive_window_ -= bytes;
  return true;
}

// Sockets...

void Channel::OnAccept(const FrameView& frame, Call& call) {
  HeadView view;
  if (!call.is_socket_ || call.response_seen_) {
    return ProtocolError("WS_ACCEPT without UPGRADE, or behind an answer");
  }
  if (const char* why = DecodeHead(frame.payload, &view)) return ProtocolError(why);
  call.response_seen_ = call.accepted_ = true;
  std::string().swap(call.request_);  // It may stay for hours.
  pool_->CountAnswer(dispatcher_.index(), 0);
  // As a stream that is open: it has its place on the lane, and keeps no request waiting.
  ReturnCredit(call);
  if (call.state_ == Call::State::kCancelled) return;
  dispatcher_.wheel_.Disarm(call);
  if (view.status != 101 || !FieldsMayLeave(view.fields)) {
    return AnswerUnusable(call, "the app's accept has a header field that cannot be sent");
  }
  if (view.fields.bytes().size() > pool_->response_head_bytes_max()) {
    return AnswerUnusable(call, "the app's accept is larger than limits.max_response_header");
  }
  ResponseHead head;
  head.status = view.status;
  head.fields = dispatcher_.ListFields(view.fields);
  call.socket_->OnAccept(head);
}

void Channel::OnMessage(const FrameView& frame, Call& call) {
  const auto bytes = static_cast<uint32_t>(frame.payload.size() + origin::kPieceOverhead);
  if (!call.accepted_ || call.close_seen_) {
    return ProtocolError("WS_MESSAGE before WS_ACCEPT or behind WS_CLOSE");
  }
  const uint32_t kind = frame.header.aux & ~kMessageMore;
  if (call.message_kind_ != 0 && call.message_kind_ != kind) {
    return ProtocolError("a message changes its kind");
  }
  const bool more = (frame.header.aux & kMessageMore) != 0;
  call.message_kind_ = more ? kind : 0;
  if (!TakeWindow(call, bytes)) return ProtocolError("WS_MESSAGE past the window");
  if (call.state_ == Call::State::kCancelled) return ReturnToLane(bytes);
  call.held_ += bytes;
  call.socket_->OnMessage(static_cast<origin::MessageKind>(kind), frame.payload, !more);
}

void Channel::OnClose(const FrameView& frame, Call& call) {
  if (!call.accepted_ || call.close_seen_) {
    return ProtocolError("WS_CLOSE before WS_ACCEPT, or twice");
  }
  if (call.message_kind_ != 0) return ProtocolError("WS_CLOSE within a message");
  call.close_seen_ = true;
  if (call.state_ == Call::State::kCancelled) return;
  call.socket_->OnClose(frame.header.aux, frame.payload);
}

void Channel::OnTrailers(const FrameView& frame, Call& call) {
  HeadView view;
  if (!call.response_seen_ || call.trailers_seen_ || call.accepted_) {
    return ProtocolError("TRAILERS before RESPONSE, or twice");
  }
  if (const char* why = DecodeHead(frame.payload, &view)) return ProtocolError(why);
  call.trailers_seen_ = true;
  if (call.state_ == Call::State::kCancelled) return;
  if (!FieldsMayLeave(view.fields)) {
    return AnswerUnusable(call, "the app's trailers have a field that cannot be sent");
  }
  if (view.fields.bytes().size() > pool_->response_head_bytes_max()) {
    return AnswerUnusable(call, "the app's trailers are larger than limits.max_response_header");
  }
  call.observer_->OnTrailers(dispatcher_.ListFields(view.fields));
}

// Its descriptor came with its first byte at the latest.
void Channel::OnSendfile(const FrameView& frame, Call& call) {
  if (!call.response_seen_ || call.trailers_seen_ || call.accepted_ || !frame.header.end()) {
    return ProtocolError("SENDFILE before RESPONSE, behind TRAILERS, or without END");
  }
  if (passed_.empty()) return ProtocolError("SENDFILE without a descriptor");
  origin::PassedFile file{std::move(passed_.front()), Load64(frame.payload.data()),
                          Load64(frame.payload.data() + 8)};
  passed_.pop_front();
  if (call.state_ == Call::State::kCancelled) return;
  if (!call.takes_files_) return AnswerUnusable(call, "a file, where bytes were asked for");
  if (!file.fd) return AnswerUnusable(call, "the sidecar had no descriptor to spare for its file");
  call.observer_->OnFile(std::move(file));
}

void Channel::OnWindow(const FrameHeader& header) {
  Call* call = header.stream == 0 ? nullptr : Find(header.stream);
  if (call != nullptr && call->awaits_continue_) {
    // The first one opens the stream's window; nothing was sent that could be given back.
    call->awaits_continue_ = false;
    call->window_ += header.aux;
    if (BodyRoom(*call) > 0) call->observer_->OnBodyRoom();
    return;
  }
  // Whatever the stream has become, the bytes are the lane's again.
  const bool starved = send_window_ == 0;
  send_window_ = std::min<uint64_t>(send_window_ + header.aux, worker_->connection_window);
  if (call != nullptr && call->state_ == Call::State::kOpen) {
    call->window_ += header.aux;
    if (call->window_ > kWindowMax) return ProtocolError("a window past 2^31-1");
    if (!starved && BodyRoom(*call) > 0) call->observer_->OnBodyRoom();
  }
  if (!starved) return;
  for (size_t i = 0; i < streams_.size() && !closed(); ++i) {
    if (streams_[i] != nullptr && BodyRoom(*streams_[i]) > 0) streams_[i]->observer_->OnBodyRoom();
  }
}

void Channel::OnCredit(const FrameHeader& header) {
  if (header.stream == 0) return pool_->SetCeiling(*worker_, header.aux);
  Call* call = Find(header.stream);
  if (call == nullptr || call->state_ != Call::State::kDetached) {
    return ProtocolError("CREDIT for a stream that holds none");
  }
  ReturnCredit(*call);
  Forget(*call);
  dispatcher_.FreeCall(*call);
  if (drained() && peer_left_) Lose("the worker has left", true);
}

void Channel::OnGoaway(const FrameView& frame) {
  const auto code = static_cast<GoawayCode>(frame.header.aux);
  if (code != GoawayCode::kDraining && code != GoawayCode::kRecycle) {
    dispatcher_.LogLane(*this, frame.payload);
    return Lose("the worker refuses the link", false);
  }
  peer_left_ = true;
  pool_->Drain(*worker_);
  if (state_ == State::kOpen) {
    state_ = State::kDraining;
    drain_due_us_ = dispatcher_.DrainDue();
  }
  RefuseFrom(frame.header.stream);
  if (!closed()) WarnSockets(code);
  if (!closed() && drained()) Lose("the worker has left", true);
}

// Streams behind `last_stream` were not begun and never will be here.
void Channel::RefuseFrom(uint32_t last_stream) {
  for (Call*& place : streams_) {
    Call* call = place;
    if (call == nullptr || static_cast<int32_t>(call->stream_ - last_stream) <= 0) continue;
    const bool open = call->state_ == Call::State::kOpen && !call->response_begun_;
    if (call->state_ == Call::State::kDetached || call->response_begun_) continue;
    ReturnHeld(*call);
    ReturnCredit(*call);
    Forget(*call);
    if (open) {
      dispatcher_.OnStreamLost(*call, false, "the worker is leaving");
    } else {
      dispatcher_.FreeCall(*call);
    }
  }
}

void Channel::OnWorkerEnd(Call& call, EndCode code, std::string_view sentence) {
  const bool open = call.state_ == Call::State::kOpen;
  if (open && !call.own_end_) {
    call.own_end_ = true;
    Append(FrameType::kEnd, 0, call.stream_, static_cast<uint32_t>(EndCode::kStopped));
  }
  ReturnHeld(call);
  const bool refused = open && code == EndCode::kRefused && !call.response_begun_;
  const bool answered = call.response_seen_ && code == EndCode::kComplete;
  origin::Observer* observer = std::exchange(call.observer_, nullptr);
  origin::SocketObserver* socket = std::exchange(call.socket_, nullptr);
  ReturnCredit(call);
  if (call.detached_) {
    call.state_ = Call::State::kDetached;
    dispatcher_.wheel_.Disarm(call);
  } else {
    Forget(call);
    if (refused) call.observer_ = observer, call.socket_ = socket;
    if (!refused) dispatcher_.FreeCall(call);
  }
  if (refused && observer != nullptr && call.observer_ == observer) {
    dispatcher_.OnStreamLost(call, false, "the worker refused the request");
  } else if (open && answered) {
    observer->OnEnd();
  } else if (open) {
    pool_->CountFailure(dispatcher_.index(), FailureKind::kAppFailed);
    observer->OnFailure({FailureKind::kAppFailed, 0,
                         sentence.empty() ? "the app ended without an answer" : sentence});
  }
  if (!closed() && peer_left_ && drained()) Lose("the worker has left", true);
}

}  // namespace catzilla::worker
