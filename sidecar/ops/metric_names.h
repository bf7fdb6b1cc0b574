// Every metric there is: name, type, labels and what it means. Nothing else names a metric;
// docs/metrics.md is this list.
//
// METRIC(identifier, name, type, labels, help). Counters are named without their "_total" and infos
// without their "_info": the exposition puts it on the sample, as both text formats want it.
#pragma once

#include <string>

#include "sidecar/ops/exposition.h"

namespace catzilla::ops {

#define CATZILLA_HTTP_METRICS(METRIC)                                                             \
  METRIC(HttpRequests, "catzilla_http_requests", kCounter, "route, method, code",                 \
         "Requests answered, by route template, method and class of status code.")                \
  METRIC(HttpResponses, "catzilla_http_responses", kCounter, "code",                              \
         "Answers by exact status code; 499 is a client that left before its answer.")            \
  METRIC(HttpRequestDuration, "catzilla_http_request_duration_seconds", kHistogram, "route",      \
         "From a request's head until its answer was made; of a long one, until it had left.")    \
  METRIC(HttpConnections, "catzilla_http_connections", kGauge, "state",                           \
         "Client connections open now: active (an answer is being made) or idle (all others).")   \
  METRIC(HttpConnectionsMax, "catzilla_http_connections_max", kGauge, "",                         \
         "Client connections at most: limits.max_connections, or what descriptors allow.")        \
  METRIC(HttpConnectionsAccepted, "catzilla_http_connections_accepted", kCounter, "",             \
         "Client connections accepted.")                                                          \
  METRIC(HttpAcceptErrors, "catzilla_http_accept_errors", kCounter, "",                           \
         "Times the kernel gave no connection though one waited: no descriptors, no memory.")     \
  METRIC(HttpConnectionsClosed, "catzilla_http_connections_closed", kCounter, "reason",           \
         "Client connections closed, by the reason that ended them.")                             \
  METRIC(HttpReceivedBytes, "catzilla_http_received_bytes", kCounter, "",                         \
         "Bytes read from clients, heads included.")                                              \
  METRIC(HttpSentBytes, "catzilla_http_sent_bytes", kCounter, "",                                 \
         "Bytes written to clients, heads included.")                                             \
  METRIC(HttpKeepaliveReuses, "catzilla_http_keepalive_reuses", kCounter, "",                     \
         "Requests that came on a connection that had already carried one.")                      \
  METRIC(HttpWrites, "catzilla_http_writes", kCounter, "",                                        \
         "System calls that wrote to clients, sendfile included.")                                \
  METRIC(WebSocketsOpen, "catzilla_websockets_open", kGauge, "", "WebSockets that are open now.") \
  METRIC(WebSocketsClosed, "catzilla_websockets_closed", kCounter, "code",                        \
         "WebSockets that have ended, by close code; 1006: the client went without one.")         \
  METRIC(WebSocketMessages, "catzilla_websocket_messages", kCounter, "direction",                 \
         "Messages of WebSockets, received from clients and sent to them.")                       \
  METRIC(WebSocketBytes, "catzilla_websocket_bytes", kCounter, "direction",                       \
         "Bytes of those messages, before compression.")

#define CATZILLA_STATIC_METRICS(METRIC)                                                   \
  METRIC(StaticRequests, "catzilla_static_requests", kCounter, "mount, result",           \
         "Requests to a static mount, by what came of them.")                             \
  METRIC(StaticBodyBytes, "catzilla_static_body_bytes", kCounter, "mount",                \
         "Bytes of bodies that a mount has answered with.")                               \
  METRIC(StaticLookups, "catzilla_static_lookups", kCounter, "mount, result",             \
         "Lookups in the file cache: hit (no system call) or miss (the file is opened).") \
  METRIC(StaticEvictions, "catzilla_static_evictions", kCounter, "mount",                 \
         "Entries that left the file cache to make room.")                                \
  METRIC(StaticOpenErrors, "catzilla_static_open_errors", kCounter, "mount",              \
         "Files that could not be opened for another reason than not being there.")       \
  METRIC(StaticRevalidations, "catzilla_static_revalidations", kCounter, "mount",         \
         "Entries checked against the file system while they were still served.")         \
  METRIC(StaticChanged, "catzilla_static_changed", kCounter, "mount",                     \
         "Checks that found another file than the entry holds.")                          \
  METRIC(StaticTruncated, "catzilla_static_truncated", kCounter, "mount",                 \
         "Answers cut off, connection and all, because their file changed under them.")   \
  METRIC(StaticSendfiles, "catzilla_static_sendfiles", kCounter, "mount",                 \
         "Answers whose body leaves by sendfile.")                                        \
  METRIC(StaticCompressedIn, "catzilla_static_compressed_in_bytes", kCounter, "mount",    \
         "Bytes of files that were compressed, once each.")                               \
  METRIC(StaticCompressedOut, "catzilla_static_compressed_out_bytes", kCounter, "mount",  \
         "Bytes that came of compressing them.")                                          \
  METRIC(StaticPreloaded, "catzilla_static_preloaded", kCounter, "mount",                 \
         "Files that were opened ahead of any request.")                                  \
  METRIC(StaticColdReads, "catzilla_static_cold_reads", kCounter, "mount",                \
         "Reads from disk, off the loop, of what the kernel did not have in memory.")     \
  METRIC(StaticLate, "catzilla_static_late", kCounter, "mount",                           \
         "Opens and reads that did not end within limits.file_timeout.")                  \
  METRIC(StaticWatchActive, "catzilla_static_watch_active", kGauge, "mount",              \
         "1: the kernel tells of changes on disk; 0: they are seen after revalidate.")    \
  METRIC(StaticEntries, "catzilla_static_entries", kGauge, "mount",                       \
         "Entries of the mount in the file cache now.")                                   \
  METRIC(StaticHeldBytes, "catzilla_static_held_bytes", kGauge, "mount",                  \
         "Memory that the mount's entries take in the file cache now.")                   \
  METRIC(StaticThreadsStuck, "catzilla_static_threads_stuck", kGauge, "",                 \
         "Threads that hang in a file system now; others took their places.")             \
  METRIC(StaticThreadsWrittenOff, "catzilla_static_threads_written_off", kCounter, "",    \
         "Threads that have hung in a file system for longer than limits.file_timeout.")  \
  METRIC(FileCacheEntries, "catzilla_file_cache_entries", kGauge, "",                     \
         "Entries of all mounts in the file cache now.")                                  \
  METRIC(FileCacheBytes, "catzilla_file_cache_bytes", kGauge, "",                         \
         "Memory of all mounts' entries in the file cache now.")                          \
  METRIC(FileCacheLimitBytes, "catzilla_file_cache_limit_bytes", kGauge, "",              \
         "What the file cache may hold: limits.file_cache_bytes_max.")                    \
  METRIC(FileCacheDescriptors, "catzilla_file_cache_descriptors", kGauge, "",             \
         "Large files kept open between requests now.")                                   \
  METRIC(FileCacheNegatives, "catzilla_file_cache_negatives", kGauge, "",                 \
         "Remembered answers 403 and 404 now.")                                           \
  METRIC(FileCacheDeclined, "catzilla_file_cache_declined", kCounter, "",                 \
         "Entries that were served once and not kept, for want of room.")

#define CATZILLA_CACHE_METRICS(METRIC)                                                             \
  METRIC(CacheRequests, "catzilla_cache_requests", kCounter, "cache, tier, result",                \
         "Requests that met an edge cache, by how they were answered.")                            \
  METRIC(CacheEvictions, "catzilla_cache_evictions", kCounter, "cache, reason",                    \
         "Objects that left an edge cache, by why.")                                               \
  METRIC(CachePurged, "catzilla_cache_purged", kCounter, "cache, kind",                            \
         "Objects dropped by purges, by what was asked to be purged.")                             \
  METRIC(CachePurgedFills, "catzilla_cache_purged_fills", kCounter, "cache",                       \
         "Answers that were on their way into a cache when a purge named them, and not stored.")   \
  METRIC(CacheInvalidated, "catzilla_cache_invalidated", kCounter, "cache",                        \
         "Objects dropped because an unsafe method was answered without error.")                   \
  METRIC(CacheStored, "catzilla_cache_stored", kCounter, "cache",                                  \
         "Answers stored in an edge cache.")                                                       \
  METRIC(CacheDeclined, "catzilla_cache_declined", kCounter, "cache",                              \
         "Storable answers that were not kept: too large, not yet asked for twice, no memory.")    \
  METRIC(CacheObjects, "catzilla_cache_objects", kGauge, "cache", "Objects in an edge cache now.") \
  METRIC(CacheBytes, "catzilla_cache_bytes", kGauge, "cache",                                      \
         "Memory of an edge cache's objects now.")                                                 \
  METRIC(CacheLimitBytes, "catzilla_cache_limit_bytes", kGauge, "cache",                           \
         "What an edge cache may hold: its memory_bytes_max.")                                     \
  METRIC(CacheFills, "catzilla_cache_fills", kGauge, "cache",                                      \
         "Answers being fetched into an edge cache now.")                                          \
  METRIC(CacheFillBytes, "catzilla_cache_fill_bytes", kGauge, "cache",                             \
         "Memory of answers being fetched into an edge cache now.")

#define CATZILLA_POOL_METRICS(METRIC)                                                            \
  METRIC(PoolWorkers, "catzilla_pool_workers", kGauge, "pool, generation, state",                \
         "Worker processes now, by generation of the app's code and by state.")                  \
  METRIC(PoolActiveGeneration, "catzilla_pool_active_generation", kGauge, "pool",                \
         "The generation that answers requests now; 0: none yet.")                               \
  METRIC(PoolInFlight, "catzilla_pool_in_flight", kGauge, "pool",                                \
         "Requests that workers, or servers, have and have not answered now.")                   \
  METRIC(PoolWebSockets, "catzilla_pool_websockets", kGauge, "pool",                             \
         "WebSockets now, from their handshake to their handler's end.")                         \
  METRIC(PoolWebSocketsLimit, "catzilla_pool_websockets_limit", kGauge, "pool",                  \
         "How many there may be: the pool's max_websockets.")                                    \
  METRIC(PoolQueueDepth, "catzilla_pool_queue_depth", kGauge, "pool",                            \
         "Requests that wait for a worker now.")                                                 \
  METRIC(PoolQueueLimit, "catzilla_pool_queue_limit", kGauge, "pool",                            \
         "How many requests may wait: the pool's queue_max.")                                    \
  METRIC(PoolSaturated, "catzilla_pool_saturated", kGauge, "pool",                               \
         "1: requests were refused for want of workers within the last ten seconds.")            \
  METRIC(PoolQueueWait, "catzilla_pool_queue_wait_seconds", kHistogram, "pool",                  \
         "How long requests that had to wait for a worker have waited.")                         \
  METRIC(PoolRequests, "catzilla_pool_requests", kCounter, "pool", "Requests given to a pool.")  \
  METRIC(PoolAnswers, "catzilla_pool_answers", kCounter, "pool, lane",                           \
         "Answers of workers, by the lane that made them: fast, stack or slow.")                 \
  METRIC(PoolRetries, "catzilla_pool_retries", kCounter, "pool",                                 \
         "Requests sent again because the worker, or the connection, was lost.")                 \
  METRIC(PoolRerouted, "catzilla_pool_rerouted", kCounter, "pool",                               \
         "Requests that were routed anew because newer code took over before they had begun.")   \
  METRIC(PoolRejected, "catzilla_pool_rejected", kCounter, "pool, reason",                       \
         "Requests refused before a worker had them.")                                           \
  METRIC(PoolFailures, "catzilla_pool_failures", kCounter, "pool, reason",                       \
         "Requests that failed after a worker, or a server, had them.")                          \
  METRIC(PoolTargetUp, "catzilla_pool_target_up", kGauge, "pool, target",                        \
         "1 if a server of an upstream pool gets requests now, 0 if it is passed over or down.") \
  METRIC(PoolTargetInFlight, "catzilla_pool_target_in_flight", kGauge, "pool, target",           \
         "Requests that a server has and has not answered now.")                                 \
  METRIC(PoolTargetIdle, "catzilla_pool_target_idle_connections", kGauge, "pool, target",        \
         "Connections to a server that wait for a request now.")                                 \
  METRIC(PoolTargetRequests, "catzilla_pool_target_requests", kCounter, "pool, target",          \
         "Requests given to a server, tried again or not.")                                      \
  METRIC(PoolTargetConnects, "catzilla_pool_target_connects", kCounter, "pool, target",          \
         "Connections that a server has taken.")                                                 \
  METRIC(PoolTargetFailures, "catzilla_pool_target_failures", kCounter, "pool, target, reason",  \
         "What went wrong with a server, tried again or not.")

#define CATZILLA_PROCESS_METRICS(METRIC)                                                         \
  METRIC(Config, "catzilla_config", kInfo, "version",                                            \
         "The version of the configuration that is served.")                                     \
  METRIC(ConfigChange, "catzilla_config_change_timestamp_seconds", kGauge, "",                   \
         "When the served version of the configuration was accepted.")                           \
  METRIC(ConfigRejections, "catzilla_config_rejections", kCounter, "source",                     \
         "Changes of the configuration that were refused, by layer.")                            \
  METRIC(ConfigRestartPending, "catzilla_config_restart_pending", kGauge, "",                    \
         "Fields that were changed and keep their running value until a restart.")               \
  METRIC(LoopTurns, "catzilla_loop_turns", kCounter, "loop", "Turns of an event loop.")          \
  METRIC(LoopTurnsOverrun, "catzilla_loop_turns_overrun", kCounter, "loop",                      \
         "Turns that left work to the next one: too much of it, or some that gets nowhere.")     \
  METRIC(LoopBusySeconds, "catzilla_loop_busy_seconds", kCounter, "loop",                        \
         "Time that an event loop has spent in its turns; its rate is the loop's load.")         \
  METRIC(LoopTurnAge, "catzilla_loop_turn_age_seconds", kGauge, "loop",                          \
         "How long ago an event loop has ended a turn; it has one each second when idle.")       \
  METRIC(LoopStalled, "catzilla_loop_stalled", kGauge, "loop",                                   \
         "1: the loop has not ended a turn for so long that /livez fails.")                      \
  METRIC(AccessLogDropped, "catzilla_access_log_dropped", kCounter, "",                          \
         "Lines of the access log that did not fit its ring, or that its file did not take.")    \
  METRIC(LogLost, "catzilla_log_lost", kCounter, "",                                             \
         "Lines of the process's own log that standard error did not take.")                     \
  METRIC(SeriesOverflow, "catzilla_telemetry_series_overflow", kCounter, "",                     \
         "Routes and mounts counted as route=\"<other>\" because of telemetry.max_series.")      \
  METRIC(MemoryBytes, "catzilla_memory_bytes", kGauge, "arena, kind",                            \
         "Memory by purpose: allocated is what was asked for, resident what the kernel gave.")   \
  METRIC(HeapBytes, "catzilla_heap_bytes", kGauge, "kind",                                       \
         "Memory of the whole heap, the arenas included.")                                       \
  METRIC(HeapAllocations, "catzilla_heap_allocations", kCounter, "",                             \
         "Times memory was asked of the heap; hot answers do not. 0 in sanitizer builds.")       \
  METRIC(MemoryLimitBytes, "catzilla_memory_limit_bytes", kGauge, "",                            \
         "The container's memory limit; 0: none.")                                               \
  METRIC(CpuLimit, "catzilla_cpu_limit", kGauge, "",                                             \
         "How many CPUs the container may use; 0: no limit.")                                    \
  METRIC(ProcessCpu, "process_cpu_seconds", kCounter, "",                                        \
         "User and system CPU time of the process.")                                             \
  METRIC(ProcessResident, "process_resident_memory_bytes", kGauge, "",                           \
         "Resident memory of the process.")                                                      \
  METRIC(ProcessVirtual, "process_virtual_memory_bytes", kGauge, "",                             \
         "Virtual memory of the process.")                                                       \
  METRIC(ProcessOpenFds, "process_open_fds", kGauge, "", "File descriptors open now.")           \
  METRIC(ProcessMaxFds, "process_max_fds", kGauge, "", "How many file descriptors may be open.") \
  METRIC(ProcessThreads, "process_threads", kGauge, "", "Threads of the process now.")           \
  METRIC(ProcessStart, "process_start_time_seconds", kGauge, "",                                 \
         "When the process has started, since the Unix epoch.")                                  \
  METRIC(Build, "catzilla_build", kInfo, "version", "What is running; always 1.")

#define CATZILLA_METRICS(METRIC)  \
  CATZILLA_HTTP_METRICS(METRIC)   \
  CATZILLA_STATIC_METRICS(METRIC) \
  CATZILLA_CACHE_METRICS(METRIC)  \
  CATZILLA_POOL_METRICS(METRIC)   \
  CATZILLA_PROCESS_METRICS(METRIC)

namespace metric {
#define CATZILLA_METRIC(identifier, name, type, labels, help) \
  inline constexpr MetricFamily k##identifier{name, MetricType::type, help, labels};
CATZILLA_METRICS(CATZILLA_METRIC)
#undef CATZILLA_METRIC
}  // namespace metric

inline constexpr MetricFamily kMetricFamilies[] = {
#define CATZILLA_METRIC(identifier, name, type, labels, help) metric::k##identifier,
    CATZILLA_METRICS(CATZILLA_METRIC)
#undef CATZILLA_METRIC
};

// docs/metrics.md, whole.
std::string MetricsReference();

}  // namespace catzilla::ops
