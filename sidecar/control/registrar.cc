#include "sidecar/control/registrar.h"

#include <algorithm>

#include "sidecar/schema/units.h"
#include "sidecar/schema/validate.h"

namespace catzilla::control {
namespace {

void SetGeneration(const GenerationId& from, v1::Generation* to) {
  to->set_boot_epoch(from.boot_epoch);
  to->set_number(from.number);
}

bool SameTable(const v1::Registration& a, const v1::Registration& b) {
  return a.code_hash() == b.code_hash() && a.has_table() == b.has_table() &&
         a.table().hash() == b.table().hash();
}

// What a pool needs to exist, and nothing that is served: paths without a route are not its either.
v1::Registration WithoutTable(const v1::Registration& registration) {
  v1::Registration bare = registration;
  bare.clear_table();
  bare.mutable_table()->set_unmatched(v1::UNMATCHED_SIDECAR);
  bare.clear_mounts();
  bare.clear_caches();
  return bare;
}

}  // namespace

Failure Refused(const std::string& app, const schema::Diagnostics& diagnostics) {
  Failure failure;
  failure.message = "the registration of " + app + " is refused";
  bool forbidden = true;
  for (const schema::Diagnostic& diagnostic : diagnostics) {
    if (diagnostic.severity != schema::Severity::kError) continue;
    if (failure.diagnostics.empty()) failure.message += ": " + schema::Format(diagnostic);
    failure.diagnostics.push_back(diagnostic);
    forbidden = forbidden && (diagnostic.code == schema::Code::kOutsidePrefixes ||
                              diagnostic.code == schema::Code::kOutsideRoots);
  }
  failure.code = forbidden ? Failure::Code::kPermissionDenied : Failure::Code::kInvalidArgument;
  return failure;
}

Registrar::Registrar(Parts parts)
    : store_(parts.store),
      backend_(parts.backend),
      wall_clock_us_(std::move(parts.wall_clock_us)),
      monotonic_us_(std::move(parts.monotonic_us)),
      complain_(std::move(parts.complain)),
      thread_([this] { Run(); }) {}

Registrar::~Registrar() {
  {
    base::MutexLock lock(queue_mutex_);
    stopping_ = true;
    queue_changed_.SignalAll();
  }
  thread_.join();
}

// A stream says something...

std::optional<Failure> Registrar::OnMessage(Session& session, const Peer& peer,
                                            const v1::RegisterRequest& request) {
  base::MutexLock lock(mutex_);
  if (request.has_registration()) return Register(session, peer, request.registration());
  const auto seat = seats_.find(&session);
  if (seat == seats_.end()) {
    return Failure{Failure::Code::kFailedPrecondition,
                   "the first message of the stream must be a registration",
                   {}};
  }
  if (request.has_report()) apps_[seat->second].report = Bounded(request.report());
  return std::nullopt;
}

std::optional<Failure> Registrar::Register(Session& session, const Peer& peer,
                                           const v1::Registration& registration) {
  const std::string& name = registration.app();
  if (!schema::IsName(name)) {
    return Failure{
        Failure::Code::kInvalidArgument,
        "\"" + name + "\" is no name for an app (use 1 to 64 letters, digits, '.', '_' or '-')",
        {}};
  }
  if (registration.instance_id().empty() || registration.instance_id().size() > 128) {
    return Failure{Failure::Code::kInvalidArgument, "instance_id needs 1 to 128 bytes", {}};
  }
  if (auto failure = TakeSeat(session, registration)) return failure;
  if (registration.has_table()) {
    schema::Outcome check = Configure(name, registration, 0, peer.own_user, true);
    if (!check.ok()) return Refused(name, check.diagnostics);
  }

  App& app = apps_[name];
  const bool resumes = app.registration.instance_id() == registration.instance_id() &&
                       registration.has_table() && app.ticket.generation.number != 0 &&
                       SameTable(app.pending ? *app.pending : app.registration, registration) &&
                       backend_.Resume(name, app.ticket.generation);
  if (app.session != &session) app.since_us = wall_clock_us_();
  app.session = &session;
  app.orphaned_at_us = 0;
  seats_[&session] = name;
  uint64_t served = 0;  // What the answer is to wait for.
  if (resumes) {
    if (app.generation.number != 0) backend_.Resume(name, app.generation);
    if (app.pending) {
      app.pending = registration;
    } else {
      schema::Outcome outcome =
          Configure(name, registration, app.generation.number, peer.own_user, false);
      if (!outcome.ok()) return Refused(name, outcome.diagnostics);
      app.registration = registration;
      if (outcome.applied == schema::Applied::kChanged) served = outcome.version;
    }
  } else if (registration.has_table()) {
    if (auto failure = NewGeneration(app, registration, peer.own_user)) return failure;
  } else if (app.generation.number == 0) {
    app.registration = registration;
    app.pending.reset();  // Another instance's, or older: its workers switch nothing any more.
  } else {
    // A new instance that is not imported yet: what is served stays, with its table.
    const v1::RouteTable table = app.registration.table();
    const auto mounts = app.registration.mounts();
    const auto caches = app.registration.caches();
    app.registration = registration;
    *app.registration.mutable_table() = table;
    *app.registration.mutable_mounts() = mounts;
    *app.registration.mutable_caches() = caches;
    app.registration.clear_code_hash();  // Its own table has yet to come: nothing to resume.
  }
  app.trusted = peer.own_user;

  v1::RegisterResponse response;
  v1::Registered* registered = response.mutable_registered();
  registered->set_pool(name);
  registered->set_resumed(resumes);
  if (registration.has_table()) {
    SetGeneration(app.ticket.generation, registered->mutable_generation());
    registered->set_attach_token(app.ticket.token);
    registered->set_worker_socket(app.ticket.worker_socket);
  }
  const auto version = store_.Current();
  registered->set_config_version(version->number);
  for (const schema::Diagnostic& diagnostic : version->diagnostics) {
    const bool ours = diagnostic.path.starts_with("routes[" + name + "#") ||
                      diagnostic.code == schema::Code::kShadowed;
    if (ours) schema::ToProto(diagnostic, registered->add_diagnostics());
  }
  if (served != 0 && !backend_.AwaitServed(served)) {
    schema::ToProto({schema::Code::kNotServedYet, schema::Severity::kWarning, "", 0,
                     "a loop of the sidecar does not serve this registration yet", "", ""},
                    registered->add_diagnostics());
  }
  session.Send(std::move(response));
  if (resumes && app.switched == app.ticket.generation) {
    // The switch may have been told to a stream that had just broken.
    v1::RegisterResponse again;
    SetGeneration(app.generation, again.mutable_workers_ready()->mutable_generation());
    again.mutable_workers_ready()->set_ready(app.ready);
    again.mutable_workers_ready()->set_switched(true);
    session.Send(std::move(again));
  }
  return std::nullopt;
}

// Decides whether this stream may speak for the app; ends the one that did before.
std::optional<Failure> Registrar::TakeSeat(Session& session, const v1::Registration& registration) {
  const std::string& name = registration.app();
  const auto seat = seats_.find(&session);
  if (seat != seats_.end() && seat->second != name) {
    return Failure{
        Failure::Code::kInvalidArgument,
        "this stream is the lease of " + seat->second + " (open another one for " + name + ")",
        {}};
  }
  const auto found = apps_.find(name);
  if (found == apps_.end()) {
    if (apps_.size() < kAppsMax) return std::nullopt;
    return Failure{Failure::Code::kResourceExhausted,
                   "there are " + std::to_string(kAppsMax) + " apps already (remove orphaned ones)",
                   {}};
  }
  App& app = found->second;
  for (const auto& [instance, by] : app.superseded) {
    if (instance != registration.instance_id()) continue;
    return Failure{
        Failure::Code::kFailedPrecondition,
        "superseded by instance " + by + " (a new start takes over, an old one does not)",
        {}};
  }
  if (app.session == nullptr) {
    Supersede(app, registration.instance_id());
    return std::nullopt;
  }
  if (app.session == &session) return std::nullopt;
  const bool same = app.registration.instance_id() == registration.instance_id();
  if (!same && !registration.takeover()) {
    return Failure{Failure::Code::kAlreadyExists,
                   "another live instance (" + app.registration.instance_id() + ", pid " +
                       std::to_string(app.registration.sdk().pid()) + ") holds the app " + name +
                       " (stop it, or start this one with takeover)",
                   {}};
  }
  if (!same) {
    v1::RegisterResponse event;
    event.mutable_superseded()->set_by_instance_id(registration.instance_id());
    app.session->Send(std::move(event));
    Supersede(app, registration.instance_id());
  }
  app.session->End(
      {Failure::Code::kAborted,
       same ? "a newer stream of this instance goes on" : "another instance has taken over",
       {}});
  seats_.erase(app.session);
  app.session = nullptr;
  return std::nullopt;
}

void Registrar::Supersede(App& app, const std::string& by) {
  const std::string& before = app.registration.instance_id();
  if (before.empty() || before == by) return;
  app.superseded.emplace_back(before, by);
  if (app.superseded.size() > kSupersededMax) app.superseded.pop_front();
}

std::optional<Failure> Registrar::NewGeneration(App& app, const v1::Registration& registration,
                                                bool trusted) {
  const std::string& name = registration.app();
  // Workers attach to a pool, so the pool comes first. What is served comes with the switch, also
  // the first time: a route without a worker would only make clients wait for the queue's timeout.
  const bool first = app.generation.number == 0;
  if (first) {
    schema::Outcome outcome = Configure(name, WithoutTable(registration), 0, trusted, false);
    if (!outcome.ok()) return Refused(name, outcome.diagnostics);
  }
  auto ticket =
      backend_.BeginGeneration(name, registration.table().hash(), registration.workers_min_ready());
  if (!ticket) {
    Failure failure{Failure::Code::kInvalidArgument, ticket.error(), {}};
    if (!first) return failure;
    schema::ChangeOptions options;
    options.origin = "app " + name;
    schema::Outcome outcome = store_.SetApp(name, nullptr, options);
    if (!outcome.ok()) {
      failure.message += "; its pool stays: " + Refused(name, outcome.diagnostics).message;
    }
    return failure;
  }
  app.ticket = *ticket;
  app.ready = 0;
  app.refusal.clear();
  app.pending = registration;
  if (first) app.registration = WithoutTable(registration);
  // Until then the new instance is who holds the app.
  app.registration.set_instance_id(registration.instance_id());
  *app.registration.mutable_sdk() = registration.sdk();
  app.registration.set_workers_expected(registration.workers_expected());
  return std::nullopt;
}

schema::Outcome Registrar::Configure(const std::string& name, const v1::Registration& registration,
                                     uint64_t generation, bool trusted, bool dry_run) {
  auto layer = std::make_shared<schema::AppLayer>();
  layer->registration = registration;
  layer->trusted = trusted;
  layer->generation = generation;
  schema::ChangeOptions options;
  options.dry_run = dry_run;
  options.origin = "app " + name;
  return store_.SetApp(name, std::move(layer), options);
}

void Registrar::OnClosed(Session& session) {
  base::MutexLock lock(mutex_);
  const auto seat = seats_.find(&session);
  if (seat == seats_.end()) return;
  const std::string name = seat->second;
  seats_.erase(seat);
  App& app = apps_[name];
  if (app.session != &session) return;
  app.session = nullptr;
  if (app.ticket.generation.number == 0) {
    apps_.erase(name);  // It never had anything that could be served.
    return;
  }
  app.orphaned_at_us = wall_clock_us_();
  app.orphaned_since_us = monotonic_us_();
  if (app.generation.number != 0) backend_.Orphan(name, app.generation);
  if (app.ticket.generation != app.generation) backend_.Orphan(name, app.ticket.generation);
}

// Operators...

std::optional<Failure> Registrar::Remove(const std::string& name) {
  uint64_t version = 0;
  if (auto failure = Remove(name, &version)) return failure;
  if (backend_.AwaitServed(version)) return std::nullopt;
  return Failure{Failure::Code::kUnavailable,
                 name + " is removed, but a loop of the sidecar serves it still",
                 {}};
}

std::optional<Failure> Registrar::Remove(const std::string& name, uint64_t* version) {
  base::MutexLock lock(mutex_);
  const auto found = apps_.find(name);
  if (found == apps_.end())
    return Failure{Failure::Code::kNotFound, "no app is named \"" + name + "\"", {}};
  if (found->second.session != nullptr) {
    return Failure{Failure::Code::kFailedPrecondition,
                   name + " is live (stop it first; its routes then stay until removed)",
                   {}};
  }
  schema::ChangeOptions options;
  options.origin = "removal of app " + name;
  schema::Outcome outcome = store_.SetApp(name, nullptr, options);
  if (!outcome.ok()) return Refused(name, outcome.diagnostics);
  *version = outcome.version;
  apps_.erase(found);
  return std::nullopt;
}

void Registrar::AnnounceDrain(const std::string& reason, int64_t timeout_us) {
  base::MutexLock lock(mutex_);
  for (auto& [name, app] : apps_) {
    if (app.session == nullptr) continue;
    v1::RegisterResponse event;
    event.mutable_drain()->set_reason(reason);
    event.mutable_drain()->set_timeout_ms(static_cast<uint64_t>(timeout_us / 1000));
    app.session->Send(std::move(event));
  }
}

}  // namespace catzilla::control
