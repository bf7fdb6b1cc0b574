#include "sidecar/worker/channel.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/worker/dispatcher.h"

namespace catzilla::worker {

LaneSetup::~LaneSetup() {
  if (fd >= 0) ::close(fd);
}

Channel::Channel(Dispatcher& dispatcher, std::shared_ptr<Pool> pool, base::Ref<Worker> worker,
                 LaneSetup& setup)
    : dispatcher_(dispatcher),
      pool_(std::move(pool)),
      worker_(std::move(worker)),
      limits_(setup.limits),
      stream_window_(setup.stream_window),
      connection_window_(setup.connection_window),
      fd_(std::exchange(setup.fd, -1)),
      poll_(dispatcher.loop(), *this),
      reader_(setup.limits),
      out_(std::move(setup.hello_ack)),
      send_window_(worker_->connection_window),
      receive_window_(setup.connection_window) {
  streams_.resize(kStreamsAtFirst);
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
  call.holds_credit_ = true;
  if (live_ >= streams_.size() / 2) GrowTable();
  const uint32_t stream = NextStream();
  streams_[stream & (streams_.size() - 1)] = &call;
  ++live_;
  last_stream_ = stream;
  call.channel_ = this;
  call.state_ = Call::State::kOpen;
  call.stream_ = stream;
  call.awaits_continue_ = call.expects_continue_;  // Each worker opens the window anew.
  call.window_ = call.streaming_ && !call.awaits_continue_ ? worker_->stream_window : 0;
  call.receive_window_ = stream_window_;
  call.held_ = call.consumed_ = 0;
  call.own_end_ = !call.streaming_ && !call.is_socket_;
  if (call.is_socket_) {
    ++sockets_;
    worker_->sockets.fetch_add(1, std::memory_order_relaxed);
    call.window_ = worker_->stream_window;
  }
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
  const uint64_t room = std::min(call.window_, send_window_);
  if (!call.is_socket_) return static_cast<size_t>(room);
  if (!call.accepted_ || room <= origin::kPieceOverhead) return 0;
  // One frame at a time.
  return static_cast<size_t>(
      std::min<uint64_t>(room - origin::kPieceOverhead, limits_.data_bytes_max));
}

void Channel::SendBody(Call& call, std::string_view bytes, bool last) {
  if (call.own_end_) return;  // The worker has answered already and reads no more.
  CATZILLA_CHECK(bytes.size() <= BodyRoom(call), "a body was sent past the worker's window");
  call.window_ -= bytes.size();
  send_window_ -= bytes.size();
  call.body_bytes_sent_ += bytes.size();
  if (call.body_bytes_sent_ > 0) call.request_.clear();  // It cannot be sent a second time.
  dispatcher_.RenewDeadline(call);
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
  call.observer_ = call.socket_ = nullptr;
  call.own_end_ = true;
  call.request_.clear();
  ReturnHeld(call);
  Append(FrameType::kCancel, 0, call.stream_, static_cast<uint32_t>(code));
}

void Channel::SendMessage(Call& call, uint32_t kind, std::string_view bytes, bool last) {
  const size_t room = BodyRoom(call);
  CATZILLA_CHECK(room > 0 && bytes.size() <= room, "a message was sent past the worker's window");
  call.window_ -= bytes.size() + origin::kPieceOverhead;
  send_window_ -= bytes.size() + origin::kPieceOverhead;
  Append(FrameType::kWsMessage, 0, call.stream_, kind | (last ? 0 : kMessageMore), bytes);
}

void Channel::SendClose(Call& call, uint16_t code, std::string_view reason) {
  CATZILLA_CHECK(call.state_ == Call::State::kOpen && call.accepted_, "a close out of turn");
  call.state_ = Call::State::kCancelled;
  call.observer_ = call.socket_ = nullptr;
  call.own_end_ = true;
  ReturnHeld(call);
  Append(FrameType::kWsClose, kFlagEnd, call.stream_, code, reason.substr(0, kCloseReasonMax));
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
    // What the worker wrote before it went may still be there, an END for instance: read that
    // first.
    Read();
    if (!closed()) Lose("the worker has gone", false);
    return;
  }
  out_.clear();
  out_sent_ = 0;
  pongs_held_ = 0;
  if (out_.capacity() > kOutputKept) out_.shrink_to_fit();
  poll_.Watch(loop::kReadable);
  if (drained() && peer_left_) Lose("the worker has left", true);
}

// From the worker...

void Channel::OnReady(unsigned ready) {
  if ((ready & (loop::kReadable | loop::kHangup)) != 0) Read();
  if (!closed() && (ready & loop::kWritable) != 0) Flush();
}

ssize_t Channel::Receive(char* space, size_t room) {
  if ((worker_->capabilities & kCapabilitySendfile) == 0) {
    return ::recv(poll_.fd(), space, room, 0);
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPassedMax)];
  iovec part{space, room};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(poll_.fd(), &message, MSG_CMSG_CLOEXEC);
  const bool lost = (message.msg_flags & MSG_CTRUNC) != 0;
  if (got < 0 || (message.msg_controllen == 0 && !lost)) [[likely]]
    return got;
  size_t count = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      passed_.emplace_back(fd);
    }
  }
  // This process had none to spare: its frame finds that it was lost, and the next ones their own.
  if (lost && count == 0) passed_.emplace_back();
  return got;
}

void Channel::Read() {
  for (int reads = 0; reads < kReadsPerTurn && !closed(); ++reads) {
    size_t room = 0;
    char* space = reader_.Space(&room);
    const ssize_t got = Receive(space, room);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (got <= 0) {
      Lose("the worker has gone", state_ == State::kDraining);
      return;
    }
    reader_.Commit(static_cast<size_t>(got));
    ProcessFrames();
    if (passed_.size() > kPassedMax) return ProtocolError("descriptors that no SENDFILE takes");
    if (static_cast<size_t>(got) < room) return;
  }
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

// Streams that live long must not crowd the ids.
void Channel::GrowTable() {
  if (streams_.size() >= kStreamsMax) return;
  std::vector<Call*> larger(streams_.size() * 2);
  for (Call* call : streams_) {
    if (call != nullptr) larger[call->stream_ & (larger.size() - 1)] = call;
  }
  streams_ = std::move(larger);
}

void Channel::ReturnCredit(Call& call) {
  if (std::exchange(call.holds_credit_, false)) pool_->Release(*worker_);
}

void Channel::Forget(Call& call) {
  Call*& place = streams_[call.stream_ & (streams_.size() - 1)];
  CATZILLA_CHECK(place == &call, "a stream was forgotten twice");
  place = nullptr;
  call.channel_ = nullptr;
  --live_;
  if (!call.is_socket_) return;
  --sockets_;
  worker_->sockets.fetch_sub(1, std::memory_order_relaxed);
}

// The end...

void Channel::Goaway(GoawayCode code, int64_t due_us) {
  if (state_ != State::kOpen) return;
  state_ = State::kDraining;
  drain_due_us_ = due_us;
  Append(FrameType::kGoaway, 0, last_stream_, static_cast<uint32_t>(code));
  WarnSockets(code);
}

// A socket would keep a lane that is to go until the last moment: whoever has it ends it in time.
void Channel::WarnSockets(GoawayCode code) {
  const uint16_t told = code == GoawayCode::kDraining && !peer_left_ ? 1001 : 1012;
  for (size_t i = 0; i < streams_.size() && !closed(); ++i) {
    Call* call = streams_[i];
    if (call != nullptr && call->socket_ != nullptr)
      call->socket_->OnGoingAway(told, drain_due_us_);
  }
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
  Lose(code == GoawayCode::kDraining ? "the sidecar is stopping"
                                     : "the worker broke the link's rules",
       code == GoawayCode::kDraining);
}

void Channel::Lose(std::string_view cause, bool clean) {
  if (closed()) return;
  state_ = State::kClosing;
  poll_.Close();
  passed_.clear();
  out_.clear();
  out_sent_ = 0;
  dispatcher_.OnChannelLost(*this, clean);  // First, so that nothing is sent here again.
  for (size_t i = 0; i < streams_.size(); ++i) {
    Call* call = streams_[i];
    if (call == nullptr) continue;
    const bool open = call->state_ == Call::State::kOpen;
    ReturnCredit(*call);
    Forget(*call);
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
