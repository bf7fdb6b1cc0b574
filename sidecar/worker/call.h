// A call to a worker process, or a socket (origin/call.h, origin/socket.h).
//
// Threads: the loop's that started it.
// Owns:    its frame while that may have to be sent again. The dispatcher owns the Call.
// Limits:  what the observer has not given back with Consumed() is at most stream_window.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/base/ref.h"
#include "sidecar/loop/timer.h"
#include "sidecar/origin/socket.h"
#include "sidecar/worker/generation.h"
#include "sidecar/worker/payload.h"
#include "sidecar/worker/request_frame.h"

namespace catzilla::worker {

class Dispatcher;

using origin::FailureKind;
using origin::FailureName;
using origin::kFailureKinds;
using origin::ResponseHead;

class Call final : public origin::Socket, public loop::Deadline, public base::ListNode<QueueTag> {
 public:
  explicit Call(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}
  ~Call() override = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  size_t body_window() const override;
  void SendBody(std::string_view bytes, bool last) override;
  bool body_ended() const override { return body_over_ || (state_ != State::kQueued && own_end_); }
  void Consumed(size_t bytes) override;
  void Cancel(CancelCode code) override;
  void SendMessage(origin::MessageKind kind, std::string_view bytes, bool last) override;
  void SendClose(uint16_t code, std::string_view reason) override;

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
  origin::Observer* observer_ = nullptr;
  origin::SocketObserver* socket_ = nullptr;  // The same, if it is to become a socket.
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
  bool takes_files_ = false;       // Not with kBytesOnly.
  bool streaming_ = false;         // The body follows in REQUEST_DATA.
  bool expects_continue_ = false;  // Of whichever worker gets it.
  bool awaits_continue_ = false;   // The first WINDOW is still to come.
  bool own_end_ = false;           // The body's END is out.
  bool body_over_ = false;         // SendBody() has said `last`.
  bool response_begun_ = false;    // Any frame of the answer has come.
  bool response_seen_ = false;
  bool trailers_seen_ = false;
  bool is_socket_ = false;     // UPGRADE: counted until its handler has ended.
  bool accepted_ = false;      // WS_ACCEPT came.
  bool close_seen_ = false;    // WS_CLOSE came: the app sends no more.
  uint32_t message_kind_ = 0;  // Of the app's message that is half received; 0: none is.
  bool detached_ = false;      // DETACHED came: END is not the last of it.
  bool holds_credit_ = false;  // Of its worker; from Send() until the answer has begun.
};

}  // namespace catzilla::worker
