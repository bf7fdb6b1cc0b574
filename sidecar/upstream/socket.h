// A WebSocket to a server: what is said on a connection after its 101 (RFC 6455, the client's
// side).
//
//   kOpen --the server's Close, answered--> kClosing --it closes the connection, or late--> over
//     \--End(): a Close of ours--> kClosing
//     \--it is gone, silent, or breaks the rules: the connection fails
//
// Threads: the loop's.
// Owns:    what is half read of a frame. The connection owns it, and tells its call.
// Limits:  a message has none, it is passed on in pieces; Pongs are left out while kSendBytes wait
//          for the server.
// Fails:   through its connection, with a sentence.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/origin/request.h"
#include "sidecar/origin/socket.h"
#include "sidecar/websocket/message_decoder.h"

namespace catzilla::upstream {

class Connection;

// When a server is asked whether it is there, and how long it may take to answer.
struct SocketRules {
  int64_t ping_interval_us = 0;  // 0: never.
  int64_t ping_timeout_us = 0;   // 0: for ever.
  int64_t close_timeout_us = 0;
};

class Socket final {
 public:
  Socket(Connection& connection, const SocketRules& rules, int64_t now_us);

  // From the server: all of it is taken.
  void OnBytes(std::string_view input, int64_t now_us);
  // REQUIRES: not closing.
  void SendMessage(origin::MessageKind kind, std::string_view bytes, bool last);
  // Nobody is told any more. False: the connection is to be closed now.
  [[nodiscard]] bool End(uint16_t code, std::string_view reason, int64_t now_us);

  bool closing() const { return state_ == State::kClosing; }
  // When to look again.
  int64_t due_us(int64_t now_us) const;
  // Null: all is well; else the connection fails, for that reason. `reading`: it could be heard.
  const char* Look(bool reading, int64_t now_us);

 private:
  enum class State : uint8_t { kOpen, kClosing };

  void OnClose(uint16_t code, std::string_view reason, int64_t now_us);
  void WriteFrame(websocket::Opcode opcode, bool last, std::string_view payload);
  void WriteClose(uint16_t code, std::string_view reason, int64_t now_us);

  Connection& connection_;
  const SocketRules rules_;
  websocket::MessageDecoder decoder_;
  State state_ = State::kOpen;
  bool sending_ = false;  // A message is half written.
  int64_t heard_us_;
  int64_t pinged_us_ = 0;  // 0: no ping waits for an answer.
  int64_t close_due_us_ = 0;
};

}  // namespace catzilla::upstream
