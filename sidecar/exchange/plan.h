// One version of the configuration with everything it needs at run time: the router, and for each
// route and mount the objects that answer.
//
// Table, mounts, policies and the generation of each pool are one publication: nobody sees some of
// them without the others. A request is answered by the generation whose table routed it.
//
// Threads: immutable; any. Owns: shared references; the objects behind them outlive Apply as long
//          as their configuration stays the same, or as long as a request holds them.
// Made by: runtime/plan_builder; published by runtime/plan_publisher, which ends those that no loop
//          serves any more.
#pragma once

#include <memory>
#include <vector>

#include "sidecar/cache/store.h"
#include "sidecar/config/snapshot.h"
#include "sidecar/files/mount.h"
#include "sidecar/route/router.h"
#include "sidecar/stats/route_stats.h"
#include "sidecar/upstream/pool.h"
#include "sidecar/worker/pool.h"
#include "sidecar/worker/registry.h"

namespace catzilla::exchange {

struct CacheTarget {
  std::shared_ptr<const config::Cache> config;
  std::shared_ptr<cache::ObjectStore> store;  // Outlives its configuration: only its name matters.

  // Of requests of no route that says otherwise. Borrows from `config`.
  cache::KeyPolicy key_policy() const {
    return {config->ignore_query, config->query_allow, config->query_deny, config->query_sort};
  }
};

struct RouteTarget : std::enable_shared_from_this<RouteTarget> {
  uint64_t version = 0;  // Of the plan that it is of.
  std::shared_ptr<const config::Route> config;
  std::vector<std::string> parameters;       // Names in the template's order, as captures come.
  std::shared_ptr<worker::Pool> pool;        // Null: no such pool; 503.
  base::Ref<worker::Generation> generation;  // Of the pool: whose table this route is of.
  upstream::SetupRef upstream;               // Instead of both: other servers answer.
  std::shared_ptr<const CacheTarget> cache;  // Null: answers are never stored.
  cache::RecordPolicy record_policy;
  cache::KeyPolicy key_policy;  // Borrows from the two configurations.
  std::shared_ptr<stats::RouteStats> stats;

  // What answers now may be kept: no newer code answers in the meantime.
  bool current() const { return upstream != nullptr || generation->current(); }
};

struct MountTarget : std::enable_shared_from_this<MountTarget> {
  std::shared_ptr<const config::Mount> config;
  std::shared_ptr<files::Mount> files;
  std::shared_ptr<stats::RouteStats> stats;
  std::shared_ptr<const RouteTarget> fallback;  // Answers for what is no file; null: 404.
};

struct Plan {
  explicit Plan(std::shared_ptr<const config::Snapshot> config)
      : snapshot(std::move(config)), router(snapshot) {}

  uint64_t version() const { return snapshot->version; }

  std::shared_ptr<const config::Snapshot> snapshot;
  route::Router router;
  std::vector<std::shared_ptr<const MountTarget>> mounts;  // As snapshot->mounts.
  // Of them: those that answers name files of, the longest prefix first.
  std::vector<std::shared_ptr<const MountTarget>> internal_mounts;
  std::vector<std::shared_ptr<const RouteTarget>> routes;  // As snapshot->routes.
  std::vector<std::shared_ptr<const CacheTarget>> caches;  // As snapshot->caches.
  std::vector<worker::Registry::Serving> pools;            // Of snapshot->pools: the workers'...
  std::vector<std::string> upstreams;                      // ...and the others.
  std::shared_ptr<stats::RouteStats> unmatched;            // What nothing claims: 404, 400, …
  // Where what nothing claims goes: an app that wants to answer for itself. Null: the sidecar
  // answers, in FastAPI's words if there is an app at all.
  std::shared_ptr<const RouteTarget> catch_all;
  bool as_fastapi = false;
  // An app has registered and none of its workers is there yet: what nothing claims may be its own.
  bool app_is_starting = false;
};

}  // namespace catzilla::exchange
