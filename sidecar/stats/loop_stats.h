// What one loop counts about connections and requests.
//
// Threads: the loop writes, any thread reads. Owns: its numbers only.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sidecar/stats/counter.h"

namespace catzilla::stats {

// CLOSE_REASON(enumerator, label, what the manual says)
#define CATZILLA_CLOSE_REASONS(X)                                                      \
  X(kClient, "client", "the client closed the connection")                             \
  X(kDone, "done", "the answer said Connection: close")                                \
  X(kIdle, "idle", "keep-alive ran out")                                               \
  X(kHeaderTimeout, "header_timeout", "a request head took too long")                  \
  X(kBodyTimeout, "body_timeout", "a request body stopped or was too slow")            \
  X(kWriteTimeout, "write_timeout", "the client did not read its answer")              \
  X(kBadRequest, "bad_request", "what came was not HTTP, or passed a limit")           \
  X(kUnread, "unread", "a request body was not wanted and too long to skip")           \
  X(kTruncated, "truncated", "the answer broke off: its source failed after the head") \
  X(kWriteError, "write_error", "the kernel refused to write")                         \
  X(kOverLimit, "over_limit", "there were too many connections")                       \
  X(kProxyHeader, "proxy_header", "the PROXY header was missing or malformed")         \
  X(kDrain, "drain", "the sidecar is shutting down")

enum class CloseReason : uint8_t {
#define X(name, label, text) name,
  CATZILLA_CLOSE_REASONS(X)
#undef X
      kCount
};
inline constexpr size_t kCloseReasons = static_cast<size_t>(CloseReason::kCount);
inline constexpr std::array<std::string_view, kCloseReasons> kCloseReasonLabels = {
#define X(name, label, text) label,
    CATZILLA_CLOSE_REASONS(X)
#undef X
};

// The codes by which closed WebSockets are told apart; what is none of them is the last, "other".
inline constexpr std::array<uint16_t, 12> kSocketCloseCodes = {1000, 1001, 1002, 1003, 1005, 1006,
                                                               1007, 1008, 1009, 1011, 1012, 0};
inline constexpr size_t kSocketCloses = kSocketCloseCodes.size();
constexpr size_t SocketCloseIndex(uint16_t code) {
  for (size_t i = 0; i + 1 < kSocketCloses; ++i) {
    if (kSocketCloseCodes[i] == code) return i;
  }
  return kSocketCloses - 1;
}

struct alignas(64) LoopStats {
  Counter accepted;
  std::array<Counter, kCloseReasons> closed;
  Gauge connections_open;
  Gauge connections_active;            // With a request under way.
  std::array<Counter, 600> responses;  // By exact status.
  Counter requests;
  Counter bytes_received;
  Counter bytes_sent;
  Counter keepalive_reuses;
  Counter writes;          // Calls of the kernel to write, sendfile included.
  Counter access_dropped;  // Lines that did not fit the ring.
  Counter accepts_failed;
  Gauge websockets_open;
  std::array<Counter, kSocketCloses> websockets_closed;
  Counter websocket_messages_received;
  Counter websocket_messages_sent;
  Counter websocket_bytes_received;
  Counter websocket_bytes_sent;
  DurationHistogram duration;
};

}  // namespace catzilla::stats
