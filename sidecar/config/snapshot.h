// The configuration as the loops see it: one immutable value, already merged, checked and resolved.
//
// Threads: immutable after construction; any thread may read.
// Owns:    everything in it. Resources that did not change between two versions are the same object
//          (compare the pointers), so caches, pools and counters can outlive an Apply.
// Limits:  what the schema room has checked; this room only carries values.
// Made by: schema/ (from protobuf and YAML) and by tests (by hand). Durations are microseconds and
//          sizes are bytes here: the unit is in the name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sidecar/base/endpoint.h"

namespace catzilla::config {

// Where a resource came from; api wins over file, file over app (design: "three layers").
enum class Layer : uint8_t { kApp = 0, kFile = 1, kApi = 2 };

// Which address may speak for the client. CIDR, IPv4 or IPv6, already parsed and in network order;
// an IPv4 range is stored as its v4-mapped IPv6 range.
struct AddressRange {
  uint8_t address[16] = {};
  uint8_t prefix_bits = 128;
  bool operator==(const AddressRange&) const = default;
};

struct Listener {
  std::string name = "http";
  std::string address = "0.0.0.0";
  uint16_t port = 8080;
  int backlog = 1024;
  bool proxy_protocol = false;                // Every connection must open with a v1 or v2 header.
  std::vector<AddressRange> trusted_proxies;  // Whose Forwarded/X-Forwarded-* headers count.
  bool operator==(const Listener&) const = default;
};

// What one client may ask of us. Every one of these has its own answer when it is passed.
struct Limits {
  uint32_t request_line_bytes_max = 8 * 1024;   // 414
  uint32_t header_bytes_max = 32 * 1024;        // 431
  uint32_t header_count_max = 100;              // 431
  uint64_t body_bytes_max = 64ull << 20;        // 413; a route may say otherwise
  uint32_t connections_max = 16384;             // accepted, answered 503 and closed, per sidecar
  uint32_t connections_per_client_max = 0;      // 0 = no cap
  uint32_t pipeline_max = 64;                   // requests answered in one turn before others' turn
  int64_t header_timeout_us = 10'000'000;       // 408, from the first byte of a head
  int64_t body_timeout_us = 30'000'000;         // 408, between two reads of a body
  uint32_t body_rate_min = 256;                 // bytes/s averaged after body_timeout; 0 = off
  int64_t write_timeout_us = 30'000'000;        // close, no progress of an answer
  int64_t idle_timeout_us = 75'000'000;         // close, between requests
  uint32_t requests_per_connection_max = 0;     // 0 = no cap; then Connection: close
  uint64_t file_cache_bytes_max = 64ull << 20;  // the files of all mounts together; evicts
  uint32_t response_header_bytes_max = 64 * 1024;  // 502, an app's answer
  int64_t file_timeout_us = 5'000'000;             // 503, a file system that hangs
  bool operator==(const Limits&) const = default;
};

// What clients' WebSockets may do; see docs/websockets.md.
struct WebSockets {
  std::vector<std::string> origins;          // Empty: any. Lower case; also "same" and "none". 403
  uint64_t message_bytes_max = 16ull << 20;  // Close 1009
  int64_t ping_interval_us = 20'000'000;     // 0: no pings.
  int64_t ping_timeout_us = 20'000'000;      // Close 1011; 0: none is awaited.
  int64_t close_timeout_us = 10'000'000;     // For the client's Close to ours.
  bool compression = true;                   // permessage-deflate, for who offers it.
  bool operator==(const WebSockets&) const = default;
};

enum class Symlinks : uint8_t { kNever, kInside, kAnywhere };

// How a change on disk becomes visible; see files/watch.h.
enum class Invalidation : uint8_t {
  kImmediate,  // The kernel tells; and after `revalidate` at the latest.
  kLazy,       // After `revalidate` at the latest.
  kTtl,        // When `revalidate` is over, and not looked for before.
};

enum class DirectoryListing : uint8_t { kOff, kHtml, kJson };

// Of files whose path matches; the first rule that does decides.
struct FileRule {
  std::vector<std::string> match;  // base/pattern.h
  std::optional<std::string> cache_control;
  std::vector<std::pair<std::string, std::string>> headers;
  bool operator==(const FileRule&) const = default;
};

struct Mount {
  std::string name;
  Layer source = Layer::kFile;
  std::string host;    // Lower case, without port; empty: any host.
  std::string prefix;  // Begins with '/', no trailing '/' unless it is "/".
  std::string root;    // Absolute directory.
  std::vector<std::string> index_files = {"index.html"};
  bool etags = true;
  bool last_modified = true;
  bool ranges = true;
  bool hidden_files = false;  // false: any segment with a leading '.' is 404, but .well-known.
  Symlinks symlinks = Symlinks::kInside;
  std::string cache_control;                   // Empty: none is sent.
  uint64_t cache_file_bytes_max = 1ull << 20;  // Larger files are sent with sendfile.
  int64_t revalidate_us = 1'000'000;           // A served entry is never older than this.
  Invalidation invalidation = Invalidation::kImmediate;
  std::vector<std::pair<std::string, std::string>> headers;     // Added to every 200/206/304.
  std::vector<std::pair<std::string, std::string>> mime_types;  // Extension without dot -> type.
  DirectoryListing directory_listing = DirectoryListing::kOff;
  std::string spa_fallback;   // Relative to the root; empty: none.
  std::string fallback_pool;  // Answers for what is no file; empty: none.
  bool internal = false;      // Only for answers that name its files; no client reaches it.
  std::vector<std::string> allowed_extensions;  // Empty: all. Without dot, lower case.
  std::vector<std::string> blocked_extensions;
  std::vector<std::string> blocked_patterns;  // base/pattern.h
  uint64_t file_bytes_max = 0;                // Larger files are 404; 0: no limit.
  bool fingerprinted_immutable = false;
  std::string charset = "utf-8";           // Of text types; empty: none is said.
  std::vector<std::string> precompressed;  // Siblings that are served: "br", "zstd", "gzip".
  int gzip_level = 0;                      // 1 to 9; 0: nothing is compressed.
  uint64_t gzip_bytes_min = 1024;          // Smaller files are not compressed.
  std::vector<std::string> gzip_types;     // Empty: what files/codings.h knows.
  std::vector<FileRule> file_rules;
  std::vector<std::pair<uint16_t, std::string>> error_pages;  // Status -> file below the root.
  uint64_t cache_bytes_max = 0;      // A file cache of its own; 0: the one that all share.
  uint32_t cache_entries_max = 0;    // In that cache; 0: any number.
  uint64_t rate_bytes_per_s = 0;     // Of one answer; 0: any.
  std::vector<std::string> preload;  // base/pattern.h
  bool operator==(const Mount&) const = default;
};

// One edge cache: a policy and the memory it may use.
struct Cache {
  std::string name;
  Layer source = Layer::kFile;
  uint64_t memory_bytes_max = 64ull << 20;
  uint64_t object_bytes_max = 4ull << 20;
  uint32_t tags_per_object_max = 64;
  int64_t default_ttl_us = 0;  // For answers that say nothing and are heuristically cacheable.
  int64_t fill_timeout_us = 30'000'000;  // Followers wait this long for another client's miss.
  bool ignore_query = false;
  std::vector<std::string> query_allow;  // If not empty: only these parameters are in the key.
  std::vector<std::string> query_deny;   // Never in the key (utm_source, ...).
  bool query_sort = false;               // Parameters in any order are one key.
  bool operator==(const Cache&) const = default;
};

enum class RouteKind : uint8_t { kApi, kStarlette, kMount, kFrontend, kWebSocket, kCatchAll };

// Where the value of one handler input is found; becomes a slot in the REQUEST frame.
enum class InputPlace : uint8_t { kPath, kQuery, kHeader, kCookie };
struct Input {
  InputPlace place = InputPlace::kQuery;
  std::string name;  // The name on the wire; headers in lower case.
  bool multi = false;
  uint16_t slot = 0;
  bool operator==(const Input&) const = default;
};

struct Route {
  std::string name;
  Layer source = Layer::kApp;
  RouteKind kind = RouteKind::kApi;
  uint32_t id = 0;                 // Of the app's table; 0 for operators' routes.
  uint32_t declaration_index = 0;  // App routes: the first declared full match wins.
  std::string host;
  std::vector<std::string> methods;  // Empty: every method.
  std::string path;                  // "/items/{id:int}"; "/assets/{rest:path}".
  std::string label;                 // The metric label, usually the path.
  std::string pool;                  // Name of the pool that answers.
  std::string cache;                 // Name of a cache, empty: never stored.
  int64_t cache_ttl_us = -1;         // >= 0: freshness when the answer names none (`@cache(ttl=)`).
  std::vector<std::string> cache_tags;
  bool cache_ignores_cookies = false;  // Else a request with Cookie bypasses a cache with a TTL.
  std::vector<std::string> cache_key;  // Query parameters in the key; empty: as the cache says.
  uint64_t body_bytes_max = 0;         // 0: limits.body_bytes_max.
  int64_t request_timeout_us = 0;      // 0: the pool's.
  int64_t hard_timeout_us = 0;         // 0: the pool's.
  bool idempotent = false;  // May be sent again after a crash although its method is not.
  bool cancel_on_disconnect = false;
  bool low_priority = false;  // Frontends: only when nothing else matches.
  std::vector<Input> inputs;
  bool operator==(const Route&) const = default;
};

// What the app wants done with a path that none of its routes match.
enum class Unmatched : uint8_t { kApp, kSidecar };

// A request that an upstream's targets must answer with 200 to 399.
struct HealthCheck {
  std::string path = "/";
  std::string host;  // Empty: the target's own.
  int64_t interval_us = 5'000'000;
  int64_t timeout_us = 2'000'000;
  uint32_t healthy = 2;  // Checks in a row that bring a target back, or take it out.
  uint32_t unhealthy = 3;
  bool operator==(const HealthCheck&) const = default;
};

// HTTP/1.1 servers that answer instead of workers.
struct Upstream {
  std::vector<base::Endpoint> targets;     // At least one, each once.
  uint32_t connections_max = 256;          // With a request, to one target; more wait.
  uint32_t idle_max = 32;                  // Without one, to one target, of each loop.
  int64_t idle_timeout_us = 30'000'000;    // Of a connection without a request.
  int64_t connect_timeout_us = 2'000'000;  // 504, when no other target is left
  int64_t read_timeout_us = 60'000'000;    // Of an answer, or a request's body, on its way.
  bool preserve_host = true;               // false: Host is the target's own.
  bool x_forwarded = true;                 // Send X-Forwarded-For, -Proto, -Host, -Port.
  bool forwarded = false;                  // Send Forwarded.
  std::string via;                         // Pseudonym; empty: no Via.
  uint32_t failures_max = 3;               // In a row; then passed over. 0: never.
  int64_t failure_backoff_us = 1'000'000;  // Doubled each time.
  int64_t slow_start_us = 0;
  std::optional<HealthCheck> health_check;
  bool operator==(const Upstream&) const = default;
};

struct Pool {
  std::string name = "app";
  Layer source = Layer::kFile;
  uint32_t queue_max = 1024;                // 503 with Retry-After
  int64_t queue_timeout_us = 5'000'000;     // 503 with Retry-After
  int64_t request_timeout_us = 60'000'000;  // 504, soft: CANCEL
  int64_t hard_timeout_us = 0;              // 0: twice the request timeout; recycles the worker
  uint32_t credits_per_worker = 1024;       // Requests that have not begun to be answered.
  uint32_t retry_after_s = 1;
  uint32_t sockets_max = 10'000;  // WebSockets; one more is 503 with Retry-After.
  Unmatched unmatched = Unmatched::kApp;
  bool redirect_slashes = true;
  uint64_t generation = 0;  // Of the workers, whose table the routes are; 0: none yet, or no app's.
  std::optional<Upstream> upstream;  // Instead of workers.
  bool operator==(const Pool&) const = default;
};

struct Drain {
  int64_t delay_us = 0;             // readyz says 503, still accepting
  int64_t timeout_us = 30'000'000;  // then what is in flight is cut
  bool operator==(const Drain&) const = default;
};

struct Telemetry {
  bool access_log = true;
  uint32_t access_log_ring_bytes = 4u << 20;  // Per loop; full: drop and count.
  std::string access_log_path = "-";          // "-": standard output.
  std::string log_level = "info";
  uint32_t series_max = 10'000;
  std::string ops_address = "0.0.0.0";  // Restart-required, as listeners are.
  uint16_t ops_port = 9901;
  bool operator==(const Telemetry&) const = default;
};

struct Snapshot {
  uint64_t version = 0;
  std::vector<std::shared_ptr<const Listener>> listeners;
  std::vector<std::shared_ptr<const Mount>> mounts;
  std::vector<std::shared_ptr<const Route>> routes;  // App routes in declaration order.
  std::vector<std::shared_ptr<const Cache>> caches;
  std::vector<std::shared_ptr<const Pool>> pools;
  std::shared_ptr<const Limits> limits = std::make_shared<Limits>();
  std::shared_ptr<const WebSockets> websockets = std::make_shared<WebSockets>();
  Drain drain;
  Telemetry telemetry;
  std::string server_name = "catzilla";  // The Server field; empty: none is sent.
  bool development = false;              // Answers may show causes.
  bool app_expected = false;             // One will register; until then we are not ready.
};

}  // namespace catzilla::config
