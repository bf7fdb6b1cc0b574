#include "sidecar/runtime/backend.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

#include "sidecar/base/arena.h"
#include "sidecar/base/clock.h"

namespace catzilla::runtime {
namespace {

void SetTime(int64_t wall_us, google::protobuf::Timestamp* out) {
  out->set_seconds(wall_us / 1'000'000);
  out->set_nanos(static_cast<int32_t>(wall_us % 1'000'000 * 1000));
}

uint64_t RssBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

control::v1::WorkerState StateOf(worker::WorkerStatus::State state) {
  switch (state) {
    case worker::WorkerStatus::State::kStarting:
      return control::v1::WORKER_STATE_STARTING;
    case worker::WorkerStatus::State::kReady:
      return control::v1::WORKER_STATE_READY;
    case worker::WorkerStatus::State::kDraining:
    case worker::WorkerStatus::State::kRecycling:
      return control::v1::WORKER_STATE_DRAINING;
  }
  return control::v1::WORKER_STATE_UNSPECIFIED;
}

// In microseconds, as if the durations of one bucket lay evenly between its bounds.
uint64_t Quantile(const std::array<uint64_t, stats::DurationHistogram::kBuckets>& buckets,
                  double quantile) {
  uint64_t total = 0;
  for (const uint64_t count : buckets) total += count;
  if (total == 0) return 0;
  const double wanted = quantile * static_cast<double>(total);
  double seen = 0;
  for (size_t i = 0; i < stats::kDurationBounds.size(); ++i) {
    const auto here = static_cast<double>(buckets[i]);
    if (here > 0 && seen + here >= wanted) {
      const double low = i == 0 ? 0 : stats::kDurationBounds[i - 1];
      const double part = (wanted - seen) / here;
      return static_cast<uint64_t>((low + (stats::kDurationBounds[i] - low) * part) * 1e6);
    }
    seen += here;
  }
  return static_cast<uint64_t>(stats::kDurationBounds.back() * 1e6);  // Longer than any bound.
}

}  // namespace

void RunningBackend::Status(control::v1::StatusResponse* out) {
  out->set_state(sidecar_.draining() ? control::v1::SIDECAR_STATE_DRAINING
                                     : control::v1::SIDECAR_STATE_SERVING);
  out->set_version(CATZILLA_VERSION);
  out->set_build(__VERSION__);
  out->set_pid(static_cast<uint32_t>(::getpid()));
  SetTime(sidecar_.started_us(), out->mutable_started());
  out->set_loops(static_cast<uint32_t>(sidecar_.loops().size()));
  out->set_boot_epoch(sidecar_.boot_epoch());
  const auto current = sidecar_.config().Current();
  out->set_ops_address(current->merged.config.telemetry().ops_address() + ":" +
                       std::to_string(sidecar_.ops_port()));
  uint64_t connections = 0;
  for (const auto& loop : sidecar_.loops()) connections += loop->stats().connections_open.value();
  for (size_t i = 0; i < current->snapshot->listeners.size(); ++i) {
    const config::Listener& listener = *current->snapshot->listeners[i];
    control::v1::ListenerState& state = *out->add_listeners();
    state.set_name(listener.name);
    state.set_address(listener.address);
    state.set_port(sidecar_.port_of(i));
    // Counted over all listeners; with one, that is this one's.
    if (i == 0) state.set_connections(connections);
  }
  for (const worker::PoolStatus& pool : sidecar_.workers().List()) {
    if (pool.orphaned) {
      out->add_problems("pool " + pool.name + ": its app is not registered any more");
      out->set_state(control::v1::SIDECAR_STATE_DEGRADED);
    }
  }
}

void RunningBackend::Memory(control::v1::MemoryResponse* out) {
  out->set_rss_bytes(RssBytes());
  out->set_limit_bytes(sidecar_.limits().memory_bytes);
  for (int i = 0; i < base::kArenaCount; ++i) {
    const auto id = static_cast<base::ArenaId>(i);
    const base::ArenaUsage usage = base::Arenas::Usage(id);
    control::v1::ArenaMemory& arena = *out->add_arenas();
    arena.set_name(base::ArenaName(id));
    arena.set_allocated_bytes(usage.allocated_bytes);
    arena.set_resident_bytes(usage.resident_bytes);
  }
  const base::ArenaUsage all = base::Arenas::ProcessUsage();
  out->set_allocated_bytes(all.allocated_bytes);
  out->set_resident_bytes(all.resident_bytes);
}

uint64_t RunningBackend::Drain(const std::string& reason) {
  const uint64_t active = sidecar_.requests_active();
  sidecar_.Drain(reason);
  return active;
}

void RunningBackend::Stats(control::v1::Stats* out) {
  const base::Now now = base::ReadClock();
  SetTime(now.wall_us, out->mutable_at());
  out->mutable_uptime()->set_seconds((now.wall_us - sidecar_.started_us()) / 1'000'000);
  std::array<uint64_t, stats::DurationHistogram::kBuckets> buckets{};
  for (const auto& thread : sidecar_.loops()) {
    const stats::LoopStats& loop = thread->stats();
    for (size_t code = 100; code < loop.responses.size(); ++code) {
      const uint64_t count = loop.responses[code].value();
      if (count > 0) (*out->mutable_requests())[std::to_string(code / 100) + "xx"] += count;
    }
    out->set_connections(out->connections() + loop.connections_open.value());
    out->set_connections_accepted(out->connections_accepted() + loop.accepted.value());
    out->set_bytes_received(out->bytes_received() + loop.bytes_received.value());
    out->set_bytes_sent(out->bytes_sent() + loop.bytes_sent.value());
    out->set_requests_active(out->requests_active() + loop.connections_active.value());
    out->set_access_log_dropped(out->access_log_dropped() + loop.access_dropped.value());
    for (size_t i = 0; i < buckets.size(); ++i) buckets[i] += loop.duration.bucket(i);
    control::v1::LoopStats& state = *out->add_loops();
    state.set_index(static_cast<uint32_t>(thread->loop().index()));
    state.set_connections(loop.connections_open.value());
    state.set_turns(thread->loop().turns());
    state.set_last_turn_age_ms(
        static_cast<uint64_t>((now.monotonic_us - thread->loop().last_turn_us()) / 1000));
  }
  out->mutable_duration_us()->set_p50(Quantile(buckets, 0.5));
  out->mutable_duration_us()->set_p90(Quantile(buckets, 0.9));
  out->mutable_duration_us()->set_p99(Quantile(buckets, 0.99));
  const auto plan = sidecar_.plan();
  for (const auto& mount : plan->mounts) {
    const files::MountStats& counted = mount->files->stats();
    control::v1::MountStats& state = *out->add_mounts();
    state.set_name(mount->config->name);
    state.set_hits(counted.Get(files::Counter::kHits));
    state.set_misses(counted.Get(files::Counter::kMisses));
    for (int i = 0; i <= static_cast<int>(files::Counter::kOverload); ++i) {
      const auto result = static_cast<files::Counter>(i);
      (*state.mutable_results())[files::CounterName(result)] = counted.Get(result);
      state.set_requests(state.requests() + counted.Get(result));
    }
    state.set_bytes(counted.Get(files::Counter::kBytes));
    state.set_evictions(counted.Get(files::Counter::kEvictions));
    state.set_sendfile(counted.Get(files::Counter::kSendfiles));
    state.set_errors(counted.Get(files::Counter::kOpenErrors));
    state.set_entries(counted.Get(files::Counter::kEntries));
    state.set_bytes_held(counted.Get(files::Counter::kBytesHeld));
    state.set_compressed_in(counted.Get(files::Counter::kCompressedIn));
    state.set_compressed_out(counted.Get(files::Counter::kCompressedOut));
    state.set_revalidations(counted.Get(files::Counter::kRevalidations));
    state.set_changed(counted.Get(files::Counter::kChanged));
    state.set_truncated(counted.Get(files::Counter::kTruncated));
    state.set_preloaded(counted.Get(files::Counter::kPreloaded));
    state.set_cold_reads(counted.Get(files::Counter::kColdReads));
    state.set_late(counted.Get(files::Counter::kLate));
    state.set_watch(mount->files->watch_state());
    state.set_resolve(mount->files->resolve_name());
  }
  control::v1::CacheServiceStatsResponse caches;
  CacheStats({}, &caches);
  out->mutable_caches()->Swap(caches.mutable_caches());
  const int64_t now_us = base::ReadClockMicros(CLOCK_MONOTONIC);
  for (const upstream::PoolStatus& pool : sidecar_.upstreams().List(now_us)) {
    control::v1::PoolStats& state = *out->add_pools();
    state.set_name(pool.name);
    state.set_requests(pool.requests);
    state.set_queued(pool.queued);
    state.set_in_flight(pool.in_flight);
    for (int kind = 0; kind < origin::kFailureKinds; ++kind) {
      const auto name = origin::FailureName(static_cast<origin::FailureKind>(kind));
      (*state.mutable_rejected())[std::string(name)] = pool.failures[static_cast<size_t>(kind)];
    }
  }
  for (const worker::PoolStatus& pool : sidecar_.workers().List()) {
    control::v1::PoolStats& state = *out->add_pools();
    state.set_name(pool.name);
    state.set_requests(pool.requests);
    state.set_queued(pool.queued);
    state.set_in_flight(pool.in_flight);
    for (const worker::WorkerStatus& worker : pool.workers) {
      if (worker.state == worker::WorkerStatus::State::kReady) {
        state.set_workers_ready(state.workers_ready() + 1);
      }
    }
    for (int kind = 0; kind < origin::kFailureKinds; ++kind) {
      const auto name = origin::FailureName(static_cast<origin::FailureKind>(kind));
      (*state.mutable_rejected())[std::string(name)] = pool.failures[static_cast<size_t>(kind)];
    }
  }
}

void RunningBackend::UpstreamPools(control::v1::PoolServiceListResponse* out) {
  const int64_t now_us = base::ReadClockMicros(CLOCK_MONOTONIC);
  for (const upstream::PoolStatus& pool : sidecar_.upstreams().List(now_us)) {
    control::v1::PoolState& state = *out->add_pools();
    state.set_name(pool.name);
    state.set_queued(pool.queued);
    state.set_queue_max(pool.queue_max);
    state.set_in_flight(pool.in_flight);
    state.set_websockets(pool.sockets);
    state.set_requests(pool.requests);
    for (int kind = 0; kind < origin::kFailureKinds; ++kind) {
      const auto name = origin::FailureName(static_cast<origin::FailureKind>(kind));
      (*state.mutable_rejected())[std::string(name)] = pool.failures[static_cast<size_t>(kind)];
    }
    for (const upstream::TargetStatus& target : pool.targets) {
      control::v1::TargetInfo& info = *state.add_targets();
      info.set_target(target.target);
      info.set_state(std::string(upstream::NameOf(target.state)));
      info.set_in_flight(target.in_flight);
      info.set_idle_connections(target.idle);
      info.set_requests(target.requests);
      info.set_connects(target.connects);
      info.set_last_failure(target.last_failure);
      for (size_t i = 0; i < upstream::kTargetFailures; ++i) {
        if (target.failures[i] == 0) continue;
        const auto reason = upstream::NameOf(static_cast<upstream::TargetFailure>(i));
        (*info.mutable_failures())[std::string(reason)] = target.failures[i];
      }
    }
  }
}

void RunningBackend::Pools(control::v1::PoolServiceListResponse* out) {
  UpstreamPools(out);
  const int64_t now_us = base::ReadClockMicros(CLOCK_MONOTONIC);
  for (const worker::PoolStatus& pool : sidecar_.workers().List()) {
    control::v1::PoolState& state = *out->add_pools();
    state.set_name(pool.name);
    state.mutable_generation()->set_boot_epoch(pool.active.epoch);
    state.mutable_generation()->set_number(pool.active.number);
    state.set_queued(pool.queued);
    state.set_queue_max(pool.queue_max);
    state.set_in_flight(pool.in_flight);
    state.set_websockets(pool.sockets);
    state.set_requests(pool.requests);
    state.set_saturated(worker::IsSaturated(pool, now_us));
    for (int kind = 0; kind < origin::kFailureKinds; ++kind) {
      const auto name = origin::FailureName(static_cast<origin::FailureKind>(kind));
      (*state.mutable_rejected())[std::string(name)] = pool.failures[static_cast<size_t>(kind)];
    }
    for (const worker::WorkerStatus& worker : pool.workers) {
      control::v1::WorkerInfo& info = *state.add_workers();
      info.set_pid(worker.pid);
      info.set_state(StateOf(worker.state));
      info.mutable_generation()->set_boot_epoch(worker.generation.epoch);
      info.mutable_generation()->set_number(worker.generation.number);
      info.set_lanes(worker.lanes);
      info.set_in_flight(worker.in_flight);
      info.set_websockets(worker.sockets);
      info.set_requests(worker.requests);
      info.set_rss_bytes(worker.rss_bytes);
      SetTime(static_cast<int64_t>(worker.start_time_us), info.mutable_started());
      if (worker.requests > 0) info.set_handler_us_mean(worker.handler_us / worker.requests);
    }
  }
}

control::Answer RunningBackend::Dump(const control::v1::DumpRequest& request,
                                     control::v1::DumpResponse* out) {
  const int64_t timeout_ms = request.timeout_ms() == 0 ? 2000 : request.timeout_ms();
  auto found =
      sidecar_.workers().DumpStacks(request.pool(), request.pid(), timeout_ms * int64_t{1000});
  if (!found.ok()) return {control::Answer::Kind::kUnavailable, found.error()};
  for (worker::StackDump::Answer& answer : *found) {
    control::v1::WorkerDump& told = *out->add_workers();
    told.set_pool(std::move(answer.pool));
    told.set_pid(answer.pid);
    told.mutable_generation()->set_boot_epoch(answer.generation.epoch);
    told.mutable_generation()->set_number(answer.generation.number);
    told.set_stacks(std::move(answer.stacks));
    told.set_error(std::move(answer.error));
  }
  return {};
}

base::Result<control::Ticket, std::string> RunningBackend::BeginGeneration(
    const std::string& pool, const std::string& table_hash, uint32_t min_ready) {
  auto begun = sidecar_.workers().BeginGeneration(pool, table_hash, min_ready);
  if (!begun.ok()) return base::Fail(begun.error());
  return control::Ticket{
      {begun->generation.epoch, begun->generation.number}, begun->token, begun->socket_path};
}

bool RunningBackend::Orphan(const std::string& pool, const control::GenerationId& generation) {
  return sidecar_.workers().Orphan(pool, {generation.boot_epoch, generation.number});
}

bool RunningBackend::Resume(const std::string& pool, const control::GenerationId& generation) {
  return sidecar_.workers().Resume(pool, {generation.boot_epoch, generation.number});
}

}  // namespace catzilla::runtime
