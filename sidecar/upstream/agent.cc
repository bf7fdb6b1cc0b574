#include "sidecar/upstream/agent.h"

#include <algorithm>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/http/header_id.h"
#include "sidecar/http/method.h"
#include "sidecar/upstream/registry.h"
#include "sidecar/upstream/request_writer.h"

namespace catzilla::upstream {

using origin::FailureKind;

namespace {

FailureKind KindOf(TargetFailure failure) {
  switch (failure) {
    case TargetFailure::kConnectTimeout:
    case TargetFailure::kFirstByteTimeout:
    case TargetFailure::kReadTimeout:
      return FailureKind::kTimeout;
    case TargetFailure::kBadAnswer:
      return FailureKind::kBadAnswer;
    default:
      return FailureKind::kUpstreamLost;
  }
}

// Whether it says something of the server, not of one request to it.
bool ConcernsHealth(TargetFailure failure, bool reused) {
  switch (failure) {
    case TargetFailure::kRefused:
    case TargetFailure::kUnreachable:
    case TargetFailure::kConnectTimeout:
    case TargetFailure::kFirstByteTimeout:
      return true;
    case TargetFailure::kClosedEarly:
      return !reused;
    default:
      return false;
  }
}

}  // namespace

Agent::Agent(loop::Loop& loop, loop::Wheel& wheel, Registry& registry)
    : loop_(loop),
      wheel_(wheel),
      registry_(registry),
      mailbox_(loop, *this, kMessagesMax),
      timer_(loop, *this),
      read_buffer_(new char[kReadBytes]) {
  if (index() == 0) checker_ = std::make_unique<Checker>(*this);
  timer_.Start(kTickUs, kTickUs);
  registry_.SetAgent(index(), this);
}

Agent::~Agent() {
  CATZILLA_CHECK(connections_.empty(), "an agent was destroyed before its connections had closed");
}

// Calls...

Call& Agent::TakeCall() {
  if (free_.empty()) {
    calls_.push_back(std::make_unique<Call>(*this));
    return *calls_.back();
  }
  Call* call = free_.back();
  free_.pop_back();
  return *call;
}

void Agent::FreeCall(Call& call) {
  constexpr size_t kKept = 16 * 1024;
  wheel_.Disarm(call);
  call.state_ = Call::State::kFree;
  if (std::exchange(call.socket_, nullptr) != nullptr) call.setup_->pool->CloseSocket();
  call.observer_ = nullptr;
  call.connection_ = nullptr;
  call.target_ = nullptr;
  call.setup_ = nullptr;
  for (std::string* text :
       {&call.line_, &call.fields_, &call.body_, &call.key_, &call.subprotocols_}) {
    text->clear();
    if (text->capacity() > kKept) text->shrink_to_fit();
  }
  free_.push_back(&call);
}

void Agent::Describe(Call& call, const origin::RequestSpec& spec, const SetupRef& setup,
                     origin::Observer& observer) {
  call.observer_ = &observer;
  call.setup_ = setup;
  call.tried_ = 0;
  call.attempts_ = 0;
  call.held_ = 0;
  const int64_t asked_us = spec.asked_us > 0 ? spec.asked_us : spec.accept_us;
  const int64_t started_us = asked_us > 0 ? asked_us : now_us();
  call.queued_us_ = now_us();
  call.queue_due_us_ = now_us() + setup->config->queue_timeout_us;
  call.soft_due_us_ =
      spec.deadline_us > 0 ? spec.deadline_us : started_us + setup->config->request_timeout_us;
  call.budget_us_ = std::max<int64_t>(1, call.soft_due_us_ - started_us);
  call.own_host_ = !setup->upstream().preserve_host || spec.host.empty();
  call.head_request_ = (spec.flags & origin::kHeadRequest) != 0;
  call.idempotent_ = spec.idempotent || http::IsIdempotent(http::MethodFromText(spec.method));
  call.streaming_ = spec.body_mode == origin::BodyMode::kStreaming;
  call.chunked_ = IsChunked(spec);
  call.body_over_ = call.request_over_ = !call.streaming_;
  call.awaits_continue_ = call.streaming_ && (spec.flags & origin::kExpectContinue) != 0;
  call.body_begun_ = call.answer_begun_ = call.fresh_only_ = false;
  call.is_check_ = call.connect_only_ = call.switched_ = false;
  call.body_ = spec.body_mode == origin::BodyMode::kInline ? spec.body : std::string_view();
  if (!spec.upgrade) return;
  call.fresh_only_ = true;
  call.socket_rules_ = {spec.ping_interval_us, spec.ping_timeout_us, spec.close_timeout_us};
  for (const http::Field& field : spec.fields) {
    const http::HeaderId id = http::FindHeaderId(field.name);
    if (id == http::HeaderId::kSecWebsocketKey) call.key_ = field.value;
    if (id == http::HeaderId::kSecWebsocketProtocol) {
      call.subprotocols_.append(field.value).append(",");
    }
  }
}

origin::Call* Agent::Start(const origin::RequestSpec& spec, const SetupRef& setup,
                           origin::Observer& observer, origin::Failure* failure) {
  return Begin(spec, setup, observer, nullptr, failure);
}

origin::Socket* Agent::StartSocket(const origin::RequestSpec& spec, const SetupRef& setup,
                                   origin::SocketObserver& observer, origin::Failure* failure) {
  CATZILLA_CHECK(spec.upgrade, "a socket begins with an upgrade");
  return Begin(spec, setup, observer, &observer, failure);
}

Call* Agent::Begin(const origin::RequestSpec& spec, const SetupRef& setup,
                   origin::Observer& observer, origin::SocketObserver* socket,
                   origin::Failure* failure) {
  Pool& pool = *setup->pool;
  const auto refuse = [&](FailureKind kind, std::string_view cause) -> Call* {
    pool.CountFailure(index(), kind);
    *failure = {kind, setup->config->retry_after_s, cause};
    return nullptr;
  };
  if (closing_) return refuse(FailureKind::kNoTargets, "the sidecar is stopping");
  if (socket != nullptr && !pool.TryOpenSocket(setup->config->sockets_max)) {
    return refuse(FailureKind::kTooManySockets, "the pool has max_websockets open");
  }
  Call& call = TakeCall();
  Describe(call, spec, setup, observer);
  call.socket_ = socket;
  WriteRequest(spec, setup->upstream(), &call.line_, &call.fields_);
  call.state_ = Call::State::kWaiting;
  // Nobody overtakes those who wait already.
  Placed placed = Placed::kFull;
  if (pool.waiting() == 0) placed = Place(call, failure);
  if (placed == Placed::kNone && !IsResolving(*setup)) {
    FreeCall(call);
    return refuse(failure->kind, failure->cause);
  }
  if (placed != Placed::kYes && !Enqueue(call)) {
    FreeCall(call);
    return refuse(FailureKind::kQueueFull, "the pool's queue is full");
  }
  pool.CountRequest(index());
  return &call;
}

origin::Call* Agent::StartCheck(const origin::RequestSpec& spec, const SetupRef& setup,
                                const std::shared_ptr<Target>& target, bool connect_only,
                                origin::Observer& observer) {
  if (closing_) return nullptr;
  Call& call = TakeCall();
  Describe(call, spec, setup, observer);
  config::Upstream plain;
  plain.x_forwarded = false;
  plain.idle_max = 0;
  WriteRequest(spec, plain, &call.line_, &call.fields_);
  call.own_host_ = spec.host.empty();
  call.is_check_ = true;
  call.connect_only_ = connect_only;
  call.turn_ = target->NextTurn();
  if (Open(call, target, 0) == 0) return &call;
  FreeCall(call);
  return nullptr;
}

// What connections tell...

void Agent::CallConnected(Call& call) {
  Connection* connection = std::exchange(call.connection_, nullptr);
  connection->Close();
  origin::Observer* observer = call.observer_;
  FreeCall(call);
  observer->OnEnd();
}

void Agent::CallEnded(Call& call, Connection* kept) {
  origin::Observer* observer = call.observer_;
  const std::shared_ptr<Pool> pool = call.setup_->pool;
  if (kept != nullptr) GoIdle(*kept, call.setup_->upstream().idle_max);
  ReleasePlace(call);
  FreeCall(call);
  ServeNext(pool);
  observer->OnEnd();
}

// It keeps no request waiting: its place is free for one.
void Agent::SocketOpened(Call& call) {
  call.switched_ = true;
  call.body_over_ = false;
  call.target_->CountSocket(1);
  call.target_->Release();
  for (std::string* text : {&call.line_, &call.fields_, &call.key_, &call.subprotocols_}) {
    std::string().swap(*text);
  }
  ServeNext(call.setup_->pool);
}

void Agent::EndSocket(Call& call, uint16_t code, std::string_view reason) {
  std::exchange(call.connection_, nullptr)->EndSocket(code, reason);
  ReleasePlace(call);
  FreeCall(call);
}

bool Agent::MayTryAgain(const Call& call, const Lost& lost) const {
  if (call.is_check_ || call.answer_begun_ || call.body_begun_ || closing_) return false;
  if (call.attempts_ >= kAttemptsMax || now_us() >= call.soft_due_us_) return false;
  if (!lost.connected) return true;
  return lost.reused && lost.answerless && (call.idempotent_ || !lost.anything_sent);
}

void Agent::CallFailed(Call& call, const Lost& lost) {
  call.connection_ = nullptr;
  const config::Upstream& config = call.setup_->upstream();
  const std::shared_ptr<Target> target = call.target_;
  // Its other addresses belong to the same attempt.
  if (!lost.connected && Open(call, target, lost.address_index + 1) == 0) return;
  if (!call.is_check_) {
    if (!ConcernsHealth(lost.failure, lost.reused)) {
      target->CountFailure(lost.failure);
    } else if (target->Failed(lost.failure, config, now_us())) {
      TellAway(*call.setup_, *target, lost.cause);
    }
  }
  if (!MayTryAgain(call, lost)) return FailCall(call, KindOf(lost.failure), lost.cause);
  ReleasePlace(call);
  ++call.attempts_;
  call.setup_->pool->CountRetry(index());
  if (lost.connected) {
    call.fresh_only_ = true;
  } else {
    const auto& targets = call.setup_->targets;
    const auto at = std::find(targets.begin(), targets.end(), target) - targets.begin();
    if (static_cast<size_t>(at) < targets.size()) call.tried_ |= uint64_t{1} << at;
  }
  call.state_ = Call::State::kWaiting;
  origin::Failure failure;
  switch (Place(call, &failure)) {
    case Placed::kYes:
      return;
    case Placed::kFull:
      if (Enqueue(call)) return;
      return FailCall(call, FailureKind::kQueueFull, "the pool's queue is full");
    case Placed::kNone:
      return FailCall(call, KindOf(lost.failure), lost.cause);
  }
}

// Ends...

void Agent::ReleasePlace(Call& call) {
  if (std::exchange(call.switched_, false)) {
    call.target_->CountSocket(-1);
  } else if (call.target_ != nullptr && !call.is_check_) {
    call.target_->Release();
  }
  call.target_ = nullptr;
}

// REQUIRES: it is in no queue and on no connection.
void Agent::FailCall(Call& call, FailureKind kind, std::string_view cause) {
  origin::Observer* observer = call.observer_;
  const std::shared_ptr<Pool> pool = call.setup_->pool;
  const uint32_t retry_after_s = call.setup_->config->retry_after_s;
  if (!call.is_check_) pool->CountFailure(index(), kind);
  ReleasePlace(call);
  FreeCall(call);
  ServeNext(pool);
  observer->OnFailure({kind, retry_after_s, cause});
}

void Agent::CancelCall(Call& call) {
  const std::shared_ptr<Pool> pool = call.setup_->pool;
  if (call.connection_ != nullptr) {
    call.connection_->Close();
  } else if (call.base::ListNode<QueueTag>::linked()) {
    Unqueue(call);
  }
  ReleasePlace(call);
  FreeCall(call);
  ServeNext(pool);
}

void Agent::ArmSoft(Call& call) {
  if (call.awaits_continue_ && call.state_ == Call::State::kOpen) {
    return wheel_.Arm(call, now_us() + kContinueUs);
  }
  if (!call.request_over_ && call.state_ == Call::State::kOpen) return wheel_.Disarm(call);
  wheel_.Arm(call, std::max<int64_t>(1, call.soft_due_us_));
}

void Agent::OnCallDeadline(Call& call) {
  switch (call.state_) {
    case Call::State::kFree:
      return;
    case Call::State::kWaiting: {
      const bool late = now_us() >= call.soft_due_us_;
      Unqueue(call);
      return FailCall(call, late ? FailureKind::kTimeout : FailureKind::kQueueTimeout,
                      "no target was free in time");
    }
    case Call::State::kConnecting:
    case Call::State::kOpen:
      break;
  }
  if (call.state_ == Call::State::kOpen && call.awaits_continue_) {
    // Who does not know of Expect waits for the body (RFC 9110 section 10.1.1).
    call.awaits_continue_ = false;
    ArmSoft(call);
    return call.observer_->OnBodyRoom();
  }
  if (call.answer_begun_) return;
  const bool connected = call.state_ == Call::State::kOpen;
  const std::shared_ptr<Target> target = call.target_;
  const TargetFailure failure =
      connected ? TargetFailure::kFirstByteTimeout : TargetFailure::kConnectTimeout;
  std::exchange(call.connection_, nullptr)->Close();
  if (!call.is_check_ && target->Failed(failure, call.setup_->upstream(), now_us())) {
    TellAway(*call.setup_, *target, NameOf(failure));
  }
  FailCall(call, FailureKind::kTimeout,
           connected ? "the server did not answer in time" : "connecting took too long");
}

void Agent::TellAway(const Setup& setup, const Target& target, std::string_view why) {
  registry_.Tell({TargetEvent::Kind::kAway, setup.config->name, target.name(), std::string(why)});
}

void Agent::TellBack(const Setup& setup, const Target& target) {
  registry_.Tell({TargetEvent::Kind::kBack, setup.config->name, target.name(), ""});
}

void Agent::Close() {
  closing_ = true;
  if (checker_ != nullptr) checker_->Close();
  for (auto& [key, waiters] : waiters_) {
    while (Call* call = waiters.calls.front()) {
      Unqueue(*call);
      FailCall(*call, FailureKind::kNoTargets, "the sidecar is stopping");
    }
  }
  std::vector<Connection*> open;
  for (const auto& [connection, owned] : connections_) open.push_back(connection);
  for (Connection* connection : open) {
    if (connection->idle()) LeaveIdle(*connection);
    Call* call = connection->call();
    if (call != nullptr) call->connection_ = nullptr;
    connection->Close();
    if (call != nullptr) FailCall(*call, FailureKind::kUpstreamLost, "the sidecar is stopping");
  }
  timer_.Close();
  mailbox_.Close();
}

}  // namespace catzilla::upstream
