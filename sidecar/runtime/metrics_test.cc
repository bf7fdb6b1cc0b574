#include "sidecar/runtime/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/base/epoch.h"
#include "sidecar/base/executor.h"
#include "sidecar/ops/metric_names.h"

namespace catzilla::runtime {
namespace {

constexpr int64_t kStalledUs = 5'000'000;

// A sidecar's state without its sockets: one mount, one route, one pool, one cache, two loops.
class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest()
      : file_store_(epochs_, {1 << 20, 16, 16}, 1),
        executor_("files", 1, 16),
        workers_(Options()),
        routes_(2, 200),
        config_({0, false, [] { return int64_t{1'700'000'000'000'000}; }}),
        metrics_(Metrics::Parts{"1.2.3",
                                kStalledUs,
                                {1.5, 1 << 30},
                                routes_,
                                file_store_,
                                workers_,
                                upstreams_,
                                config_,
                                [this] {
                                  return std::vector<Metrics::LoopView>{
                                      {&loops_[0], &loop_stats_[0]}, {&loops_[1], &loop_stats_[1]}};
                                },
                                [this] { return plan_; },
                                [this] {
                                  return std::vector<std::pair<std::string, cache::CacheStats>>{
                                      {"edge", cache_}};
                                }}) {
    config::Pool pool;
    pool.name = "app";
    workers_.Configure(pool);
    auto servers = std::make_shared<config::Pool>();
    servers->name = "web";
    servers->upstream.emplace().targets = {*base::ParseEndpoint("127.0.0.1:9000")};
    setup_ = upstreams_.Configure(servers, 64 * 1024);
    auto mount = std::make_shared<config::Mount>();
    mount->name = "assets";
    mount->prefix = "/assets";
    mount->root = "/tmp";
    auto snapshot = std::make_shared<config::Snapshot>();
    snapshot->mounts = {mount};
    auto plan = std::make_shared<exchange::Plan>(snapshot);
    auto target = std::make_shared<exchange::MountTarget>();
    target->config = mount;
    target->files = std::make_shared<files::Mount>(
        mount, files::Mount::Environment{file_store_, executor_, "", files::DetectResolveMethod()});
    target->stats = routes_.Get("/assets", {"GET", "HEAD"});
    plan->mounts.push_back(std::move(target));
    plan_ = plan;
    route_ = routes_.Get("/items/{id}", {"GET"});
  }

  static worker::RegistryOptions Options() {
    worker::RegistryOptions options;
    options.loops = 2;
    return options;
  }

  std::string Scrape(bool open_metrics = false) {
    ops::Exposition out(open_metrics);
    metrics_.Collect(out);
    return std::move(out).Finish();
  }
  // By name with labels, as it is written.
  std::map<std::string, std::string> Samples() {
    std::map<std::string, std::string> samples;
    std::istringstream text(Scrape());
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("#")) continue;
      const size_t blank = line.rfind(' ');
      EXPECT_TRUE(samples.emplace(line.substr(0, blank), line.substr(blank + 1)).second) << line;
    }
    return samples;
  }
  const files::Mount& mount() { return *plan_->mounts[0]->files; }

  base::EpochDomain epochs_;
  files::FileStore file_store_;
  base::Executor executor_;
  worker::Registry workers_;
  upstream::Registry upstreams_;
  upstream::SetupRef setup_;
  stats::RouteStatsTable routes_;
  schema::ConfigStore config_;
  loop::Loop loops_[2] = {loop::Loop(0), loop::Loop(1)};
  stats::LoopStats loop_stats_[2];
  cache::CacheStats cache_;
  std::shared_ptr<const exchange::Plan> plan_;
  std::shared_ptr<stats::RouteStats> route_;
  Metrics metrics_;
};

// The list of names is the truth: every family is told once, with the labels that the manual names.
TEST_F(MetricsTest, TellsEveryFamilyOnceWithItsLabels) {
  for (const bool open_metrics : {false, true}) {
    std::map<std::string, int> headings;
    std::map<std::string, std::set<std::string>> labels;
    std::string family;
    std::istringstream text(Scrape(open_metrics));
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("# TYPE ")) {
        family = line.substr(7, line.find(' ', 7) - 7);
        ++headings[family];
      }
      if (line.starts_with("#")) continue;
      for (size_t end = 0; (end = line.find("=\"", end + 1)) != std::string::npos;) {
        const size_t begin = line.find_last_of("{,", end) + 1;
        const std::string label = line.substr(begin, end - begin);
        if (label != "le") labels[family].insert(label);
      }
    }
    for (const ops::MetricFamily& one : ops::kMetricFamilies) {
      std::string name(one.name);
      if (!open_metrics && one.type == ops::MetricType::kCounter) name += "_total";
      if (!open_metrics && one.type == ops::MetricType::kInfo) name += "_info";
      EXPECT_EQ(headings[name], 1) << name;
      std::set<std::string> told;
      std::istringstream list{std::string(one.labels)};
      for (std::string label; std::getline(list, label, ',');) {
        told.insert(label.substr(label.find_first_not_of(' ')));
      }
      EXPECT_EQ(labels[name], told) << name;
    }
    EXPECT_EQ(headings.size(), std::size(ops::kMetricFamilies));
  }
}

TEST_F(MetricsTest, EverySeriesIsThereBeforeTheFirstRequest) {
  auto samples = Samples();
  for (const char* series : {
           "catzilla_http_requests_total{route=\"/items/{id}\",method=\"GET\",code=\"5xx\"}",
           "catzilla_http_requests_total{route=\"/assets\",method=\"HEAD\",code=\"2xx\"}",
           "catzilla_http_requests_total{route=\"<other>\",method=\"GET\",code=\"2xx\"}",
           "catzilla_http_request_duration_seconds_bucket{route=\"/items/{id}\",le=\"0.005\"}",
           "catzilla_http_request_duration_seconds_count{route=\"/items/{id}\"}",
           "catzilla_http_responses_total{code=\"404\"}",
           "catzilla_http_connections{state=\"idle\"}",
           "catzilla_http_connections_closed_total{reason=\"header_timeout\"}",
           "catzilla_static_requests_total{mount=\"assets\",result=\"not_modified\"}",
           "catzilla_static_lookups_total{mount=\"assets\",result=\"miss\"}",
           "catzilla_static_held_bytes{mount=\"assets\"}",
           "catzilla_cache_requests_total{cache=\"edge\",tier=\"memory\",result=\"hit\"}",
           "catzilla_cache_evictions_total{cache=\"edge\",reason=\"capacity\"}",
           "catzilla_cache_purged_total{cache=\"edge\",kind=\"tag\"}",
           "catzilla_pool_workers{pool=\"app\",generation=\"0\",state=\"ready\"}",
           "catzilla_pool_queue_depth{pool=\"app\"}",
           "catzilla_pool_queue_wait_seconds_count{pool=\"app\"}",
           "catzilla_pool_rejected_total{pool=\"app\",reason=\"queue_full\"}",
           "catzilla_pool_failures_total{pool=\"app\",reason=\"worker_lost\"}",
           "catzilla_config_rejections_total{source=\"file\"}",
           "catzilla_access_log_dropped_total",
           "catzilla_telemetry_series_overflow_total",
       }) {
    EXPECT_EQ(samples[series], "0") << series;
  }
  EXPECT_EQ(samples["catzilla_build_info{version=\"1.2.3\"}"], "1");
  EXPECT_EQ(samples["catzilla_config_info{version=\"0\"}"], "1");
  EXPECT_EQ(samples["catzilla_cpu_limit"], "1.5");
  EXPECT_EQ(samples["catzilla_memory_limit_bytes"], "1073741824");
  EXPECT_EQ(samples["catzilla_pool_queue_limit{pool=\"app\"}"], "1024");
  // Only what is declared, until something else comes.
  EXPECT_EQ(samples.count("catzilla_http_requests_total{route=\"/items/{id}\",method=\"POST\","
                          "code=\"2xx\"}"),
            0u);
}

TEST_F(MetricsTest, AddsUpWhatTheLoopsHaveCounted) {
  route_->Count(0, stats::MethodSlot("GET"), 200, 4'000);
  route_->Count(1, stats::MethodSlot("GET"), 204, 1'000'000);
  route_->Count(1, stats::MethodSlot("BREW"), 405, 100);
  for (stats::LoopStats& loop : loop_stats_) {
    loop.responses[200].Add(2);
    loop.responses[418].Add();
    loop.connections_open.Set(5);
    loop.connections_active.Set(2);
    loop.accepted.Add(6);
    loop.bytes_sent.Add(1000);
    loop.closed[static_cast<size_t>(stats::CloseReason::kIdle)].Add();
  }
  mount().stats().Add(0, files::Counter::kOk, 3);
  mount().stats().Add(1, files::Counter::kOk, 4);
  mount().stats().AddShared(files::Counter::kBytesHeld, 10);
  cache_.requests[static_cast<size_t>(cache::CacheResult::kHit)] = 9;
  cache_.bytes = 77;
  const auto pool = workers_.Find("app");
  pool->CountRequest(0);
  pool->CountFailure(1, origin::FailureKind::kQueueFull);
  pool->CountFailure(1, origin::FailureKind::kBadAnswer);
  pool->CountQueueWait(0, 2'000);

  auto samples = Samples();
  const std::pair<const char*, const char*> kExpected[] = {
      {"catzilla_http_requests_total{route=\"/items/{id}\",method=\"GET\",code=\"2xx\"}", "2"},
      {"catzilla_http_requests_total{route=\"/items/{id}\",method=\"<other>\",code=\"4xx\"}", "1"},
      {"catzilla_http_request_duration_seconds_bucket{route=\"/items/{id}\",le=\"0.0005\"}", "1"},
      {"catzilla_http_request_duration_seconds_bucket{route=\"/items/{id}\",le=\"0.005\"}", "2"},
      {"catzilla_http_request_duration_seconds_bucket{route=\"/items/{id}\",le=\"1.0\"}", "3"},
      {"catzilla_http_request_duration_seconds_bucket{route=\"/items/{id}\",le=\"+Inf\"}", "3"},
      {"catzilla_http_request_duration_seconds_count{route=\"/items/{id}\"}", "3"},
      {"catzilla_http_responses_total{code=\"200\"}", "4"},
      {"catzilla_http_responses_total{code=\"418\"}", "2"},
      {"catzilla_http_connections{state=\"active\"}", "4"},
      {"catzilla_http_connections{state=\"idle\"}", "6"},
      {"catzilla_http_connections_accepted_total", "12"},
      {"catzilla_http_connections_closed_total{reason=\"idle\"}", "2"},
      {"catzilla_http_sent_bytes_total", "2000"},
      {"catzilla_static_requests_total{mount=\"assets\",result=\"ok\"}", "7"},
      {"catzilla_static_held_bytes{mount=\"assets\"}", "10"},
      {"catzilla_cache_requests_total{cache=\"edge\",tier=\"memory\",result=\"hit\"}", "9"},
      {"catzilla_cache_bytes{cache=\"edge\"}", "77"},
      {"catzilla_pool_requests_total{pool=\"app\"}", "1"},
      {"catzilla_pool_rejected_total{pool=\"app\",reason=\"queue_full\"}", "1"},
      {"catzilla_pool_failures_total{pool=\"app\",reason=\"bad_answer\"}", "1"},
      {"catzilla_pool_queue_wait_seconds_count{pool=\"app\"}", "1"},
  };
  for (const auto& [series, value] : kExpected) EXPECT_EQ(samples[series], value) << series;
  const char* sum = "catzilla_http_request_duration_seconds_sum{route=\"/items/{id}\"}";
  EXPECT_NEAR(std::stod(samples[sum]), 1.0041, 1e-9);
}

TEST_F(MetricsTest, RoutesBeyondSeriesMaxShareOneAndAreCounted) {
  std::vector<std::shared_ptr<stats::RouteStats>> held;
  for (int i = 0; i < 100; ++i) {
    held.push_back(routes_.Get("/route" + std::to_string(i), {"GET"}));
    held.back()->Count(0, 0, 200, 1);
  }
  auto samples = Samples();
  size_t series = 0;
  for (const auto& [name, value] : samples) series += name.find("route=\"") != std::string::npos;
  EXPECT_LE(series, 200u + 30u);  // And those of "<other>" itself.
  const std::string overflow = samples["catzilla_telemetry_series_overflow_total"];
  EXPECT_GT(std::stoi(overflow), 80);
  EXPECT_EQ(samples["catzilla_http_requests_total{route=\"<other>\",method=\"GET\",code=\"2xx\"}"],
            overflow);
}

TEST_F(MetricsTest, AGaugeIsNeverBelowZero) {
  mount().stats().AddShared(files::Counter::kEntries, -1);
  loop_stats_[0].connections_active.Set(3);  // Read before connections_open was.
  auto samples = Samples();
  EXPECT_EQ(samples["catzilla_static_entries{mount=\"assets\"}"], "0");
  EXPECT_EQ(samples["catzilla_http_connections{state=\"active\"}"], "0");
  EXPECT_EQ(samples["catzilla_http_connections{state=\"idle\"}"], "0");
}

TEST_F(MetricsTest, SaysWhenALoopIsStalled) {
  auto samples = Samples();
  EXPECT_EQ(samples["catzilla_loop_stalled{loop=\"0\"}"], "0");
  Metrics impatient(Metrics::Parts{
      "",
      -1,
      {},
      routes_,
      file_store_,
      workers_,
      upstreams_,
      config_,
      [this] { return std::vector<Metrics::LoopView>{{&loops_[1], &loop_stats_[1]}}; },
      [] { return nullptr; },
      [] { return std::vector<std::pair<std::string, cache::CacheStats>>(); }});
  ops::Exposition out(false);
  impatient.Collect(out);
  EXPECT_THAT(std::move(out).Finish(),
              ::testing::HasSubstr("catzilla_loop_stalled{loop=\"1\"} 1\n"));
}

TEST_F(MetricsTest, SaysWhichConfigurationIsServed) {
  schema::FileLayer layer;
  ASSERT_TRUE(config_.SetFile(layer, {}, "test").ok());
  schema::Diagnostics errors(1);
  errors[0].severity = schema::Severity::kError;
  EXPECT_FALSE(config_.SetFile(layer, errors, "test").ok());
  auto samples = Samples();
  EXPECT_EQ(samples["catzilla_config_info{version=\"1\"}"], "1");
  EXPECT_EQ(samples["catzilla_config_change_timestamp_seconds"], "1.7e+09");
  EXPECT_EQ(samples["catzilla_config_rejections_total{source=\"file\"}"], "1");
  EXPECT_EQ(samples["catzilla_config_restart_pending"], "0");
  layer.config.mutable_telemetry()->set_ops_port(1);
  layer.config.mutable_telemetry()->set_max_series(200);
  ASSERT_TRUE(config_.SetFile(layer, {}, "test").ok());
  samples = Samples();
  EXPECT_EQ(samples["catzilla_config_info{version=\"2\"}"], "1");
  EXPECT_EQ(samples["catzilla_config_restart_pending"], "1");
}

TEST_F(MetricsTest, TellsTheProcess) {
  auto samples = Samples();
  EXPECT_GT(std::stod(samples["process_cpu_seconds_total"]), 0);
  EXPECT_GT(std::stod(samples["process_resident_memory_bytes"]), 1e6);
  EXPECT_GT(std::stod(samples["process_virtual_memory_bytes"]), 1e6);
  EXPECT_GE(std::stoi(samples["process_open_fds"]), 3);
  EXPECT_GT(std::stod(samples["process_max_fds"]), 3);
  EXPECT_GE(std::stoi(samples["process_threads"]), 1);
  const double age = static_cast<double>(base::ReadClock().wall_us) * 1e-6 -
                     std::stod(samples["process_start_time_seconds"]);
  EXPECT_GT(age, -2);  // Both clocks are read in whole seconds somewhere.
  EXPECT_LT(age, 3600);
}

TEST_F(MetricsTest, MayBeReadWhileTheLoopsCount) {
  std::atomic<bool> stop{false};
  std::thread loop([&] {
    while (!stop) {
      route_->Count(0, 0, 200, 100);
      loop_stats_[0].responses[200].Add();
      mount().stats().Add(0, files::Counter::kOk);
      workers_.Find("app")->CountRequest(0);
    }
  });
  std::thread table([&] {
    while (!stop) routes_.Get("/new", {"GET"})->Count(1, 0, 200, 100);
  });
  for (int i = 0; i < 50; ++i) Samples();
  stop = true;
  loop.join();
  table.join();
}

}  // namespace
}  // namespace catzilla::runtime
