// What a cache says of itself in an answer: Age, and its member of Cache-Status (RFC 9211).
//
// Each cache on the way adds a line of its own behind those that are there; lines of one name are
// one list, so nothing is rewritten.
// Threads: values. Owns: nothing, writes to the caller's buffer. Fails: never.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sidecar/cache/freshness.h"

namespace catzilla::cache {

// Room for everything below, in bytes.
inline constexpr size_t kCacheLinesBytesMax = 160;

// "Age: 7\r\nCache-Status: catzilla; hit; ttl=53\r\n". Returns the length; allocates nothing.
size_t WriteHitLines(char* out, int64_t age_s, int64_t ttl_s);

struct Forwarded {
  Forward why = Forward::kUriMiss;
  int status = 0;  // fwd-status, the app's; 0: left out.
  bool stored = false;
  bool collapsed = false;
  bool revalidated = false;  // Served from the store after a 304: ttl is added.
  int64_t ttl_s = 0;
};
// "Cache-Status: catzilla; fwd=uri-miss; fwd-status=200; stored\r\n".
size_t WriteForwardLine(char* out, const Forwarded& forwarded);

std::string_view ForwardName(Forward why);  // "uri-miss"

}  // namespace catzilla::cache
