// What apps register: inside what the operator allows, and without contradicting itself.
#include <map>
#include <set>

#include "sidecar/route/path_template.h"
#include "sidecar/schema/units.h"
#include "sidecar/schema/validate.h"

namespace catzilla::schema {
namespace {

class AppChecker {
 public:
  AppChecker(const std::string& name, const AppLayer& app, const Merged& merged,
             Diagnostics* diagnostics)
      : name_(name), app_(app), merged_(merged), diagnostics_(*diagnostics) {}

  void Run() {
    if (!IsName(name_)) {
      Error(Code::kBadName, "app", "\"" + name_ + "\" is no name",
            "use 1 to 64 letters, digits, '.', '_' or '-'");
    }
    for (const auto& pool : merged_.config.pools()) {
      if (pool.name() != name_ || !pool.has_upstream()) continue;
      Error(Code::kUpstreamPool, ResourcePath("pools", name_) + ".upstream",
            app_.registration.pool().has_upstream()
                ? "is registered by an app, which brings workers"
                : "answers for other servers, and an app has registered workers under its name",
            "give the pool of the servers, or the app, another name");
    }
    const auto& table = app_.registration.table();
    if (table.routes_size() > kAppRoutesMax) {
      return Error(Code::kTooMany, "routes", std::to_string(table.routes_size()) + " routes",
                   "at most " + std::to_string(kAppRoutesMax) + " can be registered");
    }
    std::set<uint32_t> ids;
    for (const auto& route : table.routes()) {
      const std::string path = ResourcePath("routes", AppRouteName(name_, route));
      if (!ids.insert(route.id()).second) {
        Error(Code::kRouteTwice, path + ".id",
              "the id " + std::to_string(route.id()) + " is registered twice",
              "every route of a table needs an id of its own");
      }
      Route(route, path);
    }
    NeverReached();
    for (const auto& mount : app_.registration.mounts()) Mount(mount);
  }

 private:
  void Error(Code code, std::string path, std::string message, std::string hint) {
    Report(code, Severity::kError, std::move(path), std::move(message), std::move(hint));
  }
  void Report(Code code, Severity severity, std::string path, std::string message,
              std::string hint) {
    diagnostics_.push_back(
        {code, severity, std::move(path), 0, std::move(message), std::move(hint), ""});
  }

  bool Allowed(std::string_view path) const {
    const auto& prefixes = merged_.config.app().prefixes();
    if (prefixes.empty()) return true;
    for (const std::string& prefix : prefixes) {
      if (PrefixHolds(NormalPrefix(prefix), path)) return true;
    }
    return false;
  }

  std::string AllowedList() const {
    std::string out = "app.prefixes allows";
    for (const std::string& prefix : merged_.config.app().prefixes()) out += " " + prefix;
    return out;
  }

  void Route(const control::v1::AppRoute& route, const std::string& path) {
    const std::string& text = route.template_();
    if (text.empty() || text[0] != '/') {
      return Error(Code::kBadTemplate, path + ".template",
                   "\"" + text + "\" does not begin with \"/\"",
                   "register the full path, with every include's prefix");
    }
    if (text.size() > 4096) {
      return Error(Code::kBadTemplate, path + ".template", "is longer than 4096 bytes",
                   "shorten the path");
    }
    if (!Allowed(text.substr(0, text.find('{')))) {
      Error(Code::kOutsidePrefixes, path + ".template",
            text + " lies outside what the operator allows", AllowedList());
    }
    auto parsed = route::ParseTemplate(text);
    if (!parsed && route.kind() != control::v1::ROUTE_KIND_CATCH_ALL) {
      Report(Code::kAppDecides, Severity::kInfo, path + ".template", text + ": " + parsed.error(),
             "the app matches it itself; its answers cannot be cached by this route's policy");
    }
    for (const auto& method : route.methods()) {
      if (IsToken(method)) continue;
      Error(Code::kBadMethod, path + ".methods", "\"" + method + "\" is no method",
            "use a token such as GET");
    }
    Slots(route, path);
    Timeouts(route, path);
    if (!route.has_cache()) return;
    const std::string cache = route.cache().cache().empty() ? "default" : route.cache().cache();
    if (!merged_.sources.contains(ResourcePath("caches", cache))) {
      Error(Code::kUnknownCache, path + ".cache", "no cache is named \"" + cache + "\"",
            "register it with the app, or ask the operator to declare it");
    }
  }

  void Slots(const control::v1::AppRoute& route, const std::string& path) {
    std::set<uint32_t> slots;
    for (const auto& input : route.inputs()) {
      if (input.slot() > 255 || !slots.insert(input.slot()).second) {
        Error(Code::kRouteTwice, path + ".inputs[" + input.name() + "]",
              "slot " + std::to_string(input.slot()) +
                  (input.slot() > 255 ? " is above 255" : " is taken twice"),
              "number the inputs of a route from 0");
      }
      if (input.place() == control::v1::INPUT_PLACE_UNSPECIFIED || input.name().empty()) {
        Error(Code::kBadRegistration, path + ".inputs", "an input without a place or a name",
              "give both");
      }
    }
  }

  void Timeouts(const control::v1::AppRoute& route, const std::string& path) {
    const auto check = [&](bool set, const std::string& text, const char* field) {
      if (!set) return;
      auto parsed = ParseDuration(text);
      if (!parsed) Error(Code::kBadDuration, path + "." + field, parsed.error(), "");
    };
    check(route.has_request_timeout(), route.request_timeout(), "request_timeout");
    check(route.has_hard_timeout(), route.hard_timeout(), "hard_timeout");
    check(route.cache().has_ttl(), route.cache().ttl(), "cache.ttl");
  }

  // FastAPI lets one declare a path twice and answers from the first; that is rarely meant.
  void NeverReached() {
    std::map<std::string, uint32_t> first;
    for (const auto& route : app_.registration.table().routes()) {
      if (route.kind() == control::v1::ROUTE_KIND_MOUNT || route.low_priority()) continue;
      for (const auto& method : route.methods()) {
        const std::string key = NormalHost(route.host()) + " " + method + " " + route.template_() +
                                (route.kind() == control::v1::ROUTE_KIND_WEBSOCKET ? " ws" : "");
        const auto [held, fresh] = first.try_emplace(key, route.id());
        if (fresh || held->second == route.id()) continue;
        Report(Code::kRouteNeverReached, Severity::kWarning,
               ResourcePath("routes", AppRouteName(name_, route)),
               method + " " + route.template_() + " is already answered by route " +
                   std::to_string(held->second),
               "the first declared wins; remove or rename one of them");
      }
    }
  }

  void Mount(const config::v1::Mount& mount) {
    const std::string path = ResourcePath("mounts", mount.name());
    const auto source = merged_.sources.find(path);
    if (source == merged_.sources.end() || source->second.layer != config::Layer::kApp)
      return;  // Hidden.
    if (!Allowed(NormalPrefix(mount.prefix()))) {
      Error(Code::kOutsidePrefixes, path + ".prefix",
            mount.prefix() + " lies outside what the operator allows", AllowedList());
    }
    if (!mount.fallback_pool().empty()) {
      Error(Code::kBadRegistration, path + ".fallback_pool", "is the operator's to say",
            "what no file answers goes to the app anyway if the mount's prefix is not \"/\"");
    }
    if (app_.trusted) return;
    const auto& roots = merged_.config.app().mount_roots();
    for (const std::string& root : roots) {
      const bool dots =
          mount.root().find("/../") != std::string::npos || mount.root().ends_with("/..");
      if (!dots && PrefixHolds(NormalPrefix(root), mount.root())) return;
    }
    Error(Code::kOutsideRoots, path + ".root",
          mount.root() + " is not below a directory the operator allows",
          roots.empty()
              ? "an app of another user needs app.mount_roots in the configuration"
              : "app.mount_roots allows " + roots[0] + (roots.size() > 1 ? " and others" : ""));
  }

  const std::string& name_;
  const AppLayer& app_;
  const Merged& merged_;
  Diagnostics& diagnostics_;
};

}  // namespace

void ValidateApps(const Layers& layers, const Merged& merged, Diagnostics* diagnostics) {
  for (const auto& [name, app] : layers.apps) AppChecker(name, *app, merged, diagnostics).Run();
}

}  // namespace catzilla::schema
