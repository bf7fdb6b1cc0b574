#include "sidecar/base/executor.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/base/clock.h"

namespace catzilla::base {

namespace {

int64_t NowUs() { return ReadClockMicros(CLOCK_MONOTONIC); }

void BeginThread(const std::string& name) {
  // Signals belong to main's thread; one delivered here would be handled by nobody.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
  // A thread's first allocation makes its arena; jemalloc does not survive that when there is no
  // memory left, so it is done now. (volatile: else the pair is optimised away.)
  void* volatile first = std::malloc(1);
  std::free(first);
}

}  // namespace

Executor::Executor(std::string name, int threads, size_t queue_max)
    : name_(std::move(name)), threads_count_(threads), queue_max_(queue_max) {
  CATZILLA_CHECK(threads > 0 && queue_max > 0, "an executor needs a thread and a queue");
  {
    MutexLock lock(mutex_);
    for (int i = 0; i < threads; ++i) Spawn();
  }
  clock_ = std::thread([this] { Watch(); });
}

Executor::~Executor() { Shutdown(); }

bool Executor::TryPost(Task task) {
  return TryPost(nullptr, std::move(task), nullptr) == Posted::kYes;
}

Executor::Posted Executor::TryPost(const Ref<Group>& group, Task task, Task late) {
  bool first = false;
  {
    MutexLock lock(mutex_);
    if (group && group->stuck_ >= kGroupStuckMax) {
      ++declined_;
      return Posted::kSick;
    }
    const bool too_many = group && group->queued_ >= std::max<size_t>(1, queue_max_ / 4 * 3);
    if (closing_ || queue_.size() >= queue_max_ || too_many) {
      ++declined_;
      return Posted::kFull;
    }
    if (group) {
      ++group->queued_;
      first = deadlines_++ == 0;
    }
    const int64_t late_us =
        group ? NowUs() + deadline_us_.load(std::memory_order_relaxed) : INT64_MAX;
    queue_.push_back({std::move(task), std::move(late), group, late_us});
  }
  work_.Signal();
  if (first) watched_.Signal();
  return Posted::kYes;
}

void Executor::Shutdown() {
  {
    MutexLock lock(mutex_);
    closing_ = true;
  }
  work_.SignalAll();
  for (;;) {
    std::thread thread;
    {
      MutexLock lock(mutex_);
      if (workers_.empty()) break;
      thread = std::move(workers_.front().thread);
    }
    thread.join();
    MutexLock lock(mutex_);
    workers_.pop_front();
  }
  {
    MutexLock lock(mutex_);
    ended_ = true;
  }
  watched_.SignalAll();
  if (clock_.joinable()) clock_.join();
}

Executor::State Executor::state() const {
  MutexLock lock(mutex_);
  return {queue_.size(), running_, completed_, declined_, stuck_, written_off_, late_};
}

// Its threads...

void Executor::Spawn() {
  Worker& worker = workers_.emplace_back();
  try {
    // It waits for the mutex, which we hold, before it looks at anything.
    worker.thread = std::thread([this, &worker, index = spawned_] { Work(worker, index); });
  } catch (...) {
    workers_.pop_back();
    throw;
  }
  ++spawned_;
  ++live_;
}

void Executor::Work(Worker& self, int index) {
  BeginThread(name_ + "/" + std::to_string(index));
  mutex_.Lock();
  for (bool goes_on = true; goes_on;) {
    Job job;
    while (!Take(&job) && !(closing_ && queue_.empty())) work_.Wait(mutex_);
    if (!job.task) break;  // Closing, and everything queued has run.
    self.group = job.group;
    self.late = std::move(job.late);
    self.late_us = job.late_us;
    self.hung_us = NowUs() + deadline_us_.load(std::memory_order_relaxed);
    ++running_;
    mutex_.Unlock();
    job.task();
    job = {};  // What the task holds goes before it counts as completed.
    mutex_.Lock();
    goes_on = Finish(self);
  }
  self.ended = true;
  if (!self.written_off) --live_;
  mutex_.Unlock();
  // Others may wait for the end of the queue.
  work_.SignalAll();
}

// The first that may run.
bool Executor::Take(Job* job) {
  auto next = queue_.begin();
  while (next != queue_.end() && next->group && !MayRun(*next->group)) ++next;
  if (next == queue_.end()) return false;
  *job = std::move(*next);
  queue_.erase(next);
  if (job->group) {
    --job->group->queued_;
    ++job->group->running_;
  }
  return true;
}

bool Executor::MayRun(const Group& group) const {
  if (group.stuck_ >= kGroupStuckMax) return false;
  const int most = group.stuck_ > 0 ? 1 : std::max(1, threads_count_ - 1);
  return group.running_ < static_cast<size_t>(most);
}

bool Executor::Finish(Worker& self) {
  --running_;
  ++completed_;
  if (!self.group) return true;
  --deadlines_;
  if (self.written_off) {
    --self.group->stuck_;
    --stuck_;
  } else {
    --self.group->running_;
  }
  self.group = nullptr;
  // What it holds may post when it goes: not under the mutex.
  if (Task late = std::exchange(self.late, nullptr); late != nullptr) {
    mutex_.Unlock();
    late = nullptr;
    mutex_.Lock();
  }
  if (!self.written_off) return true;
  if (live_ >= threads_count_) return false;
  self.written_off = false;
  ++live_;
  return true;
}

// Its clock...

void Executor::Watch() {
  BeginThread(name_ + "/clock");
  mutex_.Lock();
  while (!ended_) {
    if (deadlines_ == 0) {
      watched_.Wait(mutex_);
    } else {
      (void)watched_.WaitFor(mutex_, kTickUs);
    }
    std::vector<Job> late;
    try {
      FindLate(NowUs(), &late);
      if (!closing_) Reap();
    } catch (const std::exception&) {
      // No memory, or no more threads, for now: those that are left go on, and so do we.
    }
    mutex_.Unlock();
    for (const Job& job : late) {
      if (job.late) job.late();
    }
    late.clear();
    mutex_.Lock();
  }
  mutex_.Unlock();
}

void Executor::FindLate(int64_t now_us, std::vector<Job>* late) {
  const auto is_late = [&](const Job& job) { return now_us >= job.late_us; };
  const auto queued = static_cast<size_t>(std::count_if(queue_.begin(), queue_.end(), is_late));
  // What follows must not fail half-way.
  late->reserve(queued + workers_.size());
  for (Worker& worker : workers_) {
    if (!worker.group) continue;
    if (worker.late && now_us >= worker.late_us) {
      ++late_;
      late->push_back({nullptr, std::exchange(worker.late, nullptr), nullptr, 0});
    }
    if (!worker.written_off && now_us >= worker.hung_us) WriteOff(worker);
  }
  if (queued == 0) return;
  for (Job& job : queue_) {
    if (!is_late(job)) continue;
    ++late_;
    --deadlines_;
    --job.group->queued_;
    late->push_back(std::move(job));
    job.task = nullptr;
  }
  std::erase_if(queue_, [](const Job& job) { return job.task == nullptr; });
  if (closing_) work_.SignalAll();
}

// Another thread does its work from now on.
void Executor::WriteOff(Worker& worker) {
  worker.written_off = true;
  --worker.group->running_;
  ++worker.group->stuck_;
  ++stuck_;
  ++written_off_;
  --live_;
}

// Ends are joined, and who is missing is replaced.
void Executor::Reap() {
  for (auto worker = workers_.begin(); worker != workers_.end();) {
    if (!worker->ended) {
      ++worker;
      continue;
    }
    worker->thread.join();  // It has let go of the mutex, or will at once.
    worker = workers_.erase(worker);
  }
  while (live_ < threads_count_ && stuck_ <= kStuckMax) Spawn();
}

}  // namespace catzilla::base
