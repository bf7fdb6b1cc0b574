// A mutex that clang's thread-safety analysis and ThreadSanitizer both understand.
//
// The core uses no absl synchronisation: Debian's is not instrumented and would blind TSan.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#if defined(__clang__)
#define CATZILLA_THREAD(x) __attribute__((x))
#else
#define CATZILLA_THREAD(x)
#endif
#define CATZILLA_GUARDED_BY(x) CATZILLA_THREAD(guarded_by(x))
#define CATZILLA_REQUIRES(...) CATZILLA_THREAD(requires_capability(__VA_ARGS__))
#define CATZILLA_EXCLUDES(...) CATZILLA_THREAD(locks_excluded(__VA_ARGS__))

namespace catzilla::base {

class CATZILLA_THREAD(capability("mutex")) Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void Lock() CATZILLA_THREAD(acquire_capability()) { mutex_.lock(); }
  void Unlock() CATZILLA_THREAD(release_capability()) { mutex_.unlock(); }
  bool TryLock() CATZILLA_THREAD(try_acquire_capability(true)) { return mutex_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class CATZILLA_THREAD(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) CATZILLA_THREAD(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() CATZILLA_THREAD(release_capability()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  void Wait(Mutex& mutex) CATZILLA_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // Returns false when `timeout_us` passed without a signal.
  bool WaitFor(Mutex& mutex, int64_t timeout_us) CATZILLA_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const auto status = condition_.wait_for(lock, std::chrono::microseconds(timeout_us));
    lock.release();
    return status == std::cv_status::no_timeout;
  }
  void Signal() { condition_.notify_one(); }
  void SignalAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace catzilla::base
