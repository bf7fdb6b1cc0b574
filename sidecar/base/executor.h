// A bounded pool of threads with a name, for work that may block: file opens, compression, DNS.
//
// Tasks that may hang together, because they wait for the same file system or server, are a Group.
// Nobody can end a thread that hangs in the kernel; so it is written off and another takes its
// place:
//
//   queued --a thread is free, the group has room--> running --ends--> done
//      |                                                |
//      +--late: told, and dropped unrun                 +--late: told; --for as long again--> the
//                                                          thread is written off; goes when it ends
//
// Threads: TryPost(), SetDeadline() and the counters may be called by any thread. Tasks run on the
//          pool's threads, which block every signal, and `late` on its clock's; they must not
//          throw.
// Owns:    its threads and the tasks not yet begun.
// Limits:  `queue_max` tasks wait at the most, three quarters of them of one group; running ones do
//          not count. A group has all threads but one, one once a thread of it is written off, and
//          none when kGroupStuckMax are. kStuckMax threads are replaced.
// Fails:   TryPost() declines; the caller answers 503 and counts it; the task is destroyed unrun.
//          A thread that cannot be made aborts at start, and is tried for again later.
// Life:    Shutdown() (or the destructor) declines new tasks, runs those that are queued, and
//          joins, threads that hang included. So whoever waits for a task's message gets one.
//          Whatever tasks use outlives Shutdown().
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/base/ref.h"

namespace catzilla::base {

class Executor {
 public:
  using Task = std::function<void()>;
  static constexpr size_t kGroupStuckMax = 4;
  static constexpr size_t kStuckMax = 64;

  class Group final : public RefCounted<Group> {
   private:
    friend class Executor;
    // Guarded by the executor's mutex.
    size_t queued_ = 0;
    size_t running_ = 0;  // Without those that are written off.
    size_t stuck_ = 0;
  };

  // The threads are called "<name>/<index>" in ps and in debuggers (15 bytes, cut).
  // REQUIRES: threads > 0 and queue_max > 0.
  Executor(std::string name, int threads, size_t queue_max);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // False: full or shutting down.
  [[nodiscard]] bool TryPost(Task task) CATZILLA_EXCLUDES(mutex_);

  enum class Posted : uint8_t {
    kYes,
    kFull,  // Or shutting down.
    kSick,  // Too many threads of the group hang.
  };
  // `late` (may be null) is called once if the task has not ended when the deadline has passed, and
  // it may still end after that; a task that has not begun by then is never run.
  [[nodiscard]] Posted TryPost(const Ref<Group>& group, Task task, Task late)
      CATZILLA_EXCLUDES(mutex_);

  // Of tasks that are posted, or begun, from now on.
  void SetDeadline(int64_t us) { deadline_us_.store(us, std::memory_order_relaxed); }

  // Idempotent. REQUIRES: not called from a task.
  void Shutdown() CATZILLA_EXCLUDES(mutex_);

  struct State {
    size_t queued = 0;
    size_t running = 0;
    uint64_t completed = 0;
    uint64_t declined = 0;
    size_t stuck = 0;          // Threads that are written off and have not come back.
    uint64_t written_off = 0;  // Ever.
    uint64_t late = 0;
  };
  State state() const CATZILLA_EXCLUDES(mutex_);

  const std::string& name() const { return name_; }
  int threads() const { return threads_count_; }
  size_t queue_max() const { return queue_max_; }

 private:
  static constexpr int64_t kDeadlineUs = 5'000'000;
  static constexpr int64_t kTickUs = 50'000;

  struct Job {
    Task task;
    Task late;
    Ref<Group> group;  // Null: no deadline.
    int64_t late_us = 0;
  };
  // One thread, and what it does now; guarded by mutex_ but for `thread`.
  struct Worker {
    std::thread thread;
    Ref<Group> group;
    Task late;
    int64_t late_us = 0;
    int64_t hung_us = 0;
    bool written_off = false;
    bool ended = false;
  };

  void Spawn() CATZILLA_REQUIRES(mutex_);
  void Work(Worker& self, int index) CATZILLA_EXCLUDES(mutex_);
  bool Take(Job* job) CATZILLA_REQUIRES(mutex_);
  bool MayRun(const Group& group) const CATZILLA_REQUIRES(mutex_);
  // False: the thread is one too many.
  bool Finish(Worker& self) CATZILLA_REQUIRES(mutex_);
  void Watch() CATZILLA_EXCLUDES(mutex_);
  void FindLate(int64_t now_us, std::vector<Job>* late) CATZILLA_REQUIRES(mutex_);
  void WriteOff(Worker& worker) CATZILLA_REQUIRES(mutex_);
  void Reap() CATZILLA_REQUIRES(mutex_);

  // Constant after construction.
  const std::string name_;
  const int threads_count_;
  const size_t queue_max_;
  std::thread clock_;
  std::atomic<int64_t> deadline_us_{kDeadlineUs};

  mutable Mutex mutex_;
  CondVar work_;
  CondVar watched_;
  std::deque<Job> queue_ CATZILLA_GUARDED_BY(mutex_);
  std::list<Worker> workers_ CATZILLA_GUARDED_BY(mutex_);
  bool closing_ CATZILLA_GUARDED_BY(mutex_) = false;
  bool ended_ CATZILLA_GUARDED_BY(mutex_) = false;  // The clock is to end.
  int spawned_ CATZILLA_GUARDED_BY(mutex_) = 0;
  int live_ CATZILLA_GUARDED_BY(mutex_) = 0;          // Threads that are not written off.
  size_t deadlines_ CATZILLA_GUARDED_BY(mutex_) = 0;  // Jobs with one, queued or running.
  size_t running_ CATZILLA_GUARDED_BY(mutex_) = 0;
  size_t stuck_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint64_t completed_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint64_t declined_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint64_t written_off_ CATZILLA_GUARDED_BY(mutex_) = 0;
  uint64_t late_ CATZILLA_GUARDED_BY(mutex_) = 0;
};

}  // namespace catzilla::base
