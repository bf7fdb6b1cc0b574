#include "sidecar/exchange/choose.h"

#include <gtest/gtest.h>

#include "sidecar/http/target.h"
#include "sidecar/worker/registry.h"

namespace catzilla::exchange {
namespace {

using config::Layer;

class ChooseTest : public testing::Test {
 protected:
  ChooseTest() : workers_(worker::RegistryOptions{}), stats_(1, 100) {
    config::Pool pool;
    pool.name = "app";
    pool_ = workers_.Configure(pool);
  }

  void Route(Layer layer, const std::string& path, std::vector<std::string> methods = {"GET"},
             bool with_pool = true) {
    auto route = std::make_shared<config::Route>();
    route->source = layer;
    route->path = route->name = path;
    route->methods = methods;
    route->declaration_index = static_cast<uint32_t>(snapshot_->routes.size());
    snapshot_->routes.push_back(route);
    auto target = std::make_shared<RouteTarget>();
    target->config = route;
    if (with_pool) target->pool = pool_;
    target->stats = stats_.Get(path, methods);
    routes_.push_back(target);
  }
  void Mount(const std::string& prefix) {
    auto mount = std::make_shared<config::Mount>();
    mount->prefix = prefix;
    snapshot_->mounts.push_back(mount);
    auto target = std::make_shared<MountTarget>();
    target->config = mount;
    target->stats = stats_.Get(prefix, {"GET"});
    mounts_.push_back(target);
  }

  // "mount /static /static/a", "route /items/{id}", "app /items", "404 no_route fastapi"; and whom
  // it is counted for, if that is not who answers.
  std::string Ask(const std::string& raw, const std::string& method = "GET") {
    plan_ = std::make_shared<Plan>(snapshot_);
    plan_->routes = routes_;
    plan_->mounts = mounts_;
    plan_->unmatched = stats_.Get("<none>", {"GET"});
    plan_->catch_all = catch_all_;
    plan_->as_fastapi = as_fastapi_;
    plan_->app_is_starting = app_is_starting_;
    std::string decoded_storage;
    const http::DecodedPath decoded = http::DecodePath(raw, decoded_storage);
    std::string storage;
    Choose(*plan_, {"h", method, decoded.path, decoded.flags}, storage, &choice_);
    EXPECT_NE(choice_.Owner(), nullptr);
    switch (choice_.kind) {
      case Choice::Kind::kMount:
        EXPECT_EQ(choice_.stats, choice_.mount->stats.get());
        return "mount " + choice_.mount->config->prefix + " " + std::string(choice_.path);
      case Choice::Kind::kRoute:
        EXPECT_EQ(choice_.stats, choice_.route->stats.get());
        return (choice_.matched ? "route " : "app ") + choice_.route->config->path;
      case Choice::Kind::kRefusal:
        break;
    }
    std::string text = std::to_string(choice_.status) + " " + std::string(choice_.cause);
    if (choice_.as_fastapi) text += " fastapi";
    return text + " for " + choice_.stats->label();
  }

  worker::Registry workers_;
  stats::RouteStatsTable stats_;
  std::shared_ptr<worker::Pool> pool_;
  std::shared_ptr<config::Snapshot> snapshot_ = std::make_shared<config::Snapshot>();
  std::vector<std::shared_ptr<const RouteTarget>> routes_;
  std::vector<std::shared_ptr<const MountTarget>> mounts_;
  std::shared_ptr<const RouteTarget> catch_all_;
  bool as_fastapi_ = false;
  bool app_is_starting_ = false;
  std::shared_ptr<Plan> plan_;
  Choice choice_;
};

TEST_F(ChooseTest, AMountAnswersForItsFilesAlone) {
  Mount("/static");
  EXPECT_EQ(Ask("/static/a%20b"), "mount /static /static/a b");
  EXPECT_EQ(Ask("/staticfoo"), "404 no_route for <none>");
  EXPECT_EQ(Ask("/static/%00"), "400 path for /static");
  EXPECT_EQ(Ask("/static/a%2Fb"), "400 path for /static");
}

// A path without its dot segments may not be a way around what another resource guards.
TEST_F(ChooseTest, DotSegmentsStayInTheirMount) {
  Mount("/static");
  Mount("/other");
  EXPECT_EQ(Ask("/static/./a/../b"), "mount /static /static/b");
  EXPECT_EQ(Ask("/static/../other/x"), "400 path for /static");
  EXPECT_EQ(Ask("/static/../../x"), "400 path for /static");
}

TEST_F(ChooseTest, RoutesAnswerAndWhatTheTrieCannotTellTheAppDecides) {
  Route(Layer::kApp, "/items/{id}", {"GET"});
  Route(Layer::kApp, "/{rest:path}/raw", {"GET"});
  EXPECT_EQ(Ask("/items/7"), "route /items/{id}");
  EXPECT_EQ(choice_.verdict.capture_count, 1u);
  EXPECT_EQ(Ask("/x/raw"), "app /{rest:path}/raw");
  EXPECT_EQ(choice_.verdict.capture_count, 0u) << "what has not matched has no parameters";
}

TEST_F(ChooseTest, ARouteWithoutAPoolIsRefusedInItsName) {
  Route(Layer::kFile, "/a", {"GET"}, false);
  EXPECT_EQ(Ask("/a"), "503 no_pool for /a");
}

TEST_F(ChooseTest, AnotherMethodIsTheRoutesOwn405) {
  Route(Layer::kApp, "/app", {"GET"});
  Route(Layer::kFile, "/op", {"GET"});
  EXPECT_EQ(Ask("/app", "PUT"), "405 method fastapi for /app");
  EXPECT_EQ(Ask("/op", "PUT"), "405 method for /op");
}

TEST_F(ChooseTest, AnAppThatAnswersForWhatItHasNotIsAsked) {
  Route(Layer::kApp, "/app", {"GET"});
  Route(Layer::kFile, "/op", {"GET"});
  Route(Layer::kApp, "/catch", {"GET"});
  catch_all_ = routes_.back();
  EXPECT_EQ(Ask("/app", "PUT"), "app /app");
  EXPECT_EQ(Ask("/op", "PUT"), "405 method for /op") << "an operator's route is not the app's";
  EXPECT_EQ(Ask("/nothing"), "app /catch");
}

TEST_F(ChooseTest, WhatNothingClaims) {
  EXPECT_EQ(Ask("/x"), "404 no_route for <none>");
  as_fastapi_ = true;
  EXPECT_EQ(Ask("/x"), "404 no_route fastapi for <none>");
  app_is_starting_ = true;
  EXPECT_EQ(Ask("/x"), "503 app_starting for <none>");
}

// A Choice is used again and again: nothing of one request is left for the next.
TEST_F(ChooseTest, NothingOfTheOneBeforeIsLeft) {
  Mount("/static");
  Route(Layer::kApp, "/items/{id}");
  EXPECT_EQ(Ask("/items/7"), "route /items/{id}");
  EXPECT_EQ(Ask("/static/a"), "mount /static /static/a");
  EXPECT_EQ(choice_.route, nullptr);
  EXPECT_FALSE(choice_.as_fastapi);
  EXPECT_EQ(Ask("/x"), "404 no_route for <none>");
  EXPECT_EQ(choice_.mount, nullptr);
}

}  // namespace
}  // namespace catzilla::exchange
