// Cache-Control values of any bytes: no crash, and nothing outside the promised ranges.
#include <cstdint>
#include <string_view>

#include "sidecar/base/check.h"
#include "sidecar/cache/cache_control.h"

using catzilla::cache::kAbsent;
using catzilla::cache::kDeltaSecondsMax;

static void CheckRange(int64_t seconds) {
  CATZILLA_CHECK(seconds >= kAbsent && seconds <= kDeltaSecondsMax, "delta-seconds out of range");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  catzilla::cache::ResponseDirectives response;
  catzilla::cache::RequestDirectives request;
  // Two lines, cut at the first newline: what one said must not make the other fresher.
  const size_t cut = text.find('\n');
  response.Read(text.substr(0, cut));
  request.Read(text.substr(0, cut));
  const int64_t first = response.max_age_s;
  if (cut != std::string_view::npos) {
    response.Read(text.substr(cut + 1));
    request.Read(text.substr(cut + 1));
  }
  if (first != kAbsent) {
    CATZILLA_CHECK(response.max_age_s == first || response.max_age_s == 0,
                   "a second line is no fresher");
  }
  for (int64_t seconds : {response.max_age_s, response.s_maxage_s, request.max_age_s,
                          request.min_fresh_s, request.max_stale_s}) {
    CheckRange(seconds);
  }
  return 0;
}
