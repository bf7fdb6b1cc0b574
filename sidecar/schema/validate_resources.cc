// The operators' resources: each one by itself, and all of them among each other and the machine.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "sidecar/route/path_template.h"
#include "sidecar/route/trie.h"
#include "sidecar/schema/root_look.h"
#include "sidecar/schema/units.h"
#include "sidecar/schema/validate.h"
#include "sidecar/schema/validate_control.h"
#include "sidecar/schema/validate_serving.h"
#include "sidecar/schema/validate_upstream.h"
#include "sidecar/schema/validate_websockets.h"

namespace catzilla::schema {
namespace {

class Checker {
 public:
  Checker(const Merged& merged, const ValidateContext& context, Diagnostics* diagnostics)
      : config_(merged.config), merged_(merged), context_(context), diagnostics_(*diagnostics) {}

  void Run() {
    Names();
    Listeners();
    for (const auto& mount : config_.mounts()) Mount(mount);
    MountOverlaps();
    for (const auto& route : config_.routes()) Route(route);
    RouteConflicts();
    Limits();
    ValidateWebSockets(config_.websockets(), [this](const auto&... what) { Error(what...); });
    Telemetry();
    ValidateControl(config_.control(), [this](const auto&... what) { Error(what...); });
    for (int i = 0; i < config_.app().prefixes_size(); ++i) {
      const std::string wrong = WrongPrefix(config_.app().prefixes(i));
      if (!wrong.empty()) {
        Error(Code::kBadPrefix, "app.prefixes[" + std::to_string(i) + "]",
              Quote(config_.app().prefixes(i)) + " " + wrong, "write it as /api");
      }
    }
  }

 private:
  static std::string Quote(const std::string& text) { return "\"" + text + "\""; }

  void Error(Code code, std::string path, std::string message, std::string hint) {
    Report(code, Severity::kError, std::move(path), std::move(message), std::move(hint));
  }
  void Report(Code code, Severity severity, std::string path, std::string message,
              std::string hint) {
    diagnostics_.push_back(
        {code, severity, std::move(path), 0, std::move(message), std::move(hint), ""});
  }

  template <typename Resources>
  void SectionNames(const char* section, const Resources& resources) {
    int index = 0;
    for (const auto& resource : resources) {
      const std::string path =
          ResourcePath(section, resource.name().empty() ? std::to_string(index) : resource.name()) +
          ".name";
      if (resource.name().empty()) {
        Error(Code::kMissing, path, "has no name",
              "every resource needs a stable name, for example name: main");
      } else if (!IsName(resource.name())) {
        Error(Code::kBadName, path, Quote(resource.name()) + " is no name",
              "use 1 to 64 letters, digits, '.', '_' or '-'");
      }
      ++index;
    }
  }

  void Names() {
    SectionNames("listeners", config_.listeners());
    SectionNames("mounts", config_.mounts());
    SectionNames("routes", config_.routes());
    SectionNames("caches", config_.caches());
    SectionNames("pools", config_.pools());
  }

  void Listeners() {
    std::map<std::pair<std::string, uint32_t>, std::string> taken;
    for (const auto& listener : config_.listeners()) {
      const std::string path = ResourcePath("listeners", listener.name());
      uint8_t address[16];
      bool is_v4 = false;
      if (!ParseAddress(listener.address(), address, &is_v4)) {
        Error(Code::kBadAddress, path + ".address", Quote(listener.address()) + " is no IP address",
              "use 0.0.0.0 or :: for all, 127.0.0.1 for this machine only; the port is a field of "
              "its own");
      }
      for (int i = 0; i < listener.trusted_proxies_size(); ++i) {
        config::AddressRange range;
        if (ParseRange(listener.trusted_proxies(i), &range)) continue;
        Error(Code::kBadRange, path + ".trusted_proxies[" + std::to_string(i) + "]",
              Quote(listener.trusted_proxies(i)) + " is no address range",
              "write 10.0.0.0/8, fd00::/8 or 192.0.2.7");
      }
      if (listener.port() == 0) continue;
      const auto [held, fresh] = taken.try_emplace({listener.address(), listener.port()}, path);
      if (!fresh) {
        Error(Code::kListenerConflict, path + ".port",
              held->second + " has the same address and port " + std::to_string(listener.port()),
              "give one of them another port");
      }
    }
  }

  void Host(const std::string& host, const std::string& path) {
    if (host.empty()) return;
    bool ok = host.size() <= 255;
    for (const char c : host) {
      ok = ok && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-' || c == '_' || c == '[' || c == ']' ||
                  (c == ':' && host[0] == '['));
    }
    if (ok) return;
    Error(Code::kBadHost, path, Quote(host) + " is no host name",
          "write it as a client asks for it, without scheme and port: example.com");
  }

  void Mount(const config::v1::Mount& mount) {
    const std::string path = ResourcePath("mounts", mount.name());
    Host(mount.host(), path + ".host");
    if (mount.prefix().empty()) {
      Error(Code::kMissing, path + ".prefix", "is not given", "for example prefix: /static");
    } else if (const std::string wrong = WrongPrefix(mount.prefix()); !wrong.empty()) {
      Error(Code::kBadPrefix, path + ".prefix", Quote(mount.prefix()) + " " + wrong,
            "write it as /static");
    }
    Root(mount, path + ".root");
    if (mount.index_file().find('/') != std::string::npos || mount.index_file() == "..") {
      Error(Code::kBadPath, path + ".index_file", Quote(mount.index_file()) + " is no file name",
            "name a file inside the directory, for example index.html");
    }
    if (!IsFieldValue(mount.cache_control())) {
      Error(Code::kBadHeader, path + ".cache_control", "has control characters or spaces at an end",
            "for example public, max-age=3600");
    }
    for (const auto& [name, value] : mount.headers())
      Header(name, value, path + ".headers[" + name + "]");
    for (int i = 0; i < mount.file_rules_size(); ++i) {
      const std::string rule = path + ".file_rules[" + std::to_string(i) + "].headers[";
      for (const auto& [name, value] : mount.file_rules(i).headers()) {
        Header(name, value, rule + name + "]");
      }
    }
    ValidateServingRules(mount, path, [this](const auto&... what) { Error(what...); });
    if (!mount.fallback_pool().empty()) PoolExists(mount.fallback_pool(), path + ".fallback_pool");
  }

  void Root(const config::v1::Mount& mount, const std::string& path) {
    if (mount.root().empty())
      return Error(Code::kMissing, path, "is not given", "name an existing directory");
    if (mount.root()[0] != '/') {
      return Error(Code::kBadPath, path, Quote(mount.root()) + " is not absolute",
                   "write the path from / on");
    }
    if (!context_.check_files) return;
    const RootLook look = LookAtRoot(mount.root());
    if (const int error = look.stat_error; error != 0) {
      return Error(Code::kMissingDirectory, path, mount.root() + ": " + std::strerror(error),
                   error == EACCES      ? "let the sidecar's user search every directory above it"
                   : error == ETIMEDOUT ? "its file system does not answer: mount it anew"
                                        : "create it, or correct the path");
    }
    if (!look.is_directory) {
      return Error(Code::kMissingDirectory, path, mount.root() + " is not a directory",
                   "mount the directory that holds the file");
    }
    if (look.access_error != 0) {
      Error(Code::kMissingDirectory, path, mount.root() + ": " + std::strerror(look.access_error),
            "give the sidecar's user read and search permission");
    }
  }

  void Header(const std::string& name, const std::string& value, const std::string& path) {
    static const std::set<std::string> ours = {
        "content-length", "transfer-encoding", "connection",   "date",
        "server",         "content-range",     "content-type", "etag",
        "last-modified",  "accept-ranges",     "keep-alive",   "upgrade",
        "trailer",        "content-encoding",  "cache-control"};
    if (!IsToken(name))
      return Error(Code::kBadHeader, path, Quote(name) + " is no field name",
                   "use letters, digits and '-'");
    if (ours.contains(NormalHost(name))) {
      return Error(
          Code::kBadHeader, path, name + " is written by the sidecar itself",
          "remove it; cache_control, mime_types, precompressed and etags change what is sent");
    }
    if (!IsFieldValue(value)) {
      Error(Code::kBadHeader, path, "has control characters or spaces at an end",
            "write the value on one line");
    }
  }

  void MountOverlaps() {
    for (const auto& outer : config_.mounts()) {
      const std::string prefix = NormalPrefix(outer.prefix());
      if (prefix == "/") continue;  // Everything lies inside; that is how "/" is meant.
      for (const auto& inner : config_.mounts()) {
        const std::string other = NormalPrefix(inner.prefix());
        if (other.size() <= prefix.size() || !PrefixHolds(prefix, other)) continue;
        if (NormalHost(inner.host()) != NormalHost(outer.host())) continue;
        Report(
            Code::kMountOverlap, Severity::kInfo, ResourcePath("mounts", inner.name()) + ".prefix",
            other + " lies inside " + prefix + " of " + ResourcePath("mounts", outer.name()),
            "the longest prefix wins: files of the outer mount below " + other + " are not served");
      }
    }
  }

  void Route(const config::v1::Route& route) {
    const std::string path = ResourcePath("routes", route.name());
    Host(route.host(), path + ".host");
    for (int i = 0; i < route.methods_size(); ++i) {
      if (IsToken(route.methods(i)) && NormalHost(route.methods(i)) != route.methods(i)) continue;
      Error(Code::kBadMethod, path + ".methods[" + std::to_string(i) + "]",
            Quote(route.methods(i)) + " is no method", "methods are in capitals: GET");
    }
    if (route.path().empty()) {
      Error(Code::kMissing, path + ".path", "is not given", "for example path: /items/{id:int}");
    } else {
      Template(route, path + ".path");
    }
    PoolExists(route.pool(), path + ".pool");
    if (!route.cache().empty()) CacheExists(route.cache(), path + ".cache");
    if (route.cache().empty() && (route.has_cache_ttl() || route.cache_tags_size() > 0)) {
      Report(Code::kUnknownCache, Severity::kError,
             path + (route.has_cache_ttl() ? ".cache_ttl" : ".cache_tags"),
             "says how to cache, but the route has no cache", "add cache: default");
    }
  }

  void PoolExists(const std::string& name, const std::string& path) {
    std::string pools;
    for (const auto& one : config_.pools()) {
      if (one.name() == name) return;
      pools += (pools.empty() ? "" : ", ") + one.name();
    }
    Error(Code::kUnknownPool, path, "no pool is named " + Quote(name),
          "there are: " + pools + "; declare it under pools: if its app comes later");
  }

  void CacheExists(const std::string& name, const std::string& path) {
    std::string caches;
    for (const auto& cache : config_.caches()) {
      if (cache.name() == name) return;
      caches += (caches.empty() ? "" : ", ") + cache.name();
    }
    Error(Code::kUnknownCache, path, "no cache is named " + Quote(name),
          caches.empty() ? "use cache: default, or declare it under caches:"
                         : "there are: " + caches);
  }

  void Template(const config::v1::Route& route, const std::string& path) {
    auto parsed = route::ParseTemplate(route.path());
    if (!parsed) {
      return Error(Code::kBadTemplate, path, Quote(route.path()) + ": " + parsed.error(),
                   "parameters are {name} or {name:int|float|uuid|path}");
    }
    if (parsed->parameter_count() > route::kCapturesMax) {
      return Error(Code::kBadTemplate, path,
                   "has more than " + std::to_string(route::kCapturesMax) + " parameters",
                   "end it with {rest:path}");
    }
    if (parsed->has_inner_path()) {
      return Error(Code::kBadTemplate, path, "has a path parameter that is not at the end",
                   "only the last parameter may be {name:path}");
    }
    for (const auto& mount : config_.mounts()) {
      const std::string prefix = NormalPrefix(mount.prefix());
      if (prefix == "/" || !PrefixHolds(prefix, parsed->literal_prefix)) continue;
      if (!route.host().empty() && !mount.host().empty() &&
          NormalHost(route.host()) != NormalHost(mount.host())) {
        continue;
      }
      Report(
          Code::kMountRoute, Severity::kWarning, path,
          route.path() + " lies inside " + prefix + " of " + ResourcePath("mounts", mount.name()),
          "the route answers what it matches, the mount the rest");
    }
  }

  // Same host, same shape, a method in common: nothing could say which one is meant.
  void RouteConflicts() {
    std::map<std::string, std::vector<const config::v1::Route*>> by_shape;
    for (const auto& route : config_.routes()) {
      auto parsed = route::ParseTemplate(route.path());
      if (!parsed) continue;
      std::string shape = NormalHost(route.host()) + " ";
      for (const auto& piece : parsed->pieces) {
        shape += piece.convertor == route::Convertor::kLiteral
                     ? piece.text
                     : "{" + std::to_string(static_cast<int>(piece.convertor)) + "}";
      }
      for (const config::v1::Route* other : by_shape[shape]) {
        if (!MethodsMeet(*other, route)) continue;
        Error(Code::kRouteConflict, ResourcePath("routes", route.name()) + ".path",
              ResourcePath("routes", other->name()) + " already has " + other->path() +
                  " with a method in common",
              "remove one of them, or give them different methods or hosts");
        break;
      }
      by_shape[shape].push_back(&route);
    }
  }

  static bool MethodsMeet(const config::v1::Route& a, const config::v1::Route& b) {
    if (a.methods().empty() || b.methods().empty())
      return a.methods().empty() && b.methods().empty();
    for (const auto& one : a.methods()) {
      for (const auto& other : b.methods()) {
        if (one == other) return true;
      }
    }
    return false;
  }

  uint64_t Size(const std::string& text) const {
    auto parsed = ParseSize(text, context_.memory_limit_bytes);
    return parsed ? *parsed : 0;
  }
  static int64_t Duration(const std::string& text) {
    auto parsed = ParseDuration(text);
    return parsed ? *parsed : 0;
  }

  void Limits() {
    const auto& limits = config_.limits();
    if (Size(limits.max_request_line()) > Size(limits.max_header_bytes())) {
      Error(Code::kLimitRelation, "limits.max_request_line",
            limits.max_request_line() + " is more than limits.max_header_bytes (" +
                limits.max_header_bytes() + ")",
            "a request line is part of the head: raise max_header_bytes");
    }
    for (const auto& cache : config_.caches()) {
      if (Size(cache.max_object()) <= Size(cache.memory())) continue;
      Error(Code::kLimitRelation, ResourcePath("caches", cache.name()) + ".max_object",
            cache.max_object() + " is more than the cache's memory (" + cache.memory() + ")",
            "raise memory");
    }
    for (const auto& pool : config_.pools()) {
      const std::string path = ResourcePath("pools", pool.name());
      if (pool.has_upstream()) {
        ValidateUpstream(pool, path, [this](const auto&... what) { Error(what...); });
      }
      if (pool.has_hard_timeout() &&
          Duration(pool.hard_timeout()) <= Duration(pool.request_timeout())) {
        Error(Code::kLimitRelation, path + ".hard_timeout",
              pool.hard_timeout() + " is not more than request_timeout (" + pool.request_timeout() +
                  ")",
              "a worker needs time to cancel before it is recycled");
      }
      if (Duration(pool.queue_timeout()) > Duration(pool.request_timeout())) {
        Report(
            Code::kLimitRelation, Severity::kWarning, path + ".queue_timeout",
            pool.queue_timeout() + " is more than request_timeout (" + pool.request_timeout() + ")",
            "request_timeout covers the queue as well and ends it first");
      }
    }
  }

  void Telemetry() {
    const auto& telemetry = config_.telemetry();
    static const std::set<std::string> levels = {"debug", "info", "warning", "error"};
    if (!levels.contains(telemetry.log_level())) {
      const std::vector<std::string_view> words = {"debug", "info", "warning", "error"};
      const std::string_view close = Closest(telemetry.log_level(), words);
      Error(Code::kUnknownValue, "telemetry.log_level",
            Quote(telemetry.log_level()) + " is no log level",
            close.empty() ? "use debug, info, warning or error"
                          : "did you mean " + std::string(close) + "?");
    }
    uint8_t address[16];
    bool is_v4 = false;
    if (!ParseAddress(telemetry.ops_address(), address, &is_v4)) {
      Error(Code::kBadAddress, "telemetry.ops_address",
            Quote(telemetry.ops_address()) + " is no IP address",
            "use 0.0.0.0 or 127.0.0.1; the port is ops_port");
    }
    for (const auto& listener : config_.listeners()) {
      if (listener.port() == 0 || listener.port() != telemetry.ops_port()) continue;
      Error(Code::kListenerConflict, "telemetry.ops_port",
            std::to_string(telemetry.ops_port()) + " is also the port of " +
                ResourcePath("listeners", listener.name()),
            "give one of them another port");
    }
    const std::string& log = telemetry.access_log_path();
    if (log != "-" && (log.empty() || log[0] != '/')) {
      Error(Code::kBadPath, "telemetry.access_log_path", Quote(log) + " is not absolute",
            "write the path from / on, or -");
    }
  }

  const config::v1::Config& config_;
  const Merged& merged_;
  const ValidateContext& context_;
  Diagnostics& diagnostics_;
};

}  // namespace

void ValidateResources(const Merged& merged, const ValidateContext& context,
                       Diagnostics* diagnostics) {
  Checker(merged, context, diagnostics).Run();
}

}  // namespace catzilla::schema
