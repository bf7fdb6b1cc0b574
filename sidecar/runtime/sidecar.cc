#include "sidecar/runtime/sidecar.h"

#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "sidecar/base/arena.h"
#include "sidecar/base/clock.h"
#include "sidecar/loop/socket.h"
#include "sidecar/runtime/backend.h"
#include "sidecar/runtime/descriptors.h"
#include "sidecar/runtime/end_process.h"
#include "sidecar/runtime/process_log.h"

namespace catzilla::runtime {
namespace {

uint64_t RandomBits() {
  uint64_t bits = 0;
  if (::getrandom(&bits, sizeof(bits), 0) != sizeof(bits)) {
    bits = static_cast<uint64_t>(base::ReadClock().wall_us);
  }
  return bits;
}

void LogFindings(const schema::Diagnostics& findings) {
  for (const schema::Diagnostic& finding : findings) {
    const std::string line = schema::Format(finding);
    if (finding.severity == schema::Severity::kError) {
      spdlog::error("{}", line);
    } else if (finding.severity == schema::Severity::kWarning) {
      spdlog::warn("{}", line);
    } else {
      spdlog::info("{}", line);
    }
  }
}

// What of a new version waits for a restart.
void LogPending(const schema::Version& version) {
  schema::Diagnostics pending;
  for (const schema::Diagnostic& finding : version.diagnostics) {
    if (finding.code == schema::Code::kRestartRequired) pending.push_back(finding);
  }
  if (version.layer != config::Layer::kApp) LogFindings(pending);
}

// The route as people know it; its number is the app's own.
std::string RouteLabel(const exchange::Plan& plan, const worker::WorkerEvent& event) {
  for (const auto& route : plan.snapshot->routes) {
    if (route->pool != event.pool || route->id != event.route_id) continue;
    return route->label.empty() ? route->path : route->label;
  }
  return "<unmatched>";
}

}  // namespace

Sidecar::Sidecar(Flags flags)
    : flags_(std::move(flags)),
      limits_(base::ReadCgroupLimits()),
      started_us_(base::ReadClock().wall_us),
      boot_epoch_(static_cast<uint64_t>(started_us_)),
      config_({limits_.memory_bytes, true, [] { return base::ReadClock().wall_us; }}) {
  base::Arenas::Create();
}

Sidecar::~Sidecar() {
  if (file_source_ != nullptr) file_source_->Stop();
  if (control_ != nullptr) control_->Stop();
  if (observer_ != 0) config_.Unsubscribe(observer_);
  if (publisher_ != nullptr) publisher_->Stop();
  for (const auto& thread : loops_) {
    server::ServerMessage close;
    close.kind = server::ServerMessage::Kind::kClose;
    (void)thread->Post(std::move(close));
  }
  for (const auto& thread : loops_) thread->Join();
  if (upstreams_ != nullptr) upstreams_->Stop();
  // Tasks of the files executor tell the loops' sinks, so it ends before these are gone.
  if (files_ != nullptr) files_->Shutdown();
  // The last one that asks for the plan.
  if (ops_ != nullptr) ops_->Stop();
  publisher_.reset();
  builder_.reset();
  ops_.reset();
  loops_.clear();
  control_.reset();
}

base::Result<base::Unit, std::string> Sidecar::Start() {
  if (auto done = Configure(); !done.ok()) return done;
  if (flags_.check) return base::Unit{};
  if (auto done = PrepareRuntimeDir(); !done.ok()) return done;
  if (auto done = StartLoops(); !done.ok()) return done;
  if (auto done = StartOps(); !done.ok()) return done;
  // Before anybody can change it: no version may be missed.
  observer_ = config_.Subscribe([this](const auto& event) { OnConfig(event); });
  if (auto done = StartControl(); !done.ok()) return done;
  file_source_->StartWatching();
  started_.store(true);
  return base::Unit{};
}

base::Result<base::Unit, std::string> Sidecar::Configure() {
  file_source_ = std::make_unique<schema::FileSource>(
      schema::FileSourceOptions{flags_.config_file,
                                [this](schema::FileLayer* layer, schema::Diagnostics* findings) {
                                  Overlay(flags_, layer, findings);
                                },
                                2'000'000},
      config_);
  const schema::Outcome outcome = file_source_->Reload();
  LogFindings(outcome.diagnostics);
  if (!outcome.ok()) return base::Fail(std::string("the configuration is not valid"));
  const auto current = config_.Current();
  spdlog::set_level(spdlog::level::from_str(current->snapshot->telemetry.log_level));
  control_settings_ = schema::CompileControl(current->merged.config, RuntimeDir(flags_));
  return base::Unit{};
}

base::Result<base::Unit, std::string> Sidecar::PrepareRuntimeDir() {
  const std::filesystem::path folder =
      std::filesystem::path(control_settings_.worker_socket).parent_path();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || ::access(folder.c_str(), W_OK | X_OK) != 0) {
    return base::Fail("runtime folder " + folder.string() + ": " +
                      (error ? error.message() : std::strerror(errno)) +
                      " (make it writable, or choose another one with --runtime-dir)");
  }
  return base::Unit{};
}

base::Result<base::Unit, std::string> Sidecar::StartLoops() {
  const std::shared_ptr<const config::Snapshot> snapshot = config_.Current()->snapshot;
  const int count = flags_.loops > 0
                        ? flags_.loops
                        : base::LoopCount(limits_, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  // Every socket is bound before any loop runs.
  std::vector<std::vector<int>> sockets;
  for (const auto& listener : snapshot->listeners) {
    auto bound = loop::ListenTcp({listener->address, listener->port}, listener->backlog, count);
    if (!bound.ok()) return base::Fail(bound.error().message);
    sockets.push_back(*bound);
    ports_.push_back(loop::LocalPort(sockets.back()[0]));
  }
  files_ = std::make_unique<base::Executor>("files", kFileThreads, kFileQueueMax);
  passed_files_ =
      std::make_unique<files::PassedFiles>(*files_, static_cast<int>(PassedDescriptors()));
  files_->SetDeadline(snapshot->limits->file_timeout_us);
  file_store_ = std::make_unique<files::FileStore>(
      epochs_,
      files::FileStoreLimits{.bytes_max = snapshot->limits->file_cache_bytes_max,
                             .descriptors_max = FileDescriptors()},
      RandomBits());
  worker::RegistryOptions link;
  link.epoch = boot_epoch_;
  link.loops = count;
  link.socket_path = control_settings_.worker_socket;
  link.version = CATZILLA_VERSION;
  counts_.connections_max = ConnectionBudget();
  WarnOfBudget(snapshot->limits->connections_max);
  link.drain_timeout_us = snapshot->drain.timeout_us;
  workers_ = std::make_unique<worker::Registry>(link);
  upstreams_ = std::make_unique<upstream::Registry>(&target_log_);
  route_stats_ = std::make_unique<stats::RouteStatsTable>(count, snapshot->telemetry.series_max);
  access_logs_ = std::make_unique<AccessLogSwitch>(count);
  if (auto done = access_logs_->Apply(snapshot->telemetry); !done.ok()) return done;
  builder_ = std::make_unique<PlanBuilder>(PlanBuilder::Parts{*file_store_,
                                                              *files_,
                                                              files::DetectResolveMethod(),
                                                              *workers_,
                                                              *upstreams_,
                                                              *route_stats_,
                                                              epochs_,
                                                              *this,
                                                              {RandomBits(), RandomBits()},
                                                              &watcher_});
  workers_->SetEvents(this);
  const std::shared_ptr<const exchange::Plan> plan = builder_->Build(snapshot);
  publisher_ = std::make_unique<PlanPublisher>(
      PlanPublisher::Parts{count,
                           [this](int loop, const auto& next) { return PostPlan(loop, next); },
                           [this](const exchange::Plan& served) {
                             workers_->Settle(served.pools);
                             upstreams_->Settle(served.upstreams);
                           }},
      plan);
  for (int i = 0; i < count; ++i) {
    loops_.push_back(std::make_unique<LoopThread>(
        LoopThread::Parts{i, *workers_, *upstreams_, epochs_, counts_, access_logs_->current(),
                          RandomBits(),
                          [this, i](uint64_t version) { publisher_->OnServed(i, version); },
                          [this] { OnLoopDrained(); }, passed_files_.get()},
        plan));
  }
  for (size_t l = 0; l < sockets.size(); ++l) {
    for (int i = 0; i < count; ++i) {
      const int fd = sockets[l][static_cast<size_t>(i)];
      if (!loops_[static_cast<size_t>(i)]->Open(snapshot->listeners[l], fd)) {
        return base::Fail(std::string("a listening socket cannot be watched"));
      }
    }
    spdlog::info("listening on {}:{} with {} loop(s)", snapshot->listeners[l]->address,
                 loop::LocalPort(sockets[l][0]), count);
  }
  worker::AcceptorOptions acceptor;
  acceptor.path = control_settings_.worker_socket;
  acceptor.mode = control_settings_.socket_mode;
  if (auto opened = loops_[0]->OpenWorkerSocket(acceptor); !opened.ok()) return opened;
  for (const auto& thread : loops_) thread->Start();
  return base::Unit{};
}

base::Result<base::Unit, std::string> Sidecar::StartOps() {
  const config::v1::Telemetry& telemetry = config_.Current()->merged.config.telemetry();
  ops::HealthSource& health = *this;
  metrics_ = std::make_unique<Metrics>(Metrics::Parts{
      CATZILLA_VERSION, kStalledUs, limits_, *route_stats_, *file_store_, *workers_, *upstreams_,
      config_, [this] { return LoopViews(); }, [this] { return plan(); },
      [this] {
        std::vector<std::pair<std::string, cache::CacheStats>> caches;
        for (const auto& cache : plan()->caches) {
          caches.emplace_back(cache->config->name, cache->store->stats());
        }
        return caches;
      },
      [this] { return access_logs_->lost(); }, [] { return process_log::lost(); },
      [this] { return counts_.connections_max; }, [this] { return files_->state(); }});
  ops_ = std::make_unique<ops::OpsServer>(health, std::vector<ops::MetricsSource*>{metrics_.get()});
  auto started =
      ops_->Start({telemetry.ops_address(), static_cast<uint16_t>(telemetry.ops_port())});
  if (started.ok()) spdlog::info("ops on {}:{}", telemetry.ops_address(), ops_->port());
  return started;
}

base::Result<base::Unit, std::string> Sidecar::StartControl() {
  backend_ = std::make_unique<RunningBackend>(*this);
  control_ = std::make_unique<control::ControlServer>(
      control::ServerOptions{control_settings_, [] { return base::ReadClock().wall_us; },
                             [] { return base::ReadClock().monotonic_us; },
                             [](const std::string& sentence) { spdlog::error("{}", sentence); }},
      config_, *backend_);
  auto started = control_->Start();
  if (started.ok()) spdlog::info("control plane on {}", control_settings_.socket);
  return started;
}

std::vector<Metrics::LoopView> Sidecar::LoopViews() const {
  std::vector<Metrics::LoopView> views;
  for (const auto& thread : loops_) views.push_back({&thread->loop(), &thread->stats()});
  return views;
}

bool Sidecar::AwaitServed(uint64_t version) {
  if (publisher_->Await(version, kServedUs)) return true;
  spdlog::error("version {} of the configuration is not served by every loop yet", version);
  return false;
}

uint64_t Sidecar::requests_active() const {
  uint64_t active = 0;
  for (const auto& thread : loops_) active += thread->stats().connections_active.value();
  return active;
}

// On the thread that changed the configuration, one change at a time.
void Sidecar::OnConfig(const schema::ConfigStore::Event& event) {
  if (event.rejection != nullptr) {
    spdlog::error("a configuration from {} was refused; version {} is still served",
                  event.rejection->origin, config_.Current()->number);
    LogFindings(event.rejection->diagnostics);
    return;
  }
  const config::Snapshot& snapshot = *event.version->snapshot;
  spdlog::set_level(spdlog::level::from_str(snapshot.telemetry.log_level));
  WarnOfBudget(snapshot.limits->connections_max);
  files_->SetDeadline(snapshot.limits->file_timeout_us);
  route_stats_->SetSeriesMax(snapshot.telemetry.series_max);
  if (auto done = access_logs_->Apply(snapshot.telemetry); !done.ok()) {
    spdlog::error("{}; it stays as it was", done.error());
  }
  publisher_->Publish([&] { return builder_->Build(event.version->snapshot); });
  spdlog::info("configuration version {} from {}", event.version->number, event.version->origin);
  LogPending(*event.version);
}

bool Sidecar::PostPlan(int loop, const PlanPublisher::PlanRef& plan) {
  server::ServerMessage message;
  message.kind = server::ServerMessage::Kind::kPlan;
  message.plan = plan;
  message.access_log = access_logs_->current();
  return loops_[static_cast<size_t>(loop)]->Post(std::move(message));
}

void Sidecar::Run() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2}) {
    sigaddset(&signals, signal);
  }
  for (;;) {
    const timespec pause{kShortageCheckSeconds, 0};
    const int signal = ::sigtimedwait(&signals, nullptr, &pause);
    LogShortages();
    if (signal < 0) continue;
    if (signal == SIGUSR2) {
      spdlog::warn("SIGUSR2 does nothing here: a new version is a new process");
      continue;
    }
    if (signal == SIGHUP || signal == SIGUSR1) {  // As nginx: both open the log anew, for rotation.
      if (auto done = access_logs_->Reopen(); !done.ok()) {
        spdlog::error("{}; the file before is written to", done.error());
      }
      if (signal == SIGUSR1) continue;
      LogFindings(file_source_->Reload().diagnostics);
      continue;
    }
    break;
  }
  Leave();
}

// What the loops only count, said here: they may not wait for whoever reads the log.
void Sidecar::LogShortages() {
  uint64_t failed = 0;
  for (const auto& thread : loops_) failed += thread->stats().accepts_failed.value();
  if (failed == accepts_failed_) return;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  spdlog::error(
      "connections could not be accepted ({} times by now): the process may have {} descriptors; "
      "raise that limit (LimitNOFILE=, ulimit -n) or lower limits.max_connections",
      failed, limit.rlim_cur);
  accepts_failed_ = failed;
}

// For those who ask over the control plane: main waits for signals, so it gets one.
void Sidecar::Drain(const std::string& reason) {
  spdlog::info("asked to drain{}{}", reason.empty() ? "" : ": ", reason);
  ::kill(::getpid(), SIGTERM);
}

void Sidecar::Leave() {
  draining_.store(true);
  const config::Drain drain = config_.Current()->snapshot->drain;
  spdlog::info("draining: {} requests in flight", requests_active());
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGQUIT}) sigaddset(&signals, signal);
  const auto wait = [&](int64_t us) {  // True: a second signal wants it at once.
    const timespec time{us / 1'000'000, us % 1'000'000 * 1000};
    return us > 0 && sigtimedwait(&signals, nullptr, &time) > 0;
  };
  // readyz already says 503; clients still come until the balancer has noticed.
  bool cut = wait(drain.delay_us);
  if (control_ != nullptr) control_->AnnounceDrain("the sidecar is stopping", drain.timeout_us);
  for (const auto& thread : loops_) {
    server::ServerMessage message;
    message.kind = server::ServerMessage::Kind::kDrain;
    (void)thread->Post(std::move(message));
  }
  const int64_t until_us = base::ReadClockMicros(CLOCK_MONOTONIC) + drain.timeout_us;
  const auto all_drained = [&] {
    base::MutexLock lock(mutex_);
    return loops_drained_ >= static_cast<int>(loops_.size());
  };
  while (!cut && !all_drained() && base::ReadClockMicros(CLOCK_MONOTONIC) < until_us) {
    cut = wait(20'000);
  }
  spdlog::info("drained{}", all_drained() ? ""
                            : cut         ? ", cut by a second signal"
                                          : ", cut by drain.timeout");
  EndProcessAfter(kLastWordsUs);
}

void Sidecar::OnLoopDrained() {
  base::MutexLock lock(mutex_);
  ++loops_drained_;
}

void Sidecar::Wake(base::Ticket ticket) {
  server::ServerMessage message;
  message.kind = server::ServerMessage::Kind::kFillMoved;
  message.ticket = ticket;
  // A loop that takes no more messages is closing, and its exchanges with it.
  (void)loops_[ticket.loop]->Post(std::move(message));
}

void Sidecar::OnWorkerEvent(const worker::WorkerEvent& event) {
  using Kind = worker::WorkerEvent::Kind;
  control::PoolEvent told;
  told.pool = event.pool;
  told.generation = {event.generation.epoch, event.generation.number};
  told.pid = event.pid;
  told.ready = event.ready;
  told.detail = event.detail;
  switch (event.kind) {
    case Kind::kReady:
      spdlog::info("pool {}: worker {} is ready ({} of generation {})", event.pool, event.pid,
                   event.ready, event.generation.number);
      told.kind = control::PoolEvent::Kind::kReady;
      break;
    case Kind::kLost:
      spdlog::warn("pool {}: worker {} is gone ({} left)", event.pool, event.pid, event.ready);
      told.kind = control::PoolEvent::Kind::kLost;
      break;
    case Kind::kLeft:
      told.kind = control::PoolEvent::Kind::kLost;
      break;
    case Kind::kPrepared:
      told.kind = control::PoolEvent::Kind::kPrepared;
      break;
    case Kind::kSwitched:
      spdlog::info("pool {}: generation {} answers", event.pool, event.generation.number);
      told.kind = control::PoolEvent::Kind::kSwitched;
      break;
    case Kind::kHardTimeout:
      told.detail = "a request of " + RouteLabel(*plan(), event) + " " + event.detail;
      spdlog::error("pool {}: worker {} is past its hard deadline: {}", event.pool, event.pid,
                    told.detail);
      told.kind = control::PoolEvent::Kind::kRecycle;
      told.hard = true;
      break;
    case Kind::kRefused:
      spdlog::error("pool {}: a worker was refused: {}", event.pool, event.detail);
      told.kind = control::PoolEvent::Kind::kRefused;
      break;
    case Kind::kSaturated:
      spdlog::warn(
          "pool {} is saturated, requests are answered 503: {} (more --workers, a larger "
          "pools[].credits_per_worker, or a faster app)",
          event.pool, event.detail);
      return;
    case Kind::kLog:
      spdlog::log(event.level >= 3   ? spdlog::level::err
                  : event.level == 2 ? spdlog::level::warn
                                     : spdlog::level::info,
                  "worker {}: {}", event.pid, event.detail);
      return;
    case Kind::kAttached:
    case Kind::kRetired:
      return;
  }
  if (control_ != nullptr) control_->OnPoolEvent(std::move(told));
}

ops::Health Sidecar::Live() {
  const int64_t now_us = base::ReadClockMicros(CLOCK_MONOTONIC);
  for (const auto& thread : loops_) {
    if (now_us - thread->loop().last_turn_us() > kStalledUs) {
      return {false, "loop " + std::to_string(thread->loop().index()) + " is stalled\n"};
    }
  }
  return {};
}

ops::Health Sidecar::Ready() {
  if (draining_.load()) return {false, "draining\n"};
  if (!started_.load()) return {false, "starting\n"};
  // A pod must not get traffic before its app has registered for the first time.
  const auto plan = publisher_->settled();  // What every loop serves.
  const auto& snapshot = plan->snapshot;
  if (snapshot->mounts.empty() && snapshot->routes.empty()) {
    return {false, "nothing to serve yet: no mount, no route, no app\n"};
  }
  if (plan->app_is_starting) return {false, "the app has no worker yet\n"};
  // Once, and for all: an app that falls ill later must not take static and cached answers along.
  if (!pools_were_ready_.load()) {
    const std::string waits = UnreadyUpstream(*plan, *upstreams_);
    if (!waits.empty()) return {false, waits};
    for (const auto& route : snapshot->routes) {
      if (upstreams_->Find(route->pool) != nullptr) continue;
      const auto pool = workers_->Find(route->pool);
      if (pool != nullptr && pool->ever_ready()) continue;
      return {false, "pool " + route->pool + ", which routes name, has had no worker yet\n"};
    }
    pools_were_ready_.store(true);
  }
  return Live();
}

ops::Health Sidecar::Started() {
  return started_.load() ? ops::Health{} : ops::Health{false, "starting\n"};
}

}  // namespace catzilla::runtime
