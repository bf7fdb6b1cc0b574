#include "sidecar/schema/layers.h"

#include <gtest/gtest.h>

#include "sidecar/schema/store_harness.h"

namespace catzilla::schema {
namespace {

// Layers...

TEST(Layers, ApiOverFileOverAppByName) {
  ConfigStore store(Options());
  ASSERT_TRUE(
      SetFile(store,
              "mounts: [{name: a, prefix: /a, root: /file}, {name: b, prefix: /b, root: /file}]\n"
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
  const Outcome applied =
      Apply(store, "mounts: [{name: a, prefix: /a, root: /api}]\nlimits: {idle_timeout: 2s}\n");
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
            "f.yaml:1: warning CZ1207: mounts[a]: the one of the file is hidden by mounts[z] of "
            "the API (delete one of "
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
  ASSERT_TRUE(
      SetFile(store, "mounts: [{name: a, prefix: /a, root: /}, {name: b, prefix: /b, root: /}]\n")
          .ok());
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
  ASSERT_TRUE(
      SetFile(store, "mounts: [{name: m, prefix: /m/, root: /r, host: ExAmple.com}]\n").ok());
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
  EXPECT_EQ(store.SetApp("shop", std::make_shared<AppLayer>(*app), {}).applied,
            Applied::kUnchanged);
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

}  // namespace
}  // namespace catzilla::schema
