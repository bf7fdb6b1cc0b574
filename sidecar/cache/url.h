// URLs as operators type them and as Location names them, brought into the form of keys.
//
// Threads: values. Owns: its text. Limits: none of its own. Fails: never; nonsense matches nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sidecar/cache/key.h"

namespace catzilla::cache {

struct Url {
  std::string scheme;
  std::string host;   // Lower case, without the scheme's default port.
  std::string path;   // At least "/", if there is a host.
  std::string query;  // Without '?'.

  KeyParts parts() const { return {scheme, host, path, query}; }
  std::string text() const;
};

// "HTTP://Example.org:80/a?b" -> http, example.org, /a, b. Without "//" the whole is path and
// query. The fragment is dropped.
Url NormalUrl(std::string_view text);

// What `reference` (Location, Content-Location) names, seen from `base`; nullopt when it is of
// another scheme or host, where an answer has nothing to say (RFC 9111 4.4).
std::optional<Url> ResolveSameOrigin(const Url& base, std::string_view reference);

}  // namespace catzilla::cache
