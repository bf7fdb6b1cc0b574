#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "sidecar/route/router.h"

namespace catzilla::route {
namespace {

using config::Layer;
using Kind = Verdict::Kind;

TEST(PathTemplate, RefusesWhatItCannotMean) {
  for (const char* text :
       {"", "items", "/a{", "/a}", "/{}", "/{1a}", "/{a:hex}", "/{a}/{a}", "/{a b}"}) {
    EXPECT_FALSE(ParseTemplate(text).ok()) << text;
  }
  EXPECT_EQ(ParseTemplate("/a{x}")->literal_prefix, "/a");
  EXPECT_TRUE(ParseTemplate("/{p:path}/raw")->has_inner_path());
  EXPECT_FALSE(ParseTemplate("/f/{p:path}")->has_inner_path());
}

struct AcceptCase {
  Convertor convertor;
  const char* text;
  bool accepted;
};

TEST(PathTemplate, ConvertorsAreStarlettes) {
  const AcceptCase cases[] = {
      {Convertor::kString, "a", true},
      {Convertor::kString, "", false},
      {Convertor::kString, "a/b", false},
      {Convertor::kInt, "007", true},
      {Convertor::kInt, "-1", false},
      {Convertor::kInt, "1.0", false},
      {Convertor::kFloat, "1", true},
      {Convertor::kFloat, "1.5", true},
      {Convertor::kFloat, "1.", false},
      {Convertor::kFloat, ".5", false},
      {Convertor::kPath, "", true},
      {Convertor::kPath, "a/b", true},
      {Convertor::kUuid, "123e4567-e89b-12d3-a456-426614174000", true},
      {Convertor::kUuid, "123e4567e89b12d3a456426614174000", true},
      {Convertor::kUuid, "123e4567-e89b-12d3-a456-42661417400", false},
  };
  for (const AcceptCase& c : cases) EXPECT_EQ(Accepts(c.convertor, c.text), c.accepted) << c.text;
}

class RouterTest : public testing::Test {
 protected:
  void Add(Layer layer, const std::string& path, std::vector<std::string> methods = {"GET"},
           const std::string& host = "", bool low = false) {
    auto route = std::make_shared<config::Route>();
    route->source = layer;
    route->path = path;
    route->name = path;
    route->methods = std::move(methods);
    route->host = host;
    route->low_priority = low;
    route->declaration_index = static_cast<uint32_t>(snapshot_->routes.size());
    snapshot_->routes.push_back(route);
  }
  void Mount(const std::string& prefix, const std::string& host = "") {
    auto mount = std::make_shared<config::Mount>();
    mount->prefix = prefix;
    mount->host = host;
    snapshot_->mounts.push_back(mount);
  }
  std::string Ask(const std::string& path, const std::string& method = "GET",
                  const std::string& host = "h") {
    const Router router(snapshot_);
    Verdict verdict;
    router.Match(host, method, path, &verdict);
    switch (verdict.kind) {
      case Kind::kNotFound:
        return "404";
      case Kind::kMount:
        return "mount " + snapshot_->mounts[verdict.mount]->prefix;
      case Kind::kMethodNotAllowed:
        return "405 " + router.Allow(host, path);
      case Kind::kAppDecides:
        return "app " + snapshot_->routes[verdict.route]->path;
      case Kind::kRoute:
        break;
    }
    std::string text = snapshot_->routes[verdict.route]->path;
    for (uint32_t i = 0; i < verdict.capture_count; ++i) {
      const Capture& capture = verdict.captures[i];
      text += " " + path.substr(capture.begin, capture.end - capture.begin);
    }
    return text;
  }
  std::shared_ptr<config::Snapshot> snapshot_ = std::make_shared<config::Snapshot>();
};

TEST_F(RouterTest, SocketsAndRequestsDoNotMeet) {
  const auto add = [&](config::RouteKind kind, const std::string& path) {
    Add(Layer::kApp, path, {});
    std::const_pointer_cast<config::Route>(snapshot_->routes.back())->kind = kind;
  };
  const auto socket = [&](const std::string& path) {
    const Router router(snapshot_);
    Verdict verdict;
    router.MatchSocket("h", path, &verdict);
    if (verdict.kind == Kind::kMount) return std::string("mount");
    return verdict.kind == Kind::kRoute ? snapshot_->routes[verdict.route]->path : "none";
  };
  add(config::RouteKind::kApi, "/both");
  add(config::RouteKind::kWebSocket, "/both");
  add(config::RouteKind::kWebSocket, "/rooms/{n:int}");
  add(config::RouteKind::kStarlette, "/plain");
  add(config::RouteKind::kMount, "/sub/{path:path}");
  add(config::RouteKind::kWebSocket, "/sub/late");
  Add(Layer::kFile, "/operators/{rest:path}", {"GET"});
  Add(Layer::kFile, "/posts", {"POST"});
  Mount("/files");
  EXPECT_EQ(Ask("/both"), "/both");
  EXPECT_EQ(Ask("/rooms/1"), "404");
  EXPECT_EQ(Ask("/sub/late"), "/sub/{path:path} late");
  EXPECT_EQ(socket("/both"), "/both");
  EXPECT_EQ(socket("/rooms/1"), "/rooms/{n:int}");
  EXPECT_EQ(socket("/rooms/one"), "none");
  EXPECT_EQ(socket("/plain"), "none");
  EXPECT_EQ(socket("/sub/late"), "/sub/{path:path}");  // Declared first.
  EXPECT_EQ(socket("/operators/x"), "/operators/{rest:path}");
  EXPECT_EQ(socket("/files/x"), "mount");
  EXPECT_EQ(socket("/nothing"), "none");
}

TEST_F(RouterTest, AppTakesTheFirstDeclared) {
  Add(Layer::kApp, "/users/{id}");
  Add(Layer::kApp, "/users/me");
  Add(Layer::kApp, "/files/{name}.{ext}");
  Add(Layer::kApp, "/files/{rest:path}");
  Add(Layer::kApp, "/n/{n:int}");
  Add(Layer::kApp, "/n/{s}");
  EXPECT_EQ(Ask("/users/me"), "/users/{id} me");
  EXPECT_EQ(Ask("/files/a.b.c"), "/files/{name}.{ext} a.b c");
  EXPECT_EQ(Ask("/files/a/b"), "/files/{rest:path} a/b");
  EXPECT_EQ(Ask("/files/"), "/files/{rest:path} ");
  EXPECT_EQ(Ask("/n/12"), "/n/{n:int} 12");
  EXPECT_EQ(Ask("/n/x"), "/n/{s} x");
  EXPECT_EQ(Ask("/users"), "404");
}

TEST_F(RouterTest, AppAnswersOnlyListedMethods) {
  Add(Layer::kApp, "/a", {"GET"});
  Add(Layer::kApp, "/a", {"POST"});
  Add(Layer::kApp, "/b", {});
  EXPECT_EQ(Ask("/a", "POST"), "/a");
  EXPECT_EQ(Ask("/a", "HEAD"), "405 GET");
  EXPECT_EQ(Ask("/b", "BREW"), "/b");
}

TEST_F(RouterTest, OperatorsTakeTheMostSpecificAndHeadFollowsGet) {
  Add(Layer::kFile, "/api/{rest:path}");
  Add(Layer::kFile, "/api/{id}");
  Add(Layer::kFile, "/api/{id:int}");
  Add(Layer::kFile, "/api/me", {"GET", "PUT"});
  EXPECT_EQ(Ask("/api/me", "HEAD"), "/api/me");
  EXPECT_EQ(Ask("/api/7"), "/api/{id:int} 7");
  EXPECT_EQ(Ask("/api/x"), "/api/{id} x");
  EXPECT_EQ(Ask("/api/x/y"), "/api/{rest:path} x/y");
  EXPECT_EQ(Ask("/api/me", "DELETE"), "405 GET, HEAD, PUT");
}

TEST_F(RouterTest, OperatorsComeBeforeTheApp) {
  Add(Layer::kApp, "/a");
  Add(Layer::kApi, "/{x}");
  EXPECT_EQ(Ask("/a"), "/{x} a");
}

TEST_F(RouterTest, TheLongestMountWinsOnSegmentBoundaries) {
  Mount("/static");
  Mount("/static/img");
  EXPECT_EQ(Ask("/static"), "mount /static");
  EXPECT_EQ(Ask("/static/a"), "mount /static");
  EXPECT_EQ(Ask("/static/img/a"), "mount /static/img");
  EXPECT_EQ(Ask("/static/imga"), "mount /static");
  EXPECT_EQ(Ask("/staticfoo"), "404");
  EXPECT_EQ(Ask("/static..%"), "404");
}

TEST_F(RouterTest, ARouteBeatsAMountWithItsLongerLiteralPrefix) {
  Mount("/");
  Mount("/docs");
  Add(Layer::kApp, "/api/{id}");
  Add(Layer::kApp, "/docs");
  Add(Layer::kApp, "/{rest:path}");
  EXPECT_EQ(Ask("/api/1"), "/api/{id} 1");
  EXPECT_EQ(Ask("/docs"), "/docs");
  EXPECT_EQ(Ask("/docs/x"), "mount /docs");
  EXPECT_EQ(Ask("/api/1", "POST"), "405 GET");
}

TEST_F(RouterTest, HostsFallBackToAnyHost) {
  Mount("/", "a.test");
  Add(Layer::kApp, "/x", {"GET"}, "b.test");
  Add(Layer::kApp, "/x");
  Add(Layer::kApp, "/y");
  EXPECT_EQ(Ask("/y", "GET", "a.test"), "mount /");
  EXPECT_EQ(Ask("/y", "GET", "b.test"), "/y");
  EXPECT_EQ(Ask("/z", "GET", "b.test"), "404");
}

TEST_F(RouterTest, FrontendsComeLast) {
  Add(Layer::kApp, "/{rest:path}", {"GET"}, "", /*low=*/true);
  Add(Layer::kApp, "/a");
  EXPECT_EQ(Ask("/a"), "/a");
  EXPECT_EQ(Ask("/b"), "/{rest:path} b");
}

TEST_F(RouterTest, WhatATrieCannotDecideGoesToTheApp) {
  Add(Layer::kApp, "/f/{p:path}/raw");
  Add(Layer::kApp, "/with/");
  Add(Layer::kApp, "/without");
  EXPECT_EQ(Ask("/f/a/b/raw"), "app /f/{p:path}/raw");
  EXPECT_EQ(Ask("/with"), "app /with/");
  EXPECT_EQ(Ask("/without/"), "app /without");
  EXPECT_EQ(Ask("/without/x"), "404");
}

TEST_F(RouterTest, APathMadeToBeSlowEnds) {
  Add(Layer::kApp, "/{a}-{b}-{c}-{d}.x");
  EXPECT_EQ(Ask("/" + std::string(8000, '-')), "404");
}

TEST_F(RouterTest, TenThousandRoutes) {
  for (int i = 0; i < 10'000; ++i) Add(Layer::kApp, "/r" + std::to_string(i) + "/{id:int}");
  EXPECT_EQ(Ask("/r9999/5"), "/r9999/{id:int} 5");
  EXPECT_EQ(Ask("/r10000/5"), "404");
}

}  // namespace
}  // namespace catzilla::route
