#include "sidecar/schema/validate_upstream.h"

#include <algorithm>
#include <set>

#include "sidecar/base/endpoint.h"
#include "sidecar/schema/units.h"
#include "sidecar/schema/validate.h"

namespace catzilla::schema {
namespace {

// As the upstream room has them: a request remembers in one word which it has tried.
constexpr int kTargetsMax = 64;

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

bool IsTarget(const std::string& text) {
  return !text.empty() && text[0] == '/' && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7f && c != '#';
  });
}

bool IsAuthority(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
  });
}

}  // namespace

void ValidateUpstream(const config::v1::Pool& pool, const std::string& path,
                      const ReportError& report) {
  const config::v1::Upstream& upstream = pool.upstream();
  const std::string own = path + ".upstream";
  if (upstream.targets().empty()) {
    report(Code::kMissing, own + ".targets", "is not given",
           "name at least one server: targets: [127.0.0.1:3000]");
  }
  if (upstream.targets_size() > kTargetsMax) {
    report(Code::kTooMany, own + ".targets",
           "has more than " + std::to_string(kTargetsMax) + " servers",
           "use a name with several addresses, or several pools");
  }
  std::set<std::string> seen;
  for (int i = 0; i < upstream.targets_size(); ++i) {
    const std::string& text = upstream.targets(i);
    const std::string at = own + ".targets[" + std::to_string(i) + "]";
    const auto parsed = base::ParseEndpoint(text);
    if (!parsed.ok()) {
      report(Code::kBadTarget, at, Quoted(text) + " " + parsed.error(),
             "write unix:/run/app.sock, 127.0.0.1:9000, [::1]:9000 or app:9000");
    } else if (!seen.insert(text).second) {
      report(Code::kBadTarget, at, Quoted(text) + " is named twice", "remove one of them");
    }
  }
  if (!upstream.via().empty() && !IsToken(upstream.via())) {
    report(Code::kBadHeader, own + ".via", Quoted(upstream.via()) + " is no pseudonym",
           "use letters, digits and '-': via: catzilla");
  }
  if (pool.has_hard_timeout()) {
    report(Code::kUpstreamPool, path + ".hard_timeout", "is for workers, and the pool has none",
           "remove it: a server that does not answer in request_timeout loses the connection");
  }
  if (upstream.has_health_check()) {
    const config::v1::HealthCheck& check = upstream.health_check();
    if (!IsTarget(check.path())) {
      report(Code::kBadPrefix, own + ".health_check.path", Quoted(check.path()) + " is no path",
             "write it as a request has it: /healthz");
    }
    if (!check.host().empty() && !IsAuthority(check.host())) {
      report(Code::kBadHost, own + ".health_check.host", Quoted(check.host()) + " is no host name",
             "example.com, or example.com:8080");
    }
  }
}

}  // namespace catzilla::schema
