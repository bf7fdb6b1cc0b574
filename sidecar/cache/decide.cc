#include "sidecar/cache/decide.h"

namespace catzilla::cache {
namespace {

std::string_view ReasonOf(const Judgement& judgement, const RequestFacts& facts) {
  switch (judgement.verdict) {
    case Verdict::kServe:
      return judgement.ttl_s < 0 ? "stale, and the request takes that (max-stale)" : "fresh";
    case Verdict::kOnlyIfCached:
      return "the request says only-if-cached";
    case Verdict::kRevalidate:
      return judgement.forward == Forward::kRequest
                 ? "the request's Cache-Control asks for validation"
                 : "stale: the app is asked with its validators";
    case Verdict::kMiss:
      break;
    case Verdict::kBypass:
      if (judgement.forward == Forward::kMethod)
        return "only GET and HEAD are answered from caches";
      if (facts.is_head) return "nothing fresh is stored, and the answer to a HEAD cannot be kept";
      if (facts.has_range) return "nothing fresh is stored, and a part cannot be kept";
      return "nothing fresh is stored, and preconditions are the app's to judge";
  }
  switch (judgement.forward) {
    case Forward::kVaryMiss:
      return "stored for other values of the fields that it varies on";
    case Forward::kRequest:
      return "the request's Cache-Control does not take what is stored";
    case Forward::kStale:
      return "stale, without a validator";
    default:
      return "nothing is stored for this URL";
  }
}

}  // namespace

Decision Decide(const config::Route& route, const http::RequestHead& request,
                const Freshness* stored, bool variants_exist, int64_t now_us) {
  const RequestFacts facts = RequestFacts::Of(request);
  Decision decision{Judge(stored, facts, now_us, variants_exist), ""};
  const auto bypass = [&](std::string_view reason) {
    decision.judgement.verdict = Verdict::kBypass;
    decision.judgement.forward = Forward::kBypass;
    decision.reason = reason;
    return decision;
  };
  // A body on a request that may be cached would reach the app for one client and answer another.
  if (request.has_body() && facts.is_safe) return bypass("the request has a body");
  // What a route keeps by its own TTL may have been made for the client whose cookies came along.
  const bool own_ttl = route.cache_ttl_us >= 0 && !route.cache_ignores_cookies;
  if (own_ttl && request.Has(http::HeaderId::kCookie)) {
    return bypass("a Cookie field, and the route keeps answers by its own TTL");
  }
  decision.reason = ReasonOf(decision.judgement, facts);
  return decision;
}

}  // namespace catzilla::cache
