// A channel of messages in both directions (a WebSocket), as the exchange sees it. It begins as a
// call: the origin may answer it instead (OnResponse, as any other), or accepts it.
//
//   asked --OnAccept--> open --OnClose--> closed by the origin --SendClose()--> over
//     \--OnResponse…     \--SendClose()--> over
//     OnFailure at any time, OnEnd once the origin says no more: as of a call.
//
// Threads, owns, limits: as call.h. What the observer has not given back with Consumed() is bounded
//          by the origin; what it may send is body_window(). Messages come and go in pieces.
// Fails:   once, with OnFailure; nothing was accepted before OnAccept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sidecar/origin/call.h"

namespace catzilla::origin {

// As in a WS_MESSAGE frame.
enum class MessageKind : uint8_t { kText = 1, kBinary = 2 };
// What a piece takes from a window beside its bytes, so that empty ones do not come without end.
inline constexpr size_t kPieceOverhead = 64;

class SocketObserver : public Observer {
 public:
  // Once, instead of OnResponse. `head.status` is 101; `head.fields` are the origin's own.
  virtual void OnAccept(const ResponseHead& head) = 0;
  // A piece of a message; give bytes.size() + kPieceOverhead back with Consumed() when it has left.
  virtual void OnMessage(MessageKind kind, std::string_view bytes, bool last) = 0;
  // The origin sends no more messages. The code is as it said it, not checked.
  virtual void OnClose(uint32_t code, std::string_view reason) = 0;
  // The origin is about to leave: it is cut off at `due_us`. `code`: what to tell the client.
  virtual void OnGoingAway(uint16_t code, int64_t due_us) = 0;

 protected:
  ~SocketObserver() = default;
};

class Socket : public Call {
 public:
  // Sends a piece of a message, also an empty one.
  // REQUIRES: accepted, body_window() > 0, bytes.size() <= body_window().
  virtual void SendMessage(MessageKind kind, std::string_view bytes, bool last) = 0;
  // The client has ended it, or never will: `code` and `reason` are what the app is told. The
  // observer hears nothing more. REQUIRES: accepted.
  virtual void SendClose(uint16_t code, std::string_view reason) = 0;

 protected:
  ~Socket() = default;
};

}  // namespace catzilla::origin
