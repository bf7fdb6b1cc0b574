// Everything the sidecar knows about itself, told to one scrape.
//
// Threads: Collect() by the ops thread; it only reads, and what it reads is made for that (counters
//          with one writer, tables and stores that guard themselves).
// Owns:    nothing. REQUIRES: what Parts names outlives it, and the ops server is stopped before
//          any of it goes.
// Limits:  labels are registered names and route templates; their number is bounded by
//          telemetry.max_series and the configuration's own limits.
// Fails:   never: what /proc does not tell is left out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sidecar/base/cgroup.h"
#include "sidecar/base/executor.h"
#include "sidecar/cache/stats.h"
#include "sidecar/exchange/plan.h"
#include "sidecar/files/store.h"
#include "sidecar/loop/loop.h"
#include "sidecar/ops/exposition.h"
#include "sidecar/schema/store.h"
#include "sidecar/stats/loop_stats.h"
#include "sidecar/stats/route_stats.h"
#include "sidecar/upstream/registry.h"
#include "sidecar/worker/registry.h"

namespace catzilla::runtime {

class Metrics final : public ops::MetricsSource {
 public:
  struct LoopView {
    const loop::Loop* loop;
    const stats::LoopStats* stats;
  };
  struct Parts {
    std::string version;
    int64_t stalled_us;  // A loop is, when its last turn is older; as /livez says it.
    base::CgroupLimits limits;
    stats::RouteStatsTable& routes;
    const files::FileStore& file_store;
    const worker::Registry& workers;
    const upstream::Registry& upstreams;
    const schema::ConfigStore& config;
    // Called once for each scrape.
    std::function<std::vector<LoopView>()> loops;
    std::function<std::shared_ptr<const exchange::Plan>()> plan;  // May give null.
    std::function<std::vector<std::pair<std::string, cache::CacheStats>>()> caches;
    // Lines lost by the access log and by the process's own; null: there is none.
    std::function<uint64_t()> access_lines_lost;
    std::function<uint64_t()> log_lines_lost;
    // What descriptors allow, beside limits.max_connections; null: anything.
    std::function<uint32_t()> connections_max;
    // The threads that open files; null: there are none.
    std::function<base::Executor::State()> file_threads;
  };
  explicit Metrics(Parts parts) : parts_(std::move(parts)) {}

  void Collect(ops::Exposition& out) override;

 private:
  void CollectRoutes(ops::Exposition& out);
  void CollectConnections(ops::Exposition& out, const std::vector<LoopView>& loops);
  void CollectSockets(ops::Exposition& out, const std::vector<LoopView>& loops);
  void CollectMounts(ops::Exposition& out);
  void CollectFileStore(ops::Exposition& out);
  void CollectCaches(ops::Exposition& out);
  void CollectPools(ops::Exposition& out);
  void CollectConfig(ops::Exposition& out);
  void CollectLoops(ops::Exposition& out, const std::vector<LoopView>& loops);
  void CollectMemory(ops::Exposition& out);

  const Parts parts_;
};

}  // namespace catzilla::runtime
