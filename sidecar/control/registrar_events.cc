// The registrar's own thread: workers come and go, generations take over, orphans end.
#include <algorithm>

#include "sidecar/base/clock.h"
#include "sidecar/control/registrar.h"
#include "sidecar/schema/units.h"

namespace catzilla::control {
namespace {

constexpr int64_t kLookEveryUs = 500'000;  // For orphans and refused tables.

void SetGeneration(const GenerationId& from, v1::Generation* to) {
  to->set_boot_epoch(from.boot_epoch);
  to->set_number(from.number);
}

// The next event of the same generation says it again.
bool IsNewsOnly(const PoolEvent& event) {
  return event.kind == PoolEvent::Kind::kReady || event.kind == PoolEvent::Kind::kLost ||
         event.kind == PoolEvent::Kind::kRefused;
}

}  // namespace

void Registrar::OnPoolEvent(PoolEvent event) {
  base::MutexLock lock(queue_mutex_);
  if (queue_.size() >= kEventsMax) {
    const auto oldest = std::find_if(queue_.begin(), queue_.end(), IsNewsOnly);
    if (oldest != queue_.end()) {
      queue_.erase(oldest);
      ++dropped_;
    }
  }
  queue_.push_back(std::move(event));
  queue_changed_.SignalAll();
}

void Registrar::Run() {
  // Of the machine's clock: the one that measures lingering is the tests'.
  int64_t due_us = base::ReadClockMicros(CLOCK_MONOTONIC) + kLookEveryUs;
  for (;;) {
    std::optional<PoolEvent> event;
    uint64_t dropped = 0;
    {
      base::MutexLock lock(queue_mutex_);
      working_ = false;
      queue_changed_.SignalAll();
      const int64_t left_us = due_us - base::ReadClockMicros(CLOCK_MONOTONIC);
      if (queue_.empty() && !stopping_ && left_us > 0)
        queue_changed_.WaitFor(queue_mutex_, left_us);
      if (stopping_) return;
      if (!queue_.empty()) {
        event = std::move(queue_.front());
        queue_.pop_front();
        working_ = true;
      }
      std::swap(dropped, dropped_);
    }
    if (dropped > 0) {
      Complain(std::to_string(dropped) +
               " events of workers were dropped: more came than the control plane could tell");
    }
    base::MutexLock lock(mutex_);
    if (event) Work(*event);
    // Also between events that never pause: another app's workers may come and go all day.
    if (base::ReadClockMicros(CLOCK_MONOTONIC) < due_us) continue;
    TryRefusedAgain();
    EndLingering();
    due_us = base::ReadClockMicros(CLOCK_MONOTONIC) + kLookEveryUs;
  }
}

void Registrar::WaitUntilIdle() {
  base::MutexLock lock(queue_mutex_);
  while (!queue_.empty() || working_) queue_changed_.Wait(queue_mutex_);
}

void Registrar::Complain(const std::string& sentence) const {
  if (complain_) complain_(sentence);
}

void Registrar::Work(const PoolEvent& event) {
  const auto found = apps_.find(event.pool);
  if (found == apps_.end()) return;
  App& app = found->second;
  const bool newest = event.generation == app.ticket.generation;
  v1::RegisterResponse response;
  switch (event.kind) {
    case PoolEvent::Kind::kPrepared:
      if (!newest || !app.pending) return;
      app.ready = event.ready;
      return TakeOver(event.pool, app);
    case PoolEvent::Kind::kSwitched:
      app.switched = event.generation;
      [[fallthrough]];
    case PoolEvent::Kind::kReady:
    case PoolEvent::Kind::kLost:
      if (newest) app.ready = event.ready;
      if (event.kind == PoolEvent::Kind::kLost) return;
      SetGeneration(event.generation, response.mutable_workers_ready()->mutable_generation());
      response.mutable_workers_ready()->set_ready(event.ready);
      response.mutable_workers_ready()->set_switched(event.kind == PoolEvent::Kind::kSwitched);
      break;
    case PoolEvent::Kind::kRecycle:
      response.mutable_recycle()->set_pid(event.pid);
      SetGeneration(event.generation, response.mutable_recycle()->mutable_generation());
      response.mutable_recycle()->set_reason(event.detail);
      response.mutable_recycle()->set_hard(event.hard);
      break;
    case PoolEvent::Kind::kRefused:
      schema::ToProto(
          {schema::Code::kBadRegistration, schema::Severity::kWarning, "pools[" + event.pool + "]",
           0, "worker " + std::to_string(event.pid) + " could not attach: " + event.detail, "", ""},
          response.mutable_notice()->add_diagnostics());
      break;
  }
  if (app.session != nullptr) app.session->Send(std::move(response));
}

// The table was checked when it came; what an operator has changed since then may refuse it now.
// Then nothing of it is served, and all of the generation before is.
void Registrar::TakeOver(const std::string& name, App& app) {
  const uint64_t number = app.ticket.generation.number;
  const schema::Outcome outcome = Configure(name, *app.pending, number, app.trusted, false);
  if (outcome.ok()) {
    app.registration = *app.pending;
    app.pending.reset();
    app.generation = app.ticket.generation;
    app.refusal.clear();
    return;
  }
  const Failure failure = Refused(name, outcome.diagnostics);
  app.refused_at = outcome.version;
  app.refusal = "generation " + std::to_string(number) + " is ready and does not take over, " +
                (app.generation.number == 0
                     ? "nothing of it is served"
                     : "generation " + std::to_string(app.generation.number) + " goes on") +
                ": " + failure.message;
  if (app.session == nullptr) return;
  v1::RegisterResponse response;
  v1::Notice& notice = *response.mutable_notice();
  schema::ToProto({schema::Code::kTakeoverRefused, schema::Severity::kError, "pools[" + name + "]",
                   0, app.refusal, "correct what refuses it, or deploy again", ""},
                  notice.add_diagnostics());
  for (const auto& one : failure.diagnostics) schema::ToProto(one, notice.add_diagnostics());
  app.session->Send(std::move(response));
}

// Somebody may have corrected what refused it.
void Registrar::TryRefusedAgain() {
  const uint64_t version = store_.Current() == nullptr ? 0 : store_.Current()->number;
  for (auto& [name, app] : apps_) {
    const bool waits = app.pending && !app.refusal.empty() && app.refused_at != version;
    if (!waits || app.ready < std::max(1u, app.pending->workers_min_ready())) continue;
    app.refused_at = version;
    if (Configure(name, *app.pending, app.ticket.generation.number, app.trusted, true).ok()) {
      TakeOver(name, app);
    }
  }
}

void Registrar::EndLingering() {
  const auto version = store_.Current();
  if (version == nullptr || !version->merged.config.app().has_linger()) return;
  auto linger = schema::ParseDuration(version->merged.config.app().linger());
  if (!linger) return;
  const int64_t now = monotonic_us_();
  for (auto it = apps_.begin(); it != apps_.end();) {
    App& app = it->second;
    const bool over = app.orphaned_at_us != 0 && now - app.orphaned_since_us >= *linger;
    if (!over || app.kept_at == version->number) {
      ++it;
      continue;
    }
    schema::ChangeOptions options;
    options.origin = "app.linger";
    const schema::Outcome outcome = store_.SetApp(it->first, nullptr, options);
    if (outcome.ok()) {
      it = apps_.erase(it);
      continue;
    }
    // An operator's route may name its pool: it stays until the configuration lets it go.
    app.kept_at = outcome.version;
    app.refusal = "app.linger is over, and it cannot be removed: " +
                  Refused(it->first, outcome.diagnostics).message;
    Complain("app " + it->first + ": " + app.refusal);
    ++it;
  }
}

}  // namespace catzilla::control
