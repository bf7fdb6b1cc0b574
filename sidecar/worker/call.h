// One request on its way to a worker and its answer, as the exchange sees it.
//
// Threads: the loop's that started it. No method calls the observer before it returns; the
//          observer's methods come from the loop and may call the Call's.
// Owns:    nothing of the observer. The dispatcher owns the Call, lends it from Start() until the
//          last event (OnEnd or OnFailure has been called) or Cancel(); the pointer is dead after
//          that.
// Limits:  the stream's windows: what the observer has not given back with Consumed() is at most
//          stream_window; what it may send is body_window(). Inline bodies need none.
// Fails:   once, with OnFailure, at any time, also after OnResponse.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/base/ref.h"
#include "sidecar/loop/timer.h"
#include "sidecar/worker/generation.h"
#include "sidecar/worker/payload.h"
#include "sidecar/worker/request_frame.h"

namespace catzilla::worker {

class Dispatcher;

enum class FailureKind : uint8_t {
  kQueueFull,     // 503 with Retry-After
  kQueueTimeout,  // 503 with Retry-After
  kNoWorkers,     // 503 with Retry-After: the pool is orphaned, or was never registered
  kTimeout,       // 504: the soft deadline passed before an answer began
  kWorkerLost,    // 502: the worker died or refused; trying again was not allowed or did not help
  kAppFailed,     // 500, or a broken answer if it had begun: the app raised, or never answered
  kBadAnswer,     // 502: the answer's head cannot be used
  kTooLarge,      // 431: the head does not fit the frames agreed with the workers
  kSuperseded,    // Newer code has taken over before the request had begun: route it anew. 503 with
                  // Retry-After if that cannot be
};
inline constexpr int kFailureKinds = 9;
// "queue_full": the metric's label and the log's word.
std::string_view FailureName(FailureKind kind);

struct CallFailure {
  FailureKind kind = FailureKind::kWorkerLost;
  uint32_t retry_after_s = 0;
  std::string_view cause;  // For the log; lives until the callback returns, or is static.
};

struct ResponseHead : ResponseView {
  // The inline `body` is all of it; OnEnd() follows at once.
  bool complete = false;
};

class CallObserver {
 public:
  // Once. `head.body` holds the first bytes of the body; they need no Consumed(). Views live until
  // it returns.
  virtual void OnResponse(const ResponseHead& head) = 0;
  virtual void OnInformational(const ResponseHead& head) = 0;
  // Give the bytes back with Consumed() when they have left.
  virtual void OnData(std::string_view bytes) = 0;
  // body_window() has grown. With kExpectContinue the first one is the time for 100 Continue.
  virtual void OnBodyRoom() = 0;
  virtual void OnEnd() = 0;
  virtual void OnFailure(const CallFailure& failure) = 0;

 protected:
  ~CallObserver() = default;
};

class Call final : public loop::Deadline, public base::ListNode<QueueTag> {
 public:
  explicit Call(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}
  ~Call() override = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // How many bytes of a streaming body may be sent now; 0 while the call waits in the queue.
  size_t body_window() const;
  // Sends bytes of the body; `last` ends it, also with no bytes, also while the call waits.
  // REQUIRES: bytes.size() <= body_window(). Does nothing once the body has ended.
  void SendBody(std::string_view bytes, bool last);
  // `last` was said, or the worker has stopped reading (its answer is complete).
  bool body_ended() const { return body_over_ || (state_ != State::kQueued && own_end_); }
  // Gives the window of `bytes` of OnData() back.
  void Consumed(size_t bytes);
  // The observer hears nothing more. A request that waits is dropped; a running one is told.
  void Cancel(CancelCode code);

  int64_t started_us() const { return started_us_; }
  uint32_t attempt() const { return attempt_; }

 private:
  friend class Channel;
  friend class Dispatcher;
  friend class Pool;

  enum class State : uint8_t {
    kFree,
    kQueued,     // In its generation's queue, or a grant is on its way.
    kOpen,       // On a lane.
    kCancelled,  // CANCEL is out; END has not come. No observer.
    kDetached,   // END has come; CREDIT has not. No observer.
  };

  void OnDeadline() override;
  Pool& pool() const { return generation_->pool(); }

  Dispatcher& dispatcher_;
  CallObserver* observer_ = nullptr;
  base::Ref<Generation> generation_;
  Channel* channel_ = nullptr;  // kOpen, kCancelled, kDetached.
  State state_ = State::kFree;
  uint32_t epoch_ = 0;  // Rises with every use, so that a late grant finds nobody.
  uint32_t stream_ = 0;
  uint32_t attempt_ = 0;
  uint32_t route_id_ = 0;
  int64_t started_us_ = 0;
  int64_t queued_us_ = 0;
  int loop_ = 0;
  int64_t soft_due_us_ = 0;
  int64_t budget_us_ = 0;  // From the head to the answer, not counting a body on its way.
  int64_t grace_us_ = 0;   // From CANCEL to the recycling of the worker; 0: the pool's.
  std::string request_;    // The encoded frame, kept while it may have to be sent again.
  uint64_t window_ = 0;    // Body bytes the worker still takes.
  uint64_t body_bytes_sent_ = 0;
  uint32_t receive_window_ = 0;  // Answer bytes the worker may still send.
  uint32_t held_ = 0;            // Received and not given back on the wire yet...
  uint32_t consumed_ = 0;        // ...of which the observer is through with so many.
  bool idempotent_ = false;
  bool streaming_ = false;        // The body follows in REQUEST_DATA.
  bool awaits_continue_ = false;  // The first WINDOW is still to come.
  bool own_end_ = false;          // The body's END is out.
  bool body_over_ = false;        // SendBody() has said `last`.
  bool response_begun_ = false;   // Any frame of the answer has come.
  bool response_seen_ = false;
  bool trailers_seen_ = false;
  bool detached_ = false;      // DETACHED came: END is not the last of it.
  bool holds_credit_ = false;  // Of its worker; from Send() until the answer has begun.
};

}  // namespace catzilla::worker
