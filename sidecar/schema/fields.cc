#include "sidecar/schema/fields.h"

#include <unordered_map>

#include "sidecar/schema/reflect.h"
#include "sidecar/schema/units.h"

namespace catzilla::schema {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr Change kLive = Change::kLive;
constexpr Change kRestart = Change::kRestart;
constexpr uint64_t kMs = 1000;
constexpr uint64_t kSecond = 1'000'000;
constexpr uint64_t kDay = 86'400 * kSecond;
constexpr uint64_t kKiB = 1 << 10;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kTiB = 1ull << 40;

constexpr Field kFields[] = {
    {"server_name", Kind::kText, "catzilla", kLive, 0, 0,
     "The `Server` field of every answer; empty: none is sent."},
    {"development", Kind::kBool, "false", kLive, 0, 0,
     "Answers may show causes (paths, errors). Never in production."},

    {"listeners", Kind::kBlock, "", kRestart, 0, 0,
     "Addresses that serve HTTP. Without any: one on port 8080."},
    {"listeners[].name", Kind::kText, "", kRestart, 0, 0, "Stable name; a label of the metrics."},
    {"listeners[].address", Kind::kText, "0.0.0.0", kRestart, 0, 0, "An IPv4 or IPv6 address."},
    {"listeners[].port", Kind::kCount, "8080", kRestart, 0, 65535,
     "0 lets the kernel choose (tests)."},
    {"listeners[].backlog", Kind::kCount, "1024", kRestart, 1, 65535,
     "Connections the kernel keeps before they are accepted."},
    {"listeners[].proxy_protocol", Kind::kBool, "false", kRestart, 0, 0,
     "Every connection must open with a PROXY protocol header, version 1 or 2."},
    {"listeners[].trusted_proxies", Kind::kTexts, "", kRestart, 0, 0,
     "Address ranges (CIDR) that are believed about the client: its address (`Forwarded: for`, or "
     "`X-Forwarded-For`) and its scheme (`proto`, or `X-Forwarded-Proto`). Nothing else is."},

    {"mounts", Kind::kBlock, "", kLive, 0, 0,
     "Directories served under a prefix; the longest prefix wins."},
    {"mounts[].name", Kind::kText, "", kLive, 0, 0, "Stable name; a label of the metrics."},
    {"mounts[].host", Kind::kText, "", kLive, 0, 0,
     "Only for this host (without port); unset: for every host."},
    {"mounts[].prefix", Kind::kText, "", kLive, 0, 0,
     "Begins with `/`; claims whole segments: `/static` has `/static/x`, not `/staticx`."},
    {"mounts[].root", Kind::kText, "", kLive, 0, 0,
     "An existing directory; relative paths count from the file's own directory."},
    {"mounts[].index_file", Kind::kText, "index.html", kLive, 0, 0,
     "Served for a directory; empty: none."},
    {"mounts[].etags", Kind::kBool, "true", kLive, 0, 0, "Send `ETag` and answer `If-None-Match`."},
    {"mounts[].last_modified", Kind::kBool, "true", kLive, 0, 0,
     "Send `Last-Modified` and answer `If-Modified-Since`."},
    {"mounts[].ranges", Kind::kBool, "true", kLive, 0, 0, "Answer `Range` with 206."},
    {"mounts[].hidden_files", Kind::kBool, "false", kLive, 0, 0,
     "Serve names that begin with a dot (`.well-known` always is)."},
    {"mounts[].symlinks", Kind::kEnum, "inside", kLive, 0, 0,
     "`never`, `inside` (followed while they stay below the root) or `anywhere`."},
    {"mounts[].cache_control", Kind::kText, "", kLive, 0, 0,
     "The `Cache-Control` field of 200, 206 and 304; unset: none is sent."},
    {"mounts[].max_cached_file", Kind::kSize, "1MiB", kLive, 0, 256 * kMiB,
     "Files up to this size are kept in memory; larger ones leave with sendfile."},
    {"mounts[].revalidate", Kind::kDuration, "1s", kLive, 0, kDay,
     "A change on disk is visible after this time at the latest."},
    {"mounts[].invalidation", Kind::kEnum, "immediate", kLive, 0, 0,
     "`immediate` (the kernel tells of changes), `lazy` (they are looked for during `revalidate`) "
     "or `ttl` (nothing is looked at until it is over)."},
    {"mounts[].headers", Kind::kTextMap, "", kLive, 0, 0, "Added to every 200, 206 and 304."},
    {"mounts[].mime_types", Kind::kTextMap, "", kLive, 0, 0,
     "Extension without the dot -> media type."},
    {"mounts[].precompressed", Kind::kTexts, "", kLive, 0, 0,
     "Compressed files beside a file, for clients that accept them: `br` (`a.js.br`), `zstd` "
     "(`.zst`), `gzip` (`.gz`)."},
    {"mounts[].gzip_level", Kind::kCount, "0", kLive, 0, 9,
     "1 (fast) to 9 (small): files that are kept in memory are compressed once; 0: none."},
    {"mounts[].gzip_min_size", Kind::kSize, "1KiB", kLive, 0, kTiB,
     "Smaller files are not compressed."},
    {"mounts[].gzip_types", Kind::kTexts, "", kLive, 0, 0,
     "Media types that are compressed, `text/*` for all of a kind; empty: text, scripts, JSON, "
     "XML, SVG, WebAssembly, uncompressed fonts."},
    {"mounts[].directory_listing", Kind::kEnum, "off", kLive, 0, 0,
     "A directory without an index: `off` (404), `html` (JSON if the client prefers it) or "
     "`json`."},
    {"mounts[].index_files", Kind::kTexts, "", kLive, 0, 0,
     "Served for a directory, the first that is there; instead of `index_file`."},
    {"mounts[].spa_fallback", Kind::kText, "", kLive, 0, 0,
     "A file below the root that answers navigations to what is missing."},
    {"mounts[].fallback_pool", Kind::kText, "", kLive, 0, 0,
     "The pool that answers instead of 404, and every request that is no GET or HEAD or has a "
     "body; docs/reverse-proxy.md."},
    {"mounts[].internal", Kind::kBool, "false", kLive, 0, 0,
     "Not for clients: only for answers that name its files by X-Accel-Redirect or X-Sendfile; "
     "docs/protected-downloads.md."},
    {"mounts[].allowed_extensions", Kind::kTexts, "", kLive, 0, 0,
     "If not empty, files with another extension are 404; without the dot, in any case."},
    {"mounts[].blocked_extensions", Kind::kTexts, "", kLive, 0, 0,
     "Files with such an extension are 404; without the dot, in any case."},
    {"mounts[].blocked_patterns", Kind::kTexts, "", kLive, 0, 0,
     "Paths that match are 404, with all below: `*.bak`, `private/**`."},
    {"mounts[].max_file_size", Kind::kSize, "0B", kLive, 0, kTiB,
     "Larger files are 404; `0B`: no limit."},
    {"mounts[].fingerprinted", Kind::kEnum, "off", kLive, 0, 0,
     "`immutable`: names such as `app.3f2a1b9c.js` are cached for a year."},
    {"mounts[].charset", Kind::kText, "utf-8", kLive, 0, 0, "Of text types; `off`: none is said."},
    {"mounts[].file_rules", Kind::kBlock, "", kLive, 0, 0,
     "What is said of files whose path matches; the first rule that does decides."},
    {"mounts[].file_rules[].match", Kind::kTexts, "", kLive, 0, 0,
     "Patterns as in `blocked_patterns`; one is enough."},
    {"mounts[].file_rules[].cache_control", Kind::kText, "", kLive, 0, 0,
     "Instead of the mount's own, and of `fingerprinted`; empty: none is sent."},
    {"mounts[].file_rules[].headers", Kind::kTextMap, "", kLive, 0, 0,
     "Added to the mount's own; with the name of one of those: instead of it."},
    {"mounts[].error_pages", Kind::kTextMap, "", kLive, 0, 0,
     "Status (403, 404 or 503) -> a file below the root that is sent with it."},
    {"mounts[].cache_memory", Kind::kSize, "", kLive, 64 * kKiB, kTiB,
     "A file cache of its own, so that others cannot push its files out, nor it theirs; unset: "
     "it shares `limits.file_cache_memory`."},
    {"mounts[].cache_entries", Kind::kCount, "0", kLive, 0, 100'000'000,
     "The most files in `cache_memory`, whatever they take; 0: only the bytes count."},
    {"mounts[].rate_limit", Kind::kSize, "0B", kLive, 0, kTiB,
     "Bytes per second of one answer, after a first second's worth at once; `0B`: no limit."},
    {"mounts[].preload", Kind::kTexts, "", kLive, 0, 0,
     "Files that match are opened when the mount is made: `*` for all, `assets/**`."},

    {"routes", Kind::kBlock, "", kLive, 0, 0,
     "Paths that a pool answers; the most specific wins, and wins over the app's own."},
    {"routes[].name", Kind::kText, "", kLive, 0, 0, "Stable name."},
    {"routes[].host", Kind::kText, "", kLive, 0, 0, "Only for this host; unset: for every host."},
    {"routes[].methods", Kind::kTexts, "", kLive, 0, 0,
     "Empty: every method. `HEAD` follows `GET`."},
    {"routes[].path", Kind::kText, "", kLive, 0, 0,
     "`/items/{id:int}`; parameters are `{name}` or `{name:int|float|uuid|path}`."},
    {"routes[].pool", Kind::kText, "app", kLive, 0, 0, "Name of the pool that answers."},
    {"routes[].cache", Kind::kText, "", kLive, 0, 0,
     "Name of the cache that may keep the answers; unset: they are never stored."},
    {"routes[].cache_ttl", Kind::kDuration, "", kLive, 0, 3650 * kDay,
     "Freshness of answers that do not name their own."},
    {"routes[].cache_tags", Kind::kTexts, "", kLive, 0, 0,
     "Tags put on every stored answer, for purging."},
    {"routes[].cache_ignores_cookies", Kind::kBool, "false", kLive, 0, 0,
     "With `cache_ttl`, a request that carries cookies goes past the cache, unless this is set."},
    {"routes[].max_body_size", Kind::kSize, "", kLive, 1, kTiB,
     "Larger request bodies are 413; unset: `limits.max_body_size`."},
    {"routes[].request_timeout", Kind::kDuration, "", kLive, kMs, kDay,
     "504 when queue and handler together take longer; unset: the pool's."},
    {"routes[].idempotent", Kind::kBool, "false", kLive, 0, 0,
     "May be sent again after a worker crash although the method is not idempotent."},

    {"caches", Kind::kBlock, "", kLive, 0, 0,
     "Edge caches. One named `default` exists when a route asks for it."},
    {"caches[].name", Kind::kText, "", kLive, 0, 0, "Stable name; a label of the metrics."},
    {"caches[].memory", Kind::kSize, "64MiB", kLive, 64 * kKiB, kTiB,
     "Most bytes of stored answers; the least useful leave first."},
    {"caches[].max_object", Kind::kSize, "4MiB", kLive, kKiB, 1024 * kMiB,
     "Larger answers are not stored."},
    {"caches[].max_tags_per_object", Kind::kCount, "64", kLive, 0, 1024,
     "An answer with more tags is not stored."},
    {"caches[].default_ttl", Kind::kDuration, "0s", kLive, 0, 365 * kDay,
     "Freshness of answers that say nothing and may be cached by heuristic; `0s`: they are not "
     "kept."},
    {"caches[].fill_timeout", Kind::kDuration, "30s", kLive, 10 * kMs, kDay,
     "How long a request waits for another client's identical miss."},
    {"caches[].ignore_query", Kind::kBool, "false", kLive, 0, 0,
     "The query string is no part of the key."},
    {"caches[].query_allow", Kind::kTexts, "", kLive, 0, 0,
     "If not empty: only these parameters are in the key."},
    {"caches[].query_deny", Kind::kTexts, "", kLive, 0, 0,
     "Parameters that are never in the key (`utm_source`)."},
    {"caches[].query_sort", Kind::kBool, "false", kLive, 0, 0,
     "The order of parameters is no part of the key: `?b=1&a=2` finds what `?a=2&b=1` stored."},

    {"pools", Kind::kBlock, "", kLive, 0, 0,
     "The workers of an app, or other HTTP servers (`upstream`), and the queue in front of them. "
     "`app` always exists."},
    {"pools[].name", Kind::kText, "", kLive, 0, 0, "Stable name; the app registers under it."},
    {"pools[].max_queue", Kind::kCount, "1024", kLive, 0, 1'000'000,
     "Requests that may wait for a worker; one more is 503 with `Retry-After`."},
    {"pools[].queue_timeout", Kind::kDuration, "5s", kLive, kMs, kDay,
     "A request that waited this long is 503 with `Retry-After`."},
    {"pools[].request_timeout", Kind::kDuration, "60s", kLive, kMs, kDay,
     "Queue and handler together: 504, and the worker is told to cancel."},
    {"pools[].hard_timeout", Kind::kDuration, "", kLive, kMs, 2 * kDay,
     "A worker that still runs the request then is recycled; unset: twice `request_timeout`."},
    {"pools[].credits_per_worker", Kind::kCount, "1024", kLive, 1, 65535,
     "Most requests of one worker that have not begun to be answered; streams and background "
     "tasks do not count."},
    {"pools[].retry_after", Kind::kDuration, "1s", kLive, kSecond, kDay,
     "The `Retry-After` of a 503, in whole seconds."},
    {"pools[].upstream", Kind::kBlock, "", kLive, 0, 0,
     "HTTP/1.1 servers that answer instead of an app's workers; docs/reverse-proxy.md."},
    {"pools[].upstream.targets", Kind::kTexts, "", kLive, 0, 0,
     "Where they listen: `unix:/run/app.sock`, `127.0.0.1:9000`, `[::1]:9000`, `app:9000`. The "
     "one with the fewest requests gets the next."},
    {"pools[].upstream.max_connections", Kind::kCount, "256", kLive, 1, 65535,
     "Requests under way at one target; more wait in the pool's queue."},
    {"pools[].upstream.max_idle_connections", Kind::kCount, "256", kLive, 0, 65535,
     "Connections to one target that each loop keeps for the next request."},
    {"pools[].upstream.idle_timeout", Kind::kDuration, "30s", kLive, 10 * kMs, kDay,
     "A connection without a request is closed; keep it below the server's own keep-alive time."},
    {"pools[].upstream.connect_timeout", Kind::kDuration, "2s", kLive, 10 * kMs, kDay,
     "Then the next target is tried; when none is left, 504."},
    {"pools[].upstream.read_timeout", Kind::kDuration, "60s", kLive, 10 * kMs, kDay,
     "Between two reads of an answer, or two writes of a request's body: the answer is broken "
     "off."},
    {"pools[].upstream.preserve_host", Kind::kBool, "true", kLive, 0, 0,
     "Send the client's `Host`; `false`: the target's own."},
    {"pools[].upstream.x_forwarded", Kind::kBool, "true", kLive, 0, 0,
     "Send `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`; `false`: none of them."},
    {"pools[].upstream.forwarded", Kind::kBool, "false", kLive, 0, 0,
     "Send `Forwarded` (RFC 7239)."},
    {"pools[].upstream.via", Kind::kText, "", kLive, 0, 0,
     "Pseudonym for `Via`, in requests and answers; empty: none is sent."},
    {"pools[].upstream.max_failures", Kind::kCount, "3", kLive, 0, 65535,
     "Failures in a row after which a target is passed over for `failure_backoff`; 0: never."},
    {"pools[].upstream.failure_backoff", Kind::kDuration, "1s", kLive, 10 * kMs, kDay,
     "How long; doubled each time, up to 32 times as long."},
    {"pools[].upstream.slow_start", Kind::kDuration, "0s", kLive, 0, kDay,
     "A target that has come back gets its full share only after this time."},
    {"pools[].upstream.health_check", Kind::kBlock, "", kLive, 0, 0,
     "A request that each target must answer with 200 to 399."},
    {"pools[].upstream.health_check.path", Kind::kText, "/", kLive, 0, 0, "Path and query."},
    {"pools[].upstream.health_check.host", Kind::kText, "", kLive, 0, 0,
     "The `Host` field; unset: the target's own."},
    {"pools[].upstream.health_check.interval", Kind::kDuration, "5s", kLive, 50 * kMs, kDay,
     "From the end of one check to the next."},
    {"pools[].upstream.health_check.timeout", Kind::kDuration, "2s", kLive, 10 * kMs, kDay,
     "A check that takes longer has failed."},
    {"pools[].upstream.health_check.healthy", Kind::kCount, "2", kLive, 1, 100,
     "Checks in a row that must pass before a target that was down gets requests again."},
    {"pools[].upstream.health_check.unhealthy", Kind::kCount, "3", kLive, 1, 100,
     "Checks in a row that must fail before a target gets no more requests."},

    {"pools[].max_websockets", Kind::kCount, "10000", kLive, 0, 10'000'000,
     "WebSockets of all its workers; one more is 503 with `Retry-After`. They take no credits."},

    {"limits", Kind::kBlock, "", kLive, 0, 0,
     "What one client may ask; each limit has its own answer."},
    {"limits.max_request_line", Kind::kSize, "8KiB", kLive, 256, 1024 * kKiB, "414"},
    {"limits.max_header_bytes", Kind::kSize, "32KiB", kLive, 1024, 1008 * kKiB, "431"},
    {"limits.max_headers", Kind::kCount, "100", kLive, 4, 128, "431"},
    {"limits.max_body_size", Kind::kSize, "64MiB", kLive, 0, kTiB,
     "413; a route may say otherwise."},
    {"limits.max_connections", Kind::kCount, "16384", kLive, 1, 10'000'000,
     "One more connection is answered 503 and closed. Never more than descriptors allow."},
    {"limits.max_connections_per_client", Kind::kCount, "0", kLive, 0, 10'000'000,
     "Per client address, or that of its PROXY header; 0: no cap. Trusted proxies have none."},
    {"limits.max_pipeline", Kind::kCount, "64", kLive, 1, 1024,
     "Pipelined requests of one connection answered in one turn."},
    {"limits.header_timeout", Kind::kDuration, "10s", kLive, 10 * kMs, kDay,
     "From the first byte of a head to its end: 408."},
    {"limits.body_timeout", Kind::kDuration, "30s", kLive, 10 * kMs, kDay,
     "Between two reads of a body: 408."},
    {"limits.min_body_rate", Kind::kSize, "256B", kLive, 0, 1024 * kMiB,
     "Bytes per second a body must average after `body_timeout`: 408. `0B`: off."},
    {"limits.write_timeout", Kind::kDuration, "30s", kLive, 10 * kMs, kDay,
     "An answer that makes no progress for this long is cut."},
    {"limits.idle_timeout", Kind::kDuration, "75s", kLive, 10 * kMs, kDay,
     "A connection without a request is closed."},
    {"limits.max_requests_per_connection", Kind::kCount, "0", kLive, 0, 1'000'000'000,
     "0: no cap. The last answer says `Connection: close`."},
    {"limits.file_cache_memory", Kind::kSize, "64MiB", kLive, 64 * kKiB, kTiB,
     "Memory for the files of all mounts together."},
    {"limits.max_response_header", Kind::kSize, "64KiB", kLive, 1024, 1008 * kKiB,
     "The head of an app's answer: 502."},
    {"limits.file_timeout", Kind::kDuration, "5s", kLive, 10 * kMs, kDay,
     "How long a request waits for a file to be opened and read: 503."},

    {"websockets", Kind::kBlock, "", kLive, 0, 0, "What WebSockets of clients may do."},
    {"websockets.origins", Kind::kTexts, "", kLive, 0, 0,
     "Origins that may open one, `same` (the one that the request is sent to), `none` (a client "
     "that says none, so no browser); empty: any. 403"},
    {"websockets.max_message", Kind::kSize, "16MiB", kLive, 1, 1024 * kMiB,
     "One message, after decompressing: close code 1009."},
    {"websockets.ping_interval", Kind::kDuration, "20s", kLive, 0, kDay,
     "A client that has said nothing for this long is sent a ping; `0s`: none is."},
    {"websockets.ping_timeout", Kind::kDuration, "20s", kLive, 0, kDay,
     "One that does not answer a ping is closed: 1011. `0s`: no answer is awaited."},
    {"websockets.close_timeout", Kind::kDuration, "10s", kLive, 10 * kMs, kDay,
     "How long a client has to answer our Close."},
    {"websockets.compression", Kind::kBool, "true", kLive, 0, 0,
     "permessage-deflate, for clients that offer it."},

    {"drain", Kind::kBlock, "", kLive, 0, 0, "How the sidecar leaves."},
    {"drain.delay", Kind::kDuration, "0s", kLive, 0, kDay,
     "`/readyz` already says 503, still accepting."},
    {"drain.timeout", Kind::kDuration, "30s", kLive, 0, kDay,
     "Then what is still in flight is cut."},

    {"telemetry", Kind::kBlock, "", kLive, 0, 0, "What the sidecar tells about itself."},
    {"telemetry.access_log", Kind::kBool, "true", kLive, 0, 0, "One JSON line per request."},
    {"telemetry.access_log_path", Kind::kText, "-", kLive, 0, 0,
     "A file, or `-` for standard output."},
    {"telemetry.access_log_buffer", Kind::kSize, "4MiB", kRestart, 64 * kKiB, 1024 * kMiB,
     "Of each loop; when it is full, lines are dropped and counted."},
    {"telemetry.log_level", Kind::kText, "info", kLive, 0, 0,
     "`debug`, `info`, `warning` or `error`."},
    {"telemetry.max_series", Kind::kCount, "10000", kLive, 100, 10'000'000,
     "Most metric series; the rest is counted under `route=\"<other>\"`."},
    {"telemetry.ops_address", Kind::kText, "0.0.0.0", kRestart, 0, 0,
     "Address of `/metrics`, `/livez`, `/readyz` and `/startupz`."},
    {"telemetry.ops_port", Kind::kCount, "9901", kRestart, 0, 65535,
     "Their port; 0 lets the kernel choose (tests)."},

    {"control", Kind::kBlock, "", kRestart, 0, 0, "The control plane itself."},
    {"control.runtime_dir", Kind::kText, "", kRestart, 0, 0,
     "Folder of the two sockets; unset: `/run/catzilla`, or `$XDG_RUNTIME_DIR/catzilla` if not "
     "root."},
    {"control.socket", Kind::kText, "", kRestart, 0, 0,
     "The gRPC socket; unset: `control.sock` in `runtime_dir`."},
    {"control.worker_socket", Kind::kText, "", kRestart, 0, 0,
     "Where workers attach; unset: `worker.sock` in `runtime_dir`."},
    {"control.socket_mode", Kind::kText, "0660", kRestart, 0, 0,
     "Octal permission bits of both sockets."},
    {"control.socket_group", Kind::kText, "", kRestart, 0, 0,
     "Group that owns both sockets; unset: the process's own."},
    {"control.roles", Kind::kBlock, "", kRestart, 0, 0,
     "Beside the defaults: own uid and root are `admin`, the socket's group is `register`."},
    {"control.roles[].uid", Kind::kCount, "", kRestart, 0, 0, "Whoever runs as this user,"},
    {"control.roles[].gid", Kind::kCount, "", kRestart, 0, 0,
     "or this group (if both are given: both),"},
    {"control.roles[].role", Kind::kEnum, "", kRestart, 0, 0,
     "has this role: `read`, `register`, `purge`, `operate` or `admin`."},
    {"control.tcp_address", Kind::kText, "", kRestart, 0, 0,
     "Also listen on TCP (`10.0.0.5:9902`). Needs `tls` with a client CA, or `token`."},
    {"control.tls", Kind::kBlock, "", kRestart, 0, 0, "TLS for TCP."},
    {"control.tls.cert_file", Kind::kText, "", kRestart, 0, 0, "Certificate chain, PEM."},
    {"control.tls.key_file", Kind::kText, "", kRestart, 0, 0, "Its key, PEM."},
    {"control.tls.client_ca_file", Kind::kText, "", kRestart, 0, 0,
     "Clients must show a certificate of this CA, PEM."},
    {"control.token", Kind::kText, "", kRestart, 0, 0,
     "Bearer token for TCP, as `${file:/run/secrets/token}` or `${env:NAME}`."},
    {"control.tcp_role", Kind::kEnum, "read", kRestart, 0, 0, "Role of whoever comes over TCP."},
    {"control.state_dir", Kind::kText, "", kRestart, 0, 0,
     "What is changed through the API is kept here; unset: until the sidecar ends."},

    {"app", Kind::kBlock, "", kLive, 0, 0, "What the app may add by registering."},
    {"app.prefixes", Kind::kTexts, "", kLive, 0, 0,
     "Prefixes below which it may add routes and mounts; empty: everywhere."},
    {"app.mount_roots", Kind::kTexts, "", kLive, 0, 0,
     "Directories below which an app of another user may mount files."},
    {"app.linger", Kind::kDuration, "", kLive, 0, 3650 * kDay,
     "How long an orphaned registration stays; unset: until replaced or removed."},
    {"app.expected", Kind::kBool, "false", kLive, 0, 0,
     "An app will register: until its workers have been there once, `/readyz` and what nothing "
     "else claims are 503."},
};

// Blocks whose being there means something: nobody gets one that was not written.
bool IsOptIn(const std::string& path) {
  return path == "control.tls" || path == "pools[].upstream" ||
         path == "pools[].upstream.health_check";
}

void Fill(Message* message, const std::string& generic_path) {
  const auto* descriptor = message->GetDescriptor();
  const Reflection* reflection = message->GetReflection();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    std::string path = generic_path.empty() ? field->name() : generic_path + "." + field->name();
    if (field->is_map()) continue;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (field->is_repeated()) {
        for (int n = 0; n < reflection->FieldSize(*message, field); ++n) {
          Fill(reflection->MutableRepeatedMessage(message, field, n), path + "[]");
        }
      } else if (!IsOptIn(path) || reflection->HasField(*message, field)) {
        Fill(reflection->MutableMessage(message, field), path);
      }
      continue;
    }
    if (field->is_repeated() || reflection->HasField(*message, field)) continue;
    const Field* known = FindField(path);
    if (known == nullptr || known->fallback.empty()) continue;
    SetScalar(message, field, std::string(known->fallback));
  }
}

std::string Bounds(const Field& field) {
  if (field.min == 0 && field.max == 0) return "";
  const auto text = [&](uint64_t value) {
    switch (field.kind) {
      case Kind::kDuration:
        return FormatDuration(static_cast<int64_t>(value));
      case Kind::kSize:
        return FormatSize(value);
      default:
        return std::to_string(value);
    }
  };
  return text(field.min) + " to " + text(field.max);
}

constexpr std::string_view kKindNames[] = {"text",          "duration",         "size",
                                           "number",        "true or false",    "keyword",
                                           "list of texts", "map text -> text", "block"};

}  // namespace

std::span<const Field> Fields() { return kFields; }

const Field* FindField(std::string_view path) {
  static const auto* const index = [] {
    auto* map = new std::unordered_map<std::string_view, const Field*>;
    for (const Field& field : kFields) map->emplace(field.path, &field);
    return map;
  }();
  const auto found = index->find(path);
  return found == index->end() ? nullptr : found->second;
}

std::string GenericPath(std::string_view path) {
  std::string out;
  bool inside = false;
  for (const char c : path) {
    if (c == ']') inside = false;
    if (!inside) out += c;
    if (c == '[') inside = true;
  }
  return out;
}

void FillDefaults(config::v1::Config* config) { Fill(config, ""); }

std::string ConfigurationReference() {
  std::string out =
      "# Configuration\n\nOne schema for the YAML or JSON file, the control plane's `Apply` and "
      "the chart's `config:`.\n"
      "Resources (listeners, mounts, routes, caches, pools) have a `name` and merge whole; the "
      "other blocks merge\n"
      "field by field; api wins over file, file over app. Durations (`250ms`, `30s`, `1m30s`) and "
      "sizes (`64KiB`,\n"
      "`1GB`, `25%` of the container's memory limit) need a unit. An unknown field is an error. "
      "Fields marked\n"
      "*restart* keep their running value until the sidecar is restarted; the rest of a change "
      "goes "
      "live, and `CZ1401`\n"
      "says what waits.\n\n"
      "Printed by `catzilla-sidecar --print-config-reference`; do not edit.\n";
  std::string section;
  for (const Field& field : kFields) {
    const std::string top(field.path.substr(0, field.path.find_first_of(".[")));
    const bool opens = field.kind == Kind::kBlock && field.path == top;
    if (opens || section.empty()) {
      section = top;
      out += "\n## " +
             (opens ? "`" + top + "`\n\n" + std::string(field.description)
                    : std::string("Top level")) +
             "\n\n| field | kind | default | bounds | change | |\n|---|---|---|---|---|---|\n";
      if (opens) continue;
    }
    out += "| `" + std::string(field.path) + "` | " +
           std::string(kKindNames[static_cast<size_t>(field.kind)]) + " | " +
           (field.fallback.empty() ? "" : "`" + std::string(field.fallback) + "`") + " | " +
           Bounds(field) + " | " + (field.change == Change::kLive ? "live" : "*restart*") + " | " +
           std::string(field.description) + " |\n";
  }
  return out;
}

}  // namespace catzilla::schema
