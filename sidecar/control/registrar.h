// What apps have registered: leases, generations, takeovers, orphans.
//
//   (none) --Registration--> live --stream ends--> orphaned --Registration--> live
//                                                     \--Remove, linger--> (none)
//
// A table enters the configuration when its generation has switched, that is, when enough workers
// are attached: the first one too, so no route is published that nobody answers. Until then the app
// has its pool only, and a sidecar without anything else is not ready.
//
// Threads: any; OnPoolEvent() only queues, its work is done on a thread of its own (which also ends
//          lingering orphans). mutex_ is taken before the store's locks; sessions are called under
//          it and must not call back.
// Owns:    the registrations. Limits: kAppsMax apps; kEventsMax queued events, the oldest are
//          dropped.
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

class Registrar {
 public:
  static constexpr size_t kAppsMax = 64;
  static constexpr size_t kEventsMax = 4096;

  // `wall_clock_us` stamps, `monotonic_us` measures lingering.
  Registrar(schema::ConfigStore& store, Backend& backend, std::function<int64_t()> wall_clock_us,
            std::function<int64_t()> monotonic_us);
  ~Registrar();
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  // Of one stream; answers go through the session.
  std::optional<Failure> OnMessage(Session& session, const Peer& peer,
                                   const v1::RegisterRequest& request);
  void OnClosed(Session& session);  // It is not called any more once this has returned.

  void OnPoolEvent(PoolEvent event);  // Never blocks.

  std::optional<Failure> Remove(const std::string& app);
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

  struct App {
    v1::Registration registration;  // The last one that was accepted.
    bool trusted = false;
    Session* session = nullptr;  // Null: orphaned.
    GenerationId generation;     // Whose table is in the configuration; number 0: none.
    Ticket ticket;               // Of the newest generation.
    std::optional<v1::Registration> pending;  // Of the newest generation, until it has switched.
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
  schema::Outcome Configure(const std::string& name, const v1::Registration& registration,
                            bool trusted, bool dry_run) CATZILLA_REQUIRES(mutex_);
  void Work(const PoolEvent& event) CATZILLA_REQUIRES(mutex_);
  void EndLingering() CATZILLA_REQUIRES(mutex_);
  void Run();

  schema::ConfigStore& store_;
  Backend& backend_;
  const std::function<int64_t()> wall_clock_us_;
  const std::function<int64_t()> monotonic_us_;
  mutable base::Mutex mutex_;
  std::map<std::string, App> apps_ CATZILLA_GUARDED_BY(mutex_);
  std::map<Session*, std::string> seats_ CATZILLA_GUARDED_BY(mutex_);  // Session -> app.

  base::Mutex queue_mutex_;  // Innermost: OnPoolEvent() may be called under any lock.
  base::CondVar queue_changed_;
  std::deque<PoolEvent> queue_ CATZILLA_GUARDED_BY(queue_mutex_);
  bool working_ CATZILLA_GUARDED_BY(queue_mutex_) = false;
  bool stopping_ CATZILLA_GUARDED_BY(queue_mutex_) = false;
  std::thread thread_;
};

}  // namespace catzilla::control
