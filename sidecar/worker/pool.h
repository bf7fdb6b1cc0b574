// What the loops share of one pool of workers: its generations with their processes, the admission
// count and the queues of requests that wait.
//
// Threads: any, unless a line says otherwise. TryAcquire/Release and the numbers are atomics; the
//          generations, their queues and lists of workers are under one mutex that is never held
//          while anything is called back.
// Owns:    Generations by reference until they are over and empty; Calls that wait belong to their
//          dispatchers.
// Limits:  queue_max by count, queue_timeout by age (each loop's wheel); kWorkersMax, kLanesMax,
//          kLoopsMax.
// Order:   the oldest waiter of all loops gets the next free credit of its generation; a request
//          never overtakes that queue, and never crosses to another generation.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/base/mutex.h"
#include "sidecar/base/ref.h"
#include "sidecar/base/result.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/origin/queue_wait.h"
#include "sidecar/worker/call.h"
#include "sidecar/worker/generation.h"
#include "sidecar/worker/payload.h"

namespace catzilla::worker {

inline constexpr size_t kWorkersMax = 256;  // Processes of one pool, all generations.
inline constexpr uint32_t kLanesMax = 64;   // Of one process; one on each loop is what it needs.
inline constexpr int64_t kSaturationUs = 10'000'000;  // How long a pool passes for saturated.

// How the pool reaches the connections; implemented by dispatchers and the acceptor's registry.
class PoolLinks {
 public:
  // `worker` may have the call; false: the loop cannot be told now.
  virtual bool PostGrant(std::shared_ptr<Pool> pool, int loop, Call* call, uint32_t epoch,
                         base::Ref<Worker> worker) = 0;
  // The queued call will not be answered.
  virtual void PostFailure(int loop, Call* call, uint32_t epoch, FailureKind kind) = 0;
  // Every connection of the generation (worker_id 0), or of one worker: GOAWAY, drain, close.
  virtual void PostGoaway(std::shared_ptr<Pool> pool, uint64_t generation, uint64_t worker_id,
                          GoawayCode code) = 0;

 protected:
  ~PoolLinks() = default;
};

// One worker as `worker ls` and the metrics show it.
struct WorkerStatus {
  enum class State : uint8_t { kStarting, kReady, kDraining, kRecycling };
  State state = State::kStarting;
  GenerationId generation;
  uint64_t id = 0;
  uint32_t pid = 0;
  uint32_t index = 0;
  uint64_t start_time_us = 0;
  uint32_t lanes = 0;
  uint32_t in_flight = 0;
  uint32_t credits = 0;
  uint32_t sockets = 0;  // WebSockets.
  uint64_t requests = 0;
  uint64_t rss_bytes = 0;
  uint64_t pings_missed = 0;
  uint64_t handler_us = 0;
  uint32_t loop_lag_us = 0;
  std::string sdk, python, framework, note;
};
std::string_view WorkerStateName(WorkerStatus::State state);

using origin::kQueueWaitBounds;
struct PoolStatus {
  std::string name;
  GenerationId active;  // number 0: none yet.
  GenerationId newest;
  bool leased = false;                   // A registration stream holds it.
  bool orphaned = false;                 // There was one.
  int64_t saturated_us = INT64_MIN / 2;  // When a request was last refused for want of credits.
  uint32_t queued = 0;
  uint32_t queue_max = 0;
  uint32_t in_flight = 0;
  uint32_t sockets = 0;
  uint32_t sockets_max = 0;
  uint64_t requests = 0;
  uint64_t retries = 0;
  std::array<uint64_t, kAnswerLanes> answers{};    // By the SDK's lane: slow, stack, fast.
  std::array<uint64_t, kFailureKinds> failures{};  // By FailureKind.
  std::array<uint64_t, kQueueWaitBounds.size() + 1> queue_wait{};  // Not cumulative.
  uint64_t queue_wait_us = 0;
  std::vector<WorkerStatus> workers;
};

// Whether that was lately: what the log, the metric and `worker ls` call saturated.
bool IsSaturated(const PoolStatus& pool, int64_t now_us);

class Pool final : public std::enable_shared_from_this<Pool> {
 public:
  // `loops`: how many there are; each worker needs a lane on each.
  Pool(std::string name, uint64_t epoch, int loops, PoolLinks& links);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  const std::string& name() const { return name_; }

  // Live: takes effect with the next request, also for the credits of workers that are attached.
  void Configure(const config::Pool& config);
  uint32_t credits_per_worker() const { return Get(credits_per_worker_); }
  // Larger heads of answers are refused, each for itself.
  void SetResponseHeadMax(uint32_t bytes) { response_head_bytes_max_.store(bytes); }
  uint32_t response_head_bytes_max() const { return Get(response_head_bytes_max_); }
  uint32_t retry_after_s() const { return Get(retry_after_s_); }
  int64_t queue_timeout_us() const { return Get(queue_timeout_us_); }
  int64_t request_timeout_us() const { return Get(request_timeout_us_); }
  int64_t hard_timeout_us() const;

  // Generations, from the control threads.
  GenerationId BeginGeneration(std::string token, std::string table_hash, uint32_t min_ready);
  // What a plan holds whose table is of this generation; 0: none yet, and requests wait for the
  // first. From now on what older ones answer is not kept for later requests.
  base::Ref<Generation> Publish(uint64_t generation);
  // Every loop serves a plan that names this one: the others are over. They finish and go; what
  // waits for them is given back to be routed anew.
  void Activate(uint64_t generation, std::vector<WorkerEvent>* events);
  // False: there is no such generation, or it is over.
  bool SetLeased(uint64_t generation, bool leased);
  // The pool is in no plan any more: all its generations are over.
  void Retire();
  // Nothing comes after this: what holds the pool from inside lets go. REQUIRES: no loop runs.
  void Dissolve();

  // Attaching, from the acceptor and the dispatchers. What follows is appended to `events`.
  struct Refusal {
    GoawayCode code = GoawayCode::kProtocol;
    std::string sentence;
  };
  base::Result<base::Ref<Worker>, Refusal> Attach(const Hello& hello, uint64_t worker_id);
  void LaneAttached(Worker& worker, int loop, std::vector<WorkerEvent>* events);
  // `clean`: after GOAWAY.
  void LaneDetached(Worker& worker, int loop, bool clean, std::vector<WorkerEvent>* events);
  void ControlDetached(Worker& worker, bool clean, std::vector<WorkerEvent>* events);
  void Drain(Worker& worker) { worker.draining.store(true); }
  // A request has not ended at its hard deadline.
  void HardTimeout(Worker& worker, uint32_t route_id, int64_t age_us,
                   std::vector<WorkerEvent>* events);

  // Admission, from the loops.
  // Something to say of requests that are refused for want of credits: at most once in
  // kSaturationUs, whichever loop meets it first.
  void NoteSaturation(int64_t now_us, std::vector<WorkerEvent>* events);
  // Takes a credit of this worker if it has one.
  bool TryAcquire(Worker& worker);
  void Release(Worker& worker);
  // CREDIT(0, n): how many the worker wants at most from now on.
  void SetCeiling(Worker& worker, uint32_t ceiling);

  enum class Admission : uint8_t {
    kQueued,
    kFull,
    kHopeless,    // No usable worker, and no lease that will bring one.
    kSuperseded,  // The call's generation is over.
  };
  // Into the queue of its generation. `retried`: goes to the front, past the limit.
  Admission Enqueue(Call& call, int loop, bool retried);
  // False: it was not in the queue; a grant is on its way.
  bool Remove(Call& call);

  // GOAWAY(recycle) to one worker: it finishes and is replaced. False: there is none with this id.
  bool Recycle(uint64_t worker_id);

  // Counted by the loops.
  void CountFailure(int loop, FailureKind kind) { Bump(numbers_[loop].failures[size_t(kind)]); }
  void CountRequest(int loop) { Bump(numbers_[loop].requests); }
  // `lane`: of the SDK, as the RESPONSE says; a number that we do not know counts as slow.
  void CountAnswer(int loop, uint8_t lane) {
    Bump(numbers_[loop].answers[lane < kAnswerLanes ? lane : 0]);
  }
  // A WebSocket more, if max_websockets allows it.
  bool TryOpenSocket();
  void CloseSocket() { sockets_.fetch_sub(1, std::memory_order_relaxed); }

  void CountRetry(int loop) { Bump(numbers_[loop].retries); }
  void CountQueueWait(int loop, int64_t wait_us);

  PoolStatus Status() const;
  uint64_t active_generation() const { return active_.load(std::memory_order_acquire); }
  // The newest that a plan names.
  uint64_t published_generation() const { return published_.load(std::memory_order_acquire); }
  // Whether a worker has been there, ever since the sidecar has started.
  bool ever_ready() const { return ever_ready_.load(std::memory_order_relaxed); }

 private:
  using Phase = Generation::Phase;
  struct Goaway {
    uint64_t generation;
    uint64_t worker_id;
    GoawayCode code;
  };
  // One loop's counters; single writer.
  struct alignas(64) Numbers {
    std::array<std::atomic<uint64_t>, kFailureKinds> failures{};
    std::atomic<uint64_t> requests{0};
    std::atomic<uint64_t> retries{0};
    std::array<std::atomic<uint64_t>, kAnswerLanes> answers{};
    std::array<std::atomic<uint64_t>, kQueueWaitBounds.size() + 1> queue_wait{};
    std::atomic<uint64_t> queue_wait_us{0};
  };

  template <typename T>
  static T Get(const std::atomic<T>& value) {
    return value.load(std::memory_order_relaxed);
  }
  static void Bump(std::atomic<uint64_t>& counter, uint64_t by = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  Generation* Find(uint64_t number) CATZILLA_REQUIRES(mutex_);
  // No more requests begin in it. `goaways`: what its workers are to be told.
  void End(Generation& generation, GoawayCode code, std::vector<Goaway>* goaways)
      CATZILLA_REQUIRES(mutex_);
  void ForgetOver() CATZILLA_REQUIRES(mutex_);
  WorkerEvent Event(WorkerEvent::Kind kind, const Worker& worker) const CATZILLA_REQUIRES(mutex_);
  uint32_t ReadyCount(const Generation& generation) const CATZILLA_REQUIRES(mutex_);
  void UpdateReady(Worker& worker, std::vector<WorkerEvent>* events) CATZILLA_REQUIRES(mutex_);
  void TellIfPrepared(Generation& generation, std::vector<WorkerEvent>* events)
      CATZILLA_REQUIRES(mutex_);
  void ForgetIfGone(Worker& worker, std::vector<WorkerEvent>* events) CATZILLA_REQUIRES(mutex_);
  bool Hopeful(const Generation& generation) const CATZILLA_REQUIRES(mutex_);
  base::Ref<Worker> AcquireAny(Generation& generation) CATZILLA_REQUIRES(mutex_);
  void Post(const std::vector<Goaway>& goaways);
  // Gives free credits to the oldest waiters; fails them all where there is no hope.
  void Grant();
  void GrantLocked() CATZILLA_REQUIRES(mutex_);
  void GrantLocked(Generation& generation) CATZILLA_REQUIRES(mutex_);
  void CountWaiting(Generation& generation, int more) CATZILLA_REQUIRES(mutex_);

  // Constant after construction.
  const std::string name_;
  const uint64_t epoch_;
  const int loops_;
  PoolLinks& links_;

  // Any thread.
  std::atomic<uint32_t> queue_max_{1024};
  std::atomic<uint32_t> credits_per_worker_{1024};
  std::atomic<uint32_t> sockets_max_{10'000};
  std::atomic<uint32_t> sockets_{0};  // From their handshakes to their handlers' ends.
  std::atomic<uint32_t> response_head_bytes_max_{64 * 1024};
  std::atomic<uint32_t> retry_after_s_{1};
  std::atomic<int64_t> queue_timeout_us_{5'000'000};
  std::atomic<int64_t> request_timeout_us_{60'000'000};
  std::atomic<int64_t> hard_timeout_us_{0};
  std::atomic<uint64_t> active_{0};
  std::atomic<uint64_t> published_{0};
  std::atomic<bool> ever_ready_{false};
  std::atomic<int64_t> saturation_said_us_{INT64_MIN / 2};
  std::atomic<int64_t> saturated_us_{INT64_MIN / 2};
  std::atomic<uint32_t> waiting_{0};  // In the queues of all generations.
  std::array<Numbers, kLoopsMax> numbers_;

  mutable base::Mutex mutex_;
  std::vector<base::Ref<Generation>> generations_ CATZILLA_GUARDED_BY(mutex_);
  uint64_t newest_ CATZILLA_GUARDED_BY(mutex_) = 0;
  bool ever_leased_ CATZILLA_GUARDED_BY(mutex_) = false;
};

}  // namespace catzilla::worker
