// A call to a server of an upstream pool (origin/call.h), or a WebSocket to it (origin/socket.h).
//
// Threads: the loop's that started it.
// Owns:    the request's head, and an inline body, while they may have to be sent again. The agent
//          owns the Call.
// Limits:  what the observer has not given back with Consumed() is at most kWindowBytes and one
//          read; what it has sent and the server has not read, kSendBytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/base/intrusive_list.h"
#include "sidecar/loop/timer.h"
#include "sidecar/origin/call.h"
#include "sidecar/origin/socket.h"
#include "sidecar/upstream/pool.h"
#include "sidecar/upstream/socket.h"

namespace catzilla::upstream {

class Agent;
class Connection;
struct QueueTag;

class Call final : public origin::Socket, public loop::Deadline, public base::ListNode<QueueTag> {
 public:
  static constexpr size_t kWindowBytes = 256 * 1024;
  static constexpr size_t kSendBytes = 64 * 1024;

  explicit Call(Agent& agent) : agent_(agent) {}
  ~Call() override = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  size_t body_window() const override;
  void SendBody(std::string_view bytes, bool last) override;
  bool body_ended() const override { return body_over_; }
  void Consumed(size_t bytes) override;
  void Cancel(origin::CancelCode code) override;
  void SendMessage(origin::MessageKind kind, std::string_view bytes, bool last) override;
  void SendClose(uint16_t code, std::string_view reason) override;

 private:
  friend class Agent;
  friend class Connection;

  // kWaiting --a place--> kConnecting --> kOpen --> kFree; any --failed, tried again--> kWaiting or
  // kConnecting
  enum class State : uint8_t { kFree, kWaiting, kConnecting, kOpen };

  void OnDeadline() override;

  Agent& agent_;
  origin::Observer* observer_ = nullptr;
  origin::SocketObserver* socket_ = nullptr;  // The same, if it asks for a WebSocket.
  State state_ = State::kFree;
  Connection* connection_ = nullptr;  // kConnecting, kOpen.
  SetupRef setup_;
  std::shared_ptr<Target> target_;  // kConnecting, kOpen: whose place it holds.
  uint64_t tried_ = 0;              // Targets of setup_ that have failed it, by index.
  uint32_t attempts_ = 0;
  uint32_t turn_ = 0;  // Which address of the target the attempt began with.
  std::string line_;
  std::string fields_;
  std::string body_;          // Inline.
  std::string key_;           // What the server has to accept...
  std::string subprotocols_;  // ...and may choose from.
  SocketRules socket_rules_;
  int64_t queued_us_ = 0;
  int64_t queue_due_us_ = 0;
  int64_t soft_due_us_ = 0;
  int64_t budget_us_ = 0;
  size_t held_ = 0;        // Given to the observer and not consumed.
  bool own_host_ = false;  // Host is the target's own, and not in line_.
  bool head_request_ = false;
  bool idempotent_ = false;
  bool streaming_ = false;        // The body follows.
  bool chunked_ = false;          // It is sent in chunks.
  bool body_over_ = false;        // All of it has been given, or nobody reads it any more.
  bool request_over_ = false;     // All of the request has been given to the connection.
  bool body_begun_ = false;       // Bytes of it have been given, and are not kept.
  bool awaits_continue_ = false;  // The server is to say that it wants the body.
  bool answer_begun_ = false;     // The observer has been told of the final answer.
  bool fresh_only_ = false;       // Not on a connection that has been used before.
  bool is_check_ = false;         // No client's: holds no place, is not counted.
  bool connect_only_ = false;     // A check that is content with a connection.
  bool switched_ = false;         // It is an open WebSocket, and holds no place.
};

}  // namespace catzilla::upstream
