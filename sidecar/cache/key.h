// Under which name an answer is kept: scheme, host, path and normalised query, and for variants the
// request fields that Vary names.
//
// Threads: values. Owns: the key's text; an exchange keeps one CacheKey and builds into it again,
//          so that a hit allocates nothing.
// Limits:  more than kParametersMax query parameters are kept in the client's order; a request's
//          value for Vary of more than kVaryValueBytesMax is never matched, and its answer not
//          kept.
// Fails:   never.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/base/sip_hash.h"
#include "sidecar/cache/message.h"

namespace catzilla::cache {

inline constexpr size_t kParametersMax = 64;
inline constexpr size_t kVaryNamesMax = 16;
inline constexpr size_t kVaryValueBytesMax = 2048;

// Random per process, so that nobody outside can make keys collide.
using HashSeed = base::SipKey;
uint64_t HashKey(std::string_view text, const HashSeed& seed);  // SipHash-1-3.

struct KeyPolicy {
  bool ignore_query = false;
  std::span<const std::string> query_allow;  // If not empty, only these are in the key.
  std::span<const std::string> query_deny;
  bool query_sort = false;  // "?b=1&a=2" and "?a=2&b=1" are one key.
};

struct KeyParts {
  std::string_view scheme;
  std::string_view host;
  std::string_view path;
  std::string_view query;  // Without '?'.
};

// GET and HEAD share a key; other methods have none.
struct CacheKey {
  std::string text;  // "http://example.org:8080/items?a=1&b=2"
  uint64_t hash = 0;

  bool operator==(const CacheKey& other) const { return text == other.text; }
};

// The key of what a request asks for. `parts` as in RequestView and its head: path and query raw.
void BuildKey(const KeyParts& parts, const KeyPolicy& policy, const HashSeed& seed, CacheKey* key);
void BuildKey(const RequestView& request, const KeyPolicy& policy, const HashSeed& seed,
              CacheKey* key);

// The parts of a URL, or of a key's text.
KeyParts SplitKey(std::string_view text);

// Secondary keys...

// Writes the canonical value of a request's field `name` to `out`: several lines joined, and for
// Accept-Encoding the sorted set of acceptable codings. Nullopt: longer than the buffer.
std::optional<std::string_view> VaryValue(const http::RequestHead& request, std::string_view name,
                                          std::span<char, kVaryValueBytesMax> out);

// What a stored answer keeps of its Vary: names and values, in one string; empty when it has none.
// Nullopt: "*", too many names, or a value too long.
std::optional<std::string> EncodeVary(Fields response, const http::RequestHead& request);

// Whether two stored answers vary on the same fields, whatever the values.
bool SameVaryNames(std::string_view encoded, std::string_view other);

// For people: names with the values that were stored, "(absent)" among them.
std::vector<std::pair<std::string, std::string>> VaryFields(std::string_view encoded);

// Whether a request selects the variant that was stored with `encoded`.
bool MatchesVary(std::string_view encoded, const http::RequestHead& request);

}  // namespace catzilla::cache
