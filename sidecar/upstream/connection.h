// One connection to a server, and the request that is on it.
//
//   kConnecting --> kBusy --answer complete, nothing left over--> kIdle --Attach()--> kBusy
//                     \--101, as asked for--> kSwitched: a WebSocket until its end (socket.h)
//   any --Close()--> kClosing --> kClosed, and the agent frees it
//
// Threads: the loop's.
// Owns:    its descriptor and what could not be written yet.
// Limits:  a read is the agent's buffer; reading pauses while the observer holds a window's worth.
// Fails:   by telling the agent, which tries again or tells the observer; a connection that has
//          failed in any way is never used again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/http/response_parser.h"
#include "sidecar/loop/loop.h"
#include "sidecar/loop/poll.h"
#include "sidecar/loop/timer.h"
#include "sidecar/upstream/call.h"
#include "sidecar/upstream/socket.h"
#include "sidecar/upstream/target.h"

namespace catzilla::upstream {

struct ConnectionTag;

class Connection final : public base::ListNode<ConnectionTag>,
                         private loop::Poll::Handler,
                         private loop::Deadline,
                         private loop::Deferred {
 public:
  Connection(Agent& agent, std::shared_ptr<Target> target, int64_t idle_timeout_us);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // 0: on its way, and `call` will hear of it through the agent; else errno, and it is closed.
  [[nodiscard]] int Connect(Call& call, const Address& address, uint32_t address_index,
                            int64_t timeout_us);
  // The next request. REQUIRES: idle().
  void Attach(Call& call);
  // Whether the server is there still and has sent nothing unasked, as far as can be seen.
  bool IsAlive() const;
  void Close();

  bool idle() const { return state_ == State::kIdle; }
  bool closed() const { return state_ == State::kClosed; }
  bool reused() const { return reused_; }
  uint32_t address_index() const { return address_index_; }
  const std::shared_ptr<Target>& target() const { return target_; }
  Call* call() const { return call_; }

  // For its call...
  size_t pending() const { return out_.size() - sent_; }
  void SendBody(std::string_view bytes, bool last);
  void Resume();  // The observer has room again.
  void SendMessage(origin::MessageKind kind, std::string_view bytes, bool last) {
    socket_->SendMessage(kind, bytes, last);
  }
  // The call hears nothing more; the WebSocket is closed, for that reason.
  void EndSocket(uint16_t code, std::string_view reason);

  // For its WebSocket...
  void OnPiece(origin::MessageKind kind, std::string_view bytes, bool last);
  void OnServerClose(uint16_t code, std::string_view reason);
  void FailSocket(TargetFailure failure, std::string_view cause);
  // Writes `head`, and then what the caller puts into so many bytes. Null: nobody reads it.
  char* Grow(std::string_view head, size_t bytes);
  void NextMaskKey(char (&key)[4]);

 private:
  enum class State : uint8_t { kMade, kConnecting, kBusy, kSwitched, kIdle, kClosing, kClosed };

  void OnReady(unsigned ready) override;
  void OnClosed() override;
  void OnDeadline() override;
  void RunDeferred() override { Flush(); }

  void Connected();
  void SendRequest();
  void WantFlush();
  void Flush();
  void Read();
  void Feed(std::string_view bytes);
  void OnFinalHead(std::string_view* rest);
  void OnInterim();
  void Deliver(std::string_view bytes);
  void PeerClosed(bool orderly);
  // The answer is complete. The connection stays, or closes.
  void Finish();
  void Fail(TargetFailure failure, std::string_view cause);
  void UpdateWatch();
  bool has_request() const { return state_ == State::kBusy || state_ == State::kSwitched; }
  // WebSockets...
  void Switch(std::string_view rest);
  void ArmSocket();
  void OnSocketDeadline();
  // Fields of the answer that are passed on.
  http::Fields PassedFields();

  Agent& agent_;
  const std::shared_ptr<Target> target_;
  const int64_t idle_timeout_us_;
  loop::Poll poll_;
  State state_ = State::kMade;
  Call* call_ = nullptr;
  uint32_t address_index_ = 0;
  bool reused_ = false;
  bool write_failed_ = false;   // The server reads no more; its answer may still come.
  bool anything_sent_ = false;  // Of this request.
  bool paused_ = false;
  int64_t progress_us_ = 0;
  http::ResponseParser parser_;
  std::unique_ptr<Socket> socket_;  // kSwitched
  std::string out_;
  size_t sent_ = 0;
};

}  // namespace catzilla::upstream
