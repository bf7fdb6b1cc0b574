// What the control plane asks of the rest of the sidecar.
//
// Threads: called on gRPC's and the registrar's threads, several at a time; may block briefly
//          (locks, a message to the loops and back), never for long.
// Shape:   the generated messages without their services are the plain structs here.
#pragma once

#include <cstdint>
#include <string>

#include "catzilla/control/v1/cache_service.pb.h"
#include "catzilla/control/v1/pool_service.pb.h"
#include "catzilla/control/v1/sidecar_service.pb.h"
#include "catzilla/control/v1/stats_service.pb.h"
#include "sidecar/base/result.h"

namespace catzilla::control {

// What came of a question, with a sentence if it is not kOk.
struct Answer {
  enum class Kind : uint8_t { kOk, kInvalid, kNotFound, kUnavailable };
  Kind kind = Kind::kOk;
  std::string message;
};

struct GenerationId {
  uint64_t boot_epoch = 0;
  uint64_t number = 0;  // 0: none.
  bool operator==(const GenerationId&) const = default;
};

struct Ticket {
  GenerationId generation;
  std::string token;          // 16 random bytes.
  std::string worker_socket;  // Absolute path.
};

class Backend {
 public:
  // Everything about the process: state, problems, version, build, pid, started, loops, listeners,
  // ops_address, boot_epoch. The control room adds configuration and registrations.
  virtual void Status(v1::StatusResponse* out) = 0;
  virtual Answer Explain(const v1::ExplainRequest& request, v1::ExplainResponse* out) = 0;
  virtual void Memory(v1::MemoryResponse* out) = 0;
  // As SIGTERM; returns at once with how many requests are in flight.
  virtual uint64_t Drain(const std::string& reason) = 0;

  virtual Answer Purge(const v1::PurgeRequest& request, v1::PurgeResponse* out) = 0;
  virtual Answer Lookup(const v1::LookupRequest& request, v1::LookupResponse* out) = 0;
  virtual Answer CacheStats(const v1::CacheServiceStatsRequest& request,
                            v1::CacheServiceStatsResponse* out) = 0;
  virtual void Stats(v1::Stats* out) = 0;
  // All pools with their attached workers. The control room adds what the apps' supervisors report.
  virtual void Pools(v1::PoolServiceListResponse* out) = 0;
  // Waits for the workers, for at most the request's time. None that is meant: an empty answer.
  virtual Answer Dump(const v1::DumpRequest& request, v1::DumpResponse* out) = 0;

  // The pool is in the configuration by then. `table_hash` as registered.
  virtual base::Result<Ticket, std::string> BeginGeneration(const std::string& pool,
                                                            const std::string& table_hash,
                                                            uint32_t min_ready) = 0;
  // The lease of a generation has ended, or goes on. False: there is no such generation any more.
  virtual bool Orphan(const std::string& pool, const GenerationId& generation) = 0;
  virtual bool Resume(const std::string& pool, const GenerationId& generation) = 0;
  // Until every loop serves this version of the configuration, for a few seconds at most. False:
  // one does not yet.
  [[nodiscard]] virtual bool AwaitServed(uint64_t version) = 0;

 protected:
  ~Backend() = default;
};

// What happened to workers; runtime hands it to ControlServer::OnPoolEvent().
struct PoolEvent {
  enum class Kind : uint8_t {
    kReady,     // One more worker of the generation takes requests; `ready` of them do.
    kLost,      // One less; `ready` are left.
    kPrepared,  // Enough workers of the generation are ready: its table may be served.
    kSwitched,  // All routes are answered by this generation now, on every loop.
    kRecycle,   // Worker `pid` shall be replaced; `detail` says why.
    kRefused,   // A worker could not attach; `detail` is what it was told.
  };
  Kind kind = Kind::kReady;
  std::string pool;
  GenerationId generation;
  uint32_t pid = 0;
  uint32_t ready = 0;
  bool hard = false;  // Of kRecycle: it does not react any more.
  std::string detail;
};

}  // namespace catzilla::control
