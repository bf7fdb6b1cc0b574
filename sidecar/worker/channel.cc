#include "sidecar/worker/channel.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/worker/dispatcher.h"

namespace catzilla::worker {

namespace {

bool IsTokenChar(unsigned char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != 0 && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr;
}

// What may never leave on the wire towards a client: names that are no tokens, CR or LF in a value. NUL
// has been excluded by counting the pairs.
bool FieldsMayLeave(const FieldsView& fields) {
  if (fields.bytes().find_first_of("\r\n") != std::string_view::npos) return false;
  for (const Field field : fields) {
    if (field.name.empty()) return false;
    if (!std::all_of(field.name.begin(), field.name.end(),
                     [](char c) { return IsTokenChar(static_cast<unsigned char>(c)); })) {
      return false;
    }
  }
  return true;
}

}  // namespace

LaneSetup::~LaneSetup() {
  if (fd >= 0) ::close(fd);
}

Channel::Channel(Dispatcher& dispatcher, std::shared_ptr<Pool> pool, base::Ref<Worker> worker,
                 LaneSetup& setup)
    : dispatcher_(dispatcher),
      pool_(std::move(pool)),
      worker_(std::move(worker)),
      lane_id_(setup.lane_id),
      limits_(setup.limits),
      stream_window_(setup.stream_window),
      connection_window_(setup.connection_window),
      fd_(std::exchange(setup.fd, -1)),
      poll_(dispatcher.loop(), *this),
      reader_(setup.limits),
      out_(std::move(setup.hello_ack)),
      send_window_(worker_->connection_window),
      receive_window_(setup.connection_window) {
  // Twice the credits, so that streams that live long do not crowd the ids.
  const size_t places = std::bit_ceil(std::max<size_t>(64, 4 * size_t{worker_->credits}));
  streams_.resize(std::min(places, kStreamsMax));
}

Channel::~Channel() {
  CATZILLA_CHECK(live_ == 0, "a lane was destroyed with streams on it");
  if (fd_ >= 0) ::close(fd_);
}

bool Channel::Open() {
  if (!poll_.Open(std::exchange(fd_, -1))) {
    state_ = State::kClosed;
    return false;
  }
  poll_.Watch(loop::kReadable);
  WantFlush();
  return true;
}

// Towards the worker...

void Channel::Append(FrameType type, uint8_t flags, uint32_t stream, uint32_t aux,
                     std::string_view payload) {
  AppendFrame({0, type, flags, stream, aux}, payload, &out_);
  WantFlush();
}

void Channel::WantFlush() { dispatcher_.loop().Defer(*this); }

void Channel::Send(Call& call) {
  const uint32_t stream = NextStream();
  streams_[stream & (streams_.size() - 1)] = &call;
  ++live_;
  last_stream_ = stream;
  call.channel_ = this;
  call.state_ = Call::State::kOpen;
  call.stream_ = stream;
  call.window_ = call.streaming_ && !call.awaits_continue_ ? worker_->stream_window : 0;
  call.receive_window_ = stream_window_;
  call.held_ = call.consumed_ = 0;
  call.own_end_ = !call.streaming_;
  const int64_t waited_us = dispatcher_.loop().now().monotonic_us - call.queued_us_;
  PatchRequest(call.request_.data(), stream, call.attempt_,
               static_cast<uint32_t>(std::clamp<int64_t>(waited_us, 0, UINT32_MAX)));
  out_.append(call.request_);
  worker_->requests.fetch_add(1, std::memory_order_relaxed);
  if (call.streaming_ && call.body_over_) {
    // The body turned out to be empty while the request waited, or before it was sent again.
    call.own_end_ = true;
    Append(FrameType::kRequestData, kFlagEnd, stream, 0);
  }
  WantFlush();
}

size_t Channel::BodyRoom(const Call& call) const {
  if (call.state_ != Call::State::kOpen || call.own_end_) return 0;
  return static_cast<size_t>(std::min(call.window_, send_window_));
}

void Channel::SendBody(Call& call, std::string_view bytes, bool last) {
  if (call.own_end_) return;  // The worker has answered already and reads no more.
  CATZILLA_CHECK(bytes.size() <= BodyRoom(call), "a body was sent past the worker's window");
  call.window_ -= bytes.size();
  send_window_ -= bytes.size();
  call.body_bytes_sent_ += bytes.size();
  if (call.body_bytes_sent_ > 0) call.request_.clear();  // It cannot be sent a second time.
  do {
    const std::string_view part = bytes.substr(0, limits_.data_bytes_max);
    bytes.remove_prefix(part.size());
    const bool ends = last && bytes.empty();
    if (!part.empty() || ends) {
      Append(FrameType::kRequestData, ends ? kFlagEnd : 0, call.stream_, 0, part);
    }
  } while (!bytes.empty());
  call.own_end_ = call.body_over_ = last;
}

void Channel::Consumed(Call& call, size_t bytes) {
  call.consumed_ += static_cast<uint32_t>(bytes);
  CATZILLA_CHECK(call.consumed_ <= call.held_, "more was consumed than received");
  if (call.consumed_ < stream_window_ / 2) return;
  // The stream's window and the lane's grow together.
  const uint32_t returned = std::exchange(call.consumed_, 0);
  call.held_ -= returned;
  call.receive_window_ += returned;
  receive_window_ += returned;
  Append(FrameType::kWindow, 0, call.stream_, returned);
}

void Channel::Cancel(Call& call, CancelCode code) {
  CATZILLA_CHECK(call.state_ == Call::State::kOpen, "a call was cancelled twice");
  call.state_ = Call::State::kCancelled;
  call.observer_ = nullptr;
  call.own_end_ = true;
  call.request_.clear();
  ReturnHeld(call);
  Append(FrameType::kCancel, 0, call.stream_, static_cast<uint32_t>(code));
}

void Channel::ReturnHeld(Call& call) {
  call.consumed_ = 0;
  ReturnToLane(std::exchange(call.held_, 0));
}

void Channel::ReturnToLane(uint32_t bytes) {
  unreturned_ += bytes;
  if (unreturned_ == 0 || unreturned_ < connection_window_ / 4) return;
  const uint32_t returned = std::exchange(unreturned_, 0);
  receive_window_ += returned;
  Append(FrameType::kWindow, 0, 0, returned);
}

void Channel::RunDeferred() { Flush(); }

void Channel::Flush() {
  if (closed()) return;
  while (out_sent_ < out_.size()) {
    const ssize_t sent =
        ::send(poll_.fd(), out_.data() + out_sent_, out_.size() - out_sent_, MSG_NOSIGNAL);
    if (sent >= 0) {
      out_sent_ += static_cast<size_t>(sent);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (out_sent_ > kOutputKept) {  // What has gone must not pile up in front.
        out_.erase(0, out_sent_);
        out_sent_ = 0;
      }
      poll_.Watch(loop::kReadable | loop::kWritable);
      return;
    }
    // What the worker wrote before it went may still be there, an END for instance: read that first.
    Read();
    if (!closed()) Lose("the worker has gone", false);
    return;
  }
  out_.clear();
  out_sent_ = 0;
  if (out_.capacity() > kOutputKept) out_.shrink_to_fit();
  poll_.Watch(loop::kReadable);
  if (drained() && peer_left_) Lose("the worker has left", true);
}

// From the worker...

void Channel::OnReady(unsigned ready) {
  if ((ready & (loop::kReadable | loop::kHangup)) != 0) Read();
  if (!closed() && (ready & loop::kWritable) != 0) Flush();
}

void Channel::Read() {
  for (int reads = 0; reads < kReadsPerTurn && !closed(); ++reads) {
    size_t room = 0;
    char* space = reader_.Space(&room);
    const ssize_t got = ::recv(poll_.fd(), space, room, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got <= 0) {
      Lose("the worker has gone", state_ == State::kDraining);
      return;
    }
    reader_.Commit(static_cast<size_t>(got));
    ProcessFrames();
    if (static_cast<size_t>(got) < room) return;
  }
}

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
    case FrameType::kEnd:
    case FrameType::kDetached: {
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
    case FrameType::kDetached:
      call.keeps_credit_ = true;
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
  ResponseHead head;
  bool sound = false;
  if (call.response_seen_) return ProtocolError("a second RESPONSE on a stream");
  if (const char* why = DecodeResponse(frame.payload, &head, &sound)) return ProtocolError(why);
  if (head.body.size() > limits_.data_bytes_max) {
    return ProtocolError("the inline body of a RESPONSE is larger than agreed");
  }
  call.response_seen_ = true;
  call.request_.clear();
  call.keeps_credit_ = call.keeps_credit_ || (head.flags & kDetachedAnswer) != 0;
  worker_->handler_us.fetch_add(head.handler_us, std::memory_order_relaxed);
  if (call.state_ == Call::State::kCancelled) return;
  dispatcher_.wheel_.Disarm(call);  // It was for the beginning of the answer.
  if (!sound || head.status < 200 || head.status > 599 || !FieldsMayLeave(head.fields)) {
    return AnswerUnusable(call, "the app's answer has a status or a header field that cannot be sent");
  }
  head.complete = frame.header.end();
  call.observer_->OnResponse(head);
}

void Channel::AnswerUnusable(Call& call, std::string_view cause) {
  CallObserver* observer = call.observer_;
  Cancel(call, CancelCode::kBadAnswer);
  dispatcher_.ArmHard(call);
  pool_->CountFailure(dispatcher_.index(), FailureKind::kBadAnswer);
  observer->OnFailure({FailureKind::kBadAnswer, 0, cause});
}

void Channel::OnInformational(const FrameView& frame, Call& call) {
  ResponseHead head;
  HeadView view;
  if (call.response_seen_) return ProtocolError("INFORMATIONAL behind RESPONSE");
  if (const char* why = DecodeHead(frame.payload, &view)) return ProtocolError(why);
  if (call.state_ == Call::State::kCancelled) return;
  // An interim answer that cannot be sent is left out; the answer itself is still to come.
  if (view.status < 102 || view.status > 199 || !FieldsMayLeave(view.fields)) return;
  head.status = view.status;
  head.fields = view.fields;
  call.observer_->OnInformational(head);
}

void Channel::OnResponseData(const FrameView& frame, Call& call) {
  const auto bytes = static_cast<uint32_t>(frame.payload.size());
  if (!call.response_seen_ || call.trailers_seen_) {
    return ProtocolError("RESPONSE_DATA before RESPONSE or behind TRAILERS");
  }
  if (bytes > receive_window_ || bytes > call.receive_window_) {
    return ProtocolError("RESPONSE_DATA past the window");
  }
  receive_window_ -= bytes;
  call.receive_window_ -= bytes;
  if (call.state_ == Call::State::kCancelled) return ReturnToLane(bytes);
  if (bytes == 0) return;
  call.held_ += bytes;
  call.observer_->OnData(frame.payload);
}

void Channel::OnTrailers(const FrameView& frame, Call& call) {
  HeadView view;
  if (!call.response_seen_ || call.trailers_seen_) {
    return ProtocolError("TRAILERS before RESPONSE, or twice");
  }
  if (const char* why = DecodeHead(frame.payload, &view)) return ProtocolError(why);
  call.trailers_seen_ = true;  // Dropped: HTTP/1.1 clients may do so with all they did not ask for.
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
  Forget(*call);
  dispatcher_.FreeCall(*call);
  pool_->Release(*worker_);
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
    Forget(*call);
    pool_->Release(*worker_);
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
  CallObserver* observer = std::exchange(call.observer_, nullptr);
  if (call.keeps_credit_) {
    call.state_ = Call::State::kDetached;
    dispatcher_.wheel_.Disarm(call);
  } else {
    Forget(call);
    if (refused) call.observer_ = observer;
    if (!refused) dispatcher_.FreeCall(call);
    pool_->Release(*worker_);
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

// Streams...

Call* Channel::Find(uint32_t stream) const {
  Call* call = streams_[stream & (streams_.size() - 1)];
  return call != nullptr && call->stream_ == stream ? call : nullptr;
}

uint32_t Channel::NextStream() {
  CATZILLA_CHECK(live_ < streams_.size(), "a lane has no place for another stream");
  uint32_t stream = last_stream_;
  do {
    if (++stream == 0) stream = 1;
  } while (streams_[stream & (streams_.size() - 1)] != nullptr);
  return stream;
}

void Channel::Forget(Call& call) {
  Call*& place = streams_[call.stream_ & (streams_.size() - 1)];
  CATZILLA_CHECK(place == &call, "a stream was forgotten twice");
  place = nullptr;
  call.channel_ = nullptr;
  --live_;
}

// The end...

void Channel::Goaway(GoawayCode code, int64_t due_us) {
  if (state_ != State::kOpen) return;
  state_ = State::kDraining;
  drain_due_us_ = due_us;
  Append(FrameType::kGoaway, 0, last_stream_, static_cast<uint32_t>(code));
}

void Channel::Tick(int64_t now_us, int64_t ping_interval_us) {
  if (closed()) return;
  if (ping_due_us_ == 0) ping_due_us_ = now_us + ping_interval_us;
  if (now_us >= ping_due_us_) {
    ping_due_us_ = now_us + ping_interval_us;
    if (ping_open_) {
      worker_->pings_missed.fetch_add(1, std::memory_order_relaxed);
    } else {
      char bytes[8];
      Store64(bytes, static_cast<uint64_t>(now_us));
      ping_open_ = true;
      Append(FrameType::kPing, 0, 0, 0, {bytes, sizeof bytes});
    }
  }
  if (state_ != State::kDraining) return;
  if (drained()) return Lose("drained", true);
  if (now_us < drain_due_us_) return;
  for (Call* call : streams_) {
    if (call == nullptr || call->state_ != Call::State::kOpen) continue;
    Append(FrameType::kCancel, 0, call->stream_, static_cast<uint32_t>(CancelCode::kDrain));
  }
  Flush();
  if (!closed()) Lose("the drain timeout has passed", true);
}

void Channel::ProtocolError(const char* sentence, GoawayCode code) {
  dispatcher_.LogLane(*this, sentence);
  Close(code, sentence);
}

void Channel::Close(GoawayCode code, std::string_view sentence) {
  if (closed()) return;
  Append(FrameType::kGoaway, 0, last_stream_, static_cast<uint32_t>(code), sentence);
  // Once, as far as it goes: nobody waits for a peer that is being cut off.
  (void)!::send(poll_.fd(), out_.data() + out_sent_, out_.size() - out_sent_, MSG_NOSIGNAL);
  Lose(code == GoawayCode::kDraining ? "the sidecar is stopping" : "the worker broke the link's rules",
       code == GoawayCode::kDraining);
}

void Channel::Lose(std::string_view cause, bool clean) {
  if (closed()) return;
  state_ = State::kClosing;
  poll_.Close();
  out_.clear();
  out_sent_ = 0;
  dispatcher_.OnChannelLost(*this, clean);  // First, so that nothing is sent here again.
  for (size_t i = 0; i < streams_.size(); ++i) {
    Call* call = streams_[i];
    if (call == nullptr) continue;
    const bool open = call->state_ == Call::State::kOpen;
    Forget(*call);
    pool_->Release(*worker_);
    if (open) {
      dispatcher_.OnStreamLost(*call, true, cause);
    } else {
      dispatcher_.FreeCall(*call);
    }
  }
}

void Channel::OnClosed() {
  state_ = State::kClosed;
  dispatcher_.OnChannelClosed(*this);  // Destroys this.
}

}  // namespace catzilla::worker
