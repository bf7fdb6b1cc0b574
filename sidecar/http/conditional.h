// Preconditions of a request against the representation that would be sent (RFC 9110 section 13).
// Pure; any thread; allocates nothing.
#pragma once

#include <cstdint>
#include <string_view>

#include "sidecar/http/request_head.h"

namespace catzilla::http {

// What the selected representation says of itself.
struct Validators {
  std::string_view etag;         // W/"x", "x", or empty: none.
  int64_t last_modified_s = -1;  // Negative: none.
};

enum class Precondition : uint8_t {
  kProceed,
  kNotModified,  // 304: GET and HEAD only.
  kFailed,       // 412
};

// In the order of section 13.2.2: If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since.
// To be asked only if the answer without them would be 2xx, of a representation that exists.
Precondition JudgePreconditions(const RequestHead& request, const Validators& validators,
                                int64_t now_s);

// Whether a Range is to be looked at, as far as If-Range says: true without it. A tag must be
// strong and the same; a date must be Last-Modified exactly, and that at least a second old.
bool RangeApplies(const RequestHead& request, const Validators& validators, int64_t now_s);

}  // namespace catzilla::http
