#include "sidecar/cache/stats.h"

namespace catzilla::cache {

std::string_view CacheResultName(CacheResult result) {
  static constexpr std::array<std::string_view, kCacheResults> kNames = {
#define CATZILLA_CACHE_RESULT_NAME(identifier, label) label,
      CATZILLA_CACHE_RESULT_LIST(CATZILLA_CACHE_RESULT_NAME)
#undef CATZILLA_CACHE_RESULT_NAME
  };
  return kNames[static_cast<size_t>(result)];
}

std::string_view EvictionReasonName(EvictionReason reason) {
  static constexpr std::array<std::string_view, kEvictionReasons> kNames = {"capacity", "replaced",
                                                                            "purged"};
  return kNames[static_cast<size_t>(reason)];
}

std::string_view PurgeKindName(size_t kind) {
  static constexpr std::array<std::string_view, 5> kNames = {"url", "prefix", "tag", "host", "all"};
  return kNames[kind];
}

void CacheCounters::AddTo(CacheStats* stats) const {
  for (const Block& block : loops_) {
    for (size_t i = 0; i < kCacheResults; ++i) {
      stats->requests[i] += block.requests[i].load(std::memory_order_relaxed);
    }
  }
  for (size_t i = 0; i < kEvictionReasons; ++i) {
    stats->evictions[i] += evictions[i].load(std::memory_order_relaxed);
  }
  for (size_t i = 0; i < purged.size(); ++i)
    stats->purged[i] += purged[i].load(std::memory_order_relaxed);
  stats->purged_fills += purged_fills.load(std::memory_order_relaxed);
  stats->invalidated += invalidated.load(std::memory_order_relaxed);
  stats->stored += stored.load(std::memory_order_relaxed);
  stats->declined += declined.load(std::memory_order_relaxed);
}

}  // namespace catzilla::cache
