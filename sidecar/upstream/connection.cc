#include "sidecar/upstream/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/http/header_id.h"
#include "sidecar/http/list.h"
#include "sidecar/http/response_head.h"
#include "sidecar/loop/socket.h"
#include "sidecar/upstream/agent.h"

namespace catzilla::upstream {
namespace {

constexpr int kReadsPerTurn = 4;
constexpr size_t kOutKept = 16 * 1024;

}  // namespace

Connection::Connection(Agent& agent, std::shared_ptr<Target> target, int64_t idle_timeout_us)
    : agent_(agent),
      target_(std::move(target)),
      idle_timeout_us_(idle_timeout_us),
      poll_(agent.loop(), *this) {}

Connection::~Connection() { CATZILLA_CHECK(call_ == nullptr, "a connection died under its call"); }

int Connection::Connect(Call& call, const Address& address, uint32_t address_index,
                        int64_t timeout_us) {
  const int family = address.storage.ss_family;
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  if (family != AF_UNIX) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  const auto* to = reinterpret_cast<const sockaddr*>(&address.storage);
  if (::connect(fd, to, address.size) != 0 && errno != EINPROGRESS) {
    const int error = errno;
    ::close(fd);
    return error;
  }
  if (!poll_.Open(fd)) return EMFILE;
  state_ = State::kConnecting;
  call_ = &call;
  address_index_ = address_index;
  poll_.Watch(loop::kWritable);
  agent_.wheel().Arm(*this, agent_.now_us() + timeout_us);
  return 0;
}

void Connection::Attach(Call& call) {
  CATZILLA_CHECK(idle(), "a request was given to a connection that has one");
  reused_ = true;
  call_ = &call;
  SendRequest();
}

bool Connection::IsAlive() const {
  char byte;
  const ssize_t got = ::recv(poll_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void Connection::Close() {
  if (state_ == State::kClosing || state_ == State::kClosed) return;
  agent_.wheel().Disarm(*this);
  call_ = nullptr;
  if (!poll_.open()) {
    state_ = State::kClosed;
    return;
  }
  state_ = State::kClosing;
  poll_.Close();
}

void Connection::OnClosed() {
  state_ = State::kClosed;
  agent_.Gone(*this);
}

void Connection::OnReady(unsigned ready) {
  switch (state_) {
    case State::kConnecting: {
      const int error = loop::TakeSocketError(poll_.fd());
      if (error == 0) return Connected();
      return Fail(error == ECONNREFUSED ? TargetFailure::kRefused : TargetFailure::kUnreachable,
                  strerrordesc_np(error));
    }
    case State::kIdle:
      // Its end, or bytes that nobody has asked for.
      agent_.LeaveIdle(*this);
      return Close();
    case State::kBusy:
    case State::kSwitched:
      if ((ready & loop::kWritable) != 0) Flush();
      if (has_request() && (ready & (loop::kReadable | loop::kHangup)) != 0) Read();
      return;
    case State::kMade:
    case State::kClosing:
    case State::kClosed:
      return;
  }
}

void Connection::OnDeadline() {
  switch (state_) {
    case State::kConnecting:
      return Fail(TargetFailure::kConnectTimeout, "connecting took too long");
    case State::kIdle:
      agent_.LeaveIdle(*this);
      return Close();
    case State::kBusy: {
      const bool waits = pending() > 0 || (call_->answer_begun_ && !paused_);
      const int64_t timeout_us = call_->setup_->upstream().read_timeout_us;
      const int64_t due_us = (waits ? progress_us_ : agent_.now_us()) + timeout_us;
      if (due_us > agent_.now_us()) return agent_.wheel().Arm(*this, due_us);
      return Fail(TargetFailure::kReadTimeout, pending() > 0
                                                   ? "the server reads no more of the request"
                                                   : "the answer does not go on");
    }
    case State::kSwitched:
      return OnSocketDeadline();
    case State::kMade:
    case State::kClosing:
    case State::kClosed:
      return;
  }
}

// Towards the server...

void Connection::Connected() {
  target_->CountConnect();
  call_->setup_->pool->SetReady();
  if (call_->connect_only_) return agent_.CallConnected(*call_);
  SendRequest();
}

void Connection::SendRequest() {
  Call& call = *call_;
  state_ = State::kBusy;
  write_failed_ = anything_sent_ = paused_ = false;
  call.state_ = Call::State::kOpen;
  http::ResponseLimits limits;
  limits.head_bytes_max = call.setup_->head_bytes_max;
  parser_.Begin(call.head_request_, limits, call.socket_ != nullptr);
  out_ = call.line_;
  if (call.own_host_) {
    out_.append("host: ").append(target_->endpoint().Authority()).append("\r\n");
  }
  out_.append(call.fields_).append(call.body_);
  sent_ = 0;
  call.request_over_ = !call.streaming_ || call.request_over_;
  if (call.request_over_ && call.streaming_ && call.chunked_) out_.append(http::kLastChunk);
  // Looked at then: it may have gone on in the meantime.
  progress_us_ = agent_.now_us();
  agent_.wheel().Arm(*this, progress_us_ + call.setup_->upstream().read_timeout_us);
  agent_.ArmSoft(call);
  WantFlush();
}

void Connection::WantFlush() { agent_.loop().Defer(*this); }

void Connection::SendBody(std::string_view bytes, bool last) {
  Call& call = *call_;
  if (write_failed_) return;
  if (pending() == 0) progress_us_ = agent_.now_us();
  if (call.chunked_) {
    if (!bytes.empty()) {
      char head[http::kChunkHeadBytesMax];
      out_.append(head, http::WriteChunkHead(bytes.size(), head));
      out_.append(bytes).append(http::kChunkEnd);
    }
    if (last) out_.append(http::kLastChunk);
  } else {
    out_.append(bytes);
  }
  WantFlush();
}

void Connection::Flush() {
  if (!has_request() || write_failed_) return;
  while (pending() > 0) {
    const ssize_t count = loop::Send(poll_.fd(), out_.data() + sent_, pending(), MSG_NOSIGNAL);
    if (count > 0) {
      sent_ += static_cast<size_t>(count);
      anything_sent_ = true;
      progress_us_ = agent_.now_us();
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    // It reads no more; what it has answered may still be there to be read.
    write_failed_ = true;
    out_.clear();
    sent_ = 0;
    if (call_ != nullptr) call_->body_over_ = true;
    UpdateWatch();
    return;
  }
  if (pending() == 0) {
    out_.clear();
    sent_ = 0;
    const bool request_over = call_ == nullptr || call_->request_over_;
    if (out_.capacity() > kOutKept && request_over) std::string().swap(out_);
  } else if (sent_ >= kOutKept) {
    out_.erase(0, std::exchange(sent_, 0));
  }
  UpdateWatch();
  if (pending() > 0 || call_ == nullptr) return;
  Call& call = *call_;
  const bool streams = call.streaming_ && !call.body_over_ && !call.awaits_continue_;
  if (streams || state_ == State::kSwitched) call.observer_->OnBodyRoom();
}

void Connection::UpdateWatch() {
  if (!has_request()) return;
  const unsigned wanted =
      (paused_ ? 0u : unsigned{loop::kReadable}) | (pending() > 0 ? unsigned{loop::kWritable} : 0u);
  if (wanted != poll_.watching()) poll_.Watch(wanted);
}

// From the server...

void Connection::Read() {
  for (int i = 0; i < kReadsPerTurn && has_request() && !paused_; ++i) {
    char* const buffer = agent_.read_buffer_.get();
    const ssize_t count = loop::Receive(poll_.fd(), buffer, Agent::kReadBytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (count <= 0) return PeerClosed(count == 0);
    progress_us_ = agent_.now_us();
    const std::string_view bytes(buffer, static_cast<size_t>(count));
    state_ == State::kSwitched ? socket_->OnBytes(bytes, agent_.now_us()) : Feed(bytes);
    if (static_cast<size_t>(count) < Agent::kReadBytes) return;
  }
}

void Connection::PeerClosed(bool orderly) {
  if (state_ == State::kSwitched) {
    return FailSocket(TargetFailure::kBrokenOff, "the server has gone without a Close");
  }
  const bool untouched = parser_.untouched();
  if (orderly) {
    const http::ResponseParser::Step step = parser_.Close();
    if (step.event == http::ResponseParser::Event::kEnd) return Finish();
  }
  if (untouched) return Fail(TargetFailure::kClosedEarly, "closed before it answered");
  Fail(TargetFailure::kBrokenOff, call_->answer_begun_ ? "closed in the midst of its answer"
                                                       : "closed in the head of its answer");
}

void Connection::Feed(std::string_view bytes) {
  using Event = http::ResponseParser::Event;
  while (state_ == State::kBusy && (!bytes.empty() || parser_.at_end())) {
    const http::ResponseParser::Step step = parser_.Next(bytes);
    bytes.remove_prefix(step.consumed);
    switch (step.event) {
      case Event::kNeedMore:
        return;
      case Event::kInformational:
        OnInterim();
        continue;
      case Event::kHead:
        if (parser_.head().status == 101) return Switch(bytes);
        OnFinalHead(&bytes);
        continue;
      case Event::kBody:
        // The last piece is kept back if more comes than was said: the client sees it broken off.
        if (parser_.at_end() && !bytes.empty()) break;
        Deliver(step.body);
        continue;
      case Event::kEnd:
        if (!bytes.empty()) break;
        return Finish();
      case Event::kError:
        return Fail(TargetFailure::kBadAnswer, http::NameOf(step.error));
    }
    return Fail(TargetFailure::kBadAnswer, http::NameOf(http::ResponseError::kExcess));
  }
}

void Connection::OnInterim() {
  Call& call = *call_;
  if (parser_.head().status == 100) {
    if (!std::exchange(call.awaits_continue_, false)) return;
    agent_.ArmSoft(call);
    if (pending() == 0) call.observer_->OnBodyRoom();
    return;
  }
  origin::ResponseHead head;
  head.status = parser_.head().status;
  head.fields = PassedFields();
  call.observer_->OnInformational(head);
}

// What comes with the head goes along with it: then the answer may be whole, and one that is wrong
// in this read already is none.
void Connection::OnFinalHead(std::string_view* rest) {
  using Event = http::ResponseParser::Event;
  Call& call = *call_;
  http::ResponseParser::Step next;
  std::string_view first;
  const auto step = [&] {
    next = {};
    if (rest->empty() && !parser_.at_end()) return;
    next = parser_.Next(*rest);
    rest->remove_prefix(next.consumed);
  };
  step();
  bool excess = false;
  if (next.event == Event::kBody) {
    first = next.body;
    excess = parser_.at_end() && !rest->empty();
    if (!excess) step();
  }
  excess = excess || (next.event == Event::kEnd && !rest->empty());
  if (excess || next.event == Event::kError) {
    return Fail(TargetFailure::kBadAnswer,
                http::NameOf(excess ? http::ResponseError::kExcess : next.error));
  }
  origin::ResponseHead head;
  head.status = parser_.head().status;
  head.complete = next.event == Event::kEnd;
  head.fields = PassedFields();
  head.body = first;
  call.answer_begun_ = true;
  call.body_over_ = call.body_over_ || head.complete;
  agent_.wheel().Disarm(call);
  if (!call.is_check_ && target_->Succeeded(agent_.now_us())) {
    agent_.TellBack(*call.setup_, *target_);
  }
  call.observer_->OnResponse(head);
  if (call_ != &call) return;
  if (head.complete) return Finish();
  if (next.event == Event::kBody) Deliver(next.body);
}

void Connection::Deliver(std::string_view bytes) {
  Call& call = *call_;
  call.held_ += bytes.size();
  call.observer_->OnData(bytes);
  if (call_ != &call || call.held_ < Call::kWindowBytes) return;
  paused_ = true;
  UpdateWatch();
}

void Connection::Resume() {
  if (!paused_ || call_->held_ > Call::kWindowBytes / 2) return;
  paused_ = false;
  progress_us_ = agent_.now_us();
  UpdateWatch();
}

http::Fields Connection::PassedFields() {
  const std::vector<http::Field>& all = parser_.head().fields;
  std::vector<http::Field>& passed = agent_.fields_;
  passed.clear();
  const auto named = [&](std::string_view name) {
    return std::any_of(all.begin(), all.end(), [&](const http::Field& field) {
      return field.name == "connection" && http::ListHas(field.value, name);
    });
  };
  for (const http::Field& field : all) {
    const http::HeaderId id = http::FindHeaderId(field.name);
    if (http::IsHopByHop(id)) continue;
    if (id != http::HeaderId::kContentLength && named(field.name)) continue;
    passed.push_back(field);
  }
  const std::string& via = call_->setup_->upstream().via;
  if (!via.empty()) {
    agent_.via_ = (parser_.head().minor_version == 0 ? "1.0 " : "1.1 ") + via;
    passed.push_back({"via", agent_.via_});
  }
  return passed;
}

// The end...

void Connection::Finish() {
  Call& call = *std::exchange(call_, nullptr);
  const bool stays = parser_.reusable() && call.request_over_ && pending() == 0 && !write_failed_;
  if (stays) {
    state_ = State::kIdle;
    paused_ = false;
    parser_.Shrink();
    if (poll_.watching() != loop::kReadable) poll_.Watch(loop::kReadable);
    agent_.wheel().Arm(*this, agent_.now_us() + idle_timeout_us_);
  } else {
    Close();
  }
  agent_.CallEnded(call, stays ? this : nullptr);
}

void Connection::Fail(TargetFailure failure, std::string_view cause) {
  Agent::Lost lost;
  lost.failure = failure;
  lost.cause = cause;
  lost.connected = state_ == State::kBusy;
  lost.reused = reused_;
  lost.anything_sent = anything_sent_;
  lost.answerless = failure == TargetFailure::kClosedEarly;
  lost.address_index = address_index_;
  Call& call = *std::exchange(call_, nullptr);
  Close();
  agent_.CallFailed(call, lost);
}

}  // namespace catzilla::upstream
