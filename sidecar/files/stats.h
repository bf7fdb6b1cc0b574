// What one mount has done, as counters that a scrape adds up.
//
// Threads: each loop writes its own slot, without locked instructions; the files executor shares
//          one. Any thread reads. Values only grow, but for the gauges kEntries and kBytesHeld.
// Limits:  kLoopsMax loops.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "sidecar/base/check.h"
#include "sidecar/base/ref.h"

namespace catzilla::files {

// COUNTER(name, label): the label is the metric's `result` or its own name.
#define CATZILLA_FILES_COUNTERS(COUNTER)    \
  COUNTER(kOk, "ok")                        \
  COUNTER(kPartial, "partial")              \
  COUNTER(kNotModified, "not_modified")     \
  COUNTER(kRedirect, "redirect")            \
  COUNTER(kBadRequest, "bad_request")       \
  COUNTER(kForbidden, "forbidden")          \
  COUNTER(kNotFound, "not_found")           \
  COUNTER(kPrecondition, "precondition")    \
  COUNTER(kBadRange, "bad_range")           \
  COUNTER(kMethod, "method")                \
  COUNTER(kError, "error")                  \
  COUNTER(kOverload, "overload")            \
  COUNTER(kBytes, "bytes")                  \
  COUNTER(kHits, "hits")                    \
  COUNTER(kMisses, "misses")                \
  COUNTER(kEvictions, "evictions")          \
  COUNTER(kSendfiles, "sendfiles")          \
  COUNTER(kOpenErrors, "open_errors")       \
  COUNTER(kRevalidations, "revalidations")  \
  COUNTER(kChanged, "changed")              \
  COUNTER(kTruncated, "truncated")          \
  COUNTER(kCompressedIn, "compressed_in")   \
  COUNTER(kCompressedOut, "compressed_out") \
  COUNTER(kPreloaded, "preloaded")          \
  COUNTER(kColdReads, "cold_reads")         \
  COUNTER(kLate, "late")                    \
  COUNTER(kEntries, "entries")              \
  COUNTER(kBytesHeld, "bytes_held")

enum class Counter : uint8_t {
#define CATZILLA_FILES_ENUM(name, label) name,
  CATZILLA_FILES_COUNTERS(CATZILLA_FILES_ENUM)
#undef CATZILLA_FILES_ENUM
};
inline constexpr int kCounterCount = 0
#define CATZILLA_FILES_COUNT(name, label) +1
    CATZILLA_FILES_COUNTERS(CATZILLA_FILES_COUNT)
#undef CATZILLA_FILES_COUNT
    ;
const char* CounterName(Counter counter);
// The counter of a status among the results: 200 -> kOk, 503 -> kOverload, ...
Counter ResultOf(uint16_t status);

class MountStats : public base::RefCounted<MountStats> {
 public:
  static constexpr int kLoopsMax = 8;

  // From loop `loop` only.
  void Add(int loop, Counter counter, uint64_t amount = 1) {
    std::atomic<uint64_t>& cell = slots_[loop].cells[static_cast<int>(counter)];
    cell.store(cell.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  // From any thread. Amounts may be negative (gauges).
  void AddShared(Counter counter, int64_t amount = 1) {
    slots_[kLoopsMax].cells[static_cast<int>(counter)].fetch_add(static_cast<uint64_t>(amount),
                                                                 std::memory_order_relaxed);
  }
  uint64_t Get(Counter counter) const {
    uint64_t sum = 0;
    for (const Slot& slot : slots_) {
      sum += slot.cells[static_cast<int>(counter)].load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  struct alignas(64) Slot {
    std::array<std::atomic<uint64_t>, kCounterCount> cells{};
  };
  std::array<Slot, kLoopsMax + 1> slots_;
};

}  // namespace catzilla::files
