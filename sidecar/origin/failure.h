// Why an origin gives no answer, or breaks off the one that it has begun.
//
// Threads: values. Owns: nothing.
#pragma once

#include <cstdint>
#include <string_view>

namespace catzilla::origin {

enum class FailureKind : uint8_t {
  kQueueFull,     // 503 with Retry-After
  kQueueTimeout,  // 503 with Retry-After
  kNoWorkers,     // 503 with Retry-After: the pool is orphaned, or was never registered
  kTimeout,       // 504: the soft deadline passed before an answer began
  kWorkerLost,    // 502: the worker died or refused; trying again was not allowed or did not help
  kAppFailed,     // 500, or a broken answer if it had begun: the app raised, or ended without
                  // answering
  kBadAnswer,     // 502: the answer's head cannot be used
  kTooLarge,      // 431: the head does not fit the frames agreed with the workers
  kSuperseded,    // Newer code has taken over before the request had begun: route it anew. 503 with
                  // Retry-After if that cannot be
  kNoTargets,     // 503 with Retry-After: no server of an upstream pool may be asked
  kUpstreamLost,  // 502, or a broken answer: no connection, or it ended too early
  kTooManySockets,  // 503 with Retry-After: no more WebSockets are taken
  kNoSockets,       // 501: the workers do not know WebSockets
};
inline constexpr int kFailureKinds = 13;

// "queue_full": the metric's label and the log's word.
std::string_view FailureName(FailureKind kind);
// What a client is told if nothing of an answer has left.
uint16_t StatusOf(FailureKind kind);

struct Failure {
  FailureKind kind = FailureKind::kWorkerLost;
  uint32_t retry_after_s = 0;
  std::string_view cause;  // For the log; lives until the callback returns, or is static.
};

}  // namespace catzilla::origin
