// What apps have registered: leases, generations, takeovers, orphans.
//
//   (none) --Registration--> live --stream ends--> orphaned --Registration--> live
//                                                     \--Remove, linger--> (none)
//
// A table enters the configuration when enough workers of its generation are attached: the first
// one too, so no route is published that nobody answers. Until then the app has its pool only, and
// a sidecar without anything else is not ready. Table, policies and generation are one version: if
// it is refused at that moment the generation before goes on whole, the app and operators are told,
// and it is tried again after every change of the configuration.
//
// Threads: any; OnPoolEvent() only queues, its work is done on a thread of its own (which also ends
//          lingering orphans). mutex_ is taken before the store's locks; sessions are called under
//          it and must not call back.
// Owns:    the registrations.
// Limits:  kAppsMax apps; kEventsMax queued events, then the oldest news of counts are dropped, and
//          the log says so. Takeovers never are; they are as many as registrations.
// Fails:   per message, with the status to end the stream with.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "catzilla/control/v1/pool_service.pb.h"
#include "catzilla/control/v1/route_service.pb.h"
#include "sidecar/base/mutex.h"
#include "sidecar/control/access.h"
#include "sidecar/control/backend.h"
#include "sidecar/schema/store.h"

namespace catzilla::control {

// A status without gRPC; the numbers are gRPC's.
struct Failure {
  enum class Code : int {
    kInvalidArgument = 3,
    kNotFound = 5,
    kAlreadyExists = 6,
    kPermissionDenied = 7,
    kResourceExhausted = 8,
    kFailedPrecondition = 9,
    kAborted = 10,
    kUnavailable = 14,
  };
  Code code = Code::kInvalidArgument;
  std::string message;
  schema::Diagnostics diagnostics;
};

// One registration stream, as the registrar sees it. Called under the registrar's mutex.
class Session {
 public:
  virtual ~Session() = default;
  virtual void Send(v1::RegisterResponse event) = 0;
  virtual void End(Failure failure) = 0;  // After what was sent before it.
};

// The code of a refusal: what the operator forbids is not the app's mistake.
Failure Refused(const std::string& app, const schema::Diagnostics& diagnostics);

class Registrar {
 public:
  static constexpr size_t kAppsMax = 64;
  static constexpr size_t kEventsMax = 4096;

  struct Parts {
    schema::ConfigStore& store;
    Backend& backend;
    std::function<int64_t()> wall_clock_us;                 // Stamps.
    std::function<int64_t()> monotonic_us;                  // Measures lingering.
    std::function<void(const std::string&)> complain = {};  // What nobody has asked and must know.
  };
  explicit Registrar(Parts parts);
  ~Registrar();
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  // Of one stream; answers go through the session.
  std::optional<Failure> OnMessage(Session& session, const Peer& peer,
                                   const v1::RegisterRequest& request);
  void OnClosed(Session& session);  // It is not called any more once this has returned.

  void OnPoolEvent(PoolEvent event);  // Never blocks.

  std::optional<Failure> Remove(const std::string& app);
  // Tells the supervisors to replace workers, as `pools` (complete) shows them. All of it or
  // nothing.
  std::optional<Failure> Restart(const v1::RestartRequest& request,
                                 const v1::PoolServiceListResponse& pools,
                                 const std::string& reason, v1::RestartResponse* out);
  void AnnounceDrain(const std::string& reason, int64_t timeout_us);

  void List(google::protobuf::RepeatedPtrField<v1::RegistrationState>* out) const;
  // Adds to the pools what only supervisors know: processes that are not attached, errors,
  // restarts.
  void Complete(v1::PoolServiceListResponse* pools) const;
  // Routes with lane, endpoint and reasons; empty `pool`: all apps'.
  void Routes(const std::string& pool, const schema::Version& version,
              v1::RouteServiceListResponse* out) const;

  void WaitUntilIdle();  // Tests: every queued event has been worked off.

 private:
  static constexpr size_t kSupersededMax = 64;
  static constexpr size_t kReportedWorkersMax = 1024;
  static constexpr size_t kReportedTextMax = 4 * 1024;
  static constexpr size_t kTracebackMax = 16 * 1024;

  struct App {
    v1::Registration registration;  // The last one that was accepted.
    bool trusted = false;
    Session* session = nullptr;  // Null: orphaned.
    GenerationId generation;     // Whose table is in the configuration; number 0: none.
    GenerationId switched;       // Whose table every loop serves.
    Ticket ticket;               // Of the newest generation.
    std::optional<v1::Registration> pending;  // Of the newest generation, until its table is in.
    std::string refusal;      // What of the app the configuration refused, for people...
    uint64_t refused_at = 0;  // ...and which version of it the pending table...
    uint64_t kept_at = 0;     // ...or the app's removal after app.linger.
    v1::WorkerReport report;
    uint32_t ready = 0;
    int64_t since_us = 0;
    int64_t orphaned_at_us = 0;     // Wall clock; 0: live.
    int64_t orphaned_since_us = 0;  // Monotonic.
    // Instances that another one has replaced, with the other's name; the oldest are forgotten.
    std::deque<std::pair<std::string, std::string>> superseded;
  };

  std::optional<Failure> Register(Session& session, const Peer& peer,
                                  const v1::Registration& registration) CATZILLA_REQUIRES(mutex_);
  std::optional<Failure> TakeSeat(Session& session, const v1::Registration& registration)
      CATZILLA_REQUIRES(mutex_);
  // Another instance than before speaks for the app from now on.
  void Supersede(App& app, const std::string& by) CATZILLA_REQUIRES(mutex_);
  std::optional<Failure> NewGeneration(App& app, const v1::Registration& registration, bool trusted)
      CATZILLA_REQUIRES(mutex_);
  // `generation`: who answers by this table; 0: it has none.
  schema::Outcome Configure(const std::string& name, const v1::Registration& registration,
                            uint64_t generation, bool trusted, bool dry_run)
      CATZILLA_REQUIRES(mutex_);
  std::optional<Failure> Remove(const std::string& app, uint64_t* version)
      CATZILLA_EXCLUDES(mutex_);
  void Work(const PoolEvent& event) CATZILLA_REQUIRES(mutex_);
  // The pending table, with its generation, or nothing of it.
  void TakeOver(const std::string& name, App& app) CATZILLA_REQUIRES(mutex_);
  void TryRefusedAgain() CATZILLA_REQUIRES(mutex_);
  void EndLingering() CATZILLA_REQUIRES(mutex_);
  void Run();
  void Complain(const std::string& sentence) const;
  static std::string LastError(const App& app);
  // What a report may hold: a supervisor is another program.
  static v1::WorkerReport Bounded(const v1::WorkerReport& report);

  schema::ConfigStore& store_;
  Backend& backend_;
  const std::function<int64_t()> wall_clock_us_;
  const std::function<int64_t()> monotonic_us_;
  const std::function<void(const std::string&)> complain_;
  mutable base::Mutex mutex_;
  std::map<std::string, App> apps_ CATZILLA_GUARDED_BY(mutex_);
  std::map<Session*, std::string> seats_ CATZILLA_GUARDED_BY(mutex_);  // Session -> app.

  base::Mutex queue_mutex_;  // Innermost: OnPoolEvent() may be called under any lock.
  base::CondVar queue_changed_;
  std::deque<PoolEvent> queue_ CATZILLA_GUARDED_BY(queue_mutex_);
  uint64_t dropped_ CATZILLA_GUARDED_BY(queue_mutex_) = 0;  // Since the log has told.
  bool working_ CATZILLA_GUARDED_BY(queue_mutex_) = false;
  bool stopping_ CATZILLA_GUARDED_BY(queue_mutex_) = false;
  std::thread thread_;
};

}  // namespace catzilla::control
