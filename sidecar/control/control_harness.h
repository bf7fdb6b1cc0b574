// A real server on a real socket, with a backend that remembers. Tests only.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/control/server.h"
#include "sidecar/schema/store.h"
#include "sidecar/schema/yaml.h"

namespace catzilla::control {

class FakeBackend final : public Backend {
 public:
  void Status(v1::StatusResponse* out) override {
    out->set_state(v1::SIDECAR_STATE_SERVING);
    out->set_version("1.2.3");
  }
  Answer Explain(const v1::ExplainRequest& request, v1::ExplainResponse* out) override {
    if (request.url().empty()) return {Answer::Kind::kInvalid, "no url"};
    out->set_mount("site");
    return {};
  }
  void Memory(v1::MemoryResponse* out) override { out->set_rss_bytes(7); }
  uint64_t Drain(const std::string& reason) override {
    std::lock_guard<std::mutex> lock(mutex);
    drained = reason;
    return 3;
  }
  Answer Purge(const v1::PurgeRequest& request, v1::PurgeResponse* out) override {
    if (request.cache() == "none") return {Answer::Kind::kNotFound, "no cache is named \"none\""};
    out->set_objects(5);
    return {};
  }
  Answer Lookup(const v1::LookupRequest&, v1::LookupResponse*) override { return {}; }
  Answer CacheStats(const v1::CacheServiceStatsRequest&, v1::CacheServiceStatsResponse*) override {
    return {};
  }
  void Stats(v1::Stats* out) override { out->set_connections(++stats); }
  void Pools(v1::PoolServiceListResponse* out) override {
    auto* pool = out->add_pools();
    pool->set_name("shop");
    auto* worker = pool->add_workers();
    worker->set_pid(100);
    worker->set_state(v1::WORKER_STATE_READY);
  }
  Answer Dump(const v1::DumpRequest& request, v1::DumpResponse* out) override {
    if (request.timeout_ms() == 77) return {Answer::Kind::kUnavailable, "busy"};
    if (request.pool() == "none" || request.pid() == 9) return {};
    out->add_workers()->set_stacks("thread MainThread");
    return {};
  }
  base::Result<Ticket, std::string> BeginGeneration(const std::string& pool,
                                                    const std::string& hash, uint32_t) override {
    std::lock_guard<std::mutex> lock(mutex);
    if (hash == "bad") return base::Fail(std::string("the table hash needs 32 bytes"));
    log.push_back("begin " + pool);
    live.insert(++generation);
    return Ticket{
        {9, generation}, std::string(16, static_cast<char>('a' + generation)), "/run/worker.sock"};
  }
  bool Orphan(const std::string& pool, const GenerationId& id) override {
    std::lock_guard<std::mutex> lock(mutex);
    log.push_back("orphan " + pool + " " + std::to_string(id.number));
    return true;
  }
  bool Resume(const std::string&, const GenerationId& id) override {
    std::lock_guard<std::mutex> lock(mutex);
    return live.contains(id.number);
  }
  bool AwaitServed(uint64_t version) override {
    std::lock_guard<std::mutex> lock(mutex);
    log.push_back("await " + std::to_string(version));
    return !loop_stands;
  }
  bool Logged(const std::string& line) {
    std::lock_guard<std::mutex> lock(mutex);
    return std::find(log.begin(), log.end(), line) != log.end();
  }

  std::mutex mutex;
  std::vector<std::string> log;
  std::set<uint64_t> live;
  uint64_t generation = 0;
  bool loop_stands = false;
  std::string drained;
  std::atomic<uint64_t> stats{0};
};

// Waits without a fixed time for what another thread is about to do.
inline bool Eventually(const std::function<bool()>& come) {
  for (int i = 0; i < 2000; ++i) {
    if (come()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

class Control : public testing::Test {
 protected:
  Control() {
    char name[] = "/tmp/catzilla-control-XXXXXX";
    dir_ = mkdtemp(name);
    mkdir((dir_ + "/www").c_str(), 0755);
    schema::StoreOptions options;
    options.memory_limit_bytes = 1 << 30;
    options.wall_clock_us = [] { return int64_t{1'700'000'000'000'000}; };
    store_ = std::make_unique<schema::ConfigStore>(options);
    settings_.socket = dir_ + "/control.sock";
    settings_.tcp_role = config::v1::ROLE_READ;
  }
  ~Control() override {
    server_.reset();
    std::error_code error;
    std::filesystem::remove_all(dir_, error);
    if (error) ADD_FAILURE() << error.message();
  }

  std::unique_ptr<ControlServer> Make() {
    ServerOptions options;
    options.settings = settings_;
    options.wall_clock_us = [] { return int64_t{1'700'000'000'000'000}; };
    options.monotonic_us = [this] { return now_us_.load(); };
    options.complain = [this](const std::string& sentence) {
      std::lock_guard<std::mutex> lock(backend_.mutex);
      backend_.log.push_back(sentence);
    };
    return std::make_unique<ControlServer>(options, *store_, backend_);
  }

  void Start(const std::string& file = "{}") {
    schema::Document document = schema::ReadDocument(file, "f.yaml");
    schema::FileLayer layer;
    layer.config = document.config;
    layer.lines = document.lines;
    layer.file = "f.yaml";
    const schema::Outcome outcome = store_->SetFile(layer, document.diagnostics, "f.yaml");
    ASSERT_TRUE(outcome.ok()) << schema::Format(outcome.diagnostics[0]);
    server_ = Make();
    auto started = server_->Start();
    ASSERT_TRUE(started.ok()) << started.error();
    channel_ = Connect();
  }

  std::shared_ptr<grpc::Channel> Connect() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel("unix:" + settings_.socket, grpc::InsecureChannelCredentials(),
                                     arguments);
  }

  std::string dir_;
  schema::ControlSettings settings_;
  FakeBackend backend_;
  std::atomic<int64_t> now_us_{0};
  std::unique_ptr<schema::ConfigStore> store_;
  std::unique_ptr<ControlServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace catzilla::control
