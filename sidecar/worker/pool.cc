#include "sidecar/worker/pool.h"

#include <algorithm>
#include <numeric>

#include "sidecar/base/check.h"
#include "sidecar/base/secret.h"

namespace catzilla::worker {

namespace {

bool IsSameProcess(const Worker& worker, const Hello& hello) {
  return worker.pid == hello.pid && worker.index == hello.worker_index &&
         worker.start_time_us == hello.start_time_us;
}

}  // namespace

Pool::Pool(std::string name, uint64_t epoch, int loops, PoolLinks& links)
    : name_(std::move(name)), epoch_(epoch), loops_(loops), links_(links) {
  CATZILLA_CHECK(loops >= 1 && loops <= kLoopsMax, "a pool needs one to eight loops");
}

Pool::~Pool() = default;

void Pool::Configure(const config::Pool& config) {
  queue_max_.store(config.queue_max, std::memory_order_relaxed);
  sockets_max_.store(config.sockets_max);
  const uint32_t credits = std::max(1u, config.credits_per_worker);
  if (credits_per_worker_.exchange(credits) != credits) {
    base::MutexLock lock(mutex_);
    for (const auto& generation : generations_) {
      for (const auto& worker : generation->workers_) {
        worker->ceiling.store(std::min(credits, worker->in_flight_max));
      }
    }
    GrantLocked();
  }
  retry_after_s_.store(config.retry_after_s, std::memory_order_relaxed);
  queue_timeout_us_.store(config.queue_timeout_us, std::memory_order_relaxed);
  request_timeout_us_.store(config.request_timeout_us, std::memory_order_relaxed);
  hard_timeout_us_.store(config.hard_timeout_us, std::memory_order_relaxed);
}

bool Pool::TryOpenSocket() {
  if (sockets_.fetch_add(1, std::memory_order_relaxed) < Get(sockets_max_)) return true;
  CloseSocket();
  return false;
}

int64_t Pool::hard_timeout_us() const {
  const int64_t hard = Get(hard_timeout_us_);
  return hard > 0 ? hard : 2 * request_timeout_us();
}

// Workers attach and go...

base::Result<base::Ref<Worker>, Pool::Refusal> Pool::Attach(const Hello& hello,
                                                            uint64_t worker_id) {
  base::MutexLock lock(mutex_);
  const auto refuse = [](GoawayCode code, std::string sentence) {
    return base::Fail(Refusal{code, std::move(sentence)});
  };
  Generation* generation =
      hello.epoch == epoch_ && hello.generation != 0 ? Find(hello.generation) : nullptr;
  if (generation == nullptr) {
    return refuse(
        GoawayCode::kGeneration,
        "pool " + name_ + " has no generation " + std::to_string(hello.generation) +
            " (the sidecar has restarted, or newer code has replaced it): register again");
  }
  if (!base::IsSecret(hello.token, generation->token_)) {
    return refuse(GoawayCode::kToken, "the attach token is not the one of this generation");
  }
  if (generation->phase_ == Phase::kOver) {
    return refuse(GoawayCode::kSuperseded, "a newer generation has taken over");
  }
  if (hello.table_hash != generation->table_hash_) {
    return refuse(GoawayCode::kTable,
                  "this worker's route table differs from the registered one: all workers of a "
                  "generation must run the same code with the same settings");
  }
  for (const auto& worker : generation->workers_) {
    if (!IsSameProcess(*worker, hello)) continue;
    if (hello.purpose != Purpose::kLane) {
      return refuse(GoawayCode::kProtocol, "this process has a control connection already");
    }
    // Those on their way to their loops are not counted yet.
    if (std::accumulate(worker->lanes_.begin(), worker->lanes_.end(), 0u) >= kLanesMax) {
      return refuse(GoawayCode::kTooMany,
                    "this worker has " + std::to_string(kLanesMax) + " lanes, no more are taken");
    }
    return worker;
  }
  if (hello.purpose == Purpose::kLane) {
    return refuse(GoawayCode::kProtocol, "open the control connection before the lanes");
  }
  size_t count = 0;
  for (const auto& other : generations_) count += other->workers_.size();
  if (count >= kWorkersMax) {
    return refuse(GoawayCode::kTooMany,
                  "the pool has " + std::to_string(count) + " workers, no more are taken");
  }
  auto worker = base::Ref<Worker>::Make(base::Ref<Generation>(generation));
  worker->id = worker_id;
  worker->generation = generation->id();
  worker->pid = hello.pid;
  worker->index = hello.worker_index;
  worker->start_time_us = hello.start_time_us;
  worker->in_flight_max = std::max(1u, hello.in_flight_max);
  worker->ceiling = std::min(credits_per_worker(), worker->in_flight_max);
  worker->takes_sockets = (hello.capabilities & kCapabilityWebSocket) != 0;
  worker->stream_window = hello.stream_window;
  worker->connection_window = hello.connection_window;
  worker->capabilities = hello.capabilities & kCapabilities;
  worker->rss_bytes = hello.rss_bytes;
  worker->sdk = hello.sdk;
  worker->python = hello.python;
  worker->framework = hello.framework;
  worker->note = hello.note;
  worker->control_ = true;
  generation->workers_.push_back(worker);
  return worker;
}

WorkerEvent Pool::Event(WorkerEvent::Kind kind, const Worker& worker) const {
  WorkerEvent event;
  event.kind = kind;
  event.pool = name_;
  event.generation = worker.generation;
  event.worker_id = worker.id;
  event.pid = worker.pid;
  for (const auto& generation : generations_) {
    if (generation->id() == worker.generation) event.ready = ReadyCount(*generation);
  }
  return event;
}

void Pool::UpdateReady(Worker& worker, std::vector<WorkerEvent>* events) {
  bool ready = worker.control_;
  for (int loop = 0; loop < loops_; ++loop) ready = ready && worker.lanes_[loop] > 0;
  const bool was_ready = worker.ready.exchange(ready);
  if (ready) ever_ready_.store(true, std::memory_order_relaxed);
  if (ready && !was_ready) events->push_back(Event(WorkerEvent::Kind::kReady, worker));
}

void Pool::LaneAttached(Worker& worker, int loop, std::vector<WorkerEvent>* events) {
  base::MutexLock lock(mutex_);
  ++worker.lanes_[loop];
  UpdateReady(worker, events);
  TellIfPrepared(*worker.home, events);
  GrantLocked();
}

void Pool::LaneDetached(Worker& worker, int loop, bool clean, std::vector<WorkerEvent>* events) {
  base::MutexLock lock(mutex_);
  CATZILLA_CHECK(worker.lanes_[loop] > 0, "a lane left a worker that had none");
  --worker.lanes_[loop];
  worker.said_goodbye_ |= clean;
  UpdateReady(worker, events);
  ForgetIfGone(worker, events);
  GrantLocked();
}

void Pool::ControlDetached(Worker& worker, bool clean, std::vector<WorkerEvent>* events) {
  bool lanes_left = false;
  {
    base::MutexLock lock(mutex_);
    worker.control_ = false;
    worker.draining.store(true);
    worker.said_goodbye_ |= clean;
    UpdateReady(worker, events);
    for (const uint32_t lanes : worker.lanes_) lanes_left |= lanes > 0;
    ForgetIfGone(worker, events);
    GrantLocked();
  }
  if (!lanes_left) return;
  // What runs on its lanes may finish; nothing new goes there.
  Post({{worker.generation.number, worker.id, GoawayCode::kDraining}});
}

// A worker is forgotten with its last connection.
void Pool::ForgetIfGone(Worker& worker, std::vector<WorkerEvent>* events) {
  if (worker.control_) return;
  for (const uint32_t lanes : worker.lanes_) {
    if (lanes > 0) return;
  }
  events->push_back(
      Event(worker.said_goodbye_ ? WorkerEvent::Kind::kLeft : WorkerEvent::Kind::kLost, worker));
  Generation& generation = *worker.home;
  std::erase_if(generation.workers_, [&](const auto& other) { return other.get() == &worker; });
  if (generation.phase_ != Phase::kOver || !generation.workers_.empty()) return;
  events->push_back(Event(WorkerEvent::Kind::kRetired, worker));
  ForgetOver();
}

void Pool::HardTimeout(Worker& worker, uint32_t route_id, int64_t age_us,
                       std::vector<WorkerEvent>* events) {
  if (worker.recycling.exchange(true)) return;
  worker.draining.store(true);
  {
    base::MutexLock lock(mutex_);
    WorkerEvent event = Event(WorkerEvent::Kind::kHardTimeout, worker);
    event.route_id = route_id;
    event.detail = "still runs after " + std::to_string(age_us / 1000) + " ms";
    events->push_back(std::move(event));
    GrantLocked();
  }
  Post({{worker.generation.number, worker.id, GoawayCode::kRecycle}});
}

bool Pool::Recycle(uint64_t worker_id) {
  uint64_t number = 0;
  {
    base::MutexLock lock(mutex_);
    for (const auto& generation : generations_) {
      for (const auto& worker : generation->workers_) {
        if (worker->id != worker_id) continue;
        worker->draining.store(true);
        number = generation->id().number;
      }
    }
  }
  if (number == 0) return false;
  Post({{number, worker_id, GoawayCode::kRecycle}});
  return true;
}

// Admission...

bool Pool::TryAcquire(Worker& worker) {
  uint32_t in_flight = worker.in_flight.load(std::memory_order_relaxed);
  while (in_flight < worker.ceiling.load(std::memory_order_relaxed)) {
    if (worker.in_flight.compare_exchange_weak(in_flight, in_flight + 1)) return true;
  }
  return false;
}

// The order matters: the credit is free before the queues are looked at, and Enqueue() queues
// before it looks for a credit, so that one of the two always sees the other.
void Pool::Release(Worker& worker) {
  const uint32_t before = worker.in_flight.fetch_sub(1, std::memory_order_seq_cst);
  CATZILLA_CHECK(before > 0, "a credit was returned twice");
  if (waiting_.load(std::memory_order_seq_cst) > 0) Grant();
}

void Pool::SetCeiling(Worker& worker, uint32_t ceiling) {
  worker.ceiling.store(std::min({ceiling, credits_per_worker(), worker.in_flight_max}));
  if (waiting_.load(std::memory_order_seq_cst) > 0) Grant();
}

void Pool::CountWaiting(Generation& generation, int more) {
  const auto add = [more](std::atomic<uint32_t>& count) {
    count.store(count.load(std::memory_order_relaxed) + static_cast<uint32_t>(more),
                std::memory_order_seq_cst);
  };
  add(generation.waiting_);
  add(waiting_);
}

Pool::Admission Pool::Enqueue(Call& call, int loop, bool retried) {
  base::MutexLock lock(mutex_);
  Generation& generation = *call.generation_;
  if (generation.over()) return Admission::kSuperseded;
  if (!Hopeful(generation)) return Admission::kHopeless;
  if (!retried && waiting_.load(std::memory_order_relaxed) >= Get(queue_max_)) {
    return Admission::kFull;
  }
  call.loop_ = loop;
  if (retried) {
    generation.queue_.PushFront(call);
  } else {
    generation.queue_.PushBack(call);
  }
  CountWaiting(generation, +1);
  GrantLocked(generation);
  return Admission::kQueued;
}

bool Pool::Remove(Call& call) {
  base::MutexLock lock(mutex_);
  base::ListNode<QueueTag>& node = call;
  if (!node.linked()) return false;
  node.Unlink();
  CountWaiting(*call.generation_, -1);
  return true;
}

// A lease brings workers, also that of newer code: when it takes over, who waits is routed anew.
bool Pool::Hopeful(const Generation& generation) const {
  if (generation.over()) return false;
  for (const auto& other : generations_) {
    if (other->leased_ && !other->over()) return true;
  }
  return std::any_of(generation.workers_.begin(), generation.workers_.end(),
                     [](const auto& worker) { return worker->usable(); });
}

base::Ref<Worker> Pool::AcquireAny(Generation& generation) {
  for (size_t tries = 0; tries < generation.workers_.size(); ++tries) {
    base::Ref<Worker> best;
    for (const auto& worker : generation.workers_) {
      if (!worker->usable() || worker->in_flight.load() >= worker->ceiling.load()) continue;
      if (!best || worker->in_flight.load() < best->in_flight.load()) best = worker;
    }
    if (!best) return nullptr;
    if (TryAcquire(*best)) return best;
  }
  return nullptr;
}

void Pool::Grant() {
  base::MutexLock lock(mutex_);
  GrantLocked();
}

void Pool::GrantLocked() {
  for (const auto& generation : generations_) GrantLocked(*generation);
}

void Pool::GrantLocked(Generation& generation) {
  if (generation.queue_.empty()) return;
  const bool hopeful = Hopeful(generation);
  const FailureKind why = generation.over() ? FailureKind::kSuperseded : FailureKind::kNoWorkers;
  while (Call* call = generation.queue_.front()) {
    base::Ref<Worker> worker;
    if (hopeful && !(worker = AcquireAny(generation))) return;
    // The mailbox of the waiter's loop is full: the next credit tries again.
    if (hopeful && !links_.PostGrant(shared_from_this(), call->loop_, call, call->epoch_, worker)) {
      worker->in_flight.fetch_sub(1);
      return;
    }
    if (!hopeful) links_.PostFailure(call->loop_, call, call->epoch_, why);
    generation.queue_.PopFront();
    CountWaiting(generation, -1);
  }
}

void Pool::NoteSaturation(int64_t now_us, std::vector<WorkerEvent>* events) {
  saturated_us_.store(now_us, std::memory_order_relaxed);
  int64_t said_us = saturation_said_us_.load(std::memory_order_relaxed);
  if (now_us - said_us < kSaturationUs) return;
  if (!saturation_said_us_.compare_exchange_strong(said_us, now_us)) return;
  WorkerEvent event;
  event.kind = WorkerEvent::Kind::kSaturated;
  event.pool = name_;
  base::MutexLock lock(mutex_);
  uint32_t taken = 0;
  uint32_t workers = 0;
  for (const auto& generation : generations_) {
    for (const auto& worker : generation->workers_) {
      taken += worker->in_flight.load();
      ++workers;
    }
  }
  event.detail = std::to_string(taken) + " requests wait for the beginning of their answers in " +
                 std::to_string(workers) + " workers, " + std::to_string(waiting_.load()) +
                 " for one of these";
  events->push_back(std::move(event));
}

// Numbers...

void Pool::CountQueueWait(int loop, int64_t wait_us) {
  size_t bucket = 0;
  while (bucket < kQueueWaitBounds.size() &&
         static_cast<double>(wait_us) > kQueueWaitBounds[bucket] * 1e6) {
    ++bucket;
  }
  Bump(numbers_[loop].queue_wait[bucket]);
  Bump(numbers_[loop].queue_wait_us, static_cast<uint64_t>(std::max<int64_t>(0, wait_us)));
}

}  // namespace catzilla::worker
