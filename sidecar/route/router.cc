#include "sidecar/route/router.h"

#include <algorithm>
#include <tuple>

#include "sidecar/base/check.h"

namespace catzilla::route {
namespace {

// How specific a template is, piece by piece: a literal beats a typed parameter beats a string
// beats a path. Compared lexicographically, smaller is more specific.
std::vector<int> Specificity(const PathTemplate& path) {
  std::vector<int> ranks;
  for (const TemplatePiece& piece : path.pieces) {
    switch (piece.convertor) {
      case Convertor::kLiteral:
        // A longer literal is more specific than a shorter one.
        ranks.push_back(-static_cast<int>(piece.text.size()));
        break;
      case Convertor::kUuid:
        ranks.push_back(1);
        break;
      case Convertor::kInt:
        ranks.push_back(2);
        break;
      case Convertor::kFloat:
        ranks.push_back(3);
        break;
      case Convertor::kString:
        ranks.push_back(4);
        break;
      case Convertor::kPath:
        ranks.push_back(5);
        break;
    }
  }
  return ranks;
}

MethodSet MethodsOf(const config::Route& route) {
  if (route.methods.empty()) return MethodSet::Any();
  MethodSet methods;
  for (const std::string& method : route.methods) methods.Add(method);
  // HEAD follows GET where operators route; the app lists what it answers.
  if (route.source != config::Layer::kApp && methods.Has("GET")) methods.Add("HEAD");
  return methods;
}

PathTemplate Parsed(const config::Route& route) {
  auto parsed = ParseTemplate(route.path);
  // The schema room has refused what does not parse; an app's own catch-all never gets here.
  CATZILLA_CHECK(parsed.ok(), "a route's path template is not valid");
  return std::move(parsed).value();
}

// A template that no trie can hold becomes its literal prefix and "anything".
bool MakeHoldable(PathTemplate* path) {
  if (!path->has_inner_path() && path->parameter_count() <= kCapturesMax) return true;
  PathTemplate prefix;
  const size_t slash = path->literal_prefix.rfind('/');
  prefix.literal_prefix = path->literal_prefix.substr(0, slash + 1);
  prefix.pieces.push_back({Convertor::kLiteral, prefix.literal_prefix});
  prefix.pieces.push_back({Convertor::kPath, "rest"});
  *path = std::move(prefix);
  return false;
}

// Starlette's order: WebSocket routes and HTTP routes never meet, mounts have both.
bool TakesSockets(config::RouteKind kind) {
  return kind == config::RouteKind::kWebSocket || kind == config::RouteKind::kMount ||
         kind == config::RouteKind::kCatchAll;
}

uint64_t SizeBit(std::string_view prefix) {
  return uint64_t{1} << std::min<size_t>(prefix.size(), 63);
}

}  // namespace

bool PrefixClaims(std::string_view prefix, std::string_view path) {
  if (!path.starts_with(prefix)) return false;
  return path.size() == prefix.size() || prefix.ends_with('/') || path[prefix.size()] == '/';
}

Router::Table Router::BuildTable(const config::Snapshot& snapshot, std::vector<uint32_t> routes) {
  Table table;
  std::vector<Trie::Item> items;
  for (const uint32_t index : routes) {
    const config::Route& route = *snapshot.routes[index];
    Trie::Item item{Parsed(route), MethodsOf(route)};
    table.opaque.push_back(!MakeHoldable(&item.path));
    items.push_back(std::move(item));
  }
  table.trie = std::make_unique<Trie>(std::move(items));
  table.routes = std::move(routes);
  return table;
}

Router::Router(std::shared_ptr<const config::Snapshot> snapshot) : snapshot_(std::move(snapshot)) {
  struct Lists {
    std::vector<uint32_t> operators;
    std::vector<uint32_t> app;
    std::vector<uint32_t> sockets;
    std::vector<uint32_t> mounts;
  };
  std::unordered_map<std::string, Lists> lists;
  for (uint32_t i = 0; i < snapshot_->routes.size(); ++i) {
    const config::Route& route = *snapshot_->routes[i];
    Lists& list = lists[route.host];
    if (route.source != config::Layer::kApp) {
      list.operators.push_back(i);
      continue;
    }
    if (route.kind != config::RouteKind::kWebSocket) list.app.push_back(i);
    if (TakesSockets(route.kind)) list.sockets.push_back(i);
  }
  for (uint32_t i = 0; i < snapshot_->mounts.size(); ++i) {
    if (!snapshot_->mounts[i]->internal) lists[snapshot_->mounts[i]->host].mounts.push_back(i);
  }
  for (auto& [host, list] : lists) {
    const auto& all = snapshot_->routes;
    std::stable_sort(list.operators.begin(), list.operators.end(), [&](uint32_t a, uint32_t b) {
      return Specificity(Parsed(*all[a])) < Specificity(Parsed(*all[b]));
    });
    const auto declared_before = [&](uint32_t a, uint32_t b) {
      return std::tuple(all[a]->low_priority, all[a]->declaration_index) <
             std::tuple(all[b]->low_priority, all[b]->declaration_index);
    };
    std::stable_sort(list.app.begin(), list.app.end(), declared_before);
    std::stable_sort(list.sockets.begin(), list.sockets.end(), declared_before);
    HostRouter& router = host.empty() ? any_host_ : hosts_[host];
    router.operators = BuildTable(*snapshot_, std::move(list.operators));
    router.app = BuildTable(*snapshot_, std::move(list.app));
    router.sockets = BuildTable(*snapshot_, std::move(list.sockets));
    for (const uint32_t mount : list.mounts) {
      const std::string& prefix = snapshot_->mounts[mount]->prefix;
      router.mount_by_prefix.emplace(prefix, mount);
      router.prefix_sizes |= SizeBit(prefix);
    }
  }
}

bool Router::FindMount(const HostRouter& host, std::string_view path, uint32_t* mount) const {
  if (host.mount_by_prefix.empty()) return false;
  // From the whole path down, segment by segment: the first prefix that is mounted is the longest.
  for (std::string_view prefix = path;;) {
    if ((host.prefix_sizes & SizeBit(prefix)) != 0) {
      const auto found = host.mount_by_prefix.find(prefix);
      if (found != host.mount_by_prefix.end()) {
        *mount = found->second;
        return true;
      }
    }
    const size_t slash = prefix.rfind('/');
    if (slash == std::string_view::npos) return false;
    if (slash == 0) {
      if (prefix == "/") return false;
      prefix = "/";
    } else {
      prefix = prefix.substr(0, slash);
    }
  }
}

bool Router::MatchHost(const HostRouter& host, const Table& app, std::string_view method,
                       std::string_view path, Verdict* verdict) const {
  uint32_t mount = 0;
  const bool mounted = FindMount(host, path, &mount);
  const size_t mount_bytes = mounted ? snapshot_->mounts[mount]->prefix.size() : 0;

  // A match counts against a mount only if its literal prefix is at least as long.
  const auto beats_mount = [&](const Table& table, uint32_t order) {
    return !mounted || table.trie->item(order).path.literal_prefix.size() >= mount_bytes;
  };
  const Table* partial_table = nullptr;
  uint32_t partial_order = TrieMatch::kNone;
  for (const Table* table : {&host.operators, &app}) {
    if (table->trie == nullptr || table->trie->size() == 0) continue;
    TrieMatch match;
    table->trie->Match(method, path, &match);
    if (match.order != TrieMatch::kNone && beats_mount(*table, match.order)) {
      const bool app_decides = table->opaque[match.order] || match.too_complex;
      verdict->kind = app_decides ? Verdict::Kind::kAppDecides : Verdict::Kind::kRoute;
      verdict->route = table->routes[match.order];
      verdict->capture_count = app_decides ? 0 : match.capture_count;
      std::copy_n(match.captures.begin(), verdict->capture_count, verdict->captures.begin());
      return true;
    }
    if (partial_table == nullptr && match.partial_order != TrieMatch::kNone &&
        beats_mount(*table, match.partial_order)) {
      partial_table = table;
      partial_order = match.partial_order;
    }
  }
  // In an app a full match wins wherever it stands, and its own mount is one.
  const bool mount_is_full =
      mounted && partial_table == &app && snapshot_->mounts[mount]->source == config::Layer::kApp;
  if (partial_table != nullptr && !mount_is_full) {
    // Whether a path is an opaque route's at all, only the app can tell.
    verdict->kind = partial_table->opaque[partial_order] ? Verdict::Kind::kAppDecides
                                                         : Verdict::Kind::kMethodNotAllowed;
    verdict->route = partial_table->routes[partial_order];
    return true;
  }
  if (mounted) {
    verdict->kind = Verdict::Kind::kMount;
    verdict->mount = mount;
    return true;
  }
  return false;
}

void Router::Match(std::string_view host, std::string_view method, std::string_view path,
                   Verdict* verdict) const {
  verdict->kind = Verdict::Kind::kNotFound;
  verdict->capture_count = 0;
  const HostRouter* own = nullptr;
  if (!hosts_.empty()) {
    if (const auto found = hosts_.find(host); found != hosts_.end()) {
      own = &found->second;
      if (MatchHost(*own, own->app, method, path, verdict)) return;
    }
  }
  if (MatchHost(any_host_, any_host_.app, method, path, verdict)) return;

  // Starlette's redirect_slashes: the same path without its last slashes, or with one, would match.
  if (path.size() < 2) return;
  const std::string toggled = path.ends_with('/')
                                  ? std::string(path.substr(0, path.find_last_not_of('/') + 1))
                                  : std::string(path) + "/";
  if (toggled.empty()) return;
  for (const HostRouter* router : {own, &any_host_}) {
    if (router == nullptr || router->app.trie == nullptr) continue;
    TrieMatch match;
    router->app.trie->Match(method, toggled, &match);
    const uint32_t order = std::min(match.order, match.partial_order);
    if (order == TrieMatch::kNone) continue;
    verdict->kind = Verdict::Kind::kAppDecides;
    verdict->route = router->app.routes[order];
    return;
  }
}

void Router::MatchSocket(std::string_view host, std::string_view path, Verdict* verdict) const {
  verdict->kind = Verdict::Kind::kNotFound;
  verdict->capture_count = 0;
  const auto found = hosts_.find(host);
  if (found != hosts_.end()) {
    const HostRouter& own = found->second;
    if (MatchHost(own, own.sockets, "GET", path, verdict)) return;
  }
  MatchHost(any_host_, any_host_.sockets, "GET", path, verdict);
}

std::string Router::Allow(std::string_view host, std::string_view path) const {
  MethodSet allowed;
  const auto add = [&](const HostRouter& router) {
    for (const Table* table : {&router.operators, &router.app}) {
      if (table->trie == nullptr) continue;
      for (const uint32_t order : table->trie->MatchAll(path)) {
        allowed.AddAll(table->trie->item(order).methods);
        // FastAPI names the methods of the first route that has the path.
        if (table == &router.app) break;
      }
    }
  };
  if (const auto found = hosts_.find(host); found != hosts_.end()) add(found->second);
  add(any_host_);
  return allowed.Text();
}

}  // namespace catzilla::route
