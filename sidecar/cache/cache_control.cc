#include "sidecar/cache/cache_control.h"

#include <algorithm>

namespace catzilla::cache {
namespace {

struct Directive {
  std::string_view name;
  std::string_view value;
  bool has_value = false;
};

Directive Split(std::string_view element) {
  const size_t equals = element.find('=');
  if (equals == std::string_view::npos) return {element, {}, false};
  // "max-age = 5" is not the grammar, but nobody means anything else by it.
  return {http::Trim(element.substr(0, equals)), http::Trim(element.substr(equals + 1)), true};
}

// A response's freshness: anything wrong, or a second opinion, is stale.
void ReadFreshness(const Directive& directive, int64_t* seconds) {
  int64_t value = ParseDeltaSeconds(directive.value);
  if (value == kAbsent) value = 0;
  if (*seconds != kAbsent && *seconds != value) value = 0;
  *seconds = value;
}

// A request's wish: the strictest of several; an invalid one says nothing.
void ReadWish(const Directive& directive, bool larger_is_stricter, int64_t* seconds) {
  const int64_t value = ParseDeltaSeconds(directive.value);
  if (value == kAbsent) return;
  if (*seconds == kAbsent) {
    *seconds = value;
  } else {
    *seconds = larger_is_stricter ? std::max(*seconds, value) : std::min(*seconds, value);
  }
}

}  // namespace

int64_t ParseDeltaSeconds(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  if (text.empty()) return kAbsent;
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return kAbsent;
    value = std::min(value * 10 + (c - '0'), kDeltaSecondsMax);
  }
  return value;
}

void ResponseDirectives::Read(std::string_view field_value) {
  ForEachElement(field_value, [this](std::string_view element) {
    const Directive directive = Split(element);
    const std::string_view name = directive.name;
    if (http::EqualsLower(name, "max-age")) {
      ReadFreshness(directive, &max_age_s);
    } else if (http::EqualsLower(name, "s-maxage")) {
      ReadFreshness(directive, &s_maxage_s);
    } else if (http::EqualsLower(name, "no-store")) {
      no_store = true;
    } else if (http::EqualsLower(name, "no-cache")) {
      no_cache = true;
    } else if (http::EqualsLower(name, "private")) {
      is_private = true;
    } else if (http::EqualsLower(name, "public")) {
      is_public = true;
    } else if (http::EqualsLower(name, "must-revalidate")) {
      must_revalidate = true;
    } else if (http::EqualsLower(name, "proxy-revalidate")) {
      proxy_revalidate = true;
    } else if (http::EqualsLower(name, "must-understand")) {
      must_understand = true;
    } else if (http::EqualsLower(name, "no-transform")) {
      no_transform = true;
    }
  });
}

ResponseDirectives ResponseDirectives::Of(Fields fields) {
  ResponseDirectives directives;
  for (const Field& field : fields) {
    if (http::EqualsLower(field.name, "cache-control")) directives.Read(field.value);
  }
  return directives;
}

void RequestDirectives::Read(std::string_view field_value) {
  ForEachElement(field_value, [this](std::string_view element) {
    const Directive directive = Split(element);
    const std::string_view name = directive.name;
    if (http::EqualsLower(name, "no-cache")) {
      no_cache = true;
    } else if (http::EqualsLower(name, "no-store")) {
      no_store = true;
    } else if (http::EqualsLower(name, "only-if-cached")) {
      only_if_cached = true;
    } else if (http::EqualsLower(name, "max-age")) {
      ReadWish(directive, /*larger_is_stricter=*/false, &max_age_s);
    } else if (http::EqualsLower(name, "min-fresh")) {
      ReadWish(directive, /*larger_is_stricter=*/true, &min_fresh_s);
    } else if (http::EqualsLower(name, "max-stale")) {
      if (directive.has_value) {
        ReadWish(directive, /*larger_is_stricter=*/false, &max_stale_s);
      } else if (max_stale_s == kAbsent) {
        max_stale_s = kDeltaSecondsMax;
      }
    }
  });
}

RequestDirectives RequestDirectives::Of(const http::RequestHead& request) {
  RequestDirectives directives;
  if (request.Has(http::HeaderId::kCacheControl)) {
    request.ForEach(http::HeaderId::kCacheControl,
                    [&](std::string_view value) { directives.Read(value); });
  } else if (request.Has(http::HeaderId::kPragma)) {
    directives.no_cache = request.ListHasItem(http::HeaderId::kPragma, "no-cache");
  }
  return directives;
}

}  // namespace catzilla::cache
