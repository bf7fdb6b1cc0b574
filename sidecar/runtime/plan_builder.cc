#include "sidecar/runtime/plan_builder.h"

#include <algorithm>
#include <functional>

#include "sidecar/route/path_template.h"

namespace catzilla::runtime {
namespace {

std::vector<std::string> ParameterNames(const config::Route& route) {
  std::vector<std::string> names;
  const auto parsed = route::ParseTemplate(route.path);
  if (!parsed.ok()) return names;
  for (const route::TemplatePiece& piece : parsed->pieces) {
    if (piece.convertor != route::Convertor::kLiteral) names.push_back(piece.text);
  }
  return names;
}

}  // namespace

std::shared_ptr<const exchange::MountTarget> PlanBuilder::BuildMount(
    const std::shared_ptr<const config::Mount>& config, const exchange::Plan& plan) {
  const config::Snapshot& snapshot = *plan.snapshot;
  auto target = std::make_shared<exchange::MountTarget>();
  target->config = config;
  target->stats = parts_.stats.Get(config->prefix, {"GET", "HEAD"});
  const bool same_server =
      previous_ != nullptr && previous_->snapshot->server_name == snapshot.server_name;
  if (same_server) {
    for (const auto& before : previous_->mounts) {
      if (before->config == config) target->files = before->files;
    }
  }
  if (target->files == nullptr) {
    target->files = std::make_shared<files::Mount>(
        config, files::Mount::Environment{parts_.file_store, parts_.files, snapshot.server_name,
                                          parts_.resolve, parts_.watcher});
    target->files->Preload();
  }
  if (!config->fallback_pool.empty()) {
    auto route = std::make_shared<config::Route>();
    route->name = config->name + "#fallback";
    route->source = config->source;
    route->kind = config::RouteKind::kCatchAll;
    route->path = "/{path:path}";
    route->label = "<fallback>";
    route->pool = config->fallback_pool;
    target->fallback = BuildRoute(route, plan);
  }
  return target;
}

// What is stored survives every change of the policy; only a cache of another name begins empty.
std::shared_ptr<const exchange::CacheTarget> PlanBuilder::BuildCache(
    const std::shared_ptr<const config::Cache>& config) {
  auto target = std::make_shared<exchange::CacheTarget>();
  target->config = config;
  if (previous_ != nullptr) {
    for (const auto& before : previous_->caches) {
      if (before->config == config) return before;
      if (before->config->name == config->name) target->store = before->store;
    }
  }
  if (target->store != nullptr) {
    target->store->Reconfigure(*config);
  } else {
    target->store = std::make_shared<cache::ObjectStore>(parts_.epochs, parts_.waker,
                                                         parts_.cache_seed, *config);
  }
  return target;
}

std::shared_ptr<const exchange::RouteTarget> PlanBuilder::BuildRoute(
    const std::shared_ptr<const config::Route>& config, const exchange::Plan& plan) {
  auto target = std::make_shared<exchange::RouteTarget>();
  target->version = plan.version();
  target->config = config;
  target->parameters = ParameterNames(*config);
  if (const auto found = generations_.find(config->pool); found != generations_.end()) {
    target->generation = found->second;
    target->pool = parts_.workers.Find(config->pool);
  }
  if (const auto found = setups_.find(config->pool); found != setups_.end()) {
    target->upstream = found->second;
  }
  for (const auto& cache : plan.caches) {
    if (cache->config->name == config->cache) target->cache = cache;
  }
  if (target->cache != nullptr) {
    const config::Cache& cache = *target->cache->config;
    target->record_policy.storage = {cache.default_ttl_us, config->cache_ttl_us};
    target->record_policy.route_tags = config->cache_tags;
    target->record_policy.tags_max = cache.tags_per_object_max;
    if (target->generation) {
      target->record_policy.lineage =
          std::hash<std::string>()(config->pool) + target->generation->id().number;
    }
    target->key_policy = target->cache->key_policy();
    if (!config->cache_key.empty()) target->key_policy.query_allow = config->cache_key;
  }
  target->stats =
      parts_.stats.Get(config->label.empty() ? config->path : config->label, config->methods);
  return target;
}

void PlanBuilder::NamePools(const config::Snapshot& snapshot, exchange::Plan* plan) {
  generations_.clear();
  setups_.clear();
  for (const auto& config : snapshot.pools) {
    if (config->upstream) {
      setups_[config->name] =
          parts_.upstreams.Configure(config, snapshot.limits->response_header_bytes_max);
      plan->upstreams.push_back(config->name);
      continue;
    }
    const std::shared_ptr<worker::Pool> pool = parts_.workers.Configure(*config);
    plan->pools.push_back({config->name, config->generation});
    if (pool == nullptr) continue;  // The schema allows no more than there may be.
    pool->SetResponseHeadMax(snapshot.limits->response_header_bytes_max);
    generations_[config->name] = pool->Publish(config->generation);
  }
}

std::shared_ptr<const exchange::Plan> PlanBuilder::Build(
    std::shared_ptr<const config::Snapshot> snapshot) {
  auto plan = std::make_shared<exchange::Plan>(snapshot);
  NamePools(*snapshot, plan.get());
  parts_.workers.SetDrainTimeout(snapshot->drain.timeout_us);
  for (const auto& mount : snapshot->mounts) {
    plan->mounts.push_back(BuildMount(mount, *plan));
    if (mount->internal) plan->internal_mounts.push_back(plan->mounts.back());
  }
  std::stable_sort(plan->internal_mounts.begin(), plan->internal_mounts.end(),
                   [](const auto& a, const auto& b) {
                     return a->config->prefix.size() > b->config->prefix.size();
                   });
  for (const auto& cache : snapshot->caches) plan->caches.push_back(BuildCache(cache));
  for (const auto& route : snapshot->routes) plan->routes.push_back(BuildRoute(route, *plan));
  plan->unmatched = parts_.stats.Get("<none>", {"GET", "HEAD", "POST"});
  bool has_app =
      std::any_of(snapshot->mounts.begin(), snapshot->mounts.end(),
                  [](const auto& mount) { return mount->source == config::Layer::kApp; });
  for (const auto& pool : snapshot->pools) {
    const bool has_routes =
        std::any_of(snapshot->routes.begin(), snapshot->routes.end(), [&](const auto& route) {
          return route->pool == pool->name && route->source == config::Layer::kApp;
        });
    // Until its first worker is there, an app is a pool that claims nothing (control/registrar).
    const bool bare = pool->source == config::Layer::kApp && !has_routes &&
                      pool->unmatched == config::Unmatched::kSidecar;
    plan->app_is_starting = plan->app_is_starting || bare;
    has_app = has_app || pool->source == config::Layer::kApp || has_routes;
    if (!has_routes) continue;
    plan->as_fastapi = true;
    if (pool->unmatched != config::Unmatched::kApp || plan->catch_all != nullptr) continue;
    auto route = std::make_shared<config::Route>();
    route->name = pool->name + "#unmatched";
    route->kind = config::RouteKind::kCatchAll;
    route->path = "/{path:path}";
    route->label = "<unmatched>";
    route->pool = pool->name;
    plan->catch_all = BuildRoute(route, *plan);
  }
  plan->app_is_starting = plan->app_is_starting || (snapshot->app_expected && !has_app);
  parts_.file_store.SetBytesMax(snapshot->limits->file_cache_bytes_max);
  generations_.clear();
  setups_.clear();
  previous_ = plan;
  return plan;
}

}  // namespace catzilla::runtime
