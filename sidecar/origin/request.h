// What an origin is told of a request.
//
// Threads: none of its own. Owns: nothing; borrowed for the call it is given to.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "sidecar/http/field.h"

namespace catzilla::origin {

enum class BodyMode : uint8_t { kNone = 0, kInline = 1, kStreaming = 2 };
inline constexpr uint64_t kLengthUnknown = ~uint64_t{0};
inline constexpr uint32_t kNoRoute = 0xFFFFFFFF;

// As in a REQUEST frame's flags.
enum RequestFlag : uint32_t {
  kHeadRequest = 0x01,
  kExpectContinue = 0x02,
  kOverLimit = 0x04,
  kQueryNotUtf8 = 0x08,
  kUpgradeRequest = 0x10,
  kSlotsOverflow = 0x20,
  kCancelOnDisconnect = 0x40,
  kBytesOnly = 0x80,  // The answer's body is wanted as bytes: not by OnFile().
};

// The value of one input that the route has registered.
struct SlotValue {
  enum class Kind : uint8_t { kAbsent, kValue, kList };
  Kind kind = Kind::kAbsent;
  std::string_view value;                  // kValue
  std::span<const std::string_view> list;  // kList
};

struct RequestSpec {
  uint32_t route_id = kNoRoute;
  uint32_t flags = 0;
  std::string_view method = "GET";
  uint8_t http_version = 0x11;
  uint8_t scheme = 0;  // 0 http, 1 https
  BodyMode body_mode = BodyMode::kNone;
  int64_t accept_us = 0;
  // From when on an answer was possible, and the deadlines count: a small body is collected first.
  // 0: accept_us. Not part of the frame.
  int64_t asked_us = 0;
  int64_t deadline_us = 0;
  int64_t hard_timeout_us = 0;  // The route's; 0: the pool's. Not part of the frame.
  uint64_t body_length = 0;
  uint32_t queue_us = 0;
  uint16_t client_port = 0;
  uint16_t server_port = 0;
  std::string_view target = "/";  // Raw path and query.
  std::string_view path = "/";    // Decoded once.
  std::string_view host;
  std::string_view client;
  std::string_view server;
  std::string_view root_path;
  std::string_view request_id;
  std::string_view traceparent;
  std::string_view tracestate;
  http::Fields fields;  // Names in lower case.
  std::span<const SlotValue> slots;
  std::string_view body;    // kInline
  bool idempotent = false;  // The route says so; not part of the frame.
  // Who the connection is from, and whether what it says of clients is believed; not part of the
  // frame.
  std::string_view peer;
  bool peer_trusted = false;
  bool upgrade = false;  // To a channel of messages (socket.h).
  // Of a server at the other end of such a channel: when it is asked whether it is still there (0:
  // never), how long it may take to say so (0: for ever), and to answer a Close. Not part of the
  // frame.
  int64_t ping_interval_us = 0;
  int64_t ping_timeout_us = 0;
  int64_t close_timeout_us = 0;
};

}  // namespace catzilla::origin
