// The life of a plan: made, handed to every loop, served by all of them, settled.
//
//   made --posted to each loop--> taken by some --OnServed() of all--> settled
//   settled --the next one is settled--> dies
//
// Until it is settled the plan before is served too, on loops that have not taken the new one yet:
// what only that one names (generations, pools, mounts) lives until then. Plans die on this part's
// own thread, never on a loop.
//
// Threads: Publish() from any, one at a time; OnServed() from the loops, which wait for nobody
//          here; the rest from any. A thread of its own settles, and posts again what a loop would
//          not take.
// Owns:    the newest plan, and those that some loop may still serve.
// Limits:  plans as changes while a loop does not turn, which ends the process's liveness.
// Fails:   Await() with false when its time is up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/exchange/plan.h"

namespace catzilla::runtime {

class PlanPublisher {
 public:
  using PlanRef = std::shared_ptr<const exchange::Plan>;

  struct Parts {
    int loops = 1;
    // Hands a plan to a loop. False: it takes no message now; it will be asked again.
    std::function<bool(int loop, const PlanRef& plan)> post;
    // Every loop serves `plan`, and no newer one is being made.
    std::function<void(const exchange::Plan& plan)> settle;
  };

  // `first` is what the loops begin with.
  PlanPublisher(Parts parts, PlanRef first);
  ~PlanPublisher();
  PlanPublisher(const PlanPublisher&) = delete;
  PlanPublisher& operator=(const PlanPublisher&) = delete;

  // Makes a plan, whose version is higher than all before, and hands it to every loop.
  void Publish(const std::function<PlanRef()>& make);
  // A loop serves this version, and holds none before it any more.
  void OnServed(int loop, uint64_t version);
  // Until every loop serves this version or a newer one. False: not within `timeout_us`.
  [[nodiscard]] bool Await(uint64_t version, int64_t timeout_us);
  void Stop();  // Idempotent. Nothing is settled any more.

  PlanRef newest() const;
  PlanRef settled() const;

 private:
  static constexpr int64_t kPostAgainUs = 20'000;

  struct Loop {
    uint64_t posted = 0;
    uint64_t served = 0;
  };

  void Run();
  void PostMissing() CATZILLA_REQUIRES(mutex_);
  bool AllServe(uint64_t version) const CATZILLA_REQUIRES(mutex_);
  bool AllPosted() const CATZILLA_REQUIRES(mutex_);
  void Settle();

  const Parts parts_;
  base::Mutex make_mutex_;  // Outermost: a plan is made, or one is settled.
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  PlanRef newest_ CATZILLA_GUARDED_BY(mutex_);
  PlanRef settled_ CATZILLA_GUARDED_BY(mutex_);
  std::vector<PlanRef> older_ CATZILLA_GUARDED_BY(mutex_);  // A loop may still serve them.
  std::vector<Loop> loops_ CATZILLA_GUARDED_BY(mutex_);
  bool stopping_ CATZILLA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace catzilla::runtime
