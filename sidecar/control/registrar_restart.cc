// `worker restart`: who is to be replaced, and telling the supervisors that fork their successors.
#include "sidecar/control/registrar.h"

namespace catzilla::control {
namespace {

Failure NotFound(std::string message) {
  return Failure{Failure::Code::kNotFound, std::move(message), {}};
}

// Whoever serves, or is about to; who leaves already needs no successor.
bool IsReplaceable(const v1::WorkerInfo& worker) {
  return worker.pid() != 0 &&
         (worker.state() == v1::WORKER_STATE_READY || worker.state() == v1::WORKER_STATE_STARTING);
}

}  // namespace

std::optional<Failure> Registrar::Restart(const v1::RestartRequest& request,
                                          const v1::PoolServiceListResponse& pools,
                                          const std::string& reason, v1::RestartResponse* out) {
  v1::RestartResponse chosen;
  bool named = false;
  for (const v1::PoolState& pool : pools.pools()) {
    // A pool of the configuration that no app has asked for is not meant by "all".
    if (request.pool().empty() ? !pool.has_registration() : pool.name() != request.pool()) continue;
    named = true;
    v1::RestartedPool row;
    row.set_name(pool.name());
    row.set_workers_expected(pool.registration().workers_expected());
    for (const v1::WorkerInfo& worker : pool.workers()) {
      if (!IsReplaceable(worker)) continue;
      if (request.pid() == 0 || worker.pid() == request.pid()) *row.add_workers() = worker;
    }
    if (request.pid() == 0 || row.workers_size() > 0) *chosen.add_pools() = std::move(row);
  }
  if (!request.pool().empty() && !named) {
    return NotFound("no pool is named \"" + request.pool() + "\"");
  }
  if (chosen.pools().empty()) {
    return request.pid() == 0
               ? NotFound("no app has registered yet")
               : NotFound("no worker that serves has the pid " + std::to_string(request.pid()) +
                          " (see `catzillactl worker ls`)");
  }
  if (request.pid() != 0 && chosen.pools_size() > 1) {
    return Failure{Failure::Code::kInvalidArgument,
                   "several pools have a worker " + std::to_string(request.pid()) +
                       " (each container counts for itself): name the pool",
                   {}};
  }
  base::MutexLock lock(mutex_);
  for (const v1::RestartedPool& pool : chosen.pools()) {
    const auto found = apps_.find(pool.name());
    if (found != apps_.end() && found->second.session != nullptr) continue;
    return Failure{Failure::Code::kFailedPrecondition,
                   "the supervisor of pool \"" + pool.name() +
                       "\" is not connected, and only it can fork workers: start the app "
                       "(`catzilla run --attach`)",
                   {}};
  }
  for (const v1::RestartedPool& pool : chosen.pools()) {
    v1::RegisterResponse response;
    v1::Recycle& recycle = *response.mutable_recycle();
    recycle.set_pid(request.pid());
    recycle.set_reason(reason);
    if (request.pid() != 0) *recycle.mutable_generation() = pool.workers(0).generation();
    apps_.at(pool.name()).session->Send(std::move(response));
  }
  *out = std::move(chosen);
  return std::nullopt;
}

}  // namespace catzilla::control
