#include "sidecar/cache/url.h"

#include <algorithm>

#include "sidecar/http/text.h"

namespace catzilla::cache {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = http::ToLower(c);
  return lower;
}

void SplitTarget(std::string_view target, Url* url) {
  const size_t mark = target.find('?');
  url->path = target.substr(0, mark);
  url->query = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
}

// RFC 3986 5.2.4, for references like "../b".
std::string RemoveDotSegments(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/', 1), path.size());
    const std::string_view segment = path.substr(0, end);  // With its leading slash.
    path.remove_prefix(end);
    if (segment == "/..") {
      out.resize(out.rfind('/') == std::string::npos ? 0 : out.rfind('/'));
      if (path.empty()) out += '/';
    } else if (segment == "/.") {
      if (path.empty()) out += '/';
    } else {
      out += segment;
    }
  }
  return out;
}

}  // namespace

std::string Url::text() const {
  return scheme + "://" + host + path + (query.empty() ? "" : "?" + query);
}

Url NormalUrl(std::string_view text) {
  text = text.substr(0, text.find('#'));
  Url url;
  const size_t colon = text.find("://");
  if (colon == std::string_view::npos || text.starts_with('/')) {
    SplitTarget(text, &url);
    return url;
  }
  url.scheme = Lower(text.substr(0, colon));
  text.remove_prefix(colon + 3);
  const size_t end = std::min(text.find_first_of("/?"), text.size());
  url.host = Lower(text.substr(0, end));
  const std::string_view port = url.scheme == "https" ? ":443" : ":80";
  if (url.host.ends_with(port)) url.host.resize(url.host.size() - port.size());
  SplitTarget(text.substr(end), &url);
  if (url.path.empty()) url.path = "/";
  return url;
}

std::optional<Url> ResolveSameOrigin(const Url& base, std::string_view reference) {
  reference = http::Trim(reference.substr(0, reference.find('#')));
  if (reference.empty()) return std::nullopt;
  if (reference.starts_with("//")) {
    return ResolveSameOrigin(base, base.scheme + ":" + std::string(reference));
  }
  const size_t colon = reference.find("://");
  if (colon != std::string_view::npos && colon < reference.find_first_of("/?")) {
    Url url = NormalUrl(reference);
    if (url.scheme != base.scheme || url.host != base.host) return std::nullopt;
    return url;
  }
  Url url = base;
  if (reference.starts_with('?')) {
    url.query = reference.substr(1);
    return url;
  }
  Url relative;
  SplitTarget(reference, &relative);
  url.query = relative.query;
  const bool absolute = relative.path.starts_with('/');
  const std::string merged =
      absolute ? relative.path : base.path.substr(0, base.path.rfind('/') + 1) + relative.path;
  url.path = RemoveDotSegments(merged);
  return url;
}

}  // namespace catzilla::cache
