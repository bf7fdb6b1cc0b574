#include "sidecar/runtime/plan_publisher.h"

#include <algorithm>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/clock.h"

namespace catzilla::runtime {

PlanPublisher::PlanPublisher(Parts parts, PlanRef first)
    : parts_(std::move(parts)),
      newest_(first),
      settled_(std::move(first)),
      loops_(static_cast<size_t>(parts_.loops)) {
  for (Loop& loop : loops_) loop.posted = loop.served = newest_->version();
  thread_ = std::thread([this] { Run(); });
}

PlanPublisher::~PlanPublisher() { Stop(); }

void PlanPublisher::Stop() {
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    changed_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
}

void PlanPublisher::Publish(const std::function<PlanRef()>& make) {
  base::MutexLock making(make_mutex_);
  PlanRef plan = make();
  base::MutexLock lock(mutex_);
  CATZILLA_CHECK(plan->version() > newest_->version(), "a plan is older than the one before it");
  older_.push_back(std::exchange(newest_, std::move(plan)));
  PostMissing();
  changed_.SignalAll();
}

void PlanPublisher::OnServed(int loop, uint64_t version) {
  base::MutexLock lock(mutex_);
  loops_[static_cast<size_t>(loop)].served = version;
  changed_.SignalAll();
}

bool PlanPublisher::Await(uint64_t version, int64_t timeout_us) {
  const int64_t due_us = base::ReadClockMicros(CLOCK_MONOTONIC) + timeout_us;
  base::MutexLock lock(mutex_);
  while (!AllServe(version)) {
    const int64_t left_us = due_us - base::ReadClockMicros(CLOCK_MONOTONIC);
    if (left_us <= 0 || stopping_) return false;
    changed_.WaitFor(mutex_, left_us);
  }
  return true;
}

PlanPublisher::PlanRef PlanPublisher::newest() const {
  base::MutexLock lock(mutex_);
  return newest_;
}

PlanPublisher::PlanRef PlanPublisher::settled() const {
  base::MutexLock lock(mutex_);
  return settled_;
}

// In the order of versions: under the lock, and never an older one after a newer.
void PlanPublisher::PostMissing() {
  for (size_t i = 0; i < loops_.size(); ++i) {
    if (loops_[i].posted == newest_->version()) continue;
    if (parts_.post(static_cast<int>(i), newest_)) loops_[i].posted = newest_->version();
  }
}

bool PlanPublisher::AllServe(uint64_t version) const {
  return std::all_of(loops_.begin(), loops_.end(),
                     [&](const Loop& loop) { return loop.served >= version; });
}

bool PlanPublisher::AllPosted() const {
  return std::all_of(loops_.begin(), loops_.end(),
                     [&](const Loop& loop) { return loop.posted == newest_->version(); });
}

void PlanPublisher::Run() {
  for (;;) {
    {
      base::MutexLock lock(mutex_);
      while (!stopping_ && (settled_ == newest_ || !AllServe(newest_->version()))) {
        if (AllPosted()) {
          changed_.Wait(mutex_);
        } else {
          changed_.WaitFor(mutex_, kPostAgainUs);
          PostMissing();
        }
      }
      if (stopping_) return;
    }
    Settle();
  }
}

void PlanPublisher::Settle() {
  std::vector<PlanRef> ended;  // Die last, with no lock held.
  base::MutexLock making(make_mutex_);
  PlanRef plan;
  {
    base::MutexLock lock(mutex_);
    if (!AllServe(newest_->version())) return;  // One was made in the meantime.
    plan = newest_;
    ended.swap(older_);
  }
  parts_.settle(*plan);
  base::MutexLock lock(mutex_);
  ended.push_back(std::exchange(settled_, std::move(plan)));
}

}  // namespace catzilla::runtime
