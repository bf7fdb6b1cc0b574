#include "sidecar/origin/failure.h"

namespace catzilla::origin {

std::string_view FailureName(FailureKind kind) {
  switch (kind) {
    case FailureKind::kQueueFull:
      return "queue_full";
    case FailureKind::kQueueTimeout:
      return "queue_timeout";
    case FailureKind::kNoWorkers:
      return "no_workers";
    case FailureKind::kTimeout:
      return "timeout";
    case FailureKind::kWorkerLost:
      return "worker_lost";
    case FailureKind::kAppFailed:
      return "app_failed";
    case FailureKind::kBadAnswer:
      return "bad_answer";
    case FailureKind::kTooLarge:
      return "too_large";
    case FailureKind::kSuperseded:
      return "superseded";
    case FailureKind::kNoTargets:
      return "no_targets";
    case FailureKind::kUpstreamLost:
      return "upstream_lost";
    case FailureKind::kTooManySockets:
      return "too_many_websockets";
    case FailureKind::kNoSockets:
      return "websockets_unknown";
  }
  return "?";
}

uint16_t StatusOf(FailureKind kind) {
  switch (kind) {
    case FailureKind::kQueueFull:
    case FailureKind::kQueueTimeout:
    case FailureKind::kNoWorkers:
    case FailureKind::kSuperseded:
    case FailureKind::kNoTargets:
    case FailureKind::kTooManySockets:
      return 503;
    case FailureKind::kTimeout:
      return 504;
    case FailureKind::kWorkerLost:
    case FailureKind::kBadAnswer:
    case FailureKind::kUpstreamLost:
      return 502;
    case FailureKind::kAppFailed:
      return 500;
    case FailureKind::kTooLarge:
      return 431;
    case FailureKind::kNoSockets:
      return 501;
  }
  return 502;
}

}  // namespace catzilla::origin
