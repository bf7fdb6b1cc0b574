// A bounded pool of threads with a name, for work that may block: file opens, compression, DNS.
//
// Threads: TryPost() and the counters may be called by any thread. Tasks run on the pool's threads,
//          which block every signal; a task must not throw.
// Owns:    its threads and the tasks not yet begun.
// Limits:  `queue_max` tasks wait at the most; running ones do not count.
// Fails:   TryPost() declines when the queue is full or the executor is shutting down. The caller
//          answers 503 and counts it; the task is destroyed unrun. A thread that cannot be made
//          aborts at start.
// Life:    Shutdown() (or the destructor) declines new tasks, runs those that are queued, and
//          joins. So whoever waits for a task's message gets one. Whatever tasks use outlives
//          Shutdown().
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/base/mutex.h"

namespace catzilla::base {

class Executor {
 public:
  using Task = std::function<void()>;

  // The threads are called "<name>/<index>" in ps and in debuggers (15 bytes, cut).
  // REQUIRES: threads > 0 and queue_max > 0.
  Executor(std::string name, int threads, size_t queue_max);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // False: full or shutting down.
  [[nodiscard]] bool TryPost(Task task) CATZILLA_EXCLUDES(mutex_);

  // Idempotent. REQUIRES: not called from a task.
  void Shutdown() CATZILLA_EXCLUDES(mutex_);

  struct State {
    size_t queued = 0;
    size_t running = 0;
    uint64_t completed = 0;
    uint64_t declined = 0;
  };
  State state() const CATZILLA_EXCLUDES(mutex_);

  const std::string& name() const { return name_; }
  int threads() const { return threads_count_; }
  size_t queue_max() const { return queue_max_; }

 private:
  void Work(int index) CATZILLA_EXCLUDES(mutex_);

  // Constant after construction.
  const std::string name_;
  const int threads_count_;
  const size_t queue_max_;
  std::vector<std::thread> threads_;  // Touched by the constructor and Shutdown() only.

  mutable Mutex mutex_;
  CondVar work_;
  std::deque<Task> queue_ CATZILLA_GUARDED_BY(mutex_);
  bool closing_ CATZILLA_GUARDED_BY(mutex_) = false;
  size_t running_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint64_t completed_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint64_t declined_ CATZILLA_GUARDED_BY(mutex_) = 0;
};

}  // namespace catzilla::base
