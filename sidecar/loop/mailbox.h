// Waking a loop from another thread, and handing it messages.
//
// Threads: Wakeup::Signal() and Mailbox::Post() may be called by any thread while the mailbox is
//          open; everything else by the loop's.
// Limits:  `messages_max` given to the constructor; a full mailbox declines, and the caller must
//          say what it does then.
// Life:    Close() on the loop; destroyed when the loop has run since. After Close() Post()
//          declines, so a thread may post late, but a mailbox outlives every thread that knows it
//          (main stops those first).
#pragma once

#include <uv.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/loop/loop.h"

namespace catzilla::loop {

class Wakeup {
 public:
  class Handler {
   public:
    virtual void OnWakeup() = 0;

   protected:
    ~Handler() = default;
  };

  Wakeup(Loop& loop, Handler& handler);
  ~Wakeup();  // REQUIRES: closed, and the loop has run since.
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  void Signal() { uv_async_send(&uv_); }  // Several signals may become one call.
  void Close();

 private:
  static void OnAsync(uv_async_t* handle);
  static void OnUvClosed(uv_handle_t* handle);

  Loop& loop_;
  Handler& handler_;
  uv_async_t uv_;
  bool closing_ = false;
  bool closed_ = false;
};

template <typename Message>
class Mailbox final : private Wakeup::Handler {
 public:
  class Receiver {
   public:
    virtual void OnMessage(Message& message) = 0;

   protected:
    ~Receiver() = default;
  };

  Mailbox(Loop& loop, Receiver& receiver, size_t messages_max)
      : receiver_(receiver), messages_max_(messages_max), wakeup_(loop, *this) {}

  // False: full, or closed; the message is untouched. One wake-up serves a batch.
  [[nodiscard]] bool Post(Message&& message) { return PostWithin(messages_max_, message); }

  // For messages that must not be lost and whose number something else bounds. False: closed.
  bool PostAlways(Message&& message) { return PostWithin(SIZE_MAX, message); }

  // Messages not yet delivered are destroyed.
  void Close() {
    {
      base::MutexLock lock(mutex_);
      closed_ = true;
      waiting_.clear();
    }
    wakeup_.Close();
  }

 private:
  bool PostWithin(size_t messages_max, Message& message) {
    bool was_empty = false;
    {
      base::MutexLock lock(mutex_);
      if (closed_ || waiting_.size() >= messages_max) return false;
      was_empty = waiting_.empty();
      waiting_.push_back(std::move(message));
    }
    if (was_empty) wakeup_.Signal();
    return true;
  }
  void OnWakeup() override {
    {
      base::MutexLock lock(mutex_);
      batch_.swap(waiting_);
    }
    for (Message& message : batch_) receiver_.OnMessage(message);
    batch_.clear();
  }

  Receiver& receiver_;
  const size_t messages_max_;
  base::Mutex mutex_;
  std::vector<Message> waiting_ CATZILLA_GUARDED_BY(mutex_);
  bool closed_ CATZILLA_GUARDED_BY(mutex_) = false;
  std::vector<Message> batch_;  // Touched by the loop's thread only.
  Wakeup wakeup_;
};

}  // namespace catzilla::loop
