#include "sidecar/upstream/pool.h"

#include <algorithm>

namespace catzilla::upstream {

SetupRef Pool::Configure(const std::shared_ptr<const config::Pool>& config,
                         uint32_t head_bytes_max) {
  base::MutexLock lock(mutex_);
  if (setup_ != nullptr && *setup_->config == *config && setup_->head_bytes_max == head_bytes_max) {
    return setup_;
  }
  auto next = std::make_shared<Setup>();
  next->pool = shared_from_this();
  next->config = config;
  next->head_bytes_max = head_bytes_max;
  for (const base::Endpoint& endpoint : config->upstream->targets) {
    std::shared_ptr<Target> target;
    if (setup_ != nullptr) {
      for (const auto& before : setup_->targets) {
        if (before->endpoint() == endpoint && !before->retired()) target = before;
      }
    }
    if (target == nullptr) target = std::make_shared<Target>(endpoint);
    next->targets.push_back(std::move(target));
  }
  if (setup_ != nullptr) {
    for (const auto& before : setup_->targets) {
      if (std::find(next->targets.begin(), next->targets.end(), before) == next->targets.end()) {
        before->Retire();
      }
    }
  }
  setup_ = next;
  return next;
}

SetupRef Pool::setup() const {
  base::MutexLock lock(mutex_);
  return setup_;
}

void Pool::Retire() {
  base::MutexLock lock(mutex_);
  for (const auto& target : setup_->targets) target->Retire();
  setup_ = nullptr;  // It holds the pool.
}

bool Pool::TryOpenSocket(uint32_t sockets_max) {
  if (sockets_.fetch_add(1, std::memory_order_relaxed) < sockets_max) return true;
  CloseSocket();
  return false;
}

bool Pool::TryQueue(uint32_t queue_max) {
  uint32_t held = waiting_.load();
  while (held < queue_max) {
    if (waiting_.compare_exchange_weak(held, held + 1)) return true;
  }
  return false;
}

void Pool::Unqueue(int loop, int64_t oldest_us) {
  waiting_.fetch_sub(1);
  SetOldest(loop, oldest_us);
}

int Pool::OldestLoop() const {
  if (waiting() == 0) return -1;
  int oldest = -1;
  int64_t oldest_us = INT64_MAX;
  for (int i = 0; i < kLoopsMax; ++i) {
    const int64_t us = numbers_[static_cast<size_t>(i)].oldest_us.load();
    if (us == 0 || us >= oldest_us) continue;
    oldest = i;
    oldest_us = us;
  }
  return oldest;
}

void Pool::CountQueueWait(int loop, int64_t wait_us) {
  const double seconds = static_cast<double>(wait_us) / 1e6;
  const auto& bounds = origin::kQueueWaitBounds;
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin();
  Bump(at(loop).queue_wait[static_cast<size_t>(bucket)]);
  Bump(at(loop).queue_wait_us, static_cast<uint64_t>(std::max<int64_t>(wait_us, 0)));
}

PoolStatus Pool::Status(int64_t now_us) const {
  PoolStatus status;
  status.name = name_;
  status.queued = waiting();
  status.sockets = sockets_.load(std::memory_order_relaxed);
  for (const Numbers& numbers : numbers_) {
    status.requests += numbers.requests.load(std::memory_order_relaxed);
    status.retries += numbers.retries.load(std::memory_order_relaxed);
    status.queue_wait_us += numbers.queue_wait_us.load(std::memory_order_relaxed);
    for (size_t i = 0; i < status.failures.size(); ++i) {
      status.failures[i] += numbers.failures[i].load(std::memory_order_relaxed);
    }
    for (size_t i = 0; i < status.queue_wait.size(); ++i) {
      status.queue_wait[i] += numbers.queue_wait[i].load(std::memory_order_relaxed);
    }
  }
  const SetupRef now = setup();
  if (now == nullptr) return status;
  status.queue_max = now->config->queue_max;
  status.sockets_max = now->config->sockets_max;
  for (const auto& target : now->targets) {
    status.targets.push_back(target->Status(now->upstream(), now_us));
    status.in_flight += status.targets.back().in_flight;
  }
  return status;
}

}  // namespace catzilla::upstream
