// What the cache counts. Names for metrics and catzillactl come from these lists, and nowhere else.
//
// Threads: Count() by each loop into its own block (one writer each, relaxed); the rest are shared
//          atomics on paths that miss anyway; reading by any thread.
// Limits:  kLoopsMax blocks.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sidecar/base/check.h"

namespace catzilla::cache {

// X(identifier, label): how a request that met the cache was answered.
#define CATZILLA_CACHE_RESULT_LIST(X)                                  \
  X(kHit, "hit")                     /* From the store, fresh. */      \
  X(kStale, "stale")                 /* From the store, max-stale. */  \
  X(kRevalidated, "revalidated")     /* From the store after a 304. */ \
  X(kMiss, "miss")                   /* Led a fill. */                 \
  X(kCollapsed, "collapsed")         /* Followed another's fill. */    \
  X(kHitForMiss, "hit_for_miss")     /* Known not to be shared. */     \
  X(kBypass, "bypass")               /* Never asked the store. */      \
  X(kOnlyIfCached, "only_if_cached") /* 504 as the client wished. */

enum class CacheResult : uint8_t {
#define CATZILLA_CACHE_RESULT_ENUM(identifier, label) identifier,
  CATZILLA_CACHE_RESULT_LIST(CATZILLA_CACHE_RESULT_ENUM)
#undef CATZILLA_CACHE_RESULT_ENUM
      kCount,  // Not a result.
};
inline constexpr size_t kCacheResults = static_cast<size_t>(CacheResult::kCount);
std::string_view CacheResultName(CacheResult result);

// Why an object left the store.
enum class EvictionReason : uint8_t { kCapacity, kReplaced, kPurged, kCount };
inline constexpr size_t kEvictionReasons = static_cast<size_t>(EvictionReason::kCount);
std::string_view EvictionReasonName(EvictionReason reason);  // "capacity", "replaced", "purged"

std::string_view PurgeKindName(size_t kind);  // "url", "prefix", "tag", "host", "all"

struct CacheStats {
  std::array<uint64_t, kCacheResults> requests{};
  std::array<uint64_t, kEvictionReasons> evictions{};
  std::array<uint64_t, 5> purged{};  // Objects, by PurgeKind.
  uint64_t purged_fills = 0;
  uint64_t invalidated = 0;  // By unsafe methods.
  uint64_t stored = 0;
  uint64_t declined = 0;  // Storable, but not taken: too large, unproven, no memory.
  uint64_t objects = 0;
  uint64_t bytes = 0;
  uint64_t bytes_max = 0;
  uint64_t fills = 0;  // In flight.
  uint64_t fill_bytes = 0;
};

class CacheCounters {
 public:
  static constexpr size_t kLoopsMax = 64;

  void Count(unsigned loop, CacheResult result) {
    CATZILLA_CHECK(loop < kLoopsMax, "more loops than blocks of counters");
    std::atomic<uint64_t>& counter = loops_[loop].requests[static_cast<size_t>(result)];
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  void AddTo(CacheStats* stats) const;

  std::array<std::atomic<uint64_t>, kEvictionReasons> evictions{};
  std::array<std::atomic<uint64_t>, 5> purged{};
  std::atomic<uint64_t> purged_fills{0};
  std::atomic<uint64_t> invalidated{0};
  std::atomic<uint64_t> stored{0};
  std::atomic<uint64_t> declined{0};

 private:
  struct alignas(64) Block {
    std::array<std::atomic<uint64_t>, kCacheResults> requests{};
  };
  std::array<Block, kLoopsMax> loops_{};
};

}  // namespace catzilla::cache
