// What operators see of registrations, workers and routes. The registrar itself is registrar.cc.
#include <algorithm>

#include "sidecar/base/utf8.h"
#include "sidecar/control/registrar.h"

namespace catzilla::control {
namespace {

void SetGeneration(const GenerationId& from, v1::Generation* to) {
  to->set_boot_epoch(from.boot_epoch);
  to->set_number(from.number);
}

void SetTime(int64_t us, google::protobuf::Timestamp* to) {
  to->set_seconds(us / 1'000'000);
  to->set_nanos(static_cast<int32_t>(us % 1'000'000) * 1000);
}

}  // namespace

std::string Registrar::LastError(const App& app) {
  const std::string& reported = app.report.last_error();
  return app.refusal.empty() ? reported : app.refusal + (reported.empty() ? "" : "; " + reported);
}

v1::WorkerReport Registrar::Bounded(const v1::WorkerReport& report) {
  v1::WorkerReport bounded = report;
  auto* workers = bounded.mutable_workers();
  if (static_cast<size_t>(workers->size()) > kReportedWorkersMax) {
    workers->DeleteSubrange(kReportedWorkersMax, workers->size() - kReportedWorkersMax);
  }
  const auto cut = [](std::string* text, size_t most) {
    if (text->size() > most) *text = base::CutUtf8(*text, most);
  };
  cut(bounded.mutable_last_error(), kReportedTextMax);
  cut(bounded.mutable_preload_reason(), kReportedTextMax);
  cut(bounded.mutable_last_traceback(), kTracebackMax);
  size_t left = kTracebackMax * 4;  // All workers' tracebacks together: usually one and the same.
  for (v1::WorkerProcess& worker : *workers) {
    cut(worker.mutable_last_error(), kReportedTextMax);
    cut(worker.mutable_last_traceback(), std::min(kTracebackMax, left));
    left -= worker.last_traceback().size();
  }
  return bounded;
}

void Registrar::List(google::protobuf::RepeatedPtrField<v1::RegistrationState>* out) const {
  base::MutexLock lock(mutex_);
  for (const auto& [name, app] : apps_) {
    v1::RegistrationState* state = out->Add();
    state->set_app(name);
    state->set_instance_id(app.registration.instance_id());
    state->set_code_hash(app.registration.code_hash());
    SetGeneration(app.generation, state->mutable_generation());
    SetTime(app.since_us, state->mutable_since());
    if (app.orphaned_at_us != 0) SetTime(app.orphaned_at_us, state->mutable_orphaned_at());
    state->set_workers_expected(app.registration.workers_expected());
    state->set_workers_ready(app.ready);
    state->set_last_error(LastError(app));
    *state->mutable_sdk() = app.registration.sdk();
  }
}

void Registrar::Complete(v1::PoolServiceListResponse* pools) const {
  google::protobuf::RepeatedPtrField<v1::RegistrationState> states;
  List(&states);
  base::MutexLock lock(mutex_);
  for (const auto& state : states) {
    const auto found = apps_.find(state.app());
    if (found == apps_.end()) continue;
    const v1::WorkerReport& report = found->second.report;
    v1::PoolState* pool = nullptr;
    for (auto& one : *pools->mutable_pools()) {
      if (one.name() == state.app()) pool = &one;
    }
    if (pool == nullptr) {
      pool = pools->add_pools();
      pool->set_name(state.app());
    }
    *pool->mutable_registration() = state;
    pool->set_last_error(LastError(found->second));
    pool->set_last_traceback(report.last_traceback());
    pool->set_preload_reason(report.preload_reason());
    if (report.has_lanes()) *pool->mutable_lanes() = report.lanes();
    for (const v1::WorkerProcess& process : report.workers()) {
      v1::WorkerInfo* worker = nullptr;
      for (auto& one : *pool->mutable_workers()) {
        // Without a pid it has not been started yet, and is nobody else.
        if (process.pid() != 0 && one.pid() == process.pid()) worker = &one;
      }
      if (worker == nullptr) {
        worker = pool->add_workers();
        worker->set_pid(process.pid());
        worker->set_state(process.state() == v1::WORKER_STATE_READY ? v1::WORKER_STATE_STARTING
                                                                    : process.state());
        *worker->mutable_generation() = process.generation();
      }
      if (!worker->has_started() && process.has_started())
        *worker->mutable_started() = process.started();
      worker->set_restarts(process.restarts());
      worker->set_last_error(process.last_error());
      worker->set_last_traceback(process.last_traceback());
    }
  }
}

void Registrar::Routes(const std::string& pool, const schema::Version& version,
                       v1::RouteServiceListResponse* out) const {
  for (const auto& route : version.snapshot->routes) {
    if (!pool.empty() && route->pool != pool) continue;
    v1::RouteState* state = out->add_routes();
    state->set_name(route->name);
    state->set_host(route->host);
    for (const std::string& method : route->methods) state->add_methods(method);
    state->set_path(route->path);
    state->set_pool(route->pool);
    state->set_cache(route->cache);
    state->set_id(route->id);
    v1::ResourceInfo* info = state->mutable_info();
    info->set_path("routes[" + route->name + "]");
    info->set_layer(static_cast<v1::Layer>(static_cast<int>(route->source) + 1));
    if (route->source != config::Layer::kApp) {
      const auto source = version.merged.sources.find(info->path());
      if (source != version.merged.sources.end()) info->set_origin(source->second.origin);
      const auto stamp = version.stamps.find(info->path());
      if (stamp != version.stamps.end()) {
        info->set_version(stamp->second.version);
        SetTime(stamp->second.time_us, info->mutable_time());
      }
      continue;
    }
    info->set_origin("app " + route->pool);
  }
  // What the Snapshot does not carry, because no loop needs it.
  std::map<std::string, const v1::AppRoute*> registered;
  for (const auto& [name, app] : version.layers.apps) {
    for (const auto& route : app->registration.table().routes()) {
      registered[schema::AppRouteName(name, route)] = &route;
    }
  }
  for (auto& state : *out->mutable_routes()) {
    const auto found = registered.find(state.name());
    if (found == registered.end()) continue;
    const v1::AppRoute& route = *found->second;
    state.set_kind(route.kind());
    state.set_path(route.template_());
    state.set_lane(route.lane());
    *state.mutable_lane_reasons() = route.lane_reasons();
    state.set_endpoint(route.endpoint());
    state.set_id(route.id());
  }
}

}  // namespace catzilla::control
