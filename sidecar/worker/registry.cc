#include "sidecar/worker/registry.h"

#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/random.h"
#include "sidecar/worker/dispatcher.h"

namespace catzilla::worker {

namespace {

std::string RandomToken() {
  std::string token(kTokenBytes, '\0');
  base::FillRandom(token.data(), token.size());
  return token;
}

}  // namespace

Registry::Registry(RegistryOptions options)
    : options_(std::move(options)),
      drain_timeout_us_(options_.drain_timeout_us),
      dispatchers_(static_cast<size_t>(options_.loops)) {}

Registry::~Registry() {
  base::MutexLock lock(mutex_);
  for (const auto& [name, pool] : pools_) pool->Dissolve();
}

void Registry::SetDispatcher(Dispatcher& dispatcher) {
  const auto index = static_cast<size_t>(dispatcher.index());
  CATZILLA_CHECK(index < dispatchers_.size(), "a dispatcher of a loop that was not announced");
  dispatchers_[index] = &dispatcher;
}

std::shared_ptr<Pool> Registry::Configure(const config::Pool& config) {
  std::shared_ptr<Pool> pool;
  {
    base::MutexLock lock(mutex_);
    auto found = pools_.find(config.name);
    if (found == pools_.end()) {
      if (pools_.size() >= kPoolsHeldMax) return nullptr;
      PoolLinks& links = *this;
      auto made = std::make_shared<Pool>(config.name, options_.epoch, options_.loops, links);
      found = pools_.emplace(config.name, std::move(made)).first;
    }
    pool = found->second;
  }
  pool->Configure(config);
  return pool;
}

std::shared_ptr<Pool> Registry::Find(std::string_view name) const {
  base::MutexLock lock(mutex_);
  const auto found = pools_.find(name);
  return found == pools_.end() ? nullptr : found->second;
}

void Registry::Settle(const std::vector<Serving>& pools) {
  std::vector<WorkerEvent> events;
  std::vector<std::shared_ptr<Pool>> removed;
  {
    base::MutexLock lock(mutex_);
    for (auto at = pools_.begin(); at != pools_.end();) {
      const bool stays = std::any_of(pools.begin(), pools.end(), [&](const Serving& serving) {
        return serving.pool == at->first;
      });
      if (!stays) removed.push_back(std::move(at->second));
      at = stays ? std::next(at) : pools_.erase(at);
    }
  }
  for (const auto& pool : removed) pool->Retire();
  for (const Serving& serving : pools) {
    if (const auto pool = Find(serving.pool)) pool->Activate(serving.generation, &events);
  }
  Emit(events);
}

base::Result<Registry::Ticket, std::string> Registry::BeginGeneration(std::string_view pool,
                                                                      std::string table_hash,
                                                                      uint32_t min_ready) {
  if (table_hash.size() != kTableHashBytes) {
    return base::Fail(std::string("the route table's hash must have 32 bytes (SHA-256)"));
  }
  const std::shared_ptr<Pool> found = Find(pool);
  if (found == nullptr) {
    return base::Fail("there is no pool named " + std::string(pool));
  }
  Ticket ticket;
  ticket.token = RandomToken();
  ticket.socket_path = options_.socket_path;
  ticket.generation = found->BeginGeneration(ticket.token, std::move(table_hash), min_ready);
  return ticket;
}

bool Registry::SetLeased(std::string_view pool, const GenerationId& generation, bool leased) {
  const std::shared_ptr<Pool> found = Find(pool);
  if (found == nullptr || generation.epoch != options_.epoch) return false;
  return found->SetLeased(generation.number, leased);
}

bool Registry::Orphan(std::string_view pool, const GenerationId& generation) {
  return SetLeased(pool, generation, false);
}

bool Registry::Resume(std::string_view pool, const GenerationId& generation) {
  return SetLeased(pool, generation, true);
}

bool Registry::Recycle(std::string_view pool, uint64_t worker_id) {
  const std::shared_ptr<Pool> found = Find(pool);
  return found != nullptr && found->Recycle(worker_id);
}

base::Result<std::vector<StackDump::Answer>, std::string> Registry::DumpStacks(std::string pool,
                                                                               uint32_t pid,
                                                                               int64_t timeout_us) {
  if (dumping_.exchange(true)) return base::Fail(std::string("another dump is under way"));
  auto dump = std::make_shared<StackDump>(std::move(pool), pid);
  const bool asked = control_ != nullptr && control_->PostDump(dump);
  std::vector<StackDump::Answer> answers;
  if (asked) answers = dump->Wait(timeout_us);
  dumping_.store(false);
  if (!asked) return base::Fail(std::string("the loop of the workers' connections is stopping"));
  return answers;
}

std::vector<PoolStatus> Registry::List() const {
  std::vector<std::shared_ptr<Pool>> pools;
  {
    base::MutexLock lock(mutex_);
    for (const auto& [name, pool] : pools_) pools.push_back(pool);
  }
  std::vector<PoolStatus> list;
  for (const auto& pool : pools) list.push_back(pool->Status());
  return list;
}

void Registry::Emit(const std::vector<WorkerEvent>& events) {
  if (events_ == nullptr) return;
  for (const WorkerEvent& event : events) events_->OnWorkerEvent(event);
}

// From pools to connections...

bool Registry::PostGrant(std::shared_ptr<Pool> pool, int loop, Call* call, uint32_t epoch,
                         base::Ref<Worker> worker) {
  DispatcherMessage message;
  message.kind = DispatcherMessage::Kind::kGrant;
  message.pool = std::move(pool);
  message.call = call;
  message.epoch = epoch;
  message.worker = std::move(worker);
  return dispatcher(loop)->Post(std::move(message));
}

void Registry::PostFailure(int loop, Call* call, uint32_t epoch, FailureKind kind) {
  DispatcherMessage message;
  message.kind = DispatcherMessage::Kind::kFailure;
  message.call = call;
  message.epoch = epoch;
  message.failure = kind;
  (void)dispatcher(loop)->PostAlways(std::move(message));
}

void Registry::PostGoaway(std::shared_ptr<Pool> pool, uint64_t generation, uint64_t worker_id,
                          GoawayCode code) {
  for (Dispatcher* dispatcher : dispatchers_) {
    if (dispatcher == nullptr) continue;
    DispatcherMessage message;
    message.kind = DispatcherMessage::Kind::kGoaway;
    message.pool = pool;
    message.generation = generation;
    message.worker_id = worker_id;
    message.code = code;
    (void)dispatcher->PostAlways(std::move(message));
  }
  if (control_ != nullptr) control_->PostControlGoaway(pool->name(), generation, worker_id, code);
}

}  // namespace catzilla::worker
