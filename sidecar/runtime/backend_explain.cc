// The control plane's question about the way a request would take.
#include <cstdlib>
#include <utility>

#include "sidecar/base/utf8.h"
#include "sidecar/cache/decide.h"
#include "sidecar/cache/url.h"
#include "sidecar/exchange/choose.h"
#include "sidecar/http/target.h"
#include "sidecar/runtime/backend.h"
#include "sidecar/runtime/made_request.h"

namespace catzilla::runtime {
namespace {

// Writes the steps of one explanation, in the order in which the request meets them.
class Explanation {
 public:
  // `has_host`: the URL or a field names one.
  Explanation(const exchange::Plan& plan, cache::Url url, const http::RequestHead& head,
              bool has_host, control::v1::ExplainResponse* out)
      : plan_(plan), url_(std::move(url)), head_(head), has_host_(has_host), out_(*out) {}

  void Run() {
    std::string decoded_storage;
    std::string clean_storage;
    const http::DecodedPath decoded = http::DecodePath(url_.path, decoded_storage);
    Step("decode", std::string(decoded.path), "percent-decoded once");
    const std::string host(has_host_ ? head_.host() : std::string_view());
    exchange::Choose(plan_, {host, head_.method_text(), decoded.path, decoded.flags}, clean_storage,
                     &choice_);
    switch (choice_.kind) {
      case exchange::Choice::Kind::kMount:
        return File();
      case exchange::Choice::Kind::kRoute:
        return Route(*choice_.route);
      case exchange::Choice::Kind::kRefusal:
        return Reject("route", choice_.status, WhyRefused(host));
    }
  }

 private:
  void Step(const char* stage, const std::string& outcome, std::string_view reason) {
    control::v1::ExplainStep& added = *out_.add_steps();
    added.set_stage(stage);
    // Decoded paths are bytes; protobuf's strings carry only UTF-8.
    added.set_outcome(base::PercentSafe(outcome));
    added.set_reason(base::PercentSafe(reason));
  }

  void Reject(const char* stage, uint32_t status, const std::string& reason) {
    out_.set_verdict(control::v1::VERDICT_KIND_REJECT);
    out_.set_status(status);
    Step(stage, std::to_string(status), reason);
  }

  std::string WhyRefused(std::string_view host) const {
    if (choice_.status == 400) return "the path has bytes or dots that no file's path may have";
    if (choice_.cause == "no_pool") {
      return "route " + choice_.route->config->name + " names pool " + choice_.route->config->pool +
             ", which is not there";
    }
    if (choice_.cause == "app_starting") return "the app has registered and is not ready yet";
    if (choice_.status != 405) return "no mount and no route claims the path";
    return "the path is there for " + plan_.router.Allow(host, choice_.path);
  }

  void File() {
    const config::Mount& mount = *choice_.mount->config;
    out_.set_verdict(control::v1::VERDICT_KIND_FILES);
    out_.set_mount(mount.name);
    const size_t skip = mount.prefix == "/" ? 0 : mount.prefix.size();
    out_.set_file(base::PercentSafe(mount.root + std::string(choice_.path.substr(skip))));
    Step("route", "mount " + mount.name, "longest prefix " + mount.prefix);
    if (choice_.mount->fallback == nullptr) return;
    Step("fallback", "pool " + mount.fallback_pool, "answers if there is no such file");
    Servers(*choice_.mount->fallback);
  }

  // Of an upstream pool.
  void Servers(const exchange::RouteTarget& target) {
    if (target.upstream == nullptr) return;
    const int64_t now_us = base::ReadClockMicros(CLOCK_MONOTONIC);
    for (const auto& server : target.upstream->targets) {
      const auto state = server->StateAt(target.upstream->upstream(), now_us);
      Step("upstream", server->name(), upstream::NameOf(state));
    }
  }

  std::string WhyRouted(const exchange::RouteTarget& target) const {
    switch (choice_.verdict.kind) {
      case route::Verdict::Kind::kAppDecides:
        return target.config->kind == config::RouteKind::kCatchAll && choice_.mount == nullptr &&
                       target.upstream != nullptr
                   ? "the fallback of a mount, for what files cannot answer"
                   : "the app routes this path itself";
      case route::Verdict::Kind::kMethodNotAllowed:
        return "the app answers for methods it has not";
      case route::Verdict::Kind::kNotFound:
        return "nothing claims the path; the app answers for that itself";
      default:
        return target.config->source == config::Layer::kApp ? "first declared match of the app"
                                                            : "most specific match";
    }
  }

  void Route(const exchange::RouteTarget& target) {
    for (uint32_t i = 0; i < choice_.verdict.capture_count && i < target.parameters.size(); ++i) {
      const route::Capture& capture = choice_.verdict.captures[i];
      (*out_.mutable_parameters())[target.parameters[i]] =
          base::PercentSafe(choice_.path.substr(capture.begin, capture.end - capture.begin));
    }
    out_.set_route(target.config->name);
    Step("route", "route " + target.config->name, WhyRouted(target));
    if (choice_.matched && target.cache != nullptr && Cache(target)) return;
    out_.set_verdict(control::v1::VERDICT_KIND_FORWARD);
    out_.set_pool(target.config->pool);
    Step("forward", "pool " + target.config->pool, "named by the route");
    Servers(target);
  }

  // True: the way ends at the cache.
  bool Cache(const exchange::RouteTarget& target) {
    const std::string& name = target.cache->config->name;
    out_.set_cache(name);
    Step("cache", "cache " + name, "named by the route");
    cache::ObjectStore::Known known;
    if (has_host_) {
      const std::string scheme = url_.scheme.empty() ? "http" : url_.scheme;
      std::string host(head_.host());
      if (head_.port() != 0 && head_.port() != (scheme == "https" ? 443 : 80)) {
        host += ":" + std::to_string(head_.port());
      }
      cache::CacheKey key;
      BuildKey({scheme, host, url_.path, url_.query}, target.key_policy,
               target.cache->store->seed(), &key);
      known = target.cache->store->Ask(key, head_);
      Step("cache", "key " + key.text,
           "scheme, host, path and query, as the route's policy has it");
    } else {
      Step("cache", "no key", "the URL names no host, so nothing can be found for it");
    }
    const cache::Decision decision =
        cache::Decide(*target.config, head_, known.freshness ? &*known.freshness : nullptr,
                      known.variants_exist, base::ReadClockMicros(CLOCK_MONOTONIC));
    return Follow(decision);
  }

  bool Follow(const cache::Decision& decision) {
    const cache::Judgement& judgement = decision.judgement;
    const std::string ages = ", age " + std::to_string(judgement.age_s) + " s, " +
                             (judgement.ttl_s >= 0 ? "fresh for " : "stale since ") +
                             std::to_string(std::abs(judgement.ttl_s)) + " s";
    switch (judgement.verdict) {
      case cache::Verdict::kServe:
        out_.set_verdict(control::v1::VERDICT_KIND_CACHE);
        Step("cache", "hit", std::string(decision.reason) + ages);
        return true;
      case cache::Verdict::kOnlyIfCached:
        Reject("cache", 504, std::string(decision.reason));
        return true;
      case cache::Verdict::kBypass:
        Step("cache", "bypass", decision.reason);
        return false;
      case cache::Verdict::kRevalidate:
        Step("cache", "revalidate", std::string(decision.reason) + ages);
        return false;
      case cache::Verdict::kMiss:
        Step("cache", "miss", decision.reason);
        return Keeping();
    }
    return false;
  }

  // What this request's fields say of keeping the answer.
  bool Keeping() {
    if (cache::RequestFacts::Of(head_).directives.no_store) {
      Step("cache", "not kept", "the request says no-store");
    } else if (head_.Has(http::HeaderId::kAuthorization)) {
      Step("cache", "kept if the app allows",
           "a request with Authorization: only with public, s-maxage or must-revalidate");
    }
    return false;
  }

  const exchange::Plan& plan_;
  const cache::Url url_;
  const http::RequestHead& head_;
  const bool has_host_;
  control::v1::ExplainResponse& out_;
  exchange::Choice choice_;
};

}  // namespace

control::Answer RunningBackend::Explain(const control::v1::ExplainRequest& request,
                                        control::v1::ExplainResponse* out) {
  const cache::Url url = cache::NormalUrl(request.url());
  if (url.path.empty() || url.path[0] != '/') {
    return {control::Answer::Kind::kInvalid,
            "'" + request.url() + "' is no URL (give http://host/path or /path)"};
  }
  out->set_config_version(sidecar_.config().Current()->number);
  const auto made = MadeRequest::Make(request.method().empty() ? "GET" : request.method(),
                                      url.path + (url.query.empty() ? "" : "?" + url.query),
                                      url.host, request.headers());
  if (!made.ok()) {
    if (made.error().status == 0) return {control::Answer::Kind::kInvalid, made.error().sentence};
    out->set_verdict(control::v1::VERDICT_KIND_REJECT);
    out->set_status(made.error().status);
    control::v1::ExplainStep& step = *out->add_steps();
    step.set_stage("parse");
    step.set_outcome(std::to_string(made.error().status));
    step.set_reason(made.error().sentence);
    return {};
  }
  const auto plan = sidecar_.plan();
  bool has_host = !url.host.empty();
  for (const auto& [name, value] : request.headers()) {
    has_host = has_host || http::EqualsIgnoringCase(name, "host");
  }
  Explanation(*plan, url, made->head(), has_host, out).Run();
  return {};
}

}  // namespace catzilla::runtime
