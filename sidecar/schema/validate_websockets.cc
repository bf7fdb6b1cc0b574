#include "sidecar/schema/validate_websockets.h"

#include <string_view>

namespace catzilla::schema {
namespace {

// scheme://host or scheme://host:port, as a browser says it: no path, not even "/".
bool IsOrigin(std::string_view text) {
  if (text == "same" || text == "none") return true;
  const size_t at = text.find("://");
  if (at == std::string_view::npos || at == 0) return false;
  const std::string_view host = text.substr(at + 3);
  return !host.empty() && host.find_first_of("/?#@ *,") == std::string_view::npos;
}

}  // namespace

void ValidateWebSockets(const config::v1::WebSockets& websockets, const ReportError& report) {
  for (int i = 0; i < websockets.origins_size(); ++i) {
    const std::string& origin = websockets.origins(i);
    if (IsOrigin(origin)) continue;
    report(Code::kBadOrigin, "websockets.origins[" + std::to_string(i) + "]",
           "\"" + origin + "\" is no origin",
           "write scheme and host as a browser sends them, https://example.com or "
           "http://localhost:3000; or same, or none; leave the list empty to allow all");
  }
}

}  // namespace catzilla::schema
