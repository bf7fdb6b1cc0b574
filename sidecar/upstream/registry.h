// All upstream pools by name, and the resolving of their targets' names.
//
// Threads: any. Agents are made known before the loops run and stay until they have stopped.
// Owns:    the pools; the threads that resolve names, made with the first name.
// Limits:  kResolveQueueMax names wait to be resolved; a name that is answered is asked again after
//          kRefreshUs, one that is not after kRetryUs.
// Fails:   a name without an address is an event, and an unresolved target; what it had before
//          stays.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/executor.h"
#include "sidecar/base/mutex.h"
#include "sidecar/upstream/pool.h"

namespace catzilla::upstream {

class Agent;

// Something for the log.
struct TargetEvent {
  enum class Kind : uint8_t { kAway, kBack, kUnresolved, kResolved };
  Kind kind = Kind::kAway;
  std::string pool;
  std::string target;
  std::string detail;
};

class EventSink {
 public:
  // Any thread; must not block.
  virtual void OnTargetEvent(const TargetEvent& event) = 0;

 protected:
  ~EventSink() = default;
};

class Registry final {
 public:
  explicit Registry(EventSink* events = nullptr) : events_(events) {}
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Makes the pool, or changes it. REQUIRES: config->upstream.
  SetupRef Configure(const std::shared_ptr<const config::Pool>& config, uint32_t head_bytes_max);
  // Every loop serves a plan with these pools only.
  void Settle(const std::vector<std::string>& names);
  std::shared_ptr<Pool> Find(std::string_view name) const;
  std::vector<std::shared_ptr<Pool>> pools() const;
  std::vector<PoolStatus> List(int64_t now_us) const;

  // Asks for the addresses of names whose time has come. Called by the first loop, often.
  void Refresh(int64_t now_us);
  // Ends the threads; no more agents are told. REQUIRES: called before the agents go.
  void Stop();

  void SetAgent(int loop, Agent* agent);
  Agent* agent(int loop) const { return agents_[static_cast<size_t>(loop)]; }
  void Tell(const TargetEvent& event) {
    if (events_ != nullptr) events_->OnTargetEvent(event);
  }

 private:
  static constexpr int kResolveThreads = 2;
  static constexpr size_t kResolveQueueMax = 256;
  static constexpr int64_t kRefreshUs = 30'000'000;
  static constexpr int64_t kRetryUs = 2'000'000;

  struct Name {
    std::weak_ptr<Pool> pool;
    std::weak_ptr<Target> target;
    int64_t due_us = 0;
    bool running = false;
    bool told = false;  // That it cannot be resolved.
  };

  void Watch(const Setup& setup) CATZILLA_REQUIRES(mutex_);
  void Resolve(const std::shared_ptr<Name>& name);

  EventSink* const events_;
  std::vector<Agent*> agents_ = std::vector<Agent*>(kLoopsMax);
  mutable base::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Pool>, std::less<>> pools_ CATZILLA_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Name>> names_ CATZILLA_GUARDED_BY(mutex_);
  std::unique_ptr<base::Executor> resolver_ CATZILLA_GUARDED_BY(mutex_);
  bool stopped_ CATZILLA_GUARDED_BY(mutex_) = false;
};

}  // namespace catzilla::upstream
