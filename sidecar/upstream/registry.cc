#include "sidecar/upstream/registry.h"

#include <netdb.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/base/clock.h"
#include "sidecar/upstream/agent.h"

namespace catzilla::upstream {
namespace {

// Blocks. Empty: `why` says so.
Addresses LookUp(const base::Endpoint& endpoint, std::string* why) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(endpoint.port);
  const int error = ::getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &found);
  Addresses addresses;
  if (error != 0) {
    *why = ::gai_strerror(error);
    return addresses;
  }
  for (const addrinfo* one = found; one != nullptr && addresses.size() < kTargetsMax;
       one = one->ai_next) {
    if (one->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Address& address = addresses.emplace_back();
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.size = one->ai_addrlen;
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) *why = "it has no address";
  return addresses;
}

}  // namespace

Registry::~Registry() {
  Stop();
  base::MutexLock lock(mutex_);
  for (const auto& [name, pool] : pools_) pool->Retire();
}

SetupRef Registry::Configure(const std::shared_ptr<const config::Pool>& config,
                             uint32_t head_bytes_max) {
  base::MutexLock lock(mutex_);
  std::shared_ptr<Pool>& pool = pools_[config->name];
  if (pool == nullptr) pool = std::make_shared<Pool>(config->name);
  SetupRef setup = pool->Configure(config, head_bytes_max);
  Watch(*setup);
  return setup;
}

void Registry::Watch(const Setup& setup) {
  for (const auto& target : setup.targets) {
    if (target->endpoint().kind != base::Endpoint::Kind::kName) continue;
    const bool known = std::any_of(names_.begin(), names_.end(),
                                   [&](const auto& name) { return name->target.lock() == target; });
    if (known) continue;
    auto name = std::make_shared<Name>();
    name->pool = setup.pool;
    name->target = target;
    names_.push_back(std::move(name));
  }
}

void Registry::Settle(const std::vector<std::string>& names) {
  std::vector<std::shared_ptr<Pool>> gone;
  {
    base::MutexLock lock(mutex_);
    for (auto it = pools_.begin(); it != pools_.end();) {
      if (std::find(names.begin(), names.end(), it->first) != names.end()) {
        ++it;
        continue;
      }
      gone.push_back(std::move(it->second));
      it = pools_.erase(it);
    }
  }
  for (const auto& pool : gone) pool->Retire();
}

std::shared_ptr<Pool> Registry::Find(std::string_view name) const {
  base::MutexLock lock(mutex_);
  const auto found = pools_.find(name);
  return found == pools_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Pool>> Registry::pools() const {
  base::MutexLock lock(mutex_);
  std::vector<std::shared_ptr<Pool>> all;
  for (const auto& [name, pool] : pools_) all.push_back(pool);
  return all;
}

std::vector<PoolStatus> Registry::List(int64_t now_us) const {
  std::vector<PoolStatus> all;
  for (const auto& pool : pools()) all.push_back(pool->Status(now_us));
  return all;
}

void Registry::SetAgent(int loop, Agent* agent) { agents_[static_cast<size_t>(loop)] = agent; }

// Names...

void Registry::Refresh(int64_t now_us) {
  base::MutexLock lock(mutex_);
  if (stopped_) return;
  std::erase_if(names_, [](const auto& name) {
    const auto target = name->target.lock();
    return !name->running && (target == nullptr || target->retired());
  });
  for (const auto& name : names_) {
    if (name->running || name->due_us > now_us) continue;
    if (resolver_ == nullptr) {
      resolver_ = std::make_unique<base::Executor>("names", kResolveThreads, kResolveQueueMax);
    }
    name->running = resolver_->TryPost([this, name] { Resolve(name); });
  }
}

void Registry::Resolve(const std::shared_ptr<Name>& name) {
  const auto target = name->target.lock();
  const auto pool = name->pool.lock();
  std::string why;
  Addresses addresses;
  if (target != nullptr) addresses = LookUp(target->endpoint(), &why);
  const bool found = !addresses.empty();
  bool told = false;
  bool was_told = false;
  {
    base::MutexLock lock(mutex_);
    name->running = false;
    name->due_us = base::ReadClockMicros(CLOCK_MONOTONIC) + (found ? kRefreshUs : kRetryUs);
    was_told = name->told;
    told = !found && !name->told;
    name->told = !found;
    if (stopped_) return;
  }
  if (target == nullptr || pool == nullptr) return;
  if (found) {
    target->SetAddresses(std::make_shared<const Addresses>(std::move(addresses)));
  } else {
    target->CountFailure(TargetFailure::kUnresolved);
    target->SetLastFailure(why);
    if (told) Tell({TargetEvent::Kind::kUnresolved, pool->name(), target->name(), why});
  }
  if (found && was_told) Tell({TargetEvent::Kind::kResolved, pool->name(), target->name(), ""});
  for (Agent* agent : agents_) {
    if (agent != nullptr) agent->PostServe(pool);
  }
}

void Registry::Stop() {
  std::unique_ptr<base::Executor> resolver;
  {
    base::MutexLock lock(mutex_);
    stopped_ = true;
    resolver = std::move(resolver_);
  }
  if (resolver != nullptr) resolver->Shutdown();
}

}  // namespace catzilla::upstream
