// All pools by name; generations and tokens for the control plane; the way from pools to
// connections.
//
// Threads: any. Dispatchers and the acceptor are made known before the loops run and stay until
//          they have stopped.
// Owns:    the pools; they live as long as somebody holds them. A removed pool drains first.
// Limits:  kPoolsMax pools in a plan; with those of plans before that a loop may still serve,
//          kPoolsHeldMax.
// Fails:   with a sentence, for the control plane to pass on.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/base/result.h"
#include "sidecar/worker/pool.h"
#include "sidecar/worker/stack_dump.h"

namespace catzilla::worker {

class Dispatcher;

struct RegistryOptions {
  uint64_t epoch = 1;  // Of this start of the sidecar: its wall clock in µs, for instance.
  int loops = 1;
  std::string socket_path;  // What BeginGeneration() tells the SDK.
  std::string version = "0.1.0";
  uint32_t stream_window = 256 * 1024;
  uint32_t data_bytes_max = 64 * 1024;
  int64_t ping_interval_us = 10'000'000;
  int64_t drain_timeout_us = 30'000'000;
  // Heads of either direction fit any limit that can be configured, so that limits are live.
  uint32_t head_bytes_max = 1024 * 1024;
};

// How the acceptor's control connections are told.
class ControlLinks {
 public:
  virtual void PostControlGoaway(std::string pool, uint64_t generation, uint64_t worker_id,
                                 GoawayCode code) = 0;
  // False: they take no questions now.
  virtual bool PostDump(std::shared_ptr<StackDump> dump) = 0;

 protected:
  ~ControlLinks() = default;
};

class Registry final : private PoolLinks {
 public:
  explicit Registry(RegistryOptions options);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  static constexpr size_t kPoolsMax = 64;
  static constexpr size_t kPoolsHeldMax = 8 * kPoolsMax;
  const RegistryOptions& options() const { return options_; }
  // Live, for drains that begin from now on.
  void SetDrainTimeout(int64_t us) { drain_timeout_us_.store(us); }
  int64_t drain_timeout_us() const { return drain_timeout_us_.load(std::memory_order_relaxed); }

  // Assembly, before any loop runs.
  void SetDispatcher(Dispatcher& dispatcher);
  void SetControlLinks(ControlLinks* links) { control_ = links; }
  void SetEvents(EventSink* sink) { events_ = sink; }

  // Makes the pool, or changes it. Null: there are kPoolsHeldMax already.
  std::shared_ptr<Pool> Configure(const config::Pool& config);
  std::shared_ptr<Pool> Find(std::string_view name) const;
  // Which generation of a pool a plan names; 0: none.
  struct Serving {
    std::string pool;
    uint64_t generation = 0;
  };
  // Every loop serves a plan with these pools: older generations, and pools that are not among
  // them, are over. REQUIRES: no newer plan is being made (it may name what this one does not).
  void Settle(const std::vector<Serving>& pools);

  struct Ticket {
    GenerationId generation;
    std::string token;  // kTokenBytes random bytes.
    std::string socket_path;
  };
  // New code: a new generation, which may take over when `min_ready` of its workers are ready (0
  // counts as 1); kPrepared tells of it. The pool must have been configured. `table_hash` has
  // kTableHashBytes.
  base::Result<Ticket, std::string> BeginGeneration(std::string_view pool, std::string table_hash,
                                                    uint32_t min_ready);
  // The registration stream of the generation has ended, or a new one of the same instance goes on
  // with it. False: there is no such generation any more.
  bool Orphan(std::string_view pool, const GenerationId& generation);
  bool Resume(std::string_view pool, const GenerationId& generation);
  // Tells one worker to finish and restart (`worker restart`).
  bool Recycle(std::string_view pool, uint64_t worker_id);
  // Where the threads and tasks of these workers stand (empty pool, pid 0: of all). Waits for their
  // answers, at most so long. One at a time; the error says that there is one.
  base::Result<std::vector<StackDump::Answer>, std::string> DumpStacks(std::string pool,
                                                                       uint32_t pid,
                                                                       int64_t timeout_us);

  std::vector<PoolStatus> List() const;

  // For the link's own parts.
  void Emit(const std::vector<WorkerEvent>& events);
  uint64_t NextWorkerId() { return next_worker_id_.fetch_add(1) + 1; }
  uint32_t NextLaneId() { return next_lane_id_.fetch_add(1) + 1; }
  Dispatcher* dispatcher(int loop) const { return dispatchers_[static_cast<size_t>(loop)]; }

 private:
  bool PostGrant(std::shared_ptr<Pool> pool, int loop, Call* call, uint32_t epoch,
                 base::Ref<Worker> worker) override;
  void PostFailure(int loop, Call* call, uint32_t epoch, FailureKind kind) override;
  void PostGoaway(std::shared_ptr<Pool> pool, uint64_t generation, uint64_t worker_id,
                  GoawayCode code) override;
  bool SetLeased(std::string_view pool, const GenerationId& generation, bool leased);

  const RegistryOptions options_;
  std::atomic<int64_t> drain_timeout_us_;
  std::vector<Dispatcher*> dispatchers_;  // By loop.
  ControlLinks* control_ = nullptr;
  EventSink* events_ = nullptr;
  std::atomic<uint64_t> next_worker_id_{0};
  std::atomic<uint32_t> next_lane_id_{0};
  std::atomic<bool> dumping_{false};
  mutable base::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Pool>, std::less<>> pools_ CATZILLA_GUARDED_BY(mutex_);
};

}  // namespace catzilla::worker
