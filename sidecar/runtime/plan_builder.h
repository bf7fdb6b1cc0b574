// From a Snapshot to a Plan: makes the mounts, names each pool's generation, keeps what has not
// changed. What a plan does not name any more ends when it is settled (plan_publisher.h).
//
// Threads: one caller at a time (the publisher's lock).
// Owns:    the last plan it made, to take unchanged objects from.
// Limits:  as the Snapshot. Fails: never; the schema room has refused what cannot be built.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "sidecar/base/epoch.h"
#include "sidecar/exchange/plan.h"
#include "sidecar/files/mount.h"
#include "sidecar/stats/route_stats.h"
#include "sidecar/upstream/registry.h"
#include "sidecar/worker/registry.h"

namespace catzilla::runtime {

class PlanBuilder {
 public:
  struct Parts {
    files::FileStore& file_store;
    base::Executor& files;
    files::ResolveMethod resolve;
    worker::Registry& workers;
    upstream::Registry& upstreams;
    stats::RouteStatsTable& stats;
    base::EpochDomain& epochs;
    cache::Waker& waker;
    cache::HashSeed cache_seed;
    files::Watcher* watcher = nullptr;  // Null: mounts are not told of changes on disk.
  };
  explicit PlanBuilder(Parts parts) : parts_(parts) {}

  std::shared_ptr<const exchange::Plan> Build(std::shared_ptr<const config::Snapshot> snapshot);

 private:
  std::shared_ptr<const exchange::MountTarget> BuildMount(
      const std::shared_ptr<const config::Mount>& config, const exchange::Plan& plan);
  std::shared_ptr<const exchange::CacheTarget> BuildCache(
      const std::shared_ptr<const config::Cache>& config);
  std::shared_ptr<const exchange::RouteTarget> BuildRoute(
      const std::shared_ptr<const config::Route>& config, const exchange::Plan& plan);
  // Every pool with the generation that the plan's requests of it go to.
  void NamePools(const config::Snapshot& snapshot, exchange::Plan* plan);

  Parts parts_;
  // While a plan is built.
  std::map<std::string, base::Ref<worker::Generation>> generations_;
  std::map<std::string, upstream::SetupRef> setups_;
  std::shared_ptr<const exchange::Plan> previous_;
};

}  // namespace catzilla::runtime
