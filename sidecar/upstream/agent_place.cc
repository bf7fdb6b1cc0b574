// Which target gets a call, which connection, and who waits for a place.
#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/upstream/agent.h"
#include "sidecar/upstream/registry.h"

namespace catzilla::upstream {

using origin::FailureKind;

namespace {

// Of the machine, not of the server.
bool IsOwnShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

}  // namespace

// Placing...

// The target with the least to do; -1: none, and `full` says whether that may change.
int Agent::Choose(const Call& call, bool* full) {
  const config::Upstream& config = call.setup_->upstream();
  const auto& targets = call.setup_->targets;
  const int64_t now = now_us();
  int best = -1;
  int last_resort = -1;
  double best_load = 0;
  ++rotation_;
  for (size_t i = 0; i < targets.size(); ++i) {
    const size_t at = (rotation_ + i) % targets.size();
    const Target& target = *targets[at];
    if ((call.tried_ >> at & 1) != 0) continue;
    const TargetState state = target.StateAt(config, now);
    if (state == TargetState::kDown || state == TargetState::kUnresolved) continue;
    const uint32_t held = target.in_flight();
    if (held >= config.connections_max) {
      *full = true;
      continue;
    }
    if (state == TargetState::kPassedOver || (state == TargetState::kTrial && held > 0)) {
      const bool sooner =
          last_resort < 0 || target.passed_over_until_us() <
                                 targets[static_cast<size_t>(last_resort)]->passed_over_until_us();
      if (sooner) last_resort = static_cast<int>(at);
      continue;
    }
    const double load = (held + target.sockets() + 1) / target.WeightAt(config, now);
    if (best >= 0 && load >= best_load) continue;
    best = static_cast<int>(at);
    best_load = load;
  }
  return best >= 0 || *full ? best : last_resort;
}

Agent::Placed Agent::Place(Call& call, origin::Failure* failure) {
  *failure = {FailureKind::kNoTargets, call.setup_->config->retry_after_s,
              "no target of the pool can be asked"};
  for (;;) {
    bool full = false;
    const int at = Choose(call, &full);
    if (at < 0) return full ? Placed::kFull : Placed::kNone;
    const std::shared_ptr<Target>& target = call.setup_->targets[static_cast<size_t>(at)];
    // Another loop may have been quicker: then it is full.
    if (!target->TryAcquire(call.setup_->upstream().connections_max)) return Placed::kFull;
    if (Reuse(call, target)) return Placed::kYes;
    call.turn_ = target->NextTurn();
    const int error = Open(call, target, 0);
    if (error == 0) return Placed::kYes;
    target->Release();
    call.tried_ |= uint64_t{1} << at;
    failure->kind = FailureKind::kUpstreamLost;
    failure->cause = strerrordesc_np(error);
    if (IsOwnShortage(error)) return Placed::kNone;
    const TargetFailure reason = error == ECONNREFUSED || error == ENOENT
                                     ? TargetFailure::kRefused
                                     : TargetFailure::kUnreachable;
    if (target->Failed(reason, call.setup_->upstream(), now_us())) {
      TellAway(*call.setup_, *target, strerrordesc_np(error));
    }
  }
}

bool Agent::Reuse(Call& call, const std::shared_ptr<Target>& target) {
  if (call.fresh_only_) return false;
  const auto found = idle_.find(target.get());
  if (found == idle_.end()) return false;
  while (Connection* connection = found->second.connections.front()) {
    LeaveIdle(*connection);
    // Bytes that nobody has asked for would be taken for this request's answer.
    if (!connection->IsAlive()) {
      connection->Close();
      continue;
    }
    call.target_ = target;
    call.connection_ = connection;
    target->CountRequest();
    connection->Attach(call);
    return true;
  }
  return false;
}

int Agent::Open(Call& call, const std::shared_ptr<Target>& target, uint32_t from_address) {
  const auto addresses = target->addresses();
  if (addresses == nullptr) return EADDRNOTAVAIL;
  const config::Upstream& config = call.setup_->upstream();
  const auto count = static_cast<uint32_t>(addresses->size());
  int error = EADDRNOTAVAIL;
  for (uint32_t i = from_address; i < count; ++i) {
    auto connection = std::make_unique<Connection>(*this, target, config.idle_timeout_us);
    const Address& address = (*addresses)[(call.turn_ + i) % count];
    error = connection->Connect(call, address, i, config.connect_timeout_us);
    if (error != 0) continue;
    call.state_ = Call::State::kConnecting;
    call.target_ = target;
    call.connection_ = connection.get();
    if (!call.is_check_) target->CountRequest();
    connections_.emplace(connection.get(), std::move(connection));
    ArmSoft(call);
    return 0;
  }
  return error;
}

bool Agent::IsResolving(const Setup& setup) const {
  return std::any_of(setup.targets.begin(), setup.targets.end(), [](const auto& target) {
    return target->addresses() == nullptr && !target->has_failed_to_resolve();
  });
}

// Waiting...

bool Agent::Enqueue(Call& call) {
  Pool& pool = *call.setup_->pool;
  if (!pool.TryQueue(call.setup_->config->queue_max)) return false;
  Waiters& waiters = waiters_[&pool];
  if (waiters.pool == nullptr) waiters.pool = call.setup_->pool;
  call.state_ = Call::State::kWaiting;
  if (waiters.calls.empty()) pool.SetOldest(index(), call.queued_us_);
  waiters.calls.PushBack(call);
  wheel_.Arm(call, std::max<int64_t>(1, std::min(call.queue_due_us_, call.soft_due_us_)));
  return true;
}

void Agent::Unqueue(Call& call) {
  Pool& pool = *call.setup_->pool;
  call.base::ListNode<QueueTag>::Unlink();
  Call* first = waiters_[&pool].calls.front();
  pool.Unqueue(index(), first == nullptr ? 0 : first->queued_us_);
}

void Agent::Serve(Waiters& waiters) {
  const std::shared_ptr<Pool> pool = waiters.pool;
  const SetupRef newest = pool->setup();
  while (Call* call = waiters.calls.front()) {
    if (newest != nullptr && call->attempts_ == 0 && call->setup_ != newest) {
      call->setup_ = newest;
      call->tried_ = 0;
    }
    origin::Failure failure;
    const Placed placed = Place(*call, &failure);
    if (placed == Placed::kFull || (placed == Placed::kNone && IsResolving(*call->setup_))) return;
    Unqueue(*call);
    if (placed == Placed::kYes) {
      pool->CountQueueWait(index(), now_us() - call->queued_us_);
    } else {
      FailCall(*call, failure.kind, failure.cause);
    }
  }
}

// A place is free: whoever has waited longest gets it, on whichever loop.
void Agent::ServeNext(const std::shared_ptr<Pool>& pool) {
  const int loop = pool->OldestLoop();
  if (loop < 0) return;
  if (Agent* agent = registry_.agent(loop)) agent->PostServe(pool);
}

void Agent::OnMessage(std::shared_ptr<Pool>& pool) {
  const auto found = waiters_.find(pool.get());
  if (found != waiters_.end()) Serve(found->second);
}

void Agent::OnTimer() {
  for (auto& [pool, waiters] : waiters_) Serve(waiters);
  std::erase_if(waiters_, [](const auto& entry) { return entry.second.calls.empty(); });
  DropRetired();
  if (checker_ == nullptr) return;
  registry_.Refresh(now_us());
  checker_->Tick();
}

// Connections without a request...

void Agent::GoIdle(Connection& connection, uint32_t idle_max) {
  if (connection.target()->retired() || closing_ || idle_max == 0) return connection.Close();
  Idle& idle = idle_[connection.target().get()];
  idle.target = connection.target();
  idle.connections.PushFront(connection);
  ++idle.count;
  idle.target->CountIdle(1);
  if (idle.count <= idle_max) return;
  Connection* oldest = idle.connections.back();
  LeaveIdle(*oldest);
  oldest->Close();
}

void Agent::LeaveIdle(Connection& connection) {
  Idle& idle = idle_[connection.target().get()];
  connection.base::ListNode<ConnectionTag>::Unlink();
  --idle.count;
  connection.target()->CountIdle(-1);
}

void Agent::Gone(Connection& connection) { connections_.erase(&connection); }

void Agent::DropRetired() {
  for (auto it = idle_.begin(); it != idle_.end();) {
    if (it->second.target->retired()) {
      while (Connection* connection = it->second.connections.front()) {
        LeaveIdle(*connection);
        connection->Close();
      }
    }
    it = it->second.count == 0 ? idle_.erase(it) : std::next(it);
  }
}

}  // namespace catzilla::upstream
