#include "sidecar/runtime/metrics.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <string_view>

#include "sidecar/base/arena.h"
#include "sidecar/base/clock.h"
#include "sidecar/ops/metric_names.h"
#include "sidecar/runtime/process_metrics.h"

namespace catzilla::runtime {
namespace {

namespace metric = ops::metric;

constexpr std::array<std::string_view, stats::kStatusClasses> kClassLabels = {"1xx", "2xx", "3xx",
                                                                              "4xx", "5xx"};
// Statuses that the sidecar answers with by itself; apps may add any other.
constexpr std::array<int, 26> kOwnStatuses = {200, 204, 206, 301, 304, 307, 308, 400, 403,
                                              404, 405, 408, 412, 413, 414, 416, 417, 429,
                                              431, 499, 500, 501, 502, 503, 504, 505};

double Seconds(uint64_t us) { return static_cast<double>(us) * 1e-6; }

uint64_t Sum(const std::vector<Metrics::LoopView>& loops,
             stats::Counter stats::LoopStats::* counter) {
  uint64_t sum = 0;
  for (const Metrics::LoopView& view : loops) sum += (view.stats->*counter).value();
  return sum;
}

uint64_t Sum(const std::vector<Metrics::LoopView>& loops, stats::Gauge stats::LoopStats::* gauge) {
  uint64_t sum = 0;
  for (const Metrics::LoopView& view : loops) sum += (view.stats->*gauge).value();
  return sum;
}

// A gauge that several threads add to may be seen between two of them: never below zero.
uint64_t Level(uint64_t value) { return static_cast<int64_t>(value) < 0 ? 0 : value; }

// One family of a number that each of `items` has: `label` of an item is its name.
template <typename Items, typename Name, typename Value>
void Each(ops::Exposition& out, const ops::MetricFamily& family, std::string_view label,
          const Items& items, Name name, Value value) {
  out.Family(family);
  for (const auto& item : items) out.Sample({{label, name(item)}}, uint64_t{value(item)});
}

bool DeclaresMethod(const stats::RouteStats& route, size_t method) {
  // A route for every method shows GET before it has seen any.
  if (route.declared().empty()) return method == 0;
  return std::find(route.declared().begin(), route.declared().end(), method) !=
         route.declared().end();
}

void SampleRoute(ops::Exposition& out, const stats::RouteStats& route) {
  for (size_t method = 0; method < stats::kMethodLabels.size(); ++method) {
    std::array<uint64_t, stats::kStatusClasses> counts{};
    uint64_t sum = 0;
    for (size_t i = 0; i < counts.size(); ++i) sum += counts[i] = route.requests(method, i);
    if (sum == 0 && !DeclaresMethod(route, method)) continue;
    for (size_t i = 0; i < counts.size(); ++i) {
      out.Sample({{"route", route.label()},
                  {"method", stats::kMethodLabels[method]},
                  {"code", kClassLabels[i]}},
                 counts[i]);
    }
  }
}

// A pool's failures before a worker had the request; the others came after.
bool IsRejection(origin::FailureKind kind) {
  return kind == origin::FailureKind::kQueueFull || kind == origin::FailureKind::kQueueTimeout ||
         kind == origin::FailureKind::kNoWorkers || kind == origin::FailureKind::kTooLarge ||
         kind == origin::FailureKind::kNoTargets || kind == origin::FailureKind::kTooManySockets ||
         kind == origin::FailureKind::kNoSockets;
}

// What pools of servers have in common with those of workers.
worker::PoolStatus InCommon(const upstream::PoolStatus& pool) {
  worker::PoolStatus common;
  common.name = pool.name;
  common.queued = pool.queued;
  common.queue_max = pool.queue_max;
  common.in_flight = pool.in_flight;
  common.sockets = pool.sockets;
  common.sockets_max = pool.sockets_max;
  common.requests = pool.requests;
  common.retries = pool.retries;
  common.failures = pool.failures;
  common.queue_wait = pool.queue_wait;
  common.queue_wait_us = pool.queue_wait_us;
  return common;
}

bool IsUp(upstream::TargetState state) {
  return state == upstream::TargetState::kUp || state == upstream::TargetState::kSlowStart ||
         state == upstream::TargetState::kTrial;
}

void SampleTargets(ops::Exposition& out, const std::vector<upstream::PoolStatus>& pools) {
  const auto each = [&](const ops::MetricFamily& family, auto number) {
    out.Family(family);
    for (const upstream::PoolStatus& pool : pools) {
      for (const upstream::TargetStatus& target : pool.targets) {
        out.Sample({{"pool", pool.name}, {"target", target.target}}, uint64_t{number(target)});
      }
    }
  };
  using Status = upstream::TargetStatus;
  each(metric::kPoolTargetUp, [](const Status& target) { return IsUp(target.state) ? 1u : 0u; });
  each(metric::kPoolTargetInFlight, [](const Status& target) { return target.in_flight; });
  each(metric::kPoolTargetIdle, [](const Status& target) { return target.idle; });
  each(metric::kPoolTargetRequests, [](const Status& target) { return target.requests; });
  each(metric::kPoolTargetConnects, [](const Status& target) { return target.connects; });
  out.Family(metric::kPoolTargetFailures);
  for (const upstream::PoolStatus& pool : pools) {
    for (const Status& target : pool.targets) {
      for (size_t i = 0; i < upstream::kTargetFailures; ++i) {
        const auto reason = static_cast<upstream::TargetFailure>(i);
        out.Sample(
            {{"pool", pool.name}, {"target", target.target}, {"reason", upstream::NameOf(reason)}},
            target.failures[i]);
      }
    }
  }
}

void SampleFailures(ops::Exposition& out, const worker::PoolStatus& pool, bool rejections) {
  for (int i = 0; i < origin::kFailureKinds; ++i) {
    const auto kind = static_cast<origin::FailureKind>(i);
    if (kind == origin::FailureKind::kSuperseded) continue;  // No failure: it is routed anew.
    if (IsRejection(kind) != rejections) continue;
    out.Sample({{"pool", pool.name}, {"reason", origin::FailureName(kind)}},
               pool.failures[static_cast<size_t>(i)]);
  }
}

void SampleWorkers(ops::Exposition& out, const worker::PoolStatus& pool) {
  using State = worker::WorkerStatus::State;
  std::set<uint64_t> generations = {pool.active.number, pool.newest.number};
  for (const worker::WorkerStatus& worker : pool.workers) {
    generations.insert(worker.generation.number);
  }
  for (const uint64_t generation : generations) {
    for (const State state :
         {State::kStarting, State::kReady, State::kDraining, State::kRecycling}) {
      const auto count = std::count_if(
          pool.workers.begin(), pool.workers.end(), [&](const worker::WorkerStatus& worker) {
            return worker.generation.number == generation && worker.state == state;
          });
      out.Sample({{"pool", pool.name},
                  {"generation", std::to_string(generation)},
                  {"state", worker::WorkerStateName(state)}},
                 static_cast<uint64_t>(count));
    }
  }
}

}  // namespace

void Metrics::Collect(ops::Exposition& out) {
  const std::vector<LoopView> loops = parts_.loops();
  CollectRoutes(out);
  CollectConnections(out, loops);
  CollectMounts(out);
  CollectFileStore(out);
  CollectCaches(out);
  CollectPools(out);
  CollectConfig(out);
  CollectLoops(out, loops);
  CollectMemory(out);
  CollectProcess(out);
  out.Family(metric::kBuild);
  out.Sample({{"version", parts_.version}}, uint64_t{1});
}

void Metrics::CollectRoutes(ops::Exposition& out) {
  std::vector<std::shared_ptr<stats::RouteStats>> routes = parts_.routes.All();
  // Two series of one name would make Prometheus refuse the whole scrape.
  std::set<std::string_view> seen;
  std::erase_if(routes, [&](const auto& route) { return !seen.insert(route->label()).second; });

  out.Family(metric::kHttpRequests);
  for (const auto& route : routes) SampleRoute(out, *route);
  out.Family(metric::kHttpRequestDuration);
  for (const auto& route : routes) {
    std::array<uint64_t, stats::DurationHistogram::kBuckets> buckets{};
    for (size_t i = 0; i < buckets.size(); ++i) buckets[i] = route->duration_bucket(i);
    out.Histogram({"route", route->label()}, stats::kDurationBounds, buckets,
                  Seconds(route->duration_sum_us()));
  }
  out.Family(metric::kSeriesOverflow);
  out.Sample({}, parts_.routes.overflowed());
}

void Metrics::CollectConnections(ops::Exposition& out, const std::vector<LoopView>& loops) {
  out.Family(metric::kHttpResponses);
  for (int status = 100; status < 600; ++status) {
    uint64_t sum = 0;
    for (const LoopView& view : loops) {
      sum += view.stats->responses[static_cast<size_t>(status)].value();
    }
    const bool own = std::binary_search(kOwnStatuses.begin(), kOwnStatuses.end(), status);
    if (sum > 0 || own) out.Sample({{"code", std::to_string(status)}}, sum);
  }

  const uint64_t open = Sum(loops, &stats::LoopStats::connections_open);
  const uint64_t active = std::min(open, Sum(loops, &stats::LoopStats::connections_active));
  out.Family(metric::kHttpConnections);
  out.Sample({{"state", "active"}}, active);
  out.Sample({{"state", "idle"}}, open - active);
  const auto version = parts_.config.Current();
  uint32_t most = version == nullptr ? 0 : version->snapshot->limits->connections_max;
  if (parts_.connections_max) most = std::min(most, parts_.connections_max());
  out.Family(metric::kHttpConnectionsMax);
  out.Sample({}, uint64_t{most});
  out.Family(metric::kHttpConnectionsClosed);
  for (size_t reason = 0; reason < stats::kCloseReasons; ++reason) {
    uint64_t sum = 0;
    for (const LoopView& view : loops) sum += view.stats->closed[reason].value();
    out.Sample({{"reason", stats::kCloseReasonLabels[reason]}}, sum);
  }

  const auto total = [&](const ops::MetricFamily& family,
                         stats::Counter stats::LoopStats::* counter) {
    out.Family(family);
    out.Sample({}, Sum(loops, counter));
  };
  total(metric::kHttpConnectionsAccepted, &stats::LoopStats::accepted);
  total(metric::kHttpAcceptErrors, &stats::LoopStats::accepts_failed);
  total(metric::kHttpReceivedBytes, &stats::LoopStats::bytes_received);
  total(metric::kHttpSentBytes, &stats::LoopStats::bytes_sent);
  total(metric::kHttpKeepaliveReuses, &stats::LoopStats::keepalive_reuses);
  total(metric::kHttpWrites, &stats::LoopStats::writes);
  CollectSockets(out, loops);
  out.Family(metric::kAccessLogDropped);
  const uint64_t unwritten = parts_.access_lines_lost ? parts_.access_lines_lost() : 0;
  out.Sample({}, Sum(loops, &stats::LoopStats::access_dropped) + unwritten);
  out.Family(metric::kLogLost);
  out.Sample({}, parts_.log_lines_lost ? parts_.log_lines_lost() : 0);
}

void Metrics::CollectSockets(ops::Exposition& out, const std::vector<LoopView>& loops) {
  out.Family(metric::kWebSocketsOpen);
  out.Sample({}, Sum(loops, &stats::LoopStats::websockets_open));
  out.Family(metric::kWebSocketsClosed);
  for (size_t i = 0; i < stats::kSocketCloses; ++i) {
    uint64_t sum = 0;
    for (const LoopView& view : loops) sum += view.stats->websockets_closed[i].value();
    const uint16_t code = stats::kSocketCloseCodes[i];
    out.Sample({{"code", code == 0 ? "other" : std::to_string(code)}}, sum);
  }
  const auto both = [&](const ops::MetricFamily& family,
                        stats::Counter stats::LoopStats::* received,
                        stats::Counter stats::LoopStats::* sent) {
    out.Family(family);
    out.Sample({{"direction", "received"}}, Sum(loops, received));
    out.Sample({{"direction", "sent"}}, Sum(loops, sent));
  };
  both(metric::kWebSocketMessages, &stats::LoopStats::websocket_messages_received,
       &stats::LoopStats::websocket_messages_sent);
  both(metric::kWebSocketBytes, &stats::LoopStats::websocket_bytes_received,
       &stats::LoopStats::websocket_bytes_sent);
}

void Metrics::CollectMounts(ops::Exposition& out) {
  using files::Counter;
  const std::shared_ptr<const exchange::Plan> plan = parts_.plan();
  static const std::vector<std::shared_ptr<const exchange::MountTarget>> kNone;
  const auto& mounts = plan == nullptr ? kNone : plan->mounts;

  out.Family(metric::kStaticRequests);
  for (const auto& mount : mounts) {
    for (int i = static_cast<int>(Counter::kOk); i <= static_cast<int>(Counter::kOverload); ++i) {
      const auto result = static_cast<Counter>(i);
      out.Sample({{"mount", mount->config->name}, {"result", files::CounterName(result)}},
                 mount->files->stats().Get(result));
    }
  }
  out.Family(metric::kStaticLookups);
  for (const auto& mount : mounts) {
    const files::MountStats& stats = mount->files->stats();
    out.Sample({{"mount", mount->config->name}, {"result", "hit"}}, stats.Get(Counter::kHits));
    out.Sample({{"mount", mount->config->name}, {"result", "miss"}}, stats.Get(Counter::kMisses));
  }
  const auto each = [&](const ops::MetricFamily& family, Counter counter) {
    Each(
        out, family, "mount", mounts,
        [](const auto& mount) -> std::string_view { return mount->config->name; },
        [&](const auto& mount) { return Level(mount->files->stats().Get(counter)); });
  };
  each(metric::kStaticBodyBytes, Counter::kBytes);
  each(metric::kStaticEvictions, Counter::kEvictions);
  each(metric::kStaticOpenErrors, Counter::kOpenErrors);
  each(metric::kStaticRevalidations, Counter::kRevalidations);
  each(metric::kStaticChanged, Counter::kChanged);
  each(metric::kStaticTruncated, Counter::kTruncated);
  each(metric::kStaticSendfiles, Counter::kSendfiles);
  each(metric::kStaticCompressedIn, Counter::kCompressedIn);
  each(metric::kStaticCompressedOut, Counter::kCompressedOut);
  each(metric::kStaticColdReads, Counter::kColdReads);
  each(metric::kStaticLate, Counter::kLate);
  each(metric::kStaticPreloaded, Counter::kPreloaded);
  out.Family(metric::kStaticWatchActive);
  for (const auto& mount : mounts) {
    out.Sample({{"mount", mount->config->name}},
               uint64_t{mount->files->watch_state() == "active" ? 1u : 0u});
  }
  each(metric::kStaticEntries, Counter::kEntries);
  each(metric::kStaticHeldBytes, Counter::kBytesHeld);
  const base::Executor::State threads =
      parts_.file_threads == nullptr ? base::Executor::State{} : parts_.file_threads();
  out.Family(metric::kStaticThreadsStuck);
  out.Sample({}, uint64_t{threads.stuck});
  out.Family(metric::kStaticThreadsWrittenOff);
  out.Sample({}, threads.written_off);
}

void Metrics::CollectFileStore(ops::Exposition& out) {
  const base::CacheTableStats stats = parts_.file_store.stats();
  const auto one = [&](const ops::MetricFamily& family, uint64_t value) {
    out.Family(family);
    out.Sample({}, value);
  };
  one(metric::kFileCacheEntries, stats.entries);
  one(metric::kFileCacheBytes, stats.bytes);
  one(metric::kFileCacheLimitBytes, parts_.file_store.bytes_max());
  one(metric::kFileCacheDescriptors, parts_.file_store.descriptors());
  one(metric::kFileCacheNegatives, parts_.file_store.negatives());
  one(metric::kFileCacheDeclined, stats.declined);
}

void Metrics::CollectCaches(ops::Exposition& out) {
  using cache::CacheStats;
  const std::vector<std::pair<std::string, CacheStats>> caches = parts_.caches();
  out.Family(metric::kCacheRequests);
  for (const auto& [name, stats] : caches) {
    for (size_t i = 0; i < cache::kCacheResults; ++i) {
      out.Sample({{"cache", name},
                  {"tier", "memory"},
                  {"result", cache::CacheResultName(static_cast<cache::CacheResult>(i))}},
                 stats.requests[i]);
    }
  }
  out.Family(metric::kCacheEvictions);
  for (const auto& [name, stats] : caches) {
    for (size_t i = 0; i < cache::kEvictionReasons; ++i) {
      const auto reason = static_cast<cache::EvictionReason>(i);
      out.Sample({{"cache", name}, {"reason", cache::EvictionReasonName(reason)}},
                 stats.evictions[i]);
    }
  }
  out.Family(metric::kCachePurged);
  for (const auto& [name, stats] : caches) {
    for (size_t i = 0; i < stats.purged.size(); ++i) {
      out.Sample({{"cache", name}, {"kind", cache::PurgeKindName(i)}}, stats.purged[i]);
    }
  }
  const auto each = [&](const ops::MetricFamily& family, uint64_t CacheStats::* number) {
    Each(
        out, family, "cache", caches, [](const auto& one) -> std::string_view { return one.first; },
        [&](const auto& one) { return one.second.*number; });
  };
  each(metric::kCachePurgedFills, &CacheStats::purged_fills);
  each(metric::kCacheInvalidated, &CacheStats::invalidated);
  each(metric::kCacheStored, &CacheStats::stored);
  each(metric::kCacheDeclined, &CacheStats::declined);
  each(metric::kCacheObjects, &CacheStats::objects);
  each(metric::kCacheBytes, &CacheStats::bytes);
  each(metric::kCacheLimitBytes, &CacheStats::bytes_max);
  each(metric::kCacheFills, &CacheStats::fills);
  each(metric::kCacheFillBytes, &CacheStats::fill_bytes);
}

void Metrics::CollectPools(ops::Exposition& out) {
  const std::vector<worker::PoolStatus> of_workers = parts_.workers.List();
  const std::vector<upstream::PoolStatus> of_servers =
      parts_.upstreams.List(base::ReadClockMicros(CLOCK_MONOTONIC));
  std::vector<worker::PoolStatus> pools = of_workers;
  for (const upstream::PoolStatus& pool : of_servers) pools.push_back(InCommon(pool));
  out.Family(metric::kPoolWorkers);
  for (const worker::PoolStatus& pool : of_workers) SampleWorkers(out, pool);
  out.Family(metric::kPoolRejected);
  for (const worker::PoolStatus& pool : pools) SampleFailures(out, pool, true);
  out.Family(metric::kPoolFailures);
  for (const worker::PoolStatus& pool : pools) SampleFailures(out, pool, false);
  out.Family(metric::kPoolAnswers);
  for (const worker::PoolStatus& pool : of_workers) {
    for (size_t lane = 0; lane < worker::kAnswerLanes; ++lane) {
      out.Sample({{"pool", pool.name}, {"lane", worker::kAnswerLaneNames[lane]}},
                 pool.answers[lane]);
    }
  }
  out.Family(metric::kPoolQueueWait);
  for (const worker::PoolStatus& pool : pools) {
    out.Histogram({"pool", pool.name}, worker::kQueueWaitBounds, pool.queue_wait,
                  Seconds(pool.queue_wait_us));
  }
  const auto each = [&](const ops::MetricFamily& family, auto number) {
    Each(
        out, family, "pool", pools, [](const auto& pool) -> std::string_view { return pool.name; },
        number);
  };
  Each(
      out, metric::kPoolActiveGeneration, "pool", of_workers,
      [](const auto& pool) -> std::string_view { return pool.name; },
      [](const auto& pool) { return pool.active.number; });
  each(metric::kPoolInFlight, [](const auto& pool) { return pool.in_flight; });
  each(metric::kPoolWebSockets, [](const auto& pool) { return pool.sockets; });
  each(metric::kPoolWebSocketsLimit, [](const auto& pool) { return pool.sockets_max; });
  each(metric::kPoolQueueDepth, [](const auto& pool) { return pool.queued; });
  each(metric::kPoolQueueLimit, [](const auto& pool) { return pool.queue_max; });
  const int64_t now_us = base::ReadClockMicros(CLOCK_MONOTONIC);
  each(metric::kPoolSaturated,
       [&](const auto& pool) { return worker::IsSaturated(pool, now_us) ? 1u : 0u; });
  each(metric::kPoolRequests, [](const auto& pool) { return pool.requests; });
  each(metric::kPoolRetries, [](const auto& pool) { return pool.retries; });
  each(metric::kPoolRerouted, [](const auto& pool) {
    return pool.failures[static_cast<size_t>(origin::FailureKind::kSuperseded)];
  });
  SampleTargets(out, of_servers);
}

void Metrics::CollectConfig(ops::Exposition& out) {
  const std::shared_ptr<const schema::Version> version = parts_.config.Current();
  out.Family(metric::kConfig);
  out.Sample({{"version", std::to_string(version == nullptr ? 0 : version->number)}}, uint64_t{1});
  out.Family(metric::kConfigChange);
  out.Sample({}, version == nullptr ? 0.0 : static_cast<double>(version->time_us) * 1e-6);
  out.Family(metric::kConfigRejections);
  for (const auto& [layer, name] :
       {std::pair{config::Layer::kApp, "app"}, std::pair{config::Layer::kFile, "file"},
        std::pair{config::Layer::kApi, "api"}}) {
    out.Sample({{"source", name}}, parts_.config.RejectionsTotal(layer));
  }
  out.Family(metric::kConfigRestartPending);
  out.Sample({}, uint64_t{version == nullptr ? 0 : version->restart_pending()});
}

void Metrics::CollectLoops(ops::Exposition& out, const std::vector<LoopView>& loops) {
  const int64_t now_us = base::ReadClockMicros(CLOCK_MONOTONIC);
  const auto age_us = [&](const LoopView& view) {
    return std::max<int64_t>(0, now_us - view.loop->last_turn_us());
  };
  const auto each = [&](const ops::MetricFamily& family, auto value) {
    out.Family(family);
    for (const LoopView& view : loops) {
      out.Sample({{"loop", std::to_string(view.loop->index())}}, value(view));
    }
  };
  each(metric::kLoopTurns, [](const LoopView& view) { return view.loop->turns(); });
  each(metric::kLoopTurnsOverrun, [](const LoopView& view) { return view.loop->turns_overrun(); });
  each(metric::kLoopBusySeconds,
       [](const LoopView& view) { return Seconds(view.loop->busy_us()); });
  each(metric::kLoopTurnAge,
       [&](const LoopView& view) { return Seconds(static_cast<uint64_t>(age_us(view))); });
  each(metric::kLoopStalled,
       [&](const LoopView& view) { return uint64_t{age_us(view) > parts_.stalled_us ? 1u : 0u}; });
}

void Metrics::CollectMemory(ops::Exposition& out) {
  out.Family(metric::kMemoryBytes);
  for (int i = 0; i < base::kArenaCount; ++i) {
    const auto id = static_cast<base::ArenaId>(i);
    const base::ArenaUsage usage = base::Arenas::Usage(id);
    out.Sample({{"arena", base::ArenaName(id)}, {"kind", "allocated"}}, usage.allocated_bytes);
    out.Sample({{"arena", base::ArenaName(id)}, {"kind", "resident"}}, usage.resident_bytes);
  }
  const base::ArenaUsage heap = base::Arenas::ProcessUsage();
  out.Family(metric::kHeapBytes);
  out.Sample({{"kind", "allocated"}}, heap.allocated_bytes);
  out.Sample({{"kind", "resident"}}, heap.resident_bytes);
  out.Family(metric::kHeapAllocations);
  out.Sample({}, base::Arenas::Allocations());
  out.Family(metric::kMemoryLimitBytes);
  out.Sample({}, parts_.limits.memory_bytes);
  out.Family(metric::kCpuLimit);
  out.Sample({}, parts_.limits.cpus);
}

}  // namespace catzilla::runtime
