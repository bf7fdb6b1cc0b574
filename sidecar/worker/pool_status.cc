// What a pool tells of itself: names for metrics and logs, and a picture of its workers.
#include <algorithm>

#include "sidecar/worker/pool.h"

namespace catzilla::worker {

std::string_view WorkerStateName(WorkerStatus::State state) {
  switch (state) {
    case WorkerStatus::State::kStarting:
      return "starting";
    case WorkerStatus::State::kReady:
      return "ready";
    case WorkerStatus::State::kDraining:
      return "draining";
    case WorkerStatus::State::kRecycling:
      return "recycling";
  }
  return "?";
}

bool IsSaturated(const PoolStatus& pool, int64_t now_us) {
  return now_us - pool.saturated_us < kSaturationUs;
}

PoolStatus Pool::Status() const {
  PoolStatus status;
  status.name = name_;
  status.queued = waiting_.load();
  status.queue_max = Get(queue_max_);
  status.saturated_us = Get(saturated_us_);
  status.sockets = Get(sockets_);
  status.sockets_max = Get(sockets_max_);
  for (const Numbers& numbers : numbers_) {
    status.requests += Get(numbers.requests);
    status.retries += Get(numbers.retries);
    for (size_t i = 0; i < kAnswerLanes; ++i) status.answers[i] += Get(numbers.answers[i]);
    status.queue_wait_us += Get(numbers.queue_wait_us);
    for (int i = 0; i < kFailureKinds; ++i) status.failures[i] += Get(numbers.failures[i]);
    for (size_t i = 0; i < status.queue_wait.size(); ++i) {
      status.queue_wait[i] += Get(numbers.queue_wait[i]);
    }
  }
  base::MutexLock lock(mutex_);
  status.active = {epoch_, active_.load()};
  status.newest = {epoch_, newest_};
  for (const auto& generation : generations_) {
    status.leased |= generation->leased_;
    for (const auto& worker : generation->workers_) {
      WorkerStatus& row = status.workers.emplace_back();
      row.state = worker->recycling.load()  ? WorkerStatus::State::kRecycling
                  : worker->draining.load() ? WorkerStatus::State::kDraining
                  : worker->ready.load()    ? WorkerStatus::State::kReady
                                            : WorkerStatus::State::kStarting;
      row.generation = worker->generation;
      row.id = worker->id;
      row.pid = worker->pid;
      row.index = worker->index;
      row.start_time_us = worker->start_time_us;
      for (const uint32_t lanes : worker->lanes_) row.lanes += lanes;
      row.in_flight = worker->in_flight.load();
      row.credits = worker->ceiling.load();
      row.sockets = worker->sockets.load();
      row.requests = worker->requests.load();
      row.rss_bytes = worker->rss_bytes.load();
      row.pings_missed = worker->pings_missed.load();
      row.handler_us = worker->handler_us.load();
      row.loop_lag_us = worker->loop_lag_us.load();
      row.sdk = worker->sdk;
      row.python = worker->python;
      row.framework = worker->framework;
      row.note = worker->note;
      status.in_flight += row.in_flight;
    }
  }
  status.orphaned = ever_leased_ && !status.leased;
  return status;
}

}  // namespace catzilla::worker
