#include "sidecar/control/runtime_services.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <chrono>

#include "catzilla/control/v1/cache_service.grpc.pb.h"
#include "catzilla/control/v1/pool_service.grpc.pb.h"
#include "catzilla/control/v1/sidecar_service.grpc.pb.h"
#include "catzilla/control/v1/stats_service.grpc.pb.h"

namespace catzilla::control {
namespace {

using config::v1::ROLE_OPERATE;
using config::v1::ROLE_PURGE;
using config::v1::ROLE_READ;

class CacheServiceImpl final : public v1::CacheService::CallbackService {
 public:
  CacheServiceImpl(const Guard& guard, Backend& backend) : guard_(guard), backend_(backend) {}

  grpc::ServerUnaryReactor* Purge(grpc::CallbackServerContext* context,
                                  const v1::PurgeRequest* request,
                                  v1::PurgeResponse* response) override {
    return guard_.Unary(context, ROLE_PURGE, [&](const Peer&) {
      const bool none = request->selector_case() == v1::PurgeRequest::SELECTOR_NOT_SET ||
                        (request->has_all() && !request->all());
      if (none) {
        return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                            "nothing is selected (give url, prefix, tag, host or all)");
      }
      return MakeStatus(backend_.Purge(*request, response));
    });
  }

  grpc::ServerUnaryReactor* Lookup(grpc::CallbackServerContext* context,
                                   const v1::LookupRequest* request,
                                   v1::LookupResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      return MakeStatus(backend_.Lookup(*request, response));
    });
  }

  grpc::ServerUnaryReactor* Stats(grpc::CallbackServerContext* context,
                                  const v1::CacheServiceStatsRequest* request,
                                  v1::CacheServiceStatsResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      return MakeStatus(backend_.CacheStats(*request, response));
    });
  }

 private:
  const Guard& guard_;
  Backend& backend_;
};

class PoolServiceImpl final : public v1::PoolService::CallbackService {
 public:
  PoolServiceImpl(const Guard& guard, Registrar& registrar, Backend& backend)
      : guard_(guard), registrar_(registrar), backend_(backend) {}

  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::PoolServiceListRequest* request,
                                 v1::PoolServiceListResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      backend_.Pools(response);
      registrar_.Complete(response);
      if (request->pool().empty()) return grpc::Status::OK;
      auto* pools = response->mutable_pools();
      for (int i = pools->size(); i-- > 0;) {
        if (pools->Get(i).name() != request->pool()) pools->DeleteSubrange(i, 1);
      }
      if (!pools->empty()) return grpc::Status::OK;
      return NoPool(request->pool());
    });
  }

  grpc::ServerUnaryReactor* Restart(grpc::CallbackServerContext* context,
                                    const v1::RestartRequest* request,
                                    v1::RestartResponse* response) override {
    return guard_.Unary(context, ROLE_OPERATE, [&](const Peer& peer) {
      v1::PoolServiceListResponse pools;
      backend_.Pools(&pools);
      registrar_.Complete(&pools);
      const auto failure =
          registrar_.Restart(*request, pools, "asked for by " + peer.name, response);
      return failure ? MakeStatus(*failure) : grpc::Status::OK;
    });
  }

  grpc::ServerUnaryReactor* Dump(grpc::CallbackServerContext* context,
                                 const v1::DumpRequest* request,
                                 v1::DumpResponse* response) override {
    return guard_.Unary(context, ROLE_OPERATE, [&](const Peer&) {
      if (request->timeout_ms() > kDumpMsMax) {
        return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                            "stacks are waited for at most " + std::to_string(kDumpMsMax) + " ms");
      }
      const grpc::Status status = MakeStatus(backend_.Dump(*request, response));
      if (!status.ok() || response->workers_size() > 0) return status;
      return request->pid() != 0       ? NoWorker(request->pid(), request->pool())
             : request->pool().empty() ? status
                                       : NoWorkers(request->pool());
    });
  }

 private:
  static constexpr uint32_t kDumpMsMax = 5000;

  static grpc::Status NoPool(const std::string& name) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no pool is named \"" + name + "\"");
  }
  static grpc::Status NoWorker(uint32_t pid, const std::string& pool) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND,
                        "no attached worker " + (pool.empty() ? "" : "of pool \"" + pool + "\" ") +
                            "has the pid " + std::to_string(pid) +
                            " (see `catzillactl worker ls`)");
  }
  // Of a pool that is not there, or has none.
  grpc::Status NoWorkers(const std::string& name) {
    v1::PoolServiceListResponse pools;
    backend_.Pools(&pools);
    for (const auto& pool : pools.pools()) {
      if (pool.name() == name) return grpc::Status::OK;
    }
    return NoPool(name);
  }

  const Guard& guard_;
  Registrar& registrar_;
  Backend& backend_;
};

// One Stats at once, then one per interval; an interval that falls into a slow write is skipped.
class StatsWatch final : public grpc::ServerWriteReactor<v1::StatsServiceWatchResponse> {
 public:
  StatsWatch(Backend& backend, std::chrono::milliseconds interval)
      : backend_(backend), interval_(interval) {
    Write();
  }
  StatsWatch(Backend& backend, const grpc::Status& status) : backend_(backend), interval_(0) {
    done_ = true;
    Finish(status);
  }

  void OnWriteDone(bool ok) override {
    base::MutexLock lock(mutex_);
    if (!ok || cancelled_) return End();
    waiting_ = true;
    alarm_.Set(std::chrono::system_clock::now() + interval_, [this](bool) { OnAlarm(); });
  }
  void OnCancel() override {
    base::MutexLock lock(mutex_);
    cancelled_ = true;
    if (waiting_) alarm_.Cancel();  // OnAlarm() ends it.
  }
  void OnDone() override { delete this; }

 private:
  void OnAlarm() {
    base::MutexLock lock(mutex_);
    waiting_ = false;
    if (cancelled_) return End();
    Write();
  }
  void Write() {
    response_.Clear();
    backend_.Stats(response_.mutable_stats());
    StartWrite(&response_);
  }
  void End() {
    if (done_) return;
    done_ = true;
    Finish(grpc::Status::OK);
  }

  Backend& backend_;
  const std::chrono::milliseconds interval_;
  grpc::Alarm alarm_;
  v1::StatsServiceWatchResponse response_;
  base::Mutex mutex_;
  bool waiting_ = false;
  bool cancelled_ = false;
  bool done_ = false;
};

class StatsServiceImpl final : public v1::StatsService::CallbackService {
 public:
  StatsServiceImpl(const Guard& guard, Backend& backend) : guard_(guard), backend_(backend) {}

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context,
                                const v1::StatsServiceGetRequest*,
                                v1::StatsServiceGetResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      backend_.Stats(response->mutable_stats());
      return grpc::Status::OK;
    });
  }

  grpc::ServerWriteReactor<v1::StatsServiceWatchResponse>* Watch(
      grpc::CallbackServerContext* context, const v1::StatsServiceWatchRequest* request) override {
    Peer peer;
    grpc::Status status = guard_.Check(*context, ROLE_READ, &peer);
    int64_t interval_ms = 1000;
    if (status.ok() && request->has_interval()) {
      interval_ms = request->interval().seconds() * 1000 + request->interval().nanos() / 1'000'000;
      if (interval_ms < 100 || interval_ms > 3'600'000) {
        status = grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                              "the interval must be from 100ms to 1h");
      }
    }
    if (!status.ok()) return new StatsWatch(backend_, status);
    return new StatsWatch(backend_, std::chrono::milliseconds(interval_ms));
  }

 private:
  const Guard& guard_;
  Backend& backend_;
};

class SidecarServiceImpl final : public v1::SidecarService::CallbackService {
 public:
  SidecarServiceImpl(const Guard& guard, schema::ConfigStore& store, Registrar& registrar,
                     Backend& backend)
      : guard_(guard), store_(store), registrar_(registrar), backend_(backend) {}

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context, const v1::StatusRequest*,
                                   v1::StatusResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      backend_.Status(response);
      const auto version = store_.Current();
      response->set_config_version(version->number);
      SetTime(version->time_us, response->mutable_config_applied_at());
      response->set_config_file(version->layers.file->file);
      response->set_restart_pending(static_cast<uint32_t>(version->restart_pending()));
      response->set_mounts(static_cast<uint32_t>(version->snapshot->mounts.size()));
      response->set_routes(static_cast<uint32_t>(version->snapshot->routes.size()));
      for (const auto& one : version->diagnostics) {
        if (one.severity >= schema::Severity::kWarning)
          schema::ToProto(one, response->add_diagnostics());
      }
      if (const auto rejection = store_.LastRejected()) {
        FillRejection(*rejection, response->mutable_last_rejected());
        response->add_problems("the last change of the configuration (" + rejection->origin +
                               ") was refused");
        if (response->state() == v1::SIDECAR_STATE_SERVING)
          response->set_state(v1::SIDECAR_STATE_DEGRADED);
      }
      registrar_.List(response->mutable_registrations());
      return grpc::Status::OK;
    });
  }

  grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context,
                                    const v1::ExplainRequest* request,
                                    v1::ExplainResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      response->set_config_version(store_.Current()->number);
      return MakeStatus(backend_.Explain(*request, response));
    });
  }

  grpc::ServerUnaryReactor* Memory(grpc::CallbackServerContext* context, const v1::MemoryRequest*,
                                   v1::MemoryResponse* response) override {
    return guard_.Unary(context, ROLE_READ, [&](const Peer&) {
      backend_.Memory(response);
      return grpc::Status::OK;
    });
  }

  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override {
    return guard_.Unary(context, ROLE_OPERATE, [&](const Peer& peer) {
      const std::string reason =
          request->reason().empty() ? "asked for by " + peer.name : request->reason();
      response->set_requests_active(backend_.Drain(reason));
      return grpc::Status::OK;
    });
  }

 private:
  const Guard& guard_;
  schema::ConfigStore& store_;
  Registrar& registrar_;
  Backend& backend_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> MakeRuntimeServices(const Guard& guard,
                                                                schema::ConfigStore& store,
                                                                Registrar& registrar,
                                                                Backend& backend) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(std::make_unique<CacheServiceImpl>(guard, backend));
  services.push_back(std::make_unique<PoolServiceImpl>(guard, registrar, backend));
  services.push_back(std::make_unique<StatsServiceImpl>(guard, backend));
  services.push_back(std::make_unique<SidecarServiceImpl>(guard, store, registrar, backend));
  return services;
}

}  // namespace catzilla::control
