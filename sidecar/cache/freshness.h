// What RFC 9111 says, as pure functions: may this answer be kept, and may that kept one be served?
//
// Threads: values; nothing here reads a clock or keeps state.
// Limits:  none. Fails: never; every refusal has its reason.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/cache/cache_control.h"
#include "sidecar/cache/message.h"

namespace catzilla::cache {

// What the operator and the route add to what the response says.
struct StoragePolicy {
  int64_t default_ttl_us = 0;  // config::Cache: for answers that say nothing.
  int64_t route_ttl_us = -1;   // config::Route: the same, before default_ttl_us; -1: none.
};

// How long a stored answer is good; all that Judge() needs of it.
struct Freshness {
  int64_t lifetime_us = 0;
  int64_t initial_age_us = 0;  // corrected_initial_age of 4.2.3, at response_us.
  int64_t response_us = 0;     // Monotonic.
  bool no_cache = false;       // Never without validation.
  bool never_stale =
      false;  // must-revalidate, proxy-revalidate or s-maxage: max-stale does not count.
  bool has_validator = false;  // ETag or Last-Modified.

  int64_t AgeUs(int64_t now_us) const { return initial_age_us + (now_us - response_us); }
  int64_t TtlUs(int64_t now_us) const { return lifetime_us - AgeUs(now_us); }
};

struct Storability {
  bool storable = false;
  std::string_view reason = "";  // Why not: "no-store", "private", "set-cookie"...
  Freshness freshness;
};

// May the answer to `request` be kept by a shared cache (RFC 9111 3)?
Storability Storable(const RequestView& request, const ResponseView& response,
                     const StoragePolicy& policy, const ExchangeTimes& times);

// What of a request matters to a cache, read once per request.
struct RequestFacts {
  bool is_get = false;
  bool is_head = false;
  bool is_safe = false;  // GET, HEAD, OPTIONS, TRACE; others invalidate.
  bool has_range = false;
  bool has_precondition = false;  // If-Match or If-Unmodified-Since.
  RequestDirectives directives;

  static RequestFacts Of(const http::RequestHead& request);
};

// The value of Cache-Status `fwd` (RFC 9211 2.2).
enum class Forward : uint8_t { kNone, kBypass, kMethod, kUriMiss, kVaryMiss, kRequest, kStale };

enum class Verdict : uint8_t {
  kServe,         // From the store; see age_s and ttl_s.
  kRevalidate,    // Join a fill with the stored object: ask the app with its validators.
  kMiss,          // Join a fill.
  kBypass,        // To the app alone; its answer is not kept.
  kOnlyIfCached,  // 504: the client wants nothing but a stored answer.
};

struct Judgement {
  Verdict verdict = Verdict::kMiss;
  Forward forward = Forward::kNone;
  int64_t age_s = 0;
  int64_t ttl_s = 0;  // Negative: seconds since it became stale.
};

// May `stored` (null: nothing matched) answer this request now? `variants_exist`: the key is known,
// but no variant matched, so that a miss is a vary-miss.
Judgement Judge(const Freshness* stored, const RequestFacts& request, int64_t now_us,
                bool variants_exist = false);

}  // namespace catzilla::cache
