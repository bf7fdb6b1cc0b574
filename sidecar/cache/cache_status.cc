#include "sidecar/cache/cache_status.h"

#include <charconv>
#include <cstring>

namespace catzilla::cache {
namespace {

char* Put(char* at, std::string_view text) {
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

char* Put(char* at, int64_t number) { return std::to_chars(at, at + 21, number).ptr; }

}  // namespace

size_t WriteHitLines(char* out, int64_t age_s, int64_t ttl_s) {
  char* at = Put(out, "Age: ");
  at = Put(at, age_s < 0 ? 0 : age_s);
  at = Put(at, "\r\nCache-Status: catzilla; hit; ttl=");
  at = Put(at, ttl_s);
  at = Put(at, "\r\n");
  return static_cast<size_t>(at - out);
}

size_t WriteForwardLine(char* out, const Forwarded& forwarded) {
  char* at = Put(out, "Cache-Status: catzilla; fwd=");
  at = Put(at, ForwardName(forwarded.why));
  if (forwarded.status != 0) at = Put(Put(at, "; fwd-status="), forwarded.status);
  if (forwarded.revalidated) at = Put(Put(at, "; ttl="), forwarded.ttl_s);
  if (forwarded.stored) at = Put(at, "; stored");
  if (forwarded.collapsed) at = Put(at, "; collapsed");
  at = Put(at, "\r\n");
  return static_cast<size_t>(at - out);
}

std::string_view ForwardName(Forward why) {
  switch (why) {
    case Forward::kNone:
    case Forward::kBypass:
      return "bypass";
    case Forward::kMethod:
      return "method";
    case Forward::kUriMiss:
      return "uri-miss";
    case Forward::kVaryMiss:
      return "vary-miss";
    case Forward::kRequest:
      return "request";
    case Forward::kStale:
      return "stale";
  }
  return "bypass";
}

}  // namespace catzilla::cache
