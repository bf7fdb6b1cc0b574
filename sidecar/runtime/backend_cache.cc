// The control plane's questions about caches, and about the way a request would take.
#include "sidecar/cache/url.h"
#include "sidecar/http/target.h"
#include "sidecar/runtime/backend.h"

namespace catzilla::runtime {
namespace {

cache::KeyPolicy KeyPolicyOf(const config::Cache& cache) {
  return {cache.ignore_query, cache.query_allow, cache.query_deny, cache.query_sort};
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
    const cache::KeyPolicy policy = KeyPolicyOf(*cache->config);
    const cache::Purged purged = request.dry_run() ? cache->store->Preview(kind, value, policy)
                                                   : cache->store->Purge(kind, value, policy);
    out->set_bytes(out->bytes() + purged.bytes);
    out->set_objects(out->objects() + purged.objects);
    out->set_fills(out->fills() + purged.fills);
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
    for (const cache::Description& object :
         cache->store->Describe(request.url(), KeyPolicyOf(*cache->config), now.monotonic_us)) {
      if (object.in_flight) continue;
      control::v1::CachedObject& shown = *out->add_objects();
      shown.set_cache(cache->config->name);
      shown.set_key(object.key);
      if (!object.vary.empty()) (*shown.mutable_vary())["vary"] = object.vary;
      shown.set_status(static_cast<uint32_t>(object.status));
      shown.set_bytes(object.body_bytes);
      shown.set_age_ms(object.age_s * 1000);
      shown.set_fresh_for_ms(object.ttl_s * 1000);
      shown.set_etag(object.etag);
      for (const std::string& tag : object.tags) shown.add_tags(tag);
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
    added.set_outcome(outcome);
    added.set_reason(reason);
  };
  std::string scratch;
  const http::DecodedPath decoded = http::DecodePath(url.path, scratch);
  step("decode", std::string(decoded.path), "percent-decoded once");
  std::string host = url.host;
  if (const size_t colon = host.rfind(':'); colon != std::string::npos) host.resize(colon);
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
      const config::Mount& mount = *plan->mounts[verdict.mount].config;
      if (!http::IsFitForFiles(decoded.flags)) {
        reject(400, "the path has bytes that no file name may have");
        return {};
      }
      out->set_verdict(control::v1::VERDICT_KIND_FILES);
      out->set_mount(mount.name);
      const size_t skip = mount.prefix == "/" ? 0 : mount.prefix.size();
      out->set_file(mount.root + std::string(decoded.path.substr(skip)));
      step("route", "mount " + mount.name, "longest prefix " + mount.prefix);
      return {};
    }
    case route::Verdict::Kind::kRoute: {
      const exchange::RouteTarget& target = *plan->routes[verdict.route];
      for (uint32_t i = 0; i < verdict.capture_count && i < target.parameters.size(); ++i) {
        const route::Capture& capture = verdict.captures[i];
        (*out->mutable_parameters())[target.parameters[i]] =
            std::string(decoded.path.substr(capture.begin, capture.end - capture.begin));
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
