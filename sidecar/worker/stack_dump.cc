#include "sidecar/worker/stack_dump.h"

#include <utility>

#include "sidecar/base/clock.h"
#include "sidecar/base/utf8.h"

namespace catzilla::worker {

size_t StackDump::Ask(std::string pool, uint32_t pid, const GenerationId& generation) {
  base::MutexLock lock(mutex_);
  answers_.push_back({std::move(pool), pid, generation, {}, {}});
  settled_.push_back(false);
  ++open_;
  return answers_.size() - 1;
}

void StackDump::Tell(size_t number, std::string_view stacks) {
  base::MutexLock lock(mutex_);
  if (told_ || settled_[number]) return;
  Answer& answer = answers_[number];
  if (base::FindInvalidUtf8(stacks) != std::string_view::npos) {
    answer.error = "its answer is not UTF-8";
  } else if (bytes_ + stacks.size() > kBytesMax) {
    answer.error = "left out: the answer has become too large, ask for it with its pid";
  } else {
    answer.stacks = stacks;
    bytes_ += stacks.size();
  }
  Settle(number);
}

void StackDump::Fail(size_t number, std::string why) {
  base::MutexLock lock(mutex_);
  if (told_ || settled_[number]) return;
  answers_[number].error = std::move(why);
  Settle(number);
}

void StackDump::Settle(size_t number) {
  settled_[number] = true;
  --open_;
  changed_.SignalAll();
}

void StackDump::AllAsked() {
  base::MutexLock lock(mutex_);
  all_asked_ = true;
  changed_.SignalAll();
}

std::vector<StackDump::Answer> StackDump::Wait(int64_t timeout_us) {
  const int64_t due_us = base::ReadClockMicros(CLOCK_MONOTONIC) + timeout_us;
  base::MutexLock lock(mutex_);
  while (!all_asked_ || open_ > 0) {
    const int64_t left_us = due_us - base::ReadClockMicros(CLOCK_MONOTONIC);
    if (left_us <= 0) break;
    changed_.WaitFor(mutex_, left_us);
  }
  told_ = true;
  for (size_t i = 0; i < answers_.size(); ++i) {
    if (settled_[i]) continue;
    answers_[i].error = "no answer within " + std::to_string(timeout_us / 1000) +
                        " ms: it is stopped, swapped out, or native code holds the GIL";
  }
  return std::move(answers_);
}

}  // namespace catzilla::worker
