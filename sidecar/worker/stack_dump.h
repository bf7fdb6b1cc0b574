// One question to workers: where does every thread and task of yours stand?
//
//   made --the acceptor asks each worker that is meant--> asked --all have answered, or in time-->
//   told
//
// Threads: any. One thread waits; the loop of the control connections asks and collects.
// Limits:  a text is at most a DUMP frame; all texts together kBytesMax, what is beyond it is left
//          out, with a sentence.
// Fails:   per worker, with a sentence instead of its stacks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/worker/events.h"

namespace catzilla::worker {

class StackDump {
 public:
  // So that what is told fits one message of the control plane.
  static constexpr size_t kBytesMax = 3 * 1024 * 1024;

  struct Answer {
    std::string pool;
    uint32_t pid = 0;
    GenerationId generation;
    std::string stacks;
    std::string error;  // Why there are none.
  };

  // Empty pool, pid 0: all.
  StackDump(std::string pool, uint32_t pid) : pool_(std::move(pool)), pid_(pid) {}

  bool Means(std::string_view pool, uint32_t pid) const {
    return (pool_.empty() || pool_ == pool) && (pid_ == 0 || pid_ == pid);
  }
  // This worker is asked; what it says comes under this number.
  size_t Ask(std::string pool, uint32_t pid, const GenerationId& generation);
  void Tell(size_t number, std::string_view stacks);
  void Fail(size_t number, std::string why);
  // Every worker that is meant has been asked.
  void AllAsked();

  // Until all have answered, for at most so long. Who has not is told of, too. Once.
  std::vector<Answer> Wait(int64_t timeout_us);

 private:
  void Settle(size_t number) CATZILLA_REQUIRES(mutex_);

  const std::string pool_;
  const uint32_t pid_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<Answer> answers_ CATZILLA_GUARDED_BY(mutex_);
  std::vector<bool> settled_ CATZILLA_GUARDED_BY(mutex_);
  size_t open_ CATZILLA_GUARDED_BY(mutex_) = 0;
  size_t bytes_ CATZILLA_GUARDED_BY(mutex_) = 0;
  bool all_asked_ CATZILLA_GUARDED_BY(mutex_) = false;
  bool told_ CATZILLA_GUARDED_BY(mutex_) = false;  // What comes now is too late.
};

}  // namespace catzilla::worker
