#include "sidecar/stats/route_stats.h"

#include <algorithm>
#include <utility>

namespace catzilla::stats {
namespace {

// What one label costs: its methods times the classes, and the histogram.
size_t SeriesOf(const RouteStats& stats) {
  return stats.declared().size() * kStatusClasses + DurationHistogram::kBuckets + 2;
}

}  // namespace

size_t MethodSlot(std::string_view method) {
  for (size_t slot = 0; slot + 1 < kMethodLabels.size(); ++slot) {
    if (method == kMethodLabels[slot]) return slot;
  }
  return kMethodLabels.size() - 1;
}

RouteStats::RouteStats(std::string label, const std::vector<std::string>& methods, int loops)
    : label_(std::move(label)), shards_(static_cast<size_t>(loops)) {
  for (const std::string& method : methods) {
    const size_t slot = MethodSlot(method);
    if (std::find(declared_.begin(), declared_.end(), slot) == declared_.end()) {
      declared_.push_back(slot);
    }
  }
  std::sort(declared_.begin(), declared_.end());
}

uint64_t RouteStats::requests(size_t method_slot, size_t status_class) const {
  uint64_t sum = 0;
  for (const Shard& shard : shards_) sum += shard.requests[method_slot][status_class].value();
  return sum;
}

uint64_t RouteStats::duration_bucket(size_t bucket) const {
  uint64_t sum = 0;
  for (const Shard& shard : shards_) sum += shard.duration.bucket(bucket);
  return sum;
}

uint64_t RouteStats::duration_sum_us() const {
  uint64_t sum = 0;
  for (const Shard& shard : shards_) sum += shard.duration.sum_us();
  return sum;
}

RouteStatsTable::RouteStatsTable(int loops, uint32_t series_max)
    : loops_(loops),
      series_max_(series_max),
      other_(std::make_shared<RouteStats>("<other>", std::vector<std::string>{"GET"}, loops)) {}

void RouteStatsTable::SetSeriesMax(uint32_t most) {
  base::MutexLock lock(mutex_);
  series_max_ = most;
}

void RouteStatsTable::Sweep() {
  for (auto at = labels_.begin(); at != labels_.end();) {
    at = at->second.expired() ? labels_.erase(at) : std::next(at);
  }
}

std::shared_ptr<RouteStats> RouteStatsTable::Get(const std::string& label,
                                                 const std::vector<std::string>& methods) {
  base::MutexLock lock(mutex_);
  if (const auto found = labels_.find(label); found != labels_.end()) {
    if (auto stats = found->second.lock()) return stats;
  }
  Sweep();
  size_t series = 0;
  for (const auto& [name, weak] : labels_) {
    if (const auto stats = weak.lock()) series += SeriesOf(*stats);
  }
  auto stats = std::make_shared<RouteStats>(label, methods, loops_);
  if (series + SeriesOf(*stats) > series_max_) {
    overflowed_.Add();
    return other_;
  }
  labels_[label] = stats;
  return stats;
}

std::vector<std::shared_ptr<RouteStats>> RouteStatsTable::All() {
  std::vector<std::shared_ptr<RouteStats>> all;
  base::MutexLock lock(mutex_);
  Sweep();
  for (const auto& [label, weak] : labels_) {
    if (auto stats = weak.lock()) all.push_back(std::move(stats));
  }
  all.push_back(other_);
  return all;
}

}  // namespace catzilla::stats
