#include "sidecar/schema/validate.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sidecar/schema/store_harness.h"

namespace catzilla::schema {
namespace {

// What is refused, and how it is said...

struct Finding {
  const char* text;
  Code code;
  Severity severity;
  const char* path;
  uint32_t line;
  const char* words;
};

TEST(Validate, EachMistakeHasItsOwnFinding) {
  constexpr Severity kError = Severity::kError;
  const Finding kTable[] = {
      {"limits: {idle_timeout: 30}\n", Code::kBadDuration, kError, "limits.idle_timeout", 1,
       "has no unit"},
      {"limits:\n  max_body_size: 5\n", Code::kBadSize, kError, "limits.max_body_size", 2,
       "has no unit"},
      {"limits: {header_timeout: 2d}\n", Code::kOutOfRange, kError, "limits.header_timeout", 1,
       "10ms to 1d"},
      {"limits: {max_request_line: 64KiB}\n", Code::kLimitRelation, kError,
       "limits.max_request_line", 1, "max_header_bytes"},
      {"listeners:\n  - {name: a, port: 70000}\n", Code::kOutOfRange, kError, "listeners[a].port",
       2, "0 to 65535"},
      {"listeners:\n  - {name: a, address: \"localhost:80\"}\n", Code::kBadAddress, kError,
       "listeners[a].address", 2, "no IP address"},
      {"listeners:\n  - {name: a}\n  - {name: b}\n", Code::kListenerConflict, kError,
       "listeners[b].port", 3, "listeners[a]"},
      {"listeners: [{name: a, trusted_proxies: [10.0.0.0/33]}]\n", Code::kBadRange, kError,
       "listeners[a].trusted_proxies[0]", 1, "10.0.0.0/8"},
      {"websockets: {origins: [same, \"https://a/\"]}\n", Code::kBadOrigin, kError,
       "websockets.origins[1]", 1, "no origin"},
      {"mounts: [{prefix: /a, root: /}]\n", Code::kMissing, kError, "mounts[0].name", 1, "no name"},
      {"mounts: [{name: 'a b', prefix: /a, root: /}]\n", Code::kBadName, kError, "mounts[a b].name",
       1, "letters"},
      {"mounts:\n  - {name: a, root: /}\n", Code::kMissing, kError, "mounts[a].prefix", 2,
       "not given"},
      {"mounts: [{name: a, prefix: a, root: /}]\n", Code::kBadPrefix, kError, "mounts[a].prefix", 1,
       "begin with"},
      {"mounts: [{name: a, prefix: /a/../b, root: /}]\n", Code::kBadPrefix, kError,
       "mounts[a].prefix", 1, "\"..\""},
      {"mounts: [{name: a, prefix: /%41, root: /}]\n", Code::kBadPrefix, kError, "mounts[a].prefix",
       1, "percent"},
      {"mounts: [{name: a, prefix: /a, root: x}]\n", Code::kBadPath, kError, "mounts[a].root", 1,
       "not absolute"},
      {"mounts: [{name: a, prefix: /a, root: /, index_file: ../x}]\n", Code::kBadPath, kError,
       "mounts[a].index_file", 1, "file name"},
      {"mounts: [{name: a, prefix: /a, root: /, headers: {Date: x}}]\n", Code::kBadHeader, kError,
       "mounts[a].headers[Date]", 1, "itself"},
      {"mounts: [{name: a, prefix: /a, root: /, headers: {A: \"x\\ny\"}}]\n", Code::kBadHeader,
       kError, "mounts[a].headers[A]", 1, "control characters"},
      {"mounts: [{name: a, prefix: /a, root: /, mime_types: {.x: a/b}}]\n", Code::kBadMediaType,
       kError, "mounts[a].mime_types[.x]", 1, "without the dot"},
      {"mounts: [{name: a, prefix: /a, root: /, blocked_patterns: [\"[a\"]}]\n", Code::kBadPattern,
       kError, "mounts[a].blocked_patterns[0]", 1, "*.bak"},
      {"mounts: [{name: a, prefix: /a, root: /, blocked_extensions: [.env]}]\n",
       Code::kBadExtension, kError, "mounts[a].blocked_extensions[0]", 1, "without the dot"},
      {"mounts: [{name: a, prefix: /a, root: /, allowed_extensions: [js], blocked_extensions: "
       "[JS]}]\n",
       Code::kContradiction, kError, "mounts[a].blocked_extensions", 1, "take it out"},
      {"mounts: [{name: a, prefix: /a, root: /, index_files: [a/b]}]\n", Code::kBadPath, kError,
       "mounts[a].index_files[0]", 1, "index.html"},
      {"mounts: [{name: a, prefix: /a, root: /, spa_fallback: ../x}]\n", Code::kBadPath, kError,
       "mounts[a].spa_fallback", 1, "index.html"},
      {"mounts: [{name: a, prefix: /a, root: /, charset: \"utf 8\"}]\n", Code::kBadMediaType,
       kError, "mounts[a].charset", 1, "utf-8"},
      {"server_name: \"a\\r\\nSet-Cookie: b\"\n", Code::kBadHeader, kError, "server_name", 1,
       "catzilla"},
      {"mounts: [{name: a, prefix: /a, root: /, headers: {cache-control: b}}]\n", Code::kBadHeader,
       kError, "mounts[a].headers[cache-control]", 1, "remove it; cache_control"},
      {"mounts: [{name: a, prefix: /a, root: /, cache_memory: 2MiB}]\n", Code::kLimitRelation,
       kError, "mounts[a].cache_memory", 1, "max_cached_file"},
      {"mounts: [{name: a, prefix: /a, root: /, precompressed: [lz4]}]\n", Code::kUnknownValue,
       kError, "mounts[a].precompressed[0]", 1, "br, zstd and gzip"},
      {"mounts: [{name: a, prefix: /a, root: /, cache_entries: 9}]\n", Code::kContradiction, kError,
       "mounts[a].cache_entries", 1, "cache_memory"},
      {"mounts: [{name: a, prefix: /a, root: /, gzip_level: 10}]\n", Code::kOutOfRange, kError,
       "mounts[a].gzip_level", 1, "0 to 9"},
      {"mounts: [{name: a, prefix: /a, root: /, gzip_types: [text/css]}]\n", Code::kContradiction,
       kError, "mounts[a].gzip_types", 1, "gzip_level"},
      {"mounts: [{name: a, prefix: /a, root: /, gzip_level: 1, gzip_types: [css]}]\n",
       Code::kBadMediaType, kError, "mounts[a].gzip_types[0]", 1, "text/*"},
      {"mounts: [{name: a, prefix: /a, root: /, file_rules: [{cache_control: x}]}]\n",
       Code::kMissing, kError, "mounts[a].file_rules[0].match", 1, "*.js"},
      {"mounts: [{name: a, prefix: /a, root: /, file_rules: [{match: [x]}]}]\n", Code::kMissing,
       kError, "mounts[a].file_rules[0]", 1, "headers"},
      {"mounts: [{name: a, prefix: /a, root: /, file_rules: [{match: [\"[\"], headers: {A: "
       "b}}]}]\n",
       Code::kBadPattern, kError, "mounts[a].file_rules[0].match[0]", 1, "*.bak"},
      {"mounts: [{name: a, prefix: /a, root: /, file_rules: [{match: [x], headers: {ETag: b}}]}]\n",
       Code::kBadHeader, kError, "mounts[a].file_rules[0].headers[ETag]", 1, "itself"},
      {"mounts: [{name: a, prefix: /a, root: /, error_pages: {500: x.html}}]\n",
       Code::kUnknownValue, kError, "mounts[a].error_pages[500]", 1, "403, 404 and 503"},
      {"mounts: [{name: a, prefix: /a, root: /, error_pages: {404: ../x}}]\n", Code::kBadPath,
       kError, "mounts[a].error_pages[404]", 1, "404.html"},
      {"mounts: [{name: a, prefix: /a, root: /, preload: [\"[\"]}]\n", Code::kBadPattern, kError,
       "mounts[a].preload[0]", 1, "*.bak"},
      {"mounts:\n  - {name: a, prefix: /a, root: /}\n  - {name: a, prefix: /b, root: /}\n",
       Code::kDuplicateName, kError, "mounts[a]", 2, "rename"},
      {"mounts:\n  - {name: a, prefix: /a, root: /}\n  - {name: b, prefix: /a/, root: /}\n",
       Code::kMountConflict, kError, "mounts[b].prefix", 3, "mounts[a]"},
      {"mounts:\n  - {name: a, prefix: /a, root: /}\n  - {name: b, prefix: /a/b, root: /}\n",
       Code::kMountOverlap, Severity::kInfo, "mounts[b].prefix", 3, "longest prefix wins"},
      {"mounts: [{name: a, prefix: /a, root: /}]\nroutes:\n  - {name: r, path: \"/a/{x}\"}\n",
       Code::kMountRoute, Severity::kWarning, "routes[r].path", 3, "mounts[a]"},
      {"mounts: [{name: a, prefix: /a, root: /, internal: true, spa_fallback: a.html}]\n",
       Code::kContradiction, kError, "mounts[a].internal", 1, "remove fallback_pool"},
      {"mounts: [{name: a, prefix: /a, root: /, internal: true, host: a.test}]\n",
       Code::kContradiction, kError, "mounts[a].internal", 1, "remove host"},
      {"mounts: [{name: a, prefix: /a, root: /, internal: true, directory_listing: html}]\n",
       Code::kContradiction, kError, "mounts[a].internal", 1, "remove fallback_pool"},
      {"mounts: [{name: a, prefix: /a, root: /, fallback_pool: x}]\n", Code::kUnknownPool, kError,
       "mounts[a].fallback_pool", 1, "there are"},
      {"mounts: [{name: a, prefix: /a, root: /, fallback_pool: app, spa_fallback: a.html}]\n",
       Code::kContradiction, kError, "mounts[a].fallback_pool", 1, "remove one"},
      {"pools: [{name: a, upstream: {}}]\n", Code::kMissing, kError, "pools[a].upstream.targets", 1,
       "127.0.0.1:3000"},
      {"pools: [{name: a, upstream: {targets: [\"http://a:1\"]}}]\n", Code::kBadTarget, kError,
       "pools[a].upstream.targets[0]", 1, "app:9000"},
      {"pools: [{name: a, upstream: {targets: [\"a:1\", \"a:1\"]}}]\n", Code::kBadTarget, kError,
       "pools[a].upstream.targets[1]", 1, "remove"},
      {"pools: [{name: a, hard_timeout: 90s, upstream: {targets: [\"a:1\"]}}]\n",
       Code::kUpstreamPool, kError, "pools[a].hard_timeout", 1, "remove it"},
      {"pools: [{name: a, upstream: {targets: [\"a:1\"], via: \"a b\"}}]\n", Code::kBadHeader,
       kError, "pools[a].upstream.via", 1, "via: catzilla"},
      {"pools: [{name: a, upstream: {targets: [\"a:1\"], health_check: {path: healthz}}}]\n",
       Code::kBadPrefix, kError, "pools[a].upstream.health_check.path", 1, "/healthz"},
      {"pools: [{name: a, upstream: {targets: [\"a:1\"], max_connections: 0}}]\n",
       Code::kOutOfRange, kError, "pools[a].upstream.max_connections", 1, "1 to 65535"},
      {"routes: [{name: r, path: \"/a/{x:foo}\"}]\n", Code::kBadTemplate, kError, "routes[r].path",
       1, "int|float|uuid|path"},
      {"routes: [{name: r, path: \"/a/{x:path}/b/{y}\"}]\n", Code::kBadTemplate, kError,
       "routes[r].path", 1, "end"},
      {"routes: [{name: r, path: /a, methods: [get]}]\n", Code::kBadMethod, kError,
       "routes[r].methods[0]", 1, "capitals"},
      {"routes: [{name: r, path: /a, pool: x}]\n", Code::kUnknownPool, kError, "routes[r].pool", 1,
       "there are: app"},
      {"routes: [{name: r, path: /a, cache: x}]\n", Code::kUnknownCache, kError, "routes[r].cache",
       1, "cache: default"},
      {"routes: [{name: r, path: /a, cache_ttl: 1s}]\n", Code::kUnknownCache, kError,
       "routes[r].cache_ttl", 1, "cache: default"},
      {"routes:\n  - {name: r, path: \"/a/{x}\"}\n  - {name: s, path: \"/a/{y}\"}\n",
       Code::kRouteConflict, kError, "routes[s].path", 3, "routes[r]"},
      {"caches: [{name: a, memory: 1MiB, max_object: 2MiB}]\n", Code::kLimitRelation, kError,
       "caches[a].max_object", 1, "raise memory"},
      {"pools: [{name: a, hard_timeout: 1s}]\n", Code::kLimitRelation, kError,
       "pools[a].hard_timeout", 1, "request_timeout"},
      {"telemetry: {log_level: warn}\n", Code::kUnknownValue, kError, "telemetry.log_level", 1,
       "did you mean warning?"},
      {"telemetry: {ops_port: 8080}\n", Code::kListenerConflict, kError, "telemetry.ops_port", 1,
       "listeners[http]"},
      {"control: {socket_mode: rw}\n", Code::kBadMode, kError, "control.socket_mode", 1, "octal"},
      {"control: {socket_group: no-such-group}\n", Code::kBadGroup, kError, "control.socket_group",
       1, "create it"},
      {"control: {tcp_address: \"127.0.0.1:1\"}\n", Code::kControlOpen, kError,
       "control.tcp_address", 1, "token"},
      {"control: {token: hunter2}\n", Code::kBadSecret, kError, "control.token", 1, "${file:"},
      {"control: {roles: [{role: read}]}\n", Code::kMissing, kError, "control.roles[0]", 1, "uid"},
      {"app: {prefixes: [api]}\n", Code::kBadPrefix, kError, "app.prefixes[0]", 1, "/api"},
  };
  for (const Finding& want : kTable) {
    ConfigStore store(Options());
    const Outcome outcome = SetFile(store, want.text);
    EXPECT_EQ(outcome.applied == Applied::kRefused, want.severity == Severity::kError) << want.text;
    ASSERT_EQ(outcome.diagnostics.size(), 1u) << want.text << Codes(outcome.diagnostics);
    const Diagnostic& got = outcome.diagnostics[0];
    EXPECT_EQ(CodeText(got.code), CodeText(want.code)) << want.text;
    EXPECT_EQ(got.path, want.path) << want.text;
    EXPECT_EQ(got.line, want.line) << want.text << Format(got);
    EXPECT_NE((got.message + " / " + got.hint).find(want.words), std::string::npos)
        << want.text << Format(got);
  }
}

TEST(Validate, HeadersThatFitNoHead) {
  ConfigStore store(Options());
  const std::string text = "mounts: [{name: a, prefix: /a, root: /, headers: {A: \"" +
                           std::string(9000, 'x') + "\"}}]\n";
  const Outcome outcome = SetFile(store, text);
  EXPECT_EQ(outcome.applied, Applied::kRefused);
  ASSERT_EQ(outcome.diagnostics.size(), 1u) << Codes(outcome.diagnostics);
  EXPECT_EQ(outcome.diagnostics[0].code, Code::kTooMany);
  EXPECT_EQ(outcome.diagnostics[0].path, "mounts[a].headers");
}

TEST(Validate, SocketPathsThatNoKernelTakes) {
  ConfigStore store(Options());
  const Outcome outcome =
      SetFile(store, "control: {runtime_dir: /" + std::string(100, 'x') + "}\n");
  ASSERT_EQ(outcome.diagnostics.size(), 1u);
  EXPECT_EQ(outcome.diagnostics[0].code, Code::kBadPath);
}

TEST(Validate, AMissingDirectoryNamesItselfAndLaterChangesAreNotHeldUpByIt) {
  TempDir dir;
  mkdir((dir.path + "/a").c_str(), 0755);
  ConfigStore store(Options(true));
  const std::string text = "mounts:\n  - name: a\n    prefix: /a\n    root: " + dir.path + "/a\n";
  ASSERT_TRUE(SetFile(store, text).ok());
  rmdir((dir.path + "/a").c_str());
  const Outcome later = Apply(store, "limits: {idle_timeout: 9s}");
  EXPECT_TRUE(later.ok()) << Codes(later.diagnostics);
  ASSERT_EQ(later.diagnostics.size(), 1u);
  EXPECT_EQ(Format(later.diagnostics[0]),
            "f.yaml:4: warning CZ1203: mounts[a].root: " + dir.path +
                "/a: No such file or directory (create it, or correct the path)");
  ConfigStore fresh(Options(true));
  EXPECT_EQ(SetFile(fresh, text).applied, Applied::kRefused);
  Write(dir.path + "/f", "");
  const Outcome file =
      SetFile(fresh, "mounts: [{name: a, prefix: /a, root: " + dir.path + "/f}]\n");
  EXPECT_NE(file.diagnostics[0].message.find("not a directory"), std::string::npos);
}

}  // namespace
}  // namespace catzilla::schema
