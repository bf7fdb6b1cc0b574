#include "sidecar/cache/freshness.h"

#include <algorithm>
#include <optional>

#include "sidecar/http/http_date.h"
#include "sidecar/http/method.h"

namespace catzilla::cache {
namespace {

constexpr int64_t kSecond = 1'000'000;

// Kept without explicit freshness when a policy gives a time. Errors are not among them: a 404 that
// outlives its cause is worse than asking again.
bool KeptByPolicy(int status) {
  switch (status) {
    case 200:
    case 203:
    case 204:
    case 300:
    case 301:
    case 308:
      return true;
    default:
      return false;
  }
}

// Never kept, whatever the response says: parts, and what one client's broken request provoked (the
// next client would get its error: cache-poisoned denial of service).
bool NeverKept(int status) {
  switch (status) {
    case 206:
    case 304:
    case 400:
    case 401:
    case 407:
    case 408:
    case 413:
    case 414:
    case 416:
    case 417:
    case 425:
    case 429:
    case 431:
      return true;
    default:
      return status < 200 || status > 599;
  }
}

// RFC 9111 4.2.1: s-maxage, max-age, Expires, in that order. Nullopt: nothing explicit.
std::optional<int64_t> ExplicitLifetime(const ResponseDirectives& directives, Fields fields,
                                        int64_t date_s, int64_t now_s) {
  if (directives.s_maxage_s != kAbsent) return directives.s_maxage_s * kSecond;
  if (directives.max_age_s != kAbsent) return directives.max_age_s * kSecond;
  const Field* expires = FindField(fields, "expires");
  if (expires == nullptr) return std::nullopt;
  // "0" and everything else that is no date is in the past (5.3).
  const std::optional<int64_t> at = http::ParseHttpDateInAnyCase(expires->value, now_s);
  if (!at) return 0;
  return std::clamp<int64_t>(*at - date_s, 0, kDeltaSecondsMax) * kSecond;
}

// RFC 9111 4.2.3.
int64_t InitialAge(Fields fields, int64_t date_s, const ExchangeTimes& times) {
  const int64_t apparent_us = std::max<int64_t>(0, times.response_wall_s - date_s) * kSecond;
  int64_t age_s = 0;
  if (const Field* age = FindField(fields, "age")) {
    // "5, 7" is several: the first counts (5.1). Nonsense is ignored.
    const std::string_view first = http::Trim(age->value.substr(0, age->value.find(',')));
    age_s = std::max<int64_t>(0, ParseDeltaSeconds(first));
  }
  const int64_t corrected_us =
      age_s * kSecond + std::max<int64_t>(0, times.response_us - times.request_us);
  return std::max(apparent_us, corrected_us);
}

bool VariesOnEverything(Fields fields) {
  bool star = false;
  ForEachElement(fields, "vary", [&](std::string_view name) { star = star || name == "*"; });
  return star;
}

// Why the answer may not be kept, whatever its age; empty if it may.
std::string_view Obstacle(const RequestView& request, const ResponseView& response,
                          const ResponseDirectives& directives) {
  if (request.head.method() != http::Method::kGet) return "method";
  if (NeverKept(response.status)) return "status";
  if (RequestDirectives::Of(request.head).no_store) return "request no-store";
  const bool understood = directives.must_understand && KeptByPolicy(response.status);
  if (directives.no_store && !understood) return "no-store";
  if (directives.is_private) return "private";
  if (VariesOnEverything(response.fields)) return "vary *";
  if (FindField(response.fields, "set-cookie") != nullptr) return "set-cookie";
  // It names a file instead of having a body: whoever sends that decides each time who may have it.
  for (const std::string_view name : {"x-accel-redirect", "x-sendfile"}) {
    if (FindField(response.fields, name) != nullptr) return name;
  }
  const bool shareable =
      directives.is_public || directives.must_revalidate || directives.s_maxage_s != kAbsent;
  if (!shareable && request.head.Has(http::HeaderId::kAuthorization)) return "authorization";
  return "";
}

}  // namespace

Storability Storable(const RequestView& request, const ResponseView& response,
                     const StoragePolicy& policy, const ExchangeTimes& times) {
  Storability result;
  const ResponseDirectives directives = ResponseDirectives::Of(response.fields);
  result.reason = Obstacle(request, response, directives);
  if (!result.reason.empty()) return result;

  int64_t date_s = times.response_wall_s;
  if (const Field* date = FindField(response.fields, "date")) {
    date_s =
        http::ParseHttpDate(date->value, times.response_wall_s).value_or(times.response_wall_s);
  }
  Freshness& freshness = result.freshness;
  const std::optional<int64_t> lifetime =
      ExplicitLifetime(directives, response.fields, date_s, times.response_wall_s);
  if (lifetime) {
    freshness.lifetime_us = *lifetime;
  } else if (KeptByPolicy(response.status)) {
    freshness.lifetime_us = policy.route_ttl_us >= 0 ? policy.route_ttl_us : policy.default_ttl_us;
  } else if (!directives.is_public) {
    result.reason = "no freshness";
    return result;
  }
  freshness.initial_age_us = InitialAge(response.fields, date_s, times);
  freshness.response_us = times.response_us;
  freshness.no_cache = directives.no_cache;
  freshness.never_stale =
      directives.must_revalidate || directives.proxy_revalidate || directives.s_maxage_s != kAbsent;
  freshness.has_validator = FindField(response.fields, "etag") != nullptr ||
                            FindField(response.fields, "last-modified") != nullptr;
  const bool useful_now = !freshness.no_cache && freshness.TtlUs(times.response_us) > 0;
  if (!useful_now && !freshness.has_validator) {
    result.reason = "stale at once";
    return result;
  }
  // Nothing explicit and no policy: a validator alone makes no one ask us to keep it.
  if (!lifetime && freshness.lifetime_us == 0 && !directives.no_cache && !directives.is_public) {
    result.reason = "no freshness";
    return result;
  }
  result.storable = true;
  return result;
}

RequestFacts RequestFacts::Of(const http::RequestHead& request) {
  using http::HeaderId;
  RequestFacts facts;
  facts.is_get = request.method() == http::Method::kGet;
  facts.is_head = request.method() == http::Method::kHead;
  facts.is_safe = http::IsSafe(request.method());
  facts.has_range = facts.is_get && request.Has(HeaderId::kRange);
  facts.has_precondition =
      request.Has(HeaderId::kIfMatch) || request.Has(HeaderId::kIfUnmodifiedSince);
  facts.directives = RequestDirectives::Of(request);
  return facts;
}

Judgement Judge(const Freshness* stored, const RequestFacts& request, int64_t now_us,
                bool variants_exist) {
  Judgement judgement;
  if (!request.is_get && !request.is_head) {
    judgement.verdict = Verdict::kBypass;
    judgement.forward = Forward::kMethod;
    return judgement;
  }
  const RequestDirectives& wishes = request.directives;
  if (stored == nullptr) {
    judgement.forward = variants_exist ? Forward::kVaryMiss : Forward::kUriMiss;
    // A HEAD's answer has no body to keep, a range's only a part, and preconditions are the app's.
    const bool alone = request.is_head || request.has_range || request.has_precondition;
    judgement.verdict = wishes.only_if_cached ? Verdict::kOnlyIfCached
                        : alone               ? Verdict::kBypass
                                              : Verdict::kMiss;
    return judgement;
  }
  const int64_t age_us = stored->AgeUs(now_us);
  const int64_t ttl_us = stored->TtlUs(now_us);
  judgement.age_s = age_us / kSecond;
  judgement.ttl_s = ttl_us >= 0 ? ttl_us / kSecond : -((-ttl_us + kSecond - 1) / kSecond);

  bool servable = !stored->no_cache && ttl_us > 0;
  Forward why = Forward::kStale;
  if (!servable && !stored->no_cache && !stored->never_stale && wishes.max_stale_s != kAbsent) {
    servable = -ttl_us <= wishes.max_stale_s * kSecond;
  }
  if (servable) {
    const bool refused = wishes.no_cache ||
                         (wishes.max_age_s != kAbsent && age_us > wishes.max_age_s * kSecond &&
                          wishes.max_stale_s == kAbsent) ||
                         (wishes.min_fresh_s != kAbsent && ttl_us < wishes.min_fresh_s * kSecond);
    if (refused) {
      servable = false;
      why = Forward::kRequest;
    }
  }
  if (servable) {
    judgement.verdict = Verdict::kServe;
    return judgement;
  }
  judgement.forward = why;
  if (wishes.only_if_cached) {
    judgement.verdict = Verdict::kOnlyIfCached;
  } else if (request.is_head || request.has_range || request.has_precondition) {
    judgement.verdict = Verdict::kBypass;
  } else {
    judgement.verdict = stored->has_validator ? Verdict::kRevalidate : Verdict::kMiss;
  }
  return judgement;
}

}  // namespace catzilla::cache
