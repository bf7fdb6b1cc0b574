// Any bytes as a decoded path: what is judged kOk must open nothing outside the root, whoever
// resolves it, and what is escaped must be harmless in a head.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sidecar/files/mime.h"
#include "sidecar/files/path.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace catzilla::files;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  for (const bool hidden : {false, true}) {
    if (JudgePath(input, {hidden}) != PathVerdict::kOk) continue;
    const std::string path = "/" + CollapseSlashes(input) + "/";
    const bool climbs = path.find("/../") != path.npos || path.find("/./") != path.npos;
    const bool shows = path.find("/.") != path.npos && path.find("/.well-known/") == path.npos;
    const bool doubled = path != "//" && path.find("//") != path.npos;
    if (climbs || (doubled && !path.ends_with("//"))) std::abort();
    if (!hidden && shows) std::abort();
    if (path.find('\0') != path.npos || path.find('\\') != path.npos) std::abort();
  }
  std::string escaped;
  AppendEscapedPath(input, escaped);
  for (const char c : escaped) {
    if (c <= 0x20 || c >= 0x7f || c == '?' || c == '#' || c == '"' || c == '<') std::abort();
  }
  if (MimeType(input, {}).empty()) std::abort();
  return 0;
}
