// Cache-Control, of requests and of responses (RFC 9111 5.2).
//
// Threads: values. Limits: none, it reads in place and allocates nothing.
// Fails:   never. What is malformed only ever makes a response staler (4.2.1): a freshness
//          directive that is invalid, or given twice with different values, counts as 0.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/cache/message.h"

namespace catzilla::cache {

// Delta-seconds above this are this (RFC 9111 1.2.2).
inline constexpr int64_t kDeltaSecondsMax = 2147483648;
inline constexpr int64_t kAbsent = -1;

struct ResponseDirectives {
  bool no_store = false;
  bool no_cache =
      false;  // The form with field names too: then the whole response needs validation.
  bool is_private = false;
  bool is_public = false;
  bool must_revalidate = false;
  bool proxy_revalidate = false;
  bool must_understand = false;
  bool no_transform = false;
  int64_t max_age_s = kAbsent;
  int64_t s_maxage_s = kAbsent;

  void Read(std::string_view field_value);
  static ResponseDirectives Of(Fields fields);
};

struct RequestDirectives {
  bool no_store = false;
  bool no_cache = false;  // Pragma too, where there is no Cache-Control.
  bool only_if_cached = false;
  int64_t max_age_s = kAbsent;
  int64_t min_fresh_s = kAbsent;
  int64_t max_stale_s = kAbsent;  // max-stale without a value: kDeltaSecondsMax.

  void Read(std::string_view field_value);
  static RequestDirectives Of(const http::RequestHead& request);
};

// "60" or "\"60\""; kAbsent when it is neither.
int64_t ParseDeltaSeconds(std::string_view text);

}  // namespace catzilla::cache
