// Lookup cost against the number of routes and mounts: it must stay flat.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>

#include "sidecar/route/router.h"

namespace catzilla::route {
namespace {

void BM_MatchRoute(benchmark::State& state) {
  auto snapshot = std::make_shared<config::Snapshot>();
  for (int i = 0; i < state.range(0); ++i) {
    auto route = std::make_shared<config::Route>();
    route->path = "/api/v1/resource" + std::to_string(i) + "/{id:int}/items/{name}";
    route->methods = {"GET"};
    route->declaration_index = static_cast<uint32_t>(i);
    snapshot->routes.push_back(route);
  }
  const Router router(snapshot);
  const std::string path =
      "/api/v1/resource" + std::to_string(state.range(0) - 1) + "/1234/items/thing";
  Verdict verdict;
  for (auto _ : state) {
    router.Match("example.test", "GET", path, &verdict);
    benchmark::DoNotOptimize(verdict);
  }
}
BENCHMARK(BM_MatchRoute)->Arg(10)->Arg(100)->Arg(1000)->Arg(10'000);

void BM_MatchMount(benchmark::State& state) {
  auto snapshot = std::make_shared<config::Snapshot>();
  for (int i = 0; i < state.range(0); ++i) {
    auto mount = std::make_shared<config::Mount>();
    mount->prefix = "/static" + std::to_string(i);
    snapshot->mounts.push_back(mount);
  }
  const Router router(snapshot);
  Verdict verdict;
  for (auto _ : state) {
    router.Match("example.test", "GET", "/static0/css/site.css", &verdict);
    benchmark::DoNotOptimize(verdict);
  }
}
BENCHMARK(BM_MatchMount)->Arg(1)->Arg(10)->Arg(1000);

}  // namespace
}  // namespace catzilla::route
