#include "sidecar/base/executor.h"

#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <utility>

#include "sidecar/base/check.h"

namespace catzilla::base {

Executor::Executor(std::string name, int threads, size_t queue_max)
    : name_(std::move(name)), threads_count_(threads), queue_max_(queue_max) {
  CATZILLA_CHECK(threads > 0 && queue_max > 0, "an executor needs a thread and a queue");
  threads_.reserve(threads);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this, i] { Work(i); });
}

Executor::~Executor() { Shutdown(); }

bool Executor::TryPost(Task task) {
  {
    MutexLock lock(mutex_);
    if (closing_ || queue_.size() >= queue_max_) {
      ++declined_;
      return false;
    }
    queue_.push_back(std::move(task));
  }
  work_.Signal();
  return true;
}

void Executor::Shutdown() {
  {
    MutexLock lock(mutex_);
    closing_ = true;
  }
  work_.SignalAll();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

Executor::State Executor::state() const {
  MutexLock lock(mutex_);
  return {queue_.size(), running_, completed_, declined_};
}

void Executor::Work(int index) {
  // Signals belong to main's thread; one delivered here would be handled by nobody.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  const std::string thread_name = (name_ + "/" + std::to_string(index)).substr(0, 15);
  pthread_setname_np(pthread_self(), thread_name.c_str());

  // A thread's first allocation makes its arena; jemalloc does not survive that when there is no
  // memory left, so it is done now. (volatile: else the pair is optimised away.)
  void* volatile first = std::malloc(1);
  std::free(first);

  mutex_.Lock();
  for (;;) {
    while (queue_.empty() && !closing_) work_.Wait(mutex_);
    if (queue_.empty()) break;  // Closing, and everything queued has run.
    Task task = std::move(queue_.front());
    queue_.pop_front();
    ++running_;
    mutex_.Unlock();
    task();
    task = nullptr;  // What the task holds goes before it counts as completed.
    mutex_.Lock();
    --running_;
    ++completed_;
  }
  mutex_.Unlock();
}

}  // namespace catzilla::base
