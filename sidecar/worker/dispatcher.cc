#include "sidecar/worker/dispatcher.h"

#include <algorithm>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/worker/registry.h"

namespace catzilla::worker {

namespace {

constexpr std::string_view kSupersededCause = "newer code has taken over";

std::string_view CauseOf(FailureKind kind) {
  return kind == FailureKind::kSuperseded ? kSupersededCause : "the pool has no workers";
}

}  // namespace

// Call: what the exchange may do with it...

size_t Call::body_window() const { return channel_ == nullptr ? 0 : channel_->BodyRoom(*this); }

void Call::SendBody(std::string_view bytes, bool last) {
  if (body_ended()) return;
  CATZILLA_CHECK(state_ == State::kOpen || (state_ == State::kQueued && bytes.empty()),
                 "a body was sent for a request that waits");
  if (state_ == State::kOpen) return channel_->SendBody(*this, bytes, last);
  body_over_ = last;
}

void Call::Consumed(size_t bytes) {
  if (bytes == 0) return;
  CATZILLA_CHECK(state_ == State::kOpen, "bytes of a call that is over were given back");
  channel_->Consumed(*this, bytes);
}

void Call::Cancel(CancelCode code) { dispatcher_.CancelCall(*this, code); }

void Call::SendMessage(origin::MessageKind kind, std::string_view bytes, bool last) {
  CATZILLA_CHECK(state_ == State::kOpen, "a message was sent on a socket that is over");
  channel_->SendMessage(*this, static_cast<uint32_t>(kind), bytes, last);
}

void Call::SendClose(uint16_t code, std::string_view reason) {
  CATZILLA_CHECK(state_ == State::kOpen, "a socket that is over was closed");
  // No deadline: it holds no credit, and what its handler does behind it is the app's own affair,
  // as under uvicorn. Until that returns it is one of max_websockets.
  channel_->SendClose(*this, code, reason);
}

void Call::OnDeadline() { dispatcher_.OnCallDeadline(*this); }

Dispatcher::Dispatcher(loop::Loop& loop, loop::Wheel& wheel, Registry& registry)
    : loop_(loop),
      wheel_(wheel),
      registry_(registry),
      mailbox_(loop, *this, kMessagesMax),
      timer_(loop, *this) {
  timer_.Start(kTickUs, kTickUs);
  registry_.SetDispatcher(*this);
}

Dispatcher::~Dispatcher() {
  CATZILLA_CHECK(channels_.empty(), "a dispatcher was destroyed before its lanes had closed");
}

Call* Dispatcher::TakeCall() {
  if (free_.empty()) {
    calls_.push_back(std::make_unique<Call>(*this));
    return calls_.back().get();
  }
  Call* call = free_.back();
  free_.pop_back();
  return call;
}

void Dispatcher::FreeCall(Call& call) {
  constexpr size_t kRequestKept = 16 * 1024;
  wheel_.Disarm(call);
  call.state_ = Call::State::kFree;
  ++call.epoch_;
  if (std::exchange(call.is_socket_, false)) call.pool().CloseSocket();
  call.observer_ = call.socket_ = nullptr;
  call.channel_ = nullptr;
  call.request_.clear();
  if (call.request_.capacity() > kRequestKept) call.request_.shrink_to_fit();
  call.generation_ = nullptr;
  free_.push_back(&call);
}

Call* Dispatcher::Start(const RequestSpec& spec, const base::Ref<Generation>& generation,
                        origin::Observer& observer, origin::Failure* failure) {
  return Begin(spec, generation, observer, nullptr, failure);
}

Call* Dispatcher::StartSocket(const RequestSpec& spec, const base::Ref<Generation>& generation,
                              origin::SocketObserver& observer, origin::Failure* failure) {
  CATZILLA_CHECK(spec.upgrade, "a socket begins with an upgrade");
  return Begin(spec, generation, observer, &observer, failure);
}

Call* Dispatcher::Begin(const RequestSpec& spec, const base::Ref<Generation>& generation,
                        origin::Observer& observer, origin::SocketObserver* socket,
                        origin::Failure* failure) {
  Pool& pool = generation->pool();
  const auto refuse = [&](FailureKind kind, std::string_view cause) {
    pool.CountFailure(index(), kind);
    *failure = {kind, pool.retry_after_s(), cause};
    return nullptr;
  };
  const RegistryOptions& options = registry_.options();
  if (RequestHeadBytes(spec) > options.head_bytes_max ||
      spec.body.size() > options.data_bytes_max) {
    return refuse(FailureKind::kTooLarge, "the request's head does not fit a frame");
  }
  if (closing_) return refuse(FailureKind::kNoWorkers, "the sidecar is stopping");

  if (generation->over()) return refuse(FailureKind::kSuperseded, kSupersededCause);

  if (socket != nullptr) {
    const auto& lanes = generation->lanes(index()).all;
    const auto knows = [](const Channel* lane) { return lane->worker().takes_sockets; };
    if (!lanes.empty() && std::none_of(lanes.begin(), lanes.end(), knows)) {
      return refuse(FailureKind::kNoSockets, "the workers' SDK is too old for WebSockets");
    }
    if (!pool.TryOpenSocket()) {
      return refuse(FailureKind::kTooManySockets, "the pool has max_websockets open");
    }
  }
  const int64_t now_us = loop_.now().monotonic_us;
  Call& call = *TakeCall();
  call.observer_ = &observer;
  call.socket_ = socket;
  call.is_socket_ = socket != nullptr;
  call.accepted_ = call.close_seen_ = false;
  call.message_kind_ = 0;
  call.generation_ = generation;
  call.stream_ = 0;
  call.attempt_ = 0;
  call.route_id_ = spec.route_id;
  const int64_t asked_us = spec.asked_us > 0 ? spec.asked_us : spec.accept_us;
  call.started_us_ = asked_us > 0 ? asked_us : now_us;
  call.queued_us_ = now_us;
  call.soft_due_us_ =
      spec.deadline_us > 0 ? spec.deadline_us : call.started_us_ + pool.request_timeout_us();
  call.budget_us_ = std::max<int64_t>(1, call.soft_due_us_ - call.started_us_);
  call.grace_us_ =
      spec.hard_timeout_us > 0
          ? std::max<int64_t>(spec.hard_timeout_us - call.budget_us_, loop::Wheel::kTickUs)
          : 0;
  call.body_bytes_sent_ = 0;
  call.body_over_ = false;
  call.takes_files_ = (spec.flags & origin::kBytesOnly) == 0 && socket == nullptr;
  call.idempotent_ = spec.idempotent || IsIdempotent(ToMethod(spec.method));
  call.streaming_ = spec.body_mode == BodyMode::kStreaming;
  call.expects_continue_ = call.streaming_ && (spec.flags & kExpectContinue) != 0;
  call.response_begun_ = call.response_seen_ = call.trailers_seen_ = call.detached_ = false;
  RequestSpec dated = spec;
  dated.deadline_us = call.soft_due_us_;
  EncodeRequest(dated, &call.request_);

  // Nobody overtakes those who wait already.
  Channel* lane = generation->crowded() ? nullptr : AcquireLane(*generation, call.is_socket_);
  if (lane != nullptr) {
    pool.CountRequest(index());
    lane->Send(call);
    wheel_.Arm(call, call.soft_due_us_);
    return &call;
  }
  call.state_ = Call::State::kQueued;
  switch (pool.Enqueue(call, index(), false)) {
    case Pool::Admission::kQueued:
      pool.CountRequest(index());
      ArmQueued(call);
      return &call;
    case Pool::Admission::kFull:
      NoteSaturation(pool);
      FreeCall(call);
      return refuse(FailureKind::kQueueFull, "the pool's queue is full");
    case Pool::Admission::kSuperseded:
      FreeCall(call);
      return refuse(FailureKind::kSuperseded, kSupersededCause);
    case Pool::Admission::kHopeless:
      break;
  }
  FreeCall(call);
  return refuse(FailureKind::kNoWorkers, "the pool has no workers");
}

void Dispatcher::NoteSaturation(Pool& pool) {
  std::vector<WorkerEvent> events;
  pool.NoteSaturation(loop_.now().monotonic_us, &events);
  if (!events.empty()) registry_.Emit(events);
}

Channel* Dispatcher::AcquireLane(Generation& generation, bool for_socket) {
  Generation::Lanes& lanes = generation.lanes(index());
  const size_t count = lanes.all.size();
  for (size_t tries = 0; tries <= count; ++tries) {
    Channel* best = nullptr;
    uint32_t best_load = UINT32_MAX;
    ++lanes.turn;
    for (size_t i = 0; i < count; ++i) {
      Channel& lane = *lanes.all[(lanes.turn + i) % count];
      if (!lane.usable() || (for_socket && !lane.takes_sockets())) continue;
      const uint32_t load = lane.worker().in_flight.load(std::memory_order_relaxed);
      if (load >= lane.worker().ceiling.load(std::memory_order_relaxed)) continue;
      if (load < best_load) {
        best = &lane;
        best_load = load;
      }
    }
    // Another loop may have been quicker.
    if (best == nullptr || best->pool().TryAcquire(best->worker())) return best;
  }
  return nullptr;
}

Channel* Dispatcher::LaneOf(const Worker& worker) {
  for (Channel* lane : worker.home->lanes(index()).all) {
    if (&lane->worker() == &worker && lane->usable()) return lane;
  }
  return nullptr;
}

// Waiting...

void Dispatcher::ArmQueued(Call& call) {
  const int64_t age_due_us = call.queued_us_ + call.pool().queue_timeout_us();
  wheel_.Arm(call, std::max<int64_t>(1, std::min(age_due_us, call.soft_due_us_)));
}

void Dispatcher::OnGrant(DispatcherMessage& message) {
  Call& call = *message.call;
  if (call.epoch_ != message.epoch || call.state_ != Call::State::kQueued) {
    // The client left, or the time was up, while the grant was on its way.
    message.pool->Release(*message.worker);
    return;
  }
  const int64_t now_us = loop_.now().monotonic_us;
  Channel* lane = LaneOf(*message.worker);
  if (lane != nullptr && call.is_socket_ && !lane->takes_sockets()) lane = nullptr;
  if (lane == nullptr && message.worker->usable()) {
    // Its lane here has no place for another stream: it would be granted at once again, and again.
    message.pool->Release(*message.worker);
    lane = AcquireLane(*call.generation_, call.is_socket_);
    if (lane == nullptr) {
      NoteSaturation(call.pool());
      return Fail(call, FailureKind::kQueueFull, "the lanes have no place for another stream");
    }
  } else if (lane == nullptr) {
    // The worker went in the meantime. The place in the queue was earned.
    message.pool->Release(*message.worker);
    FailureKind kind;
    if (!QueueAgain(call, &kind)) Fail(call, kind, CauseOf(kind));
    return;
  }
  call.pool().CountQueueWait(index(), now_us - call.queued_us_);
  lane->Send(call);
  wheel_.Arm(call, call.soft_due_us_);
  if (call.body_window() > 0) call.observer_->OnBodyRoom();
}

bool Dispatcher::QueueAgain(Call& call, FailureKind* kind) {
  const Pool::Admission admission = call.pool().Enqueue(call, index(), true);
  *kind = admission == Pool::Admission::kSuperseded ? FailureKind::kSuperseded
                                                    : FailureKind::kNoWorkers;
  return admission == Pool::Admission::kQueued;
}

void Dispatcher::OnQueueFailure(DispatcherMessage& message) {
  Call& call = *message.call;
  if (call.epoch_ != message.epoch || call.state_ != Call::State::kQueued) return;
  Fail(call, message.failure, CauseOf(message.failure));
}

void Dispatcher::OnCallDeadline(Call& call) {
  const int64_t now_us = loop_.now().monotonic_us;
  switch (call.state_) {
    case Call::State::kQueued:
      // If a grant is on its way it will not find the call, and give its credit back.
      call.pool().Remove(call);
      call.pool().CountQueueWait(index(), now_us - call.queued_us_);
      NoteSaturation(call.pool());
      return Fail(call, FailureKind::kQueueTimeout, "the request waited too long in the queue");
    case Call::State::kOpen: {
      origin::Observer* observer = call.observer_;
      call.pool().CountFailure(index(), FailureKind::kTimeout);
      call.channel_->Cancel(call, CancelCode::kDeadline);
      ArmHard(call);
      return observer->OnFailure(
          {FailureKind::kTimeout, 0, "the app did not begin its answer before the deadline"});
    }
    case Call::State::kCancelled: {
      std::vector<WorkerEvent> events;
      call.pool().HardTimeout(call.channel_->worker(), call.route_id_, now_us - call.started_us_,
                              &events);
      return registry_.Emit(events);
    }
    case Call::State::kFree:
    case Call::State::kDetached:
      return;
  }
}

// A handler that nobody waits for any more keeps its credit; this is how long it may go on doing
// so. The time counts from now: a stream of hours that its client leaves has all of it.
void Dispatcher::ArmHard(Call& call) {
  const int64_t grace_us = call.grace_us_ > 0
                               ? call.grace_us_
                               : call.pool().hard_timeout_us() - call.pool().request_timeout_us();
  wheel_.Arm(call, loop_.now().monotonic_us + std::max<int64_t>(grace_us, loop::Wheel::kTickUs));
}

// While the body moves, the client or the app is at work on it, and other deadlines watch their
// pace; the time for the answer begins again.
void Dispatcher::RenewDeadline(Call& call) {
  if (call.response_seen_) return;
  call.soft_due_us_ = loop_.now().monotonic_us + call.budget_us_;
  wheel_.Arm(call, call.soft_due_us_);
}

void Dispatcher::CancelCall(Call& call, CancelCode code) {
  if (call.state_ == Call::State::kQueued) {
    call.pool().Remove(call);
    FreeCall(call);
    return;
  }
  CATZILLA_CHECK(call.state_ == Call::State::kOpen, "a call that is over was cancelled");
  call.channel_->Cancel(call, code);
  ArmHard(call);
}

// When things go wrong...

void Dispatcher::Fail(Call& call, FailureKind kind, std::string_view cause) {
  origin::Observer* observer = call.observer_;
  const uint32_t retry_after_s = call.pool().retry_after_s();
  // What is to be routed anew is counted where it is found that it must be.
  if (kind != FailureKind::kSuperseded) call.pool().CountFailure(index(), kind);
  FreeCall(call);
  observer->OnFailure({kind, retry_after_s, cause});
}

void Dispatcher::OnStreamLost(Call& call, bool begun, std::string_view cause) {
  const bool whole = !closing_ && !call.response_begun_ && call.body_bytes_sent_ == 0;
  if (whole && !begun && call.generation_->over()) {
    return Fail(call, FailureKind::kSuperseded, kSupersededCause);
  }
  const bool again = whole && call.attempt_ == 0 && (!begun || call.idempotent_);
  if (!again) return Fail(call, FailureKind::kWorkerLost, cause);
  call.attempt_ = 1;
  if (Channel* lane = AcquireLane(*call.generation_, call.is_socket_)) {
    call.pool().CountRetry(index());
    lane->Send(call);
    if (call.body_window() > 0) call.observer_->OnBodyRoom();
    return;
  }
  call.state_ = Call::State::kQueued;
  call.queued_us_ = loop_.now().monotonic_us;
  FailureKind kind;
  if (!QueueAgain(call, &kind)) return Fail(call, kind, CauseOf(kind));
  call.pool().CountRetry(index());
  ArmQueued(call);
}

void Dispatcher::OnChannelLost(Channel& channel, bool clean) {
  std::vector<WorkerEvent> events;
  channel.pool().LaneDetached(channel.worker(), index(), clean, &events);
  registry_.Emit(events);
}

void Dispatcher::OnChannelClosed(Channel& channel) {
  std::erase(channel.worker().home->lanes(index()).all, &channel);
  std::erase_if(channels_, [&](const auto& other) { return other.get() == &channel; });
}

void Dispatcher::LogLane(Channel& channel, std::string_view sentence) {
  WorkerEvent event;
  event.kind = WorkerEvent::Kind::kLog;
  event.level = 3;
  event.pool = channel.pool().name();
  event.generation = channel.worker().generation;
  event.worker_id = channel.worker().id;
  event.pid = channel.worker().pid;
  event.detail = "lane closed: " + std::string(sentence);
  registry_.Emit({std::move(event)});
}

// Messages...

void Dispatcher::OnMessage(DispatcherMessage& message) {
  switch (message.kind) {
    case DispatcherMessage::Kind::kGrant:
      return OnGrant(message);
    case DispatcherMessage::Kind::kFailure:
      return OnQueueFailure(message);
    case DispatcherMessage::Kind::kAttach:
      return Attach(message);
    case DispatcherMessage::Kind::kGoaway:
      return GoawayLanes(message);
  }
}

void Dispatcher::Attach(DispatcherMessage& message) {
  if (closing_) return;
  auto channel = std::make_unique<Channel>(*this, message.pool, message.worker, *message.lane);
  if (!channel->Open()) return;
  message.worker->home->lanes(index()).all.push_back(channel.get());
  channels_.push_back(std::move(channel));
  std::vector<WorkerEvent> events;
  message.pool->LaneAttached(*message.worker, index(), &events);
  registry_.Emit(events);
}

void Dispatcher::GoawayLanes(DispatcherMessage& message) {
  for (auto& lane : channels_) {
    const Worker& worker = lane->worker();
    if (&lane->pool() != message.pool.get() || worker.generation.number != message.generation) {
      continue;
    }
    if (message.worker_id == 0 || message.worker_id == worker.id) {
      lane->Goaway(message.code, DrainDue());
    }
  }
}

int64_t Dispatcher::DrainDue() const {
  return loop_.now().monotonic_us + registry_.drain_timeout_us();
}

void Dispatcher::OnTimer() {
  // Lanes that close do so later, in OnChannelClosed(): the vector stays as it is.
  for (size_t i = 0; i < channels_.size(); ++i) {
    channels_[i]->Tick(loop_.now().monotonic_us, registry_.options().ping_interval_us);
  }
}

void Dispatcher::Drain() {
  for (auto& lane : channels_) lane->Goaway(GoawayCode::kDraining, DrainDue());
}

void Dispatcher::Close() {
  if (closing_) return;
  closing_ = true;
  mailbox_.Close();
  timer_.Close();
  for (auto& lane : channels_) lane->Close(GoawayCode::kDraining, "the sidecar is stopping");
  for (auto& call : calls_) {
    if (call->state_ != Call::State::kQueued) continue;
    call->pool().Remove(*call);
    Fail(*call, FailureKind::kNoWorkers, "the sidecar is stopping");
  }
}

http::Fields Dispatcher::ListFields(const FieldsView& fields) {
  listed_.clear();
  for (const http::Field& field : fields) listed_.push_back(field);
  return listed_;
}

}  // namespace catzilla::worker
