#include "sidecar/schema/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>

#include "sidecar/schema/compile.h"
#include "sidecar/schema/fields.h"
#include "sidecar/schema/file_source.h"
#include "sidecar/schema/render.h"
#include "sidecar/schema/state_file.h"

namespace catzilla::schema {
namespace {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/catzilla-schema-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() {
    if (std::system(("rm -rf '" + path + "'").c_str()) != 0) ADD_FAILURE();
  }
  std::string path;
};

void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

StoreOptions Options(bool check_files = false) {
  StoreOptions options;
  options.memory_limit_bytes = 1ull << 30;
  options.check_files = check_files;
  options.wall_clock_us = [] { return int64_t{1'700'000'000'000'000}; };
  return options;
}

FileLayer FileOf(const std::string& text) {
  Document document = ReadDocument(text, "f.yaml");
  EXPECT_TRUE(document.diagnostics.empty()) << Format(document.diagnostics[0]);
  FileLayer layer;
  layer.config = std::move(document.config);
  layer.lines = std::move(document.lines);
  layer.file = "f.yaml";
  return layer;
}

Outcome SetFile(ConfigStore& store, const std::string& text) { return store.SetFile(FileOf(text), {}, "f.yaml"); }

Outcome Apply(ConfigStore& store, const std::string& text, ChangeOptions options = {}) {
  options.origin = "uid 0";
  return store.ChangeApi(
      [&](const Version&, ApiLayer* layer) {
        layer->config = ReadDocument(text).config;
        return Diagnostics();
      },
      options);
}

std::shared_ptr<AppLayer> AppOf(const std::vector<std::string>& templates, bool trusted = true) {
  auto app = std::make_shared<AppLayer>();
  app->trusted = trusted;
  uint32_t id = 0;
  for (const std::string& text : templates) {
    auto* route = app->registration.mutable_table()->add_routes();
    route->set_id(++id);
    route->set_declaration_index(id);
    route->set_kind(control::v1::ROUTE_KIND_API);
    route->add_methods("GET");
    route->set_template_(text);
  }
  return app;
}

std::string Codes(const Diagnostics& diagnostics) {
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) {
    out += Format(diagnostic) + "\n";
  }
  return out;
}

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
      {"limits: {idle_timeout: 30}\n", Code::kBadDuration, kError, "limits.idle_timeout", 1, "has no unit"},
      {"limits:\n  max_body_size: 5\n", Code::kBadSize, kError, "limits.max_body_size", 2, "has no unit"},
      {"limits: {header_timeout: 2d}\n", Code::kOutOfRange, kError, "limits.header_timeout", 1, "10ms to 1d"},
      {"limits: {max_request_line: 64KiB}\n", Code::kLimitRelation, kError, "limits.max_request_line", 1, "max_header_bytes"},
      {"listeners:\n  - {name: a, port: 70000}\n", Code::kOutOfRange, kError, "listeners[a].port", 2, "0 to 65535"},
      {"listeners:\n  - {name: a, address: \"localhost:80\"}\n", Code::kBadAddress, kError, "listeners[a].address", 2,
       "no IP address"},
      {"listeners:\n  - {name: a}\n  - {name: b}\n", Code::kListenerConflict, kError, "listeners[b].port", 3, "listeners[a]"},
      {"listeners: [{name: a, trusted_proxies: [10.0.0.0/33]}]\n", Code::kBadRange, kError,
       "listeners[a].trusted_proxies[0]", 1, "10.0.0.0/8"},
      {"mounts: [{prefix: /a, root: /}]\n", Code::kMissing, kError, "mounts[0].name", 1, "no name"},
      {"mounts: [{name: 'a b', prefix: /a, root: /}]\n", Code::kBadName, kError, "mounts[a b].name", 1, "letters"},
      {"mounts:\n  - {name: a, root: /}\n", Code::kMissing, kError, "mounts[a].prefix", 2, "not given"},
      {"mounts: [{name: a, prefix: a, root: /}]\n", Code::kBadPrefix, kError, "mounts[a].prefix", 1, "begin with"},
      {"mounts: [{name: a, prefix: /a/../b, root: /}]\n", Code::kBadPrefix, kError, "mounts[a].prefix", 1, "\"..\""},
      {"mounts: [{name: a, prefix: /%41, root: /}]\n", Code::kBadPrefix, kError, "mounts[a].prefix", 1, "percent"},
      {"mounts: [{name: a, prefix: /a, root: x}]\n", Code::kBadPath, kError, "mounts[a].root", 1, "not absolute"},
      {"mounts: [{name: a, prefix: /a, root: /, index_file: ../x}]\n", Code::kBadPath, kError, "mounts[a].index_file", 1,
       "file name"},
      {"mounts: [{name: a, prefix: /a, root: /, headers: {Date: x}}]\n", Code::kBadHeader, kError,
       "mounts[a].headers[Date]", 1, "itself"},
      {"mounts: [{name: a, prefix: /a, root: /, headers: {A: \"x\\ny\"}}]\n", Code::kBadHeader, kError,
       "mounts[a].headers[A]", 1, "control characters"},
      {"mounts: [{name: a, prefix: /a, root: /, mime_types: {.x: a/b}}]\n", Code::kBadMediaType, kError,
       "mounts[a].mime_types[.x]", 1, "without the dot"},
      {"mounts:\n  - {name: a, prefix: /a, root: /}\n  - {name: a, prefix: /b, root: /}\n", Code::kDuplicateName, kError,
       "mounts[a]", 2, "rename"},
      {"mounts:\n  - {name: a, prefix: /a, root: /}\n  - {name: b, prefix: /a/, root: /}\n", Code::kMountConflict, kError,
       "mounts[b].prefix", 3, "mounts[a]"},
      {"mounts:\n  - {name: a, prefix: /a, root: /}\n  - {name: b, prefix: /a/b, root: /}\n", Code::kMountOverlap,
       Severity::kInfo, "mounts[b].prefix", 3, "longest prefix wins"},
      {"mounts: [{name: a, prefix: /a, root: /}]\nroutes:\n  - {name: r, path: \"/a/{x}\"}\n", Code::kMountRoute,
       Severity::kWarning, "routes[r].path", 3, "mounts[a]"},
      {"routes: [{name: r, path: \"/a/{x:foo}\"}]\n", Code::kBadTemplate, kError, "routes[r].path", 1, "int|float|uuid|path"},
      {"routes: [{name: r, path: \"/a/{x:path}/b/{y}\"}]\n", Code::kBadTemplate, kError, "routes[r].path", 1, "end"},
      {"routes: [{name: r, path: /a, methods: [get]}]\n", Code::kBadMethod, kError, "routes[r].methods[0]", 1, "capitals"},
      {"routes: [{name: r, path: /a, pool: x}]\n", Code::kUnknownPool, kError, "routes[r].pool", 1, "there are: app"},
      {"routes: [{name: r, path: /a, cache: x}]\n", Code::kUnknownCache, kError, "routes[r].cache", 1, "cache: default"},
      {"routes: [{name: r, path: /a, cache_ttl: 1s}]\n", Code::kUnknownCache, kError, "routes[r].cache_ttl", 1, "cache: default"},
      {"routes:\n  - {name: r, path: \"/a/{x}\"}\n  - {name: s, path: \"/a/{y}\"}\n", Code::kRouteConflict, kError,
       "routes[s].path", 3, "routes[r]"},
      {"caches: [{name: a, memory: 1MiB, max_object: 2MiB}]\n", Code::kLimitRelation, kError, "caches[a].max_object", 1, "raise memory"},
      {"pools: [{name: a, hard_timeout: 1s}]\n", Code::kLimitRelation, kError, "pools[a].hard_timeout", 1, "request_timeout"},
      {"telemetry: {log_level: warn}\n", Code::kUnknownValue, kError, "telemetry.log_level", 1, "did you mean warning?"},
      {"telemetry: {ops_port: 8080}\n", Code::kListenerConflict, kError, "telemetry.ops_port", 1, "listeners[http]"},
      {"control: {socket_mode: rw}\n", Code::kBadMode, kError, "control.socket_mode", 1, "octal"},
      {"control: {socket_group: no-such-group}\n", Code::kBadGroup, kError, "control.socket_group", 1, "create it"},
      {"control: {tcp_address: \"127.0.0.1:1\"}\n", Code::kControlOpen, kError, "control.tcp_address", 1, "token"},
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
    EXPECT_NE((got.message + " / " + got.hint).find(want.words), std::string::npos) << want.text << Format(got);
  }
}

TEST(Validate, SocketPathsThatNoKernelTakes) {
  ConfigStore store(Options());
  const Outcome outcome = SetFile(store, "control: {runtime_dir: /" + std::string(100, 'x') + "}\n");
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
  EXPECT_EQ(Format(later.diagnostics[0]), "f.yaml:4: warning CZ1203: mounts[a].root: " + dir.path +
                                              "/a: No such file or directory (create it, or correct the path)");
  ConfigStore fresh(Options(true));
  EXPECT_EQ(SetFile(fresh, text).applied, Applied::kRefused);
  Write(dir.path + "/f", "");
  const Outcome file = SetFile(fresh, "mounts: [{name: a, prefix: /a, root: " + dir.path + "/f}]\n");
  EXPECT_NE(file.diagnostics[0].message.find("not a directory"), std::string::npos);
}

// Layers...

TEST(Layers, ApiOverFileOverAppByName) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "mounts: [{name: a, prefix: /a, root: /file}, {name: b, prefix: /b, root: /file}]\n"
                             "limits: {idle_timeout: 1s, max_headers: 50}\n")
                  .ok());
  auto app = AppOf({"/x"});
  for (const char* name : {"b", "c"}) {
    auto* mount = app->registration.add_mounts();
    mount->set_name(name);
    mount->set_prefix(std::string("/") + name);
    mount->set_root("/app");
  }
  const Outcome registered = store.SetApp("shop", app, {});
  ASSERT_TRUE(registered.ok()) << Codes(registered.diagnostics);
  ASSERT_EQ(registered.diagnostics.size(), 1u);
  EXPECT_EQ(registered.diagnostics[0].code, Code::kShadowed);
  const Outcome applied = Apply(store, "mounts: [{name: a, prefix: /a, root: /api}]\nlimits: {idle_timeout: 2s}\n");
  ASSERT_TRUE(applied.ok()) << Codes(applied.diagnostics);

  const auto version = store.Current();
  ASSERT_EQ(version->snapshot->mounts.size(), 3u);
  EXPECT_EQ(version->snapshot->mounts[0]->root, "/api");
  EXPECT_EQ(version->snapshot->mounts[0]->source, config::Layer::kApi);
  EXPECT_EQ(version->snapshot->mounts[1]->root, "/file");
  EXPECT_EQ(version->snapshot->mounts[2]->root, "/app");
  EXPECT_EQ(version->snapshot->limits->idle_timeout_us, 2'000'000);
  EXPECT_EQ(version->snapshot->limits->header_count_max, 50u);
  EXPECT_EQ(version->merged.sources.at("limits.idle_timeout").layer, config::Layer::kApi);
  EXPECT_EQ(version->merged.sources.at("limits.max_headers").origin, "f.yaml:2");
  EXPECT_EQ(version->merged.sources.at("mounts[c]").origin, "app shop");
  EXPECT_EQ(version->stamps.at("mounts[b]").version, 1u);
  EXPECT_EQ(version->stamps.at("mounts[c]").version, 2u);
  EXPECT_EQ(version->stamps.at("mounts[a]").version, 3u);
}

TEST(Layers, SamePrefixInTwoLayersIsShadowingAndTheHigherWins) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "mounts: [{name: a, prefix: /a, root: /file}]\n").ok());
  const Outcome applied = Apply(store, "mounts: [{name: z, prefix: /a/, root: /api}]\n");
  ASSERT_TRUE(applied.ok());
  ASSERT_EQ(applied.diagnostics.size(), 1u);
  EXPECT_EQ(Format(applied.diagnostics[0]),
            "f.yaml:1: warning CZ1207: mounts[a]: the one of the file is hidden by mounts[z] of the API (delete one of "
            "them if this is not meant)");
  ASSERT_EQ(store.Current()->snapshot->mounts.size(), 1u);
  EXPECT_EQ(store.Current()->snapshot->mounts[0]->root, "/api");
}

TEST(Layers, ATombstoneHidesTheFilesResource) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "mounts: [{name: a, prefix: /a, root: /}]\n").ok());
  const auto bury = [](const Version&, ApiLayer* layer) {
    layer->tombstones.insert("mounts[a]");
    return Diagnostics();
  };
  EXPECT_EQ(store.ChangeApi(bury, {}).applied, Applied::kChanged);
  EXPECT_TRUE(store.Current()->snapshot->mounts.empty());
  // Still buried after the file is read again.
  ASSERT_TRUE(SetFile(store, "mounts: [{name: a, prefix: /a, root: /}, {name: b, prefix: /b, root: /}]\n").ok());
  ASSERT_EQ(store.Current()->snapshot->mounts.size(), 1u);
  EXPECT_EQ(store.Current()->snapshot->mounts[0]->name, "b");
}

TEST(Layers, WhatExistsWithoutBeingWritten) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "routes: [{name: r, path: /, cache: default}]\n").ok());
  const auto snapshot = store.Current()->snapshot;
  ASSERT_EQ(snapshot->listeners.size(), 1u);
  EXPECT_EQ(snapshot->listeners[0]->port, 8080);
  EXPECT_EQ(snapshot->pools[0]->name, "app");
  EXPECT_EQ(snapshot->caches[0]->name, "default");
  EXPECT_EQ(*snapshot->limits, config::Limits()) << "the table's defaults are the struct's";
  EXPECT_EQ(snapshot->telemetry, config::Telemetry());
  EXPECT_EQ(snapshot->drain, config::Drain());
  config::Pool pool;
  EXPECT_EQ(*snapshot->pools[0], pool);
  config::Listener listener;
  EXPECT_EQ(*snapshot->listeners[0], listener);
  config::Cache cache;
  cache.name = "default";
  EXPECT_EQ(*snapshot->caches[0], cache);
}

TEST(Layers, MountDefaultsAreTheStructs) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "mounts: [{name: m, prefix: /m/, root: /r, host: ExAmple.com}]\n").ok());
  config::Mount mount;
  mount.name = "m";
  mount.prefix = "/m";
  mount.root = "/r";
  mount.host = "example.com";
  EXPECT_EQ(*store.Current()->snapshot->mounts[0], mount);
}

// Apps...

TEST(Apps, RoutesAreCompiledInDeclarationOrder) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "routes: [{name: r, path: /op}]\n").ok());
  auto app = AppOf({"/b/{x}", "/a", "/c/{x:custom}/d"});
  app->registration.mutable_table()->mutable_routes(0)->set_declaration_index(9);
  app->registration.mutable_table()->set_unmatched(control::v1::UNMATCHED_SIDECAR);
  auto* cached = app->registration.mutable_table()->mutable_routes(1);
  cached->mutable_cache()->set_ttl("30s");
  cached->mutable_cache()->add_tags("t");
  auto* input = cached->add_inputs();
  input->set_place(control::v1::INPUT_PLACE_HEADER);
  input->set_name("x-a");
  input->set_slot(3);
  const Outcome outcome = store.SetApp("shop", app, {});
  ASSERT_TRUE(outcome.ok()) << Codes(outcome.diagnostics);
  ASSERT_EQ(outcome.diagnostics.size(), 1u);
  EXPECT_EQ(outcome.diagnostics[0].code, Code::kAppDecides);
  const auto snapshot = store.Current()->snapshot;
  ASSERT_EQ(snapshot->routes.size(), 4u);
  EXPECT_EQ(snapshot->routes[0]->name, "r");
  EXPECT_EQ(snapshot->routes[1]->name, "shop#2");
  EXPECT_EQ(snapshot->routes[1]->cache, "default");
  EXPECT_EQ(snapshot->routes[1]->cache_ttl_us, 30'000'000);
  EXPECT_EQ(snapshot->routes[1]->inputs[0].place, config::InputPlace::kHeader);
  EXPECT_EQ(snapshot->routes[2]->path, "/c/{rest:path}");
  EXPECT_EQ(snapshot->routes[2]->kind, config::RouteKind::kCatchAll);
  EXPECT_EQ(snapshot->routes[2]->id, 0u);
  EXPECT_EQ(snapshot->routes[3]->path, "/b/{x}");
  const auto pool = snapshot->pools.front();
  ASSERT_EQ(snapshot->pools.size(), 2u);
  EXPECT_EQ(pool->name, "shop");
  EXPECT_EQ(pool->unmatched, config::Unmatched::kSidecar);
  EXPECT_EQ(snapshot->caches.size(), 1u);

  // The same table again is no new version; without the app everything of it is gone.
  EXPECT_EQ(store.SetApp("shop", std::make_shared<AppLayer>(*app), {}).applied, Applied::kUnchanged);
  EXPECT_TRUE(store.SetApp("shop", nullptr, {}).ok());
  EXPECT_EQ(store.Current()->snapshot->routes.size(), 1u);
}

TEST(Apps, WhatTheyMayNot) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "app: {prefixes: [/api], mount_roots: [/srv/app]}\n").ok());
  const Outcome outside = store.SetApp("shop", AppOf({"/api", "/api/x", "/apix", "/other"}), {});
  EXPECT_EQ(outside.diagnostics.size(), 2u) << Codes(outside.diagnostics);
  EXPECT_EQ(outside.diagnostics[0].code, Code::kOutsidePrefixes);

  auto app = AppOf({}, false);
  for (const char* root : {"/srv/app", "/srv/app/x", "/srv/apple", "/srv/app/../etc", "/etc"}) {
    auto* mount = app->registration.add_mounts();
    mount->set_name("m" + std::to_string(app->registration.mounts_size()));
    mount->set_prefix("/api/" + mount->name());
    mount->set_root(root);
  }
  const Outcome roots = store.SetApp("shop", app, {});
  EXPECT_EQ(roots.diagnostics.size(), 3u) << Codes(roots.diagnostics);
  EXPECT_EQ(roots.diagnostics[0].code, Code::kOutsideRoots);

  auto twice = AppOf({"/api/a", "/api/a"});
  const Outcome shadowed = store.SetApp("shop", twice, {});
  EXPECT_TRUE(shadowed.ok());
  EXPECT_EQ(shadowed.diagnostics[0].code, Code::kRouteNeverReached);
  twice->registration.mutable_table()->mutable_routes(1)->set_id(1);
  EXPECT_EQ(store.SetApp("shop", twice, {}).diagnostics[0].code, Code::kRouteTwice);
}

// Versions...

TEST(Store, UnchangedResourcesAreTheSameObjects) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "mounts: [{name: a, prefix: /a, root: /}, {name: b, prefix: /b, root: /}]\n").ok());
  const auto before = store.Current()->snapshot;
  ASSERT_TRUE(SetFile(store, "mounts: [{name: a, prefix: /a, root: /}, {name: b, prefix: /c, root: /}]\n").ok());
  const auto after = store.Current()->snapshot;
  EXPECT_EQ(before->mounts[0], after->mounts[0]);
  EXPECT_NE(before->mounts[1], after->mounts[1]);
  EXPECT_EQ(before->limits, after->limits);
  EXPECT_EQ(before->pools[0], after->pools[0]);
  EXPECT_EQ(after->version, 2u);
}

TEST(Store, AnEqualFileIsNoNewVersion) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "limits: {idle_timeout: 1s}\n").ok());
  const auto before = store.Current();
  const Outcome outcome = SetFile(store, "# a comment\nlimits:\n  idle_timeout: 1s\n");
  EXPECT_EQ(outcome.applied, Applied::kUnchanged);
  EXPECT_EQ(outcome.version, 1u);
  EXPECT_EQ(store.Current()->snapshot, before->snapshot);
  EXPECT_EQ(store.Current()->merged.sources.at("limits.idle_timeout").line, 3u) << "lines follow the new text";
}

TEST(Store, CompareAndSwap) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "").ok());
  ChangeOptions options;
  options.if_version = 1;
  EXPECT_EQ(Apply(store, "server_name: a\n", options).applied, Applied::kChanged);
  EXPECT_EQ(Apply(store, "server_name: b\n", options).applied, Applied::kConflict);
  EXPECT_EQ(store.Current()->snapshot->server_name, "a");
}

TEST(Store, DryRunShowsTheDifferenceAndChangesNothing) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "mounts: [{name: a, prefix: /a, root: /x}]\n").ok());
  ChangeOptions options;
  options.dry_run = true;
  options.with_diff = true;
  const Outcome outcome = Apply(store, "mounts: [{name: a, prefix: /a, root: /y}]\nlimits: {max_headers: 7}\n", options);
  EXPECT_EQ(outcome.applied, Applied::kChanged);
  EXPECT_EQ(outcome.version, 1u);
  EXPECT_EQ(store.Current()->number, 1u);
  EXPECT_NE(outcome.diff.find("  mounts[a]\n"), std::string::npos) << outcome.diff;
  EXPECT_NE(outcome.diff.find("-   root: /x\n+   root: /y\n"), std::string::npos) << outcome.diff;
  EXPECT_NE(outcome.diff.find("+   max_headers: 7\n"), std::string::npos) << outcome.diff;
  EXPECT_EQ(Apply(store, "limits: {max_headers: 1}\n", options).applied, Applied::kRefused);
  EXPECT_EQ(store.LastRejected(), nullptr);
}

TEST(Store, ARefusedChangeIsRememberedUntilItsLayerIsRightAgain) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "server_name: a\n").ok());
  std::vector<std::string> events;
  const int id = store.Subscribe([&](const ConfigStore::Event& event) {
    events.push_back(event.version ? "v" + std::to_string(event.version->number)
                                   : "refused " + event.rejection->origin);
  });
  EXPECT_EQ(SetFile(store, "limits: {idle_timeout: 5}\n").applied, Applied::kRefused);
  EXPECT_EQ(store.Current()->snapshot->server_name, "a");
  ASSERT_NE(store.LastRejected(), nullptr);
  EXPECT_EQ(store.RejectionsTotal(config::Layer::kFile), 1u);
  EXPECT_TRUE(Apply(store, "server_name: b\n").ok());
  EXPECT_NE(store.LastRejected(), nullptr) << "the file is still wrong";
  EXPECT_TRUE(SetFile(store, "server_name: c\n").ok());
  EXPECT_EQ(store.LastRejected(), nullptr);
  store.Unsubscribe(id);
  SetFile(store, "server_name: d\ndevelopment: true\n");
  // The file's server_name is hidden by the API's, so "c" was no new version.
  EXPECT_EQ(events, (std::vector<std::string>{"refused f.yaml", "v2"}));
  EXPECT_EQ(store.History().size(), 3u);
}

TEST(Store, RestartRequiredFieldsAreRefusedLive) {
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "").ok());
  const Outcome outcome = SetFile(store, "listeners: [{name: http, port: 9090}]\ntelemetry:\n  ops_port: 1\n  max_series: 200\n");
  EXPECT_EQ(outcome.applied, Applied::kRefused);
  ASSERT_EQ(outcome.diagnostics.size(), 2u) << Codes(outcome.diagnostics);
  EXPECT_EQ(outcome.diagnostics[0].path, "listeners");
  EXPECT_EQ(outcome.diagnostics[0].code, Code::kRestartRequired);
  EXPECT_EQ(outcome.diagnostics[1].path, "telemetry.ops_port");
  EXPECT_EQ(outcome.diagnostics[1].line, 3u);
  EXPECT_TRUE(SetFile(store, "telemetry: {max_series: 200}\n").ok());
  EXPECT_EQ(Apply(store, "control: {roles: [{uid: 1, role: admin}]}\n").applied, Applied::kRefused);
}

TEST(Store, CheckDoesNotNeedTheRunningConfiguration) {
  ConfigStore store(Options());
  Document document = ReadDocument("listeners: [{name: x, port: 1}]\n");
  EXPECT_TRUE(store.Check(document.config, document.lines, {}, config::Layer::kFile).empty());
  ASSERT_TRUE(SetFile(store, "").ok());
  EXPECT_TRUE(store.Check(document.config, document.lines, {}, config::Layer::kFile).empty());
  EXPECT_FALSE(store.Check(document.config, document.lines, {}, config::Layer::kApi).empty());
}

TEST(Store, TheApiLayerSurvivesOnDisk) {
  TempDir dir;
  const std::string text = "mounts: [{name: a, prefix: /a, root: /}]\ncontrol: {state_dir: " + dir.path + "/state}\n";
  {
    ConfigStore store(Options());
    ASSERT_TRUE(SetFile(store, text).ok());
    ChangeOptions options;
    ASSERT_TRUE(Apply(store, "mounts: [{name: b, prefix: /b, root: /}]\n").ok());
    ASSERT_TRUE(store
                    .ChangeApi(
                        [](const Version&, ApiLayer* layer) {
                          layer->tombstones.insert("mounts[a]");
                          return Diagnostics();
                        },
                        options)
                    .ok());
  }
  {
    ConfigStore store(Options());
    ASSERT_TRUE(SetFile(store, text).ok());
    ASSERT_EQ(store.Current()->snapshot->mounts.size(), 1u);
    EXPECT_EQ(store.Current()->snapshot->mounts[0]->name, "b");
  }
  // A state that does not fit any more is kept aside, and the file is served.
  Write(dir.path + "/state/api.yaml", "config: {mounts: [{name: b}]}\n");
  ConfigStore store(Options());
  const Outcome outcome = SetFile(store, text);
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(store.Current()->snapshot->mounts[0]->name, "a");
  ASSERT_NE(store.LastRejected(), nullptr);
  EXPECT_EQ(access((dir.path + "/state/api.yaml.rejected").c_str(), F_OK), 0);
}

TEST(Store, AStateThatCannotBeWrittenIsAWarning) {
  TempDir dir;
  Write(dir.path + "/state", "a file where a directory should be");
  ConfigStore store(Options());
  ASSERT_TRUE(SetFile(store, "control: {state_dir: " + dir.path + "/state}\n").ok());
  const Outcome outcome = Apply(store, "server_name: x\n");
  EXPECT_EQ(outcome.applied, Applied::kChanged);
  ASSERT_EQ(outcome.diagnostics.size(), 1u);
  EXPECT_EQ(outcome.diagnostics[0].code, Code::kNotPersisted);
}

// The file...

class Waiter {
 public:
  void Notify() {
    std::lock_guard<std::mutex> lock(mutex_);
    changed_.notify_all();
  }
  // Looks again after every event. False: it has not come true in time.
  bool WaitUntil(const std::function<bool()>& come) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), come);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

TEST(FileSource, RelativePathsCountFromTheFile) {
  TempDir dir;
  mkdir((dir.path + "/public").c_str(), 0755);
  Write(dir.path + "/c.yaml", "mounts: [{name: a, prefix: /, root: ./public}]\n");
  ConfigStore store(Options(true));
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  FileSource source(options, store);
  const Outcome outcome = source.Reload();
  ASSERT_TRUE(outcome.ok()) << Codes(outcome.diagnostics);
  EXPECT_EQ(store.Current()->snapshot->mounts[0]->root, dir.path + "/public");
}

TEST(FileSource, AMissingFileSaysSo) {
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = "/tmp/no/such/catzilla.yaml";
  FileSource source(options, store);
  const Outcome outcome = source.Reload();
  EXPECT_EQ(outcome.applied, Applied::kRefused);
  EXPECT_EQ(Format(outcome.diagnostics[0]),
            "/tmp/no/such/catzilla.yaml: error CZ1008: No such file or directory (create it, or start without --config)");
}

TEST(FileSource, FlagsLieOverTheFileWithTheirOrigin) {
  TempDir dir;
  Write(dir.path + "/c.yaml", "server_name: file\n");
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  options.overlay = [](FileLayer* layer, Diagnostics* diagnostics) {
    SetField(&layer->config, "server_name", "flag", diagnostics);
    layer->origins["server_name"] = "--set";
  };
  FileSource source(options, store);
  ASSERT_TRUE(source.Reload().ok());
  EXPECT_EQ(store.Current()->snapshot->server_name, "flag");
  EXPECT_EQ(store.Current()->merged.sources.at("server_name").origin, "--set");
}

TEST(FileSource, ChangesArriveByWriteByRenameAndBySymlinkSwap) {
  TempDir dir;
  mkdir((dir.path + "/v1").c_str(), 0755);
  mkdir((dir.path + "/v2").c_str(), 0755);
  Write(dir.path + "/v1/c.yaml", "server_name: one\n");
  Write(dir.path + "/v2/c.yaml", "server_name: two\n");
  ASSERT_EQ(symlink("v1", (dir.path + "/..data").c_str()), 0);
  ASSERT_EQ(symlink("..data/c.yaml", (dir.path + "/c.yaml").c_str()), 0);
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  options.poll_interval_us = 60'000'000;  // Only inotify can be in time.
  Waiter waiter;
  FileSource source(options, store);  // Stops before what it notifies goes.
  ASSERT_TRUE(source.Reload().ok());
  store.Subscribe([&](const ConfigStore::Event&) { waiter.Notify(); });
  source.StartWatching();

  // As the kubelet swaps a ConfigMap.
  ASSERT_EQ(symlink("v2", (dir.path + "/..data_tmp").c_str()), 0);
  ASSERT_EQ(rename((dir.path + "/..data_tmp").c_str(), (dir.path + "/..data").c_str()), 0);
  const auto serves = [&](const char* name) {
    return waiter.WaitUntil([&] { return store.Current()->snapshot->server_name == name; });
  };
  ASSERT_TRUE(serves("two"));

  unlink((dir.path + "/c.yaml").c_str());
  Write(dir.path + "/new", "server_name: three\n");
  ASSERT_EQ(rename((dir.path + "/new").c_str(), (dir.path + "/c.yaml").c_str()), 0);
  ASSERT_TRUE(serves("three"));

  Write(dir.path + "/c.yaml", "server_name: [wrong]\n");
  ASSERT_TRUE(waiter.WaitUntil([&] {
    const auto rejected = store.LastRejected();
    return rejected != nullptr && rejected->diagnostics[0].code == Code::kWrongType;
  }));
  source.Stop();
}

TEST(FileSource, PollingFindsWhatInotifyDoesNot) {
  TempDir dir;
  mkdir((dir.path + "/elsewhere").c_str(), 0755);
  Write(dir.path + "/elsewhere/c.yaml", "server_name: one\n");
  ASSERT_EQ(symlink("elsewhere/c.yaml", (dir.path + "/c.yaml").c_str()), 0);
  ConfigStore store(Options());
  FileSourceOptions options;
  options.path = dir.path + "/c.yaml";
  options.poll_interval_us = 10'000;
  Waiter waiter;
  FileSource source(options, store);  // Stops before what it notifies goes.
  ASSERT_TRUE(source.Reload().ok());
  store.Subscribe([&](const ConfigStore::Event&) { waiter.Notify(); });
  source.StartWatching();
  Write(dir.path + "/elsewhere/new", "server_name: two\n");
  rename((dir.path + "/elsewhere/new").c_str(), (dir.path + "/elsewhere/c.yaml").c_str());
  const auto serves = [&](const char* name) {
    return waiter.WaitUntil([&] { return store.Current()->snapshot->server_name == name; });
  };
  ASSERT_TRUE(serves("two"));
}

TEST(Control, SettingsAreResolved) {
  const ControlSettings settings = CompileControl(
      [] {
        config::v1::Config config = ReadDocument("control: {socket: /x/c.sock, socket_mode: \"0600\"}\n").config;
        FillDefaults(&config);
        return config;
      }(),
      "/run/catzilla");
  EXPECT_EQ(settings.socket, "/x/c.sock");
  EXPECT_EQ(settings.worker_socket, "/run/catzilla/worker.sock");
  EXPECT_EQ(settings.socket_mode, 0600u);
}

}  // namespace
}  // namespace catzilla::schema
