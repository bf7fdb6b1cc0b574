// What happens to workers and their generations, told to the control room and the log.
//
// Threads: values; a sink is called on whichever thread something happened.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace catzilla::worker {

struct GenerationId {
  uint64_t epoch = 0;   // Of the sidecar's start.
  uint64_t number = 0;  // 0: none.
  bool operator==(const GenerationId&) const = default;
};

// A thing that happened, for the control room and the log.
struct WorkerEvent {
  enum class Kind : uint8_t {
    kAttached,     // A process has opened its control connection.
    kReady,        // It takes requests, or could.
    kLost,         // It has gone without having said so.
    kLeft,         // It has gone after GOAWAY.
    kRefused,      // A HELLO was not accepted; `detail` is the sentence it was sent.
    kPrepared,     // Enough workers of `generation` are ready: it may take over.
    kSwitched,     // All routes are now answered by `generation`, on every loop.
    kRetired,      // The last worker of an older generation has gone.
    kHardTimeout,  // A request of `route_id` has passed its hard deadline: recycle the process.
    kSaturated,    // Requests are refused because all credits are taken; `detail` says how many.
    kLog,          // A line of the worker; `level` as in LOG.
  };
  Kind kind = Kind::kAttached;
  std::string pool;
  GenerationId generation;
  uint64_t worker_id = 0;
  uint32_t pid = 0;
  uint32_t ready = 0;  // Ready workers of the generation.
  uint32_t level = 0;
  uint32_t route_id = 0;  // As the app registered it, or kNoRoute.
  std::string detail;
};

class EventSink {
 public:
  // Any thread; must not block, and must not call the Registry back.
  virtual void OnWorkerEvent(const WorkerEvent& event) = 0;

 protected:
  ~EventSink() = default;
};

}  // namespace catzilla::worker
