// The control plane's questions about caches.
#include <set>

#include "sidecar/base/utf8.h"
#include "sidecar/cache/url.h"
#include "sidecar/http/target.h"
#include "sidecar/runtime/backend.h"
#include "sidecar/runtime/made_request.h"

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

void Show(const cache::Description& object, const std::string& cache, const base::Now& now,
          control::v1::CachedObject* out) {
  out->set_cache(cache);
  out->set_key(base::PercentSafe(object.key));
  for (const auto& [name, value] : object.vary) {
    (*out->mutable_vary())[base::PercentSafe(name)] = base::PercentSafe(value);
  }
  out->set_status(static_cast<uint32_t>(object.status));
  out->set_bytes(object.body_bytes);
  const int64_t stored_us = now.wall_us - object.stored_for_us;
  out->mutable_stored_at()->set_seconds(stored_us / 1'000'000);
  out->mutable_stored_at()->set_nanos(static_cast<int32_t>(stored_us % 1'000'000 * 1000));
  out->set_age_ms(object.age_s * 1000);
  out->set_fresh_for_ms(object.ttl_s * 1000);
  out->set_hits(object.hits);
  out->set_selected(object.selected);
  out->set_etag(base::PercentSafe(object.etag));
  for (const std::string& tag : object.tags) out->add_tags(base::PercentSafe(tag));
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
  const cache::Url url = cache::NormalUrl(request.url());
  if (!url.path.starts_with('/')) {
    return {control::Answer::Kind::kInvalid,
            "'" + request.url() + "' is no URL (give http://host/path or /path)"};
  }
  const auto made = MadeRequest::Make(request.method().empty() ? "GET" : request.method(),
                                      url.path + (url.query.empty() ? "" : "?" + url.query),
                                      url.host, request.headers());
  if (!made.ok()) return {control::Answer::Kind::kInvalid, made.error().sentence};
  const http::RequestHead& head = made->head();
  const http::Method method = head.method();
  const bool answers = method == http::Method::kGet || method == http::Method::kHead;
  bool found = request.cache().empty();
  for (const auto& cache : plan->caches) {
    if (!Chosen(*cache, request.cache())) continue;
    found = true;
    std::set<std::pair<std::string, std::string>> shown_already;  // Of another policy's key.
    for (const cache::KeyPolicy& policy : PoliciesFor(request.url(), *plan, *cache)) {
      for (const cache::Description& object : cache->store->Describe(
               request.url(), policy, answers ? &head : nullptr, now.monotonic_us)) {
        if (object.in_flight) continue;
        std::string vary;
        for (const auto& [name, value] : object.vary) vary += name + "=" + value + "\n";
        if (!shown_already.emplace(object.key, vary).second) continue;
        Show(object, cache->config->name, now, out->add_objects());
      }
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

}  // namespace catzilla::runtime
