// From host, method and decoded path to the resource that answers.
//
// Threads: immutable; any thread may Match.
// Owns:    its tries; keeps the Snapshot it was made from alive.
// Limits:  a template has at most kCapturesMax parameters, the schema room refuses more.
// Fails:   never; what nothing claims is kNotFound.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sidecar/config/snapshot.h"
#include "sidecar/route/trie.h"

namespace catzilla::route {

struct Verdict {
  enum class Kind : uint8_t {
    kNotFound,          // Nothing claims the path.
    kMount,             // snapshot.mounts[mount]
    kRoute,             // snapshot.routes[route]
    kMethodNotAllowed,  // snapshot.routes[route] has the path, but not the method.
    kAppDecides,  // The app of snapshot.routes[route] must route for itself: a trailing slash to
                  // redirect, or a template or path that a trie cannot decide.
  };
  Kind kind = Kind::kNotFound;
  uint32_t mount = 0;
  uint32_t route = 0;
  uint32_t capture_count = 0;
  std::array<Capture, kCapturesMax> captures;  // Of the decoded path, in the template's order.
};

class Router {
 public:
  explicit Router(std::shared_ptr<const config::Snapshot> snapshot);

  // `host` is lower case without port; `path` is decoded once. `verdict` is written in place.
  void Match(std::string_view host, std::string_view method, std::string_view path,
             Verdict* verdict) const;

  // The same for the handshake of a WebSocket: an app's routes for those, its own mounts and what
  // only it can match, in the order of their declaration; operators' routes as for a GET.
  void MatchSocket(std::string_view host, std::string_view path, Verdict* verdict) const;

  // What Allow says of a path: every method of every route that has it. Allocates.
  std::string Allow(std::string_view host, std::string_view path) const;

  const config::Snapshot& snapshot() const { return *snapshot_; }

 private:
  // The trie of one layer of one host, with the route that each order stands for.
  struct Table {
    std::unique_ptr<Trie> trie;
    std::vector<uint32_t> routes;  // order -> index in snapshot.routes
    std::vector<bool> opaque;      // order -> the app decides
  };
  struct HostRouter {
    Table operators;
    Table app;      // What answers HTTP...
    Table sockets;  // ...and what takes WebSockets.
    std::unordered_map<std::string_view, uint32_t> mount_by_prefix;
    uint64_t prefix_sizes = 0;  // Bit n: there is a prefix of n bytes; 63: of that or more.
  };
  struct HostHash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  static Table BuildTable(const config::Snapshot& snapshot, std::vector<uint32_t> routes);
  // False: this host has nothing for the path.
  bool MatchHost(const HostRouter& host, const Table& app, std::string_view method,
                 std::string_view path, Verdict* verdict) const;
  bool FindMount(const HostRouter& host, std::string_view path, uint32_t* mount) const;

  std::shared_ptr<const config::Snapshot> snapshot_;
  std::unordered_map<std::string, HostRouter, HostHash, std::equal_to<>> hosts_;
  HostRouter any_host_;
};

// Whether `prefix` claims `path`, on a segment boundary: "/static" has "/static" and "/static/x",
// but not "/staticfoo".
bool PrefixClaims(std::string_view prefix, std::string_view path);

}  // namespace catzilla::route
