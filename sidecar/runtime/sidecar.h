// The process: built from the configuration, run until a signal, drained, taken down in order.
//
//   constructed --Start()--> serving --SIGTERM, Drain()--> draining --answered, or late--> stopped
//
// Threads: constructor, Start(), Run() and destructor on main's; Drain() and the sources' methods
//          on any.
// Owns:    every part. Order of birth: configuration, shared state, loops, ops, control; of death:
//          the other way round, so metrics and health are the last to answer.
// Fails:   Start() with a sentence and its remedy; nothing is left behind then.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/base/cgroup.h"
#include "sidecar/base/epoch.h"
#include "sidecar/base/executor.h"
#include "sidecar/base/mutex.h"
#include "sidecar/control/server.h"
#include "sidecar/files/passed_file.h"
#include "sidecar/files/store.h"
#include "sidecar/ops/ops_server.h"
#include "sidecar/runtime/access_log_switch.h"
#include "sidecar/runtime/flags.h"
#include "sidecar/runtime/loop_thread.h"
#include "sidecar/runtime/metrics.h"
#include "sidecar/runtime/plan_builder.h"
#include "sidecar/runtime/plan_publisher.h"
#include "sidecar/runtime/upstream_state.h"
#include "sidecar/schema/compile.h"
#include "sidecar/schema/file_source.h"
#include "sidecar/schema/store.h"
#include "sidecar/stats/route_stats.h"
#include "sidecar/upstream/registry.h"
#include "sidecar/worker/registry.h"

namespace catzilla::runtime {

class RunningBackend;

class Sidecar final : private ops::HealthSource, private cache::Waker, private worker::EventSink {
 public:
  explicit Sidecar(Flags flags);
  ~Sidecar();

  base::Result<base::Unit, std::string> Start();
  // Waits for signals until drained: SIGTERM and SIGINT drain (a second one cuts), SIGHUP re-reads
  // the file and re-opens the access log. REQUIRES: these signals are blocked in every thread.
  void Run();
  // As SIGTERM. Any thread.
  void Drain(const std::string& reason);

  // What other parts of runtime read...
  const Flags& flags() const { return flags_; }
  schema::ConfigStore& config() { return config_; }
  worker::Registry& workers() { return *workers_; }
  upstream::Registry& upstreams() { return *upstreams_; }
  files::FileStore& file_store() { return *file_store_; }
  stats::RouteStatsTable& route_stats() { return *route_stats_; }
  const std::vector<std::unique_ptr<LoopThread>>& loops() const { return loops_; }
  // The newest; a loop may be about to take it.
  std::shared_ptr<const exchange::Plan> plan() const { return publisher_->newest(); }
  // Until every loop serves this version of the configuration, for kServedUs at most.
  [[nodiscard]] bool AwaitServed(uint64_t version);
  const base::CgroupLimits& limits() const { return limits_; }
  uint64_t boot_epoch() const { return boot_epoch_; }
  int64_t started_us() const { return started_us_; }
  bool draining() const { return draining_.load(); }
  uint16_t ops_port() const { return ops_ == nullptr ? 0 : ops_->port(); }
  uint64_t requests_active() const;
  uint16_t port_of(size_t listener) const { return ports_[listener]; }

 private:
  static constexpr int64_t kStalledUs = 5'000'000;
  static constexpr int kShortageCheckSeconds = 5;
  static constexpr int64_t kServedUs = 5'000'000;
  // What has been drained ends within this, or is ended.
  static constexpr int64_t kLastWordsUs = 5'000'000;
  static constexpr int kFileThreads = 4;
  static constexpr size_t kFileQueueMax = 1024;

  base::Result<base::Unit, std::string> Configure();
  base::Result<base::Unit, std::string> PrepareRuntimeDir();
  base::Result<base::Unit, std::string> StartLoops();
  base::Result<base::Unit, std::string> StartOps();
  base::Result<base::Unit, std::string> StartControl();
  void OnConfig(const schema::ConfigStore::Event& event);
  bool PostPlan(int loop, const PlanPublisher::PlanRef& plan);
  void LogShortages();
  void Leave();
  void OnLoopDrained();
  std::vector<Metrics::LoopView> LoopViews() const;
  // ops::HealthSource
  ops::Health Live() override;
  ops::Health Ready() override;
  ops::Health Started() override;
  // cache::Waker
  void Wake(base::Ticket ticket) override;
  // worker::EventSink
  void OnWorkerEvent(const worker::WorkerEvent& event) override;

  const Flags flags_;
  const base::CgroupLimits limits_;
  const int64_t started_us_;
  const uint64_t boot_epoch_;
  schema::ConfigStore config_;
  std::unique_ptr<schema::FileSource> file_source_;
  schema::ControlSettings control_settings_;
  base::EpochDomain epochs_;
  files::Watcher watcher_;
  server::SharedCounts counts_;
  std::unique_ptr<base::Executor> files_;
  std::unique_ptr<files::PassedFiles> passed_files_;
  std::unique_ptr<files::FileStore> file_store_;
  std::unique_ptr<worker::Registry> workers_;
  TargetLog target_log_;
  std::unique_ptr<upstream::Registry> upstreams_;
  std::unique_ptr<stats::RouteStatsTable> route_stats_;
  std::unique_ptr<AccessLogSwitch> access_logs_;
  std::unique_ptr<PlanBuilder> builder_;
  std::unique_ptr<PlanPublisher> publisher_;
  std::vector<std::unique_ptr<LoopThread>> loops_;
  std::unique_ptr<ops::OpsServer> ops_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<RunningBackend> backend_;
  std::unique_ptr<control::ControlServer> control_;
  std::vector<uint16_t> ports_;
  int observer_ = 0;
  uint64_t accepts_failed_ = 0;  // Of which the log has told.

  mutable base::Mutex mutex_;
  base::CondVar drained_;
  int loops_drained_ CATZILLA_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> started_{false};
  std::atomic<bool> pools_were_ready_{false};
  std::atomic<bool> draining_{false};
};

}  // namespace catzilla::runtime
