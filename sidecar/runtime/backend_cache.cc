// The control plane's questions about caches, and about the way a request would take.
#include <set>

#include "sidecar/base/utf8.h"
#include "sidecar/cache/url.h"
#include "sidecar/http/target.h"
#include "sidecar/runtime/backend.h"

namespace catzilla::runtime {
namespace {

// "[::1]:8080" -> "[::1]": as the router knows hosts.
std::string WithoutPort(const std::string& host) {
  const size_t colon = host.rfind(':');
  const size_t bracket = host.rfind(']');
  if (colon == std::string::npos || (bracket != std::string::npos && colon < bracket)) return host;
  return host.substr(0, colon);
}

// Under what policies an answer for `text` may be kept in `cache`: of the routes that match it, of
// any host if it names none, and the cache's own. Each makes another key of it.
std::vector<cache::KeyPolicy> PoliciesFor(const std::string& text, const exchange::Plan& plan,
                                          const exchange::CacheTarget& cache) {
  const cache::Url url = cache::NormalUrl(text);
  std::vector<cache::KeyPolicy> policies;
  std::set<std::string> keys;
  const auto add = [&](const cache::KeyPolicy& policy) {
    cache::CacheKey key;
    BuildKey(url.parts(), policy, {}, &key);
    if (keys.insert(key.text).second) policies.push_back(policy);
  };
  add(cache.key_policy());
  std::set<std::string> hosts = {WithoutPort(url.host)};
  if (url.host.empty()) {
    for (const auto& route : plan.routes) hosts.insert(route->config->host);
  }
  std::string scratch;
  const http::DecodedPath decoded = http::DecodePath(url.path, scratch);
  for (const std::string& host : hosts) {
    route::Verdict verdict;
    plan.router.Match(host, "GET", decoded.path, &verdict);
    if (verdict.kind != route::Verdict::Kind::kRoute) continue;
    const exchange::RouteTarget& route = *plan.routes[verdict.route];
    if (route.cache.get() == &cache) add(route.key_policy);
  }
  return policies;
}

bool Chosen(const exchange::CacheTarget& cache, const std::string& name) {
  return name.empty() || cache.config->name == name;
}

bool Selector(const control::v1::PurgeRequest& request, cache::PurgeKind* kind,
              std::string* value) {
  switch (request.selector_case()) {
    case control::v1::PurgeRequest::kUrl:
      *kind = cache::PurgeKind::kUrl;
      *value = request.url();
      return true;
    case control::v1::PurgeRequest::kPrefix:
      *kind = cache::PurgeKind::kPrefix;
      *value = request.prefix();
      return true;
    case control::v1::PurgeRequest::kTag:
      *kind = cache::PurgeKind::kTag;
      *value = request.tag();
      return true;
    case control::v1::PurgeRequest::kHost:
      *kind = cache::PurgeKind::kHost;
      *value = request.host();
      return true;
    case control::v1::PurgeRequest::kAll:
      *kind = cache::PurgeKind::kAll;
      return true;
    case control::v1::PurgeRequest::SELECTOR_NOT_SET:
      return false;
  }
  return false;
}

control::Answer NoCache(const std::string& name) {
  return {control::Answer::Kind::kNotFound, "there is no cache " + name};
}

}  // namespace

control::Answer RunningBackend::Purge(const control::v1::PurgeRequest& request,
                                      control::v1::PurgeResponse* out) {
  cache::PurgeKind kind = cache::PurgeKind::kAll;
  std::string value;
  if (!Selector(request, &kind, &value)) {
    return {control::Answer::Kind::kInvalid, "say what to purge: url, prefix, tag, host or all"};
  }
  bool found = request.cache().empty();
  const auto plan = sidecar_.plan();
  for (const auto& cache : plan->caches) {
    if (!Chosen(*cache, request.cache())) continue;
    found = true;
    const bool by_url = kind == cache::PurgeKind::kUrl;
    for (const cache::KeyPolicy& policy :
         by_url ? PoliciesFor(value, *plan, *cache)
                : std::vector<cache::KeyPolicy>{cache->key_policy()}) {
      const cache::Purged purged = request.dry_run() ? cache->store->Preview(kind, value, policy)
                                                     : cache->store->Purge(kind, value, policy);
      out->set_bytes(out->bytes() + purged.bytes);
      out->set_objects(out->objects() + purged.objects);
      out->set_fills(out->fills() + purged.fills);
    }
  }
  return found ? control::Answer{} : NoCache(request.cache());
}

control::Answer RunningBackend::Lookup(const control::v1::LookupRequest& request,
                                       control::v1::LookupResponse* out) {
  const base::Now now = base::ReadClock();
  const auto plan = sidecar_.plan();
  bool found = request.cache().empty();
  for (const auto& cache : plan->caches) {
    if (!Chosen(*cache, request.cache())) continue;
    found = true;
    std::vector<cache::Description> described;
    for (const cache::KeyPolicy& policy : PoliciesFor(request.url(), *plan, *cache)) {
      for (auto& one : cache->store->Describe(request.url(), policy, now.monotonic_us)) {
        described.push_back(std::move(one));
      }
    }
    for (const cache::Description& object : described) {
      if (object.in_flight) continue;
      control::v1::CachedObject& shown = *out->add_objects();
      shown.set_cache(cache->config->name);
      shown.set_key(base::PercentSafe(object.key));
      if (!object.vary.empty()) (*shown.mutable_vary())["vary"] = base::PercentSafe(object.vary);
      shown.set_status(static_cast<uint32_t>(object.status));
      shown.set_bytes(object.body_bytes);
      shown.set_age_ms(object.age_s * 1000);
      shown.set_fresh_for_ms(object.ttl_s * 1000);
      shown.set_etag(base::PercentSafe(object.etag));
      for (const std::string& tag : object.tags) shown.add_tags(base::PercentSafe(tag));
    }
  }
  return found ? control::Answer{} : NoCache(request.cache());
}

control::Answer RunningBackend::CacheStats(const control::v1::CacheServiceStatsRequest& request,
                                           control::v1::CacheServiceStatsResponse* out) {
  const auto plan = sidecar_.plan();
  for (const auto& cache : plan->caches) {
    if (!Chosen(*cache, request.cache())) continue;
    const cache::CacheStats counted = cache->store->stats();
    const auto of = [&](cache::CacheResult result) {
      return counted.requests[static_cast<size_t>(result)];
    };
    control::v1::CacheStats& shown = *out->add_caches();
    shown.set_cache(cache->config->name);
    shown.set_objects(counted.objects);
    shown.set_bytes(counted.bytes);
    shown.set_bytes_max(counted.bytes_max);
    shown.set_hits(of(cache::CacheResult::kHit));
    shown.set_misses(of(cache::CacheResult::kMiss) + of(cache::CacheResult::kHitForMiss));
    shown.set_stale(of(cache::CacheResult::kStale));
    shown.set_revalidated(of(cache::CacheResult::kRevalidated));
    shown.set_collapsed(of(cache::CacheResult::kCollapsed));
    shown.set_stores(counted.stored);
    shown.set_evictions(counted.evictions[static_cast<size_t>(cache::EvictionReason::kCapacity)]);
    uint64_t purged = 0;
    for (const uint64_t kind : counted.purged) purged += kind;
    shown.set_purged(purged);
    shown.set_fills_in_flight(counted.fills);
    (*shown.mutable_refused())["declined"] = counted.declined;
  }
  if (out->caches().empty() && !request.cache().empty()) return NoCache(request.cache());
  return {};
}

control::Answer RunningBackend::Explain(const control::v1::ExplainRequest& request,
                                        control::v1::ExplainResponse* out) {
  const cache::Url url = cache::NormalUrl(request.url());
  if (url.path.empty() || url.path[0] != '/') {
    return {control::Answer::Kind::kInvalid,
            "'" + request.url() + "' is no URL (give http://host/path or /path)"};
  }
  const std::string method = request.method().empty() ? "GET" : request.method();
  const auto plan = sidecar_.plan();
  const auto step = [&](const char* stage, const std::string& outcome, const std::string& reason) {
    control::v1::ExplainStep& added = *out->add_steps();
    added.set_stage(stage);
    // Decoded paths are bytes; protobuf's strings carry only UTF-8.
    added.set_outcome(base::PercentSafe(outcome));
    added.set_reason(base::PercentSafe(reason));
  };
  std::string scratch;
  const http::DecodedPath decoded = http::DecodePath(url.path, scratch);
  step("decode", std::string(decoded.path), "percent-decoded once");
  const std::string host = WithoutPort(url.host);
  route::Verdict verdict;
  plan->router.Match(host, method, decoded.path, &verdict);
  out->set_config_version(sidecar_.config().Current()->number);
  const auto reject = [&](uint32_t status, const std::string& reason) {
    out->set_verdict(control::v1::VERDICT_KIND_REJECT);
    out->set_status(status);
    step("route", std::to_string(status), reason);
  };
  const auto forward = [&](const exchange::RouteTarget& target, const std::string& reason) {
    out->set_verdict(control::v1::VERDICT_KIND_FORWARD);
    out->set_route(target.config->name);
    out->set_pool(target.config->pool);
    step("route", "route " + target.config->name, reason);
    if (target.cache != nullptr && verdict.kind == route::Verdict::Kind::kRoute) {
      out->set_cache(target.cache->config->name);
      step("cache", "cache " + target.cache->config->name, "named by the route");
    }
    step("forward", "pool " + target.config->pool,
         target.pool == nullptr ? "there is no such pool: 503" : "named by the route");
  };
  switch (verdict.kind) {
    case route::Verdict::Kind::kMount: {
      const config::Mount& mount = *plan->mounts[verdict.mount]->config;
      if (!http::IsFitForFiles(decoded.flags)) {
        reject(400, "the path has bytes that no file name may have");
        return {};
      }
      out->set_verdict(control::v1::VERDICT_KIND_FILES);
      out->set_mount(mount.name);
      const size_t skip = mount.prefix == "/" ? 0 : mount.prefix.size();
      out->set_file(base::PercentSafe(mount.root + std::string(decoded.path.substr(skip))));
      step("route", "mount " + mount.name, "longest prefix " + mount.prefix);
      return {};
    }
    case route::Verdict::Kind::kRoute: {
      const exchange::RouteTarget& target = *plan->routes[verdict.route];
      for (uint32_t i = 0; i < verdict.capture_count && i < target.parameters.size(); ++i) {
        const route::Capture& capture = verdict.captures[i];
        (*out->mutable_parameters())[target.parameters[i]] =
            base::PercentSafe(decoded.path.substr(capture.begin, capture.end - capture.begin));
      }
      forward(target, target.config->source == config::Layer::kApp
                          ? "first declared match of the app"
                          : "most specific match");
      return {};
    }
    case route::Verdict::Kind::kAppDecides:
      forward(*plan->routes[verdict.route], "the app routes this path itself");
      return {};
    case route::Verdict::Kind::kMethodNotAllowed:
      if (plan->catch_all != nullptr) {
        forward(*plan->catch_all, "the app answers for methods it has not");
      } else {
        reject(405, "the path is there for " + plan->router.Allow(host, decoded.path));
      }
      return {};
    case route::Verdict::Kind::kNotFound:
      if (plan->catch_all != nullptr) {
        forward(*plan->catch_all, "nothing claims the path; the app answers for that itself");
      } else {
        reject(404, "no mount and no route claims the path");
      }
      return {};
  }
  return {};
}

}  // namespace catzilla::runtime
