#include "sidecar/server/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/http/proxy_protocol.h"
#include "sidecar/loop/socket.h"

namespace catzilla::server {

using stats::CloseReason;

Connection::Connection(ConnectionHost& host, std::shared_ptr<const config::Listener> listener,
                       const loop::PeerAddress& peer, ClientPlace place)
    : host_(host),
      context_(host.context()),
      listener_(std::move(listener)),
      limits_(host.context().plan->snapshot->limits),
      place_(place),
      peer_text_(peer.HostText()),
      poll_(host.context().loop, *this) {
  facts_.peer = peer;
  facts_.peer_text = peer_text_;
  facts_.listener = listener_.get();
  facts_.server_text = listener_->address;
  facts_.server_port = listener_->port;
}

Connection::~Connection() {
  CATZILLA_CHECK(exchange_ == nullptr, "a connection was destroyed under its exchange");
}

bool Connection::Open(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (!poll_.Open(fd)) return false;
  SetState(listener_->proxy_protocol ? State::kProxyHeader : State::kIdle);
  UpdateWatch();
  return true;
}

void Connection::Drain() {
  if (exchange_ != nullptr) exchange_->OnDrain();
  if (state_ != State::kIdle) return;
  if (output_ == nullptr || output_->empty()) {
    CloseNow(CloseReason::kDrain);
  } else {
    CloseAfterOutput(CloseReason::kDrain);  // An answer that is still on its way arrives whole.
  }
}

void Connection::CloseNow(CloseReason reason) {
  if (state_ == State::kClosing) return;
  if (CutsBody(reason)) {
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(poll_.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }
  state_ = State::kClosing;
  context_.stats.closed[static_cast<size_t>(reason)].Add();
  if (exchange_ != nullptr) {
    const uint64_t unsent = output_ == nullptr ? 0 : output_->pending_bytes();
    if (long_.leaving) {
      exchange_->BreakOff(unsent, reason == CloseReason::kTruncated);
    } else {
      exchange_->Abandon(unsent);
    }
    exchange_->Finish();
    context_.exchanges.Give(std::exchange(exchange_, nullptr));
  }
  Deadline::Unlink();
  Deferred::Unlink();
  if (output_ != nullptr) context_.outputs.Give(std::move(output_));
  context_.heads.Give(std::move(head_buffer_));
  poll_.Close();
}

void Connection::OnClosed() { host_.OnConnectionClosed(*this); }

void Connection::SetState(State state) {
  state_ = state;
  state_since_us_ = context_.now().monotonic_us;
  ArmDeadline();
}

// Reading...

void Connection::OnReady(unsigned ready) {
  if (state_ == State::kClosing) return;
  if ((ready & loop::kWritable) != 0 && output_ != nullptr) {
    Flush();
    if (state_ == State::kClosing) return;
  }
  if (yielded_) {
    yielded_ = false;
    Process({});
    return;
  }
  if ((ready & poll_.watching() & loop::kReadable) != 0) {
    if (IsReading()) {
      Read();
      return;
    }
    unread_told_ = true;
    UpdateWatch();
  }
  if ((ready & loop::kHangup) != 0) OnHangup();
}

// Told while nothing is read: the client has ended its side, or the connection is broken.
void Connection::OnHangup() {
  hangup_told_ = true;  // The kernel would go on telling.
  if (loop::TakeSocketError(poll_.fd()) != 0) {
    CloseNow(CloseReason::kClient);
    return;
  }
  // A body that is still coming may lie unread before the end.
  const bool waits =
      exchange_ != nullptr && exchange_->request_complete() && !exchange_->answered();
  // So may a WebSocket's messages: they are read, and its end after them, when the app has room.
  if (waits && !is_upgraded() && !exchange_->SurvivesClientEnd()) GiveUpExchange();
  Flush();
}

// The client sends no more (RFC 9112 section 9.6). What it has asked for in full is answered, but
// an app is told of it as of a disconnect, as uvicorn does.
void Connection::OnPeerEnd() {
  peer_ended_ = true;
  if (state_ == State::kLingering) {
    CloseNow(close_reason_);
    return;
  }
  if (exchange_ != nullptr && !exchange_->request_complete()) {
    if (exchange_->answered()) {
      exchange_->FailRequest(400);  // Only the rest of a body was awaited, and will not come.
      RunExchange();
    } else {
      GiveUpExchange();
    }
  } else if (exchange_ != nullptr && !exchange_->answered() && !exchange_->SurvivesClientEnd()) {
    GiveUpExchange();
  }
  Flush();
}

// Nobody wants its answer any more; what has been answered before still leaves.
void Connection::GiveUpExchange() {
  exchange_->Abandon();
  exchange_->Finish();
  context_.exchanges.Give(std::exchange(exchange_, nullptr));
  context_.heads.Give(std::move(head_buffer_));
  CloseAfterOutput(CloseReason::kClient);
}

void Connection::Read() {
  ReadBuffer::Lease lease(host_.read_buffer());
  const ssize_t bytes = loop::Receive(poll_.fd(), lease.bytes(), ReadBuffer::kBytes);
  if (bytes < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    CloseNow(CloseReason::kClient);
    return;
  }
  if (bytes == 0) {
    OnPeerEnd();
    return;
  }
  context_.stats.bytes_received.Add(static_cast<uint64_t>(bytes));
  if (state_ == State::kLingering) return;
  Process({lease.bytes(), static_cast<size_t>(bytes)});
}

bool Connection::MayParse() const {
  if (state_ == State::kClosing || close_after_output_ || parser_.failed()) return false;
  // A body goes to its exchange; the next request waits until this one has been answered.
  const bool takes_body = body_wanted_ && exchange_ != nullptr &&
                          (!exchange_->request_complete() || exchange_->is_upgraded());
  if (exchange_ != nullptr && !takes_body) return false;
  return output_ == nullptr || output_->pending_bytes() < exchange::kOutputMark;
}

void Connection::Process(std::string_view input) {
  std::string joined;
  if (!input.empty()) starved_ = false;
  if (!held_.empty()) {
    joined = std::move(held_);
    held_.clear();
    joined += input;
    input = joined;
  }
  const uint32_t requests_before = requests_;
  while (MayParse() && requests_ - requests_before < limits_->pipeline_max && ProcessStep(&input)) {
  }
  if (state_ == State::kClosing) return;
  // Enough for one turn: who pipelines hundreds of requests lets the others answer theirs.
  yielded_ = requests_ - requests_before >= limits_->pipeline_max && !input.empty() && MayParse();
  if (!input.empty() && !close_after_output_) held_.assign(input);
  Flush();
}

// Returns false when the parser wants more bytes, or the connection has been given up.
bool Connection::ProcessStep(std::string_view* input) {
  if (state_ == State::kProxyHeader) return TakeProxyHeader(input);
  if (is_upgraded()) {
    input->remove_prefix(exchange_->OnUpgradedBytes(*input));
    return !input->empty();
  }
  if (input->empty() && !parser_.at_end()) return false;
  if (exchange_ == nullptr && head_buffer_ == nullptr) {
    head_buffer_ = context_.heads.Take();
    parser_.Begin(head_buffer_.get(), {limits_->request_line_bytes_max, limits_->header_bytes_max,
                                       limits_->header_count_max});
  }
  const http::RequestParser::Step step = parser_.Next(*input);
  input->remove_prefix(step.consumed);
  switch (step.event) {
    case http::RequestParser::Event::kNeedMore:
      if (state_ == State::kIdle && parser_.started()) SetState(State::kHead);
      return false;
    case http::RequestParser::Event::kHead:
      StartExchange();
      return true;
    case http::RequestParser::Event::kBody:
      return TakeBody(step.body);
    case http::RequestParser::Event::kEnd:
      if (exchange_ == nullptr) return true;  // Answered and given up already.
      exchange_->OnRequestEnd();
      RunExchange();
      return true;
    case http::RequestParser::Event::kError:
      Refuse(step.status);
      return false;
  }
  return false;
}

bool Connection::TakeBody(std::string_view bytes) {
  body_bytes_ += bytes.size();
  exchange_->OnRequestBody(bytes);
  // A client that sends a byte now and then keeps the gaps short, but not the average up.
  // Only its own time counts, not what it waited for 100 Continue or for an app that reads slowly.
  const int64_t now_us = context_.now().monotonic_us;
  const int64_t waits_us = waits_since_us_ == 0 ? 0 : now_us - waits_since_us_;
  const int64_t taken_us = now_us - state_since_us_ - body_waited_us_ - waits_us;
  const bool judged = limits_->body_rate_min > 0 && taken_us > limits_->body_timeout_us;
  if (judged &&
      body_bytes_ * 1'000'000 / static_cast<uint64_t>(taken_us) < limits_->body_rate_min) {
    exchange_->FailRequest(408);
    RunExchange();
    CloseAfterOutput(CloseReason::kBodyTimeout);
    return false;
  }
  RunExchange();
  return true;
}

bool Connection::TakeProxyHeader(std::string_view* input) {
  http::ProxyHeader header;
  const http::ProxyResult result = http::ParseProxyHeader(*input, &header);
  if (result.status == http::ProxyResult::Status::kNeedMore) {
    starved_ = !input->empty();
    return false;
  }
  if (result.status == http::ProxyResult::Status::kMalformed) {
    CloseNow(CloseReason::kProxyHeader);
    return false;
  }
  input->remove_prefix(result.consumed);
  if (header.has_addresses) {
    std::copy(header.source.bytes.begin(), header.source.bytes.end(), facts_.peer.address);
    facts_.peer.port = header.source.port;
    facts_.peer.is_ip = true;
    peer_text_ = header.source.HostText();
    facts_.peer_text = peer_text_;
    facts_.server_port = header.destination.port;
    place_ = host_.TakeClientPlace(*listener_, facts_.peer);
  }
  SetState(State::kIdle);
  if (place_ != ClientPlace::kFull) return true;
  WriteRefusal(503);
  CloseAfterOutput(CloseReason::kOverLimit);
  return false;
}

void Connection::StartExchange() {
  ++requests_;
  if (requests_ > 1) context_.stats.keepalive_reuses.Add();
  // Limits are live: each request is held to those of its own time.
  const auto& limits_now = context_.plan->snapshot->limits;
  if (limits_ != limits_now) limits_ = limits_now;  // All loops count the references of one object.
  body_wanted_ = true;
  body_waited_us_ = waits_since_us_ = 0;
  body_bytes_ = 0;
  body_limit_ = UINT64_MAX;
  exchange_ = context_.exchanges.Take();
  const uint32_t most = limits_->requests_per_connection_max;
  const bool last = context_.draining || (most != 0 && requests_ >= most);
  exchange_->Begin(context_, *this, head_buffer_->head(), last);
  state_ = State::kExchange;
  state_since_us_ = context_.now().monotonic_us;
  RunExchange();
}

// What came is not a request we may answer: say so, and close, for nobody knows where it ends.
void Connection::Refuse(uint16_t status) {
  if (exchange_ != nullptr) {
    // The head was fine, its body is not. If the answer has begun, there is nothing left to say.
    exchange_->FailRequest(status);
    RunExchange();
  } else {
    WriteRefusal(status);
  }
  CloseAfterOutput(CloseReason::kBadRequest);
}

// An answer to what never became a request.
void Connection::WriteRefusal(uint16_t status) {
  char* room = output().Reserve(exchange::kBareRefusalBytes);
  const std::span<char, exchange::kBareRefusalBytes> out(room, exchange::kBareRefusalBytes);
  output().Commit(exchange::WriteBareRefusal(context_, status, !parser_.is_head_request(), out));
  exchange::RecordRefusal(context_, facts_, status);
}

// Answering...

void Connection::RunExchange() {
  if (exchange_ == nullptr || long_.leaving) return;
  const exchange::Next next = exchange_->Run();
  // A refusal changes it: what nobody wants is skipped up to another limit.
  if (!exchange_->request_complete() && body_limit_ != exchange_->body_bytes_max()) {
    body_limit_ = exchange_->body_bytes_max();
    parser_.LimitBody(body_limit_);
  }
  if (next != exchange::Next::kDone) {
    if (is_upgraded()) head_buffer_->head().Compact();
    return;
  }
  if (exchange_->is_long_answer()) {
    // It is over when it has left, so that what is counted and logged is what was sent.
    long_ = {.leaving = true, .since_us = context_.now().monotonic_us};
    return;
  }
  FinishExchange();
}

// The answer is complete and in the output; a long one has left. REQUIRES: Run() returned kDone.
void Connection::FinishExchange() {
  long_ = {};
  const exchange::Outcome outcome = exchange_->Finish();
  const bool request_complete = exchange_->request_complete();
  ends_body_ = exchange_->ends_with_connection();
  context_.exchanges.Give(std::exchange(exchange_, nullptr));
  context_.heads.Give(std::move(head_buffer_));
  if (outcome == exchange::Outcome::kBroken) {
    CloseAfterOutput(CloseReason::kTruncated);
  } else if (outcome == exchange::Outcome::kRefused) {
    CloseAfterOutput(CloseReason::kBadRequest);
  } else if (!request_complete) {
    CloseAfterOutput(CloseReason::kUnread);
  } else if (outcome == exchange::Outcome::kClose) {
    CloseAfterOutput(CloseReason::kDone);
  } else if (context_.draining) {
    CloseAfterOutput(CloseReason::kDrain);  // It began before, and promised more.
  } else {
    SetState(State::kIdle);
  }
}

void Connection::RunDeferred() {
  if (state_ == State::kClosing) return;
  RunExchange();
  if (state_ == State::kClosing) return;
  // The end of a body needs no byte: it may be all that was held back while nobody wanted the body.
  if (!yielded_ && HasHeldWork() && MayParse()) {
    Process({});
    return;
  }
  Flush();
}

http::OutputQueue& Connection::output() {
  if (output_ == nullptr) output_ = context_.outputs.Take();
  return *output_;
}

void Connection::SetBodyReading(bool wanted) {
  if (body_wanted_ == wanted) return;
  body_wanted_ = wanted;
  if (wanted) context_.loop.Defer(*this);
}

}  // namespace catzilla::server
