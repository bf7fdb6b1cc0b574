// Requests per route: declared methods by status class, and how long they took.
//
// Threads: each loop counts in its own shard; any thread reads. RouteStatsTable guards itself.
// Owns:    RouteStats are shared by the Snapshots that name the label; the series of a route that
//          is in no Snapshot any more are gone with the last of them.
// Limits:  `series_max` over all labels; what comes later is counted under "<other>" and the
//          overflow itself is counted.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/stats/counter.h"

namespace catzilla::stats {

inline constexpr std::array<std::string_view, 10> kMethodLabels = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "<other>"};
size_t MethodSlot(std::string_view method);  // An index into kMethodLabels.

inline constexpr size_t kStatusClasses = 5;  // 1xx … 5xx

class RouteStats : public std::enable_shared_from_this<RouteStats> {
 public:
  RouteStats(std::string label, const std::vector<std::string>& methods, int loops);

  // `duration_us` is from the first byte of the head until the answer was in the output, or for a
  // long one, until its last byte was given to the kernel.
  void Count(int loop, size_t method_slot, int status, int64_t duration_us) {
    Shard& shard = shards_[static_cast<size_t>(loop)];
    const int status_class = status >= 100 && status < 600 ? status / 100 - 1 : 4;
    shard.requests[method_slot][static_cast<size_t>(status_class)].Add();
    shard.duration.Observe(duration_us);
  }

  const std::string& label() const { return label_; }
  // The methods whose series exist from the start, as slots.
  const std::vector<size_t>& declared() const { return declared_; }
  uint64_t requests(size_t method_slot, size_t status_class) const;
  uint64_t duration_bucket(size_t bucket) const;
  uint64_t duration_sum_us() const;

 private:
  struct alignas(64) Shard {
    std::array<std::array<Counter, kStatusClasses>, kMethodLabels.size()> requests;
    DurationHistogram duration;
  };
  const std::string label_;
  std::vector<size_t> declared_;
  std::vector<Shard> shards_;
};

class RouteStatsTable {
 public:
  RouteStatsTable(int loops, uint32_t series_max);

  // The series of `label`, made if there is room. Never null.
  std::shared_ptr<RouteStats> Get(const std::string& label,
                                  const std::vector<std::string>& methods);
  std::vector<std::shared_ptr<RouteStats>> All();
  uint64_t overflowed() const { return overflowed_.value(); }
  // For labels that come from now on: those that are counted stay, since a series that vanishes is
  // a gap in somebody's graph.
  void SetSeriesMax(uint32_t most);

 private:
  void Sweep() CATZILLA_REQUIRES(mutex_);

  const int loops_;
  base::Mutex mutex_;
  uint32_t series_max_ CATZILLA_GUARDED_BY(mutex_);
  std::map<std::string, std::weak_ptr<RouteStats>> labels_ CATZILLA_GUARDED_BY(mutex_);
  std::shared_ptr<RouteStats> other_;
  Counter overflowed_;
};

}  // namespace catzilla::stats
