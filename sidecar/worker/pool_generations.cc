// A pool's generations: how they begin, take over and end.
#include <algorithm>

#include "sidecar/base/check.h"
#include "sidecar/worker/pool.h"

namespace catzilla::worker {

Worker::Worker(base::Ref<Generation> of) : home(std::move(of)) {}

Worker::~Worker() = default;

Generation::Generation(std::shared_ptr<Pool> pool, GenerationId id)
    : pool_(std::move(pool)), id_(id) {}

Generation::~Generation() {
  CATZILLA_CHECK(queue_.empty(), "a generation died while requests waited in it");
}

bool Generation::current() const { return pool_->published_generation() == id_.number; }

Generation* Pool::Find(uint64_t number) {
  for (const auto& generation : generations_) {
    if (generation->id().number == number) return generation.get();
  }
  return nullptr;
}

GenerationId Pool::BeginGeneration(std::string token, std::string table_hash, uint32_t min_ready) {
  std::vector<Goaway> goaways;
  GenerationId id;
  {
    base::MutexLock lock(mutex_);
    ever_leased_ = true;
    id = {epoch_, ++newest_};
    auto generation = base::Ref<Generation>::Make(shared_from_this(), id);
    generation->token_ = std::move(token);
    generation->table_hash_ = std::move(table_hash);
    generation->min_ready_ = std::max(1u, min_ready);
    generation->leased_ = true;
    generations_.push_back(std::move(generation));
    // One that is in no plan yet will not be any more; what plans name goes on until the switch.
    for (const auto& older : generations_) {
      if (older->phase_ != Phase::kStarting || older->id() == id) continue;
      End(*older, GoawayCode::kSuperseded, &goaways);
    }
    ForgetOver();
  }
  Post(goaways);
  return id;
}

base::Ref<Generation> Pool::Publish(uint64_t number) {
  base::MutexLock lock(mutex_);
  base::Ref<Generation> generation(Find(number));
  if (!generation) {
    generation = base::Ref<Generation>::Make(shared_from_this(), GenerationId{epoch_, number});
    // One that has gone already: whoever asks it is told so.
    if (number != 0) generation->over_.store(true, std::memory_order_release);
    if (number == 0) generations_.push_back(generation);
  }
  if (generation->phase_ == Phase::kStarting) generation->phase_ = Phase::kServing;
  published_.store(number, std::memory_order_release);
  return generation;
}

void Pool::Activate(uint64_t number, std::vector<WorkerEvent>* events) {
  std::vector<Goaway> goaways;
  {
    base::MutexLock lock(mutex_);
    for (const auto& generation : generations_) {
      // One that starts has its plan yet to come.
      if (generation->id().number == number || generation->phase_ != Phase::kServing) continue;
      End(*generation, GoawayCode::kSuperseded, &goaways);
    }
    const bool switched = active_.exchange(number) != number && number != 0;
    if (Generation* generation = Find(number); switched && generation != nullptr) {
      WorkerEvent event;
      event.kind = WorkerEvent::Kind::kSwitched;
      event.pool = name_;
      event.generation = {epoch_, number};
      event.ready = ReadyCount(*generation);
      events->push_back(std::move(event));
    }
    ForgetOver();
  }
  Post(goaways);
}

bool Pool::SetLeased(uint64_t number, bool leased) {
  base::MutexLock lock(mutex_);
  Generation* generation = Find(number);
  if (generation == nullptr || generation->over()) return false;
  generation->leased_ = leased;
  GrantLocked();
  return true;
}

void Pool::Retire() {
  std::vector<Goaway> goaways;
  {
    base::MutexLock lock(mutex_);
    active_.store(0, std::memory_order_release);
    for (const auto& generation : generations_) {
      if (!generation->over()) End(*generation, GoawayCode::kDraining, &goaways);
    }
    ForgetOver();
  }
  Post(goaways);
}

void Pool::Dissolve() {
  std::vector<base::Ref<Generation>> generations;
  base::MutexLock lock(mutex_);
  generations.swap(generations_);
  for (const auto& generation : generations) generation->workers_.clear();
}

void Pool::End(Generation& generation, GoawayCode code, std::vector<Goaway>* goaways) {
  generation.phase_ = Phase::kOver;
  generation.leased_ = false;
  generation.over_.store(true, std::memory_order_release);
  for (const auto& worker : generation.workers_) worker->draining.store(true);
  if (!generation.workers_.empty()) goaways->push_back({generation.id().number, 0, code});
  GrantLocked(generation);  // Gives back who waits.
}

void Pool::ForgetOver() {
  std::erase_if(generations_, [](const auto& generation) {
    return generation->over() && generation->workers_.empty();
  });
}

uint32_t Pool::ReadyCount(const Generation& generation) const {
  return static_cast<uint32_t>(std::count_if(generation.workers_.begin(), generation.workers_.end(),
                                             [](const auto& worker) { return worker->usable(); }));
}

// The switch itself is a plan's: with its table, its mounts and its policies, or not at all.
void Pool::TellIfPrepared(Generation& generation, std::vector<WorkerEvent>* events) {
  if (generation.phase_ != Phase::kStarting || generation.prepared_) return;
  const uint32_t ready = ReadyCount(generation);
  if (ready < generation.min_ready_) return;
  generation.prepared_ = true;
  WorkerEvent event;
  event.kind = WorkerEvent::Kind::kPrepared;
  event.pool = name_;
  event.generation = generation.id();
  event.ready = ready;
  events->push_back(std::move(event));
}

void Pool::Post(const std::vector<Goaway>& goaways) {
  for (const Goaway& goaway : goaways) {
    links_.PostGoaway(shared_from_this(), goaway.generation, goaway.worker_id, goaway.code);
  }
}

}  // namespace catzilla::worker
