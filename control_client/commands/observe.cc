// catzillactl stats, explain: what happens, and what would.
#include <iostream>

#include "control_client/commands/command.h"
#include "sidecar/base/utf8.h"

namespace catzilla::control_client {
namespace {

uint64_t Total(const v1::Stats& stats) {
  uint64_t total = 0;
  for (const auto& [code_class, count] : stats.requests()) total += count;
  return total;
}

double Seconds(const google::protobuf::Timestamp& time) {
  return static_cast<double>(time.seconds()) + static_cast<double>(time.nanos()) * 1e-9;
}

void PrintOnce(const v1::Stats& stats) {
  std::cout << "requests     " << Total(stats);
  for (const auto& [code_class, count] : stats.requests()) {
    std::cout << "  " << code_class << " " << count;
  }
  std::cout << "\nconnections  " << stats.connections() << " open, " << stats.connections_accepted()
            << " accepted\nbytes        " << Bytes(stats.bytes_received()) << " in, "
            << Bytes(stats.bytes_sent()) << " out\nduration     p50 "
            << Duration(stats.duration_us().p50()) << ", p90 "
            << Duration(stats.duration_us().p90()) << ", p99 "
            << Duration(stats.duration_us().p99()) << "\n";
  for (const v1::MountStats& mount : stats.mounts()) {
    std::cout << "mount        " << mount.name() << ": " << Count(mount.requests(), "request")
              << ", " << mount.hits() << " hits, " << mount.misses() << " misses\n";
  }
  for (const v1::CacheStats& cache : stats.caches()) {
    std::cout << "cache        " << cache.cache() << ": " << cache.hits() << " hits, "
              << cache.misses() << " misses, " << Bytes(cache.bytes()) << "\n";
  }
  for (const v1::PoolStats& pool : stats.pools()) {
    std::cout << "pool         " << pool.name() << ": " << Count(pool.workers_ready(), "worker")
              << ", " << pool.queued() << " queued, " << pool.in_flight() << " in flight\n";
  }
}

ExitCode RunStats(Session& session, Client& client) {
  const auto result = client.GetStats();
  if (!result.ok()) return Report(result.error());
  if (!session.PrintStructured(*result)) PrintOnce(result->stats());
  return kOk;
}

// One line per interval, with rates; ends with the stream or an interrupt.
ExitCode WatchStats(Session& session, Client& client) {
  v1::Stats before;
  bool first = true;
  const auto result =
      client.WatchStats(v1::StatsServiceWatchRequest(), [&](const v1::Stats& stats) {
        if (session.PrintStructured(stats)) return true;
        if (first) std::cout << "REQUESTS/S   IN/S         OUT/S        CONNECTIONS  P99\n";
        const double seconds = Seconds(stats.at()) - Seconds(before.at());
        if (!first && seconds > 0) {
          const auto rate = [&](uint64_t now, uint64_t then) {
            return static_cast<uint64_t>(static_cast<double>(now - then) / seconds);
          };
          char line[128];
          std::snprintf(line, sizeof(line), "%-12lu %-12s %-12s %-12lu %s\n",
                        static_cast<unsigned long>(rate(Total(stats), Total(before))),
                        Bytes(rate(stats.bytes_received(), before.bytes_received())).c_str(),
                        Bytes(rate(stats.bytes_sent(), before.bytes_sent())).c_str(),
                        static_cast<unsigned long>(stats.connections()),
                        Duration(stats.duration_us().p99()).c_str());
          std::cout << line << std::flush;
        }
        before = stats;
        first = false;
        return true;
      });
  return result.ok() ? kOk : Report(result.error());
}

std::string VerdictName(const v1::ExplainResponse& explained) {
  switch (explained.verdict()) {
    case v1::VERDICT_KIND_FILES:
      return "file " + explained.file() + " of mount " + explained.mount();
    case v1::VERDICT_KIND_CACHE:
      return "answered by cache " + explained.cache();
    case v1::VERDICT_KIND_FORWARD:
      return "forwarded to pool " + explained.pool();
    case v1::VERDICT_KIND_REJECT:
      return "rejected with " + std::to_string(explained.status());
    default:
      return "unknown";
  }
}

ExitCode RunExplain(const v1::ExplainRequest& request, Session& session, Client& client) {
  const auto result = client.Explain(request);
  if (!result.ok()) return Report(result.error());
  if (session.PrintStructured(*result)) return kOk;
  Table table({"STAGE", "OUTCOME", "REASON"});
  for (const v1::ExplainStep& step : result->steps()) {
    table.Row({step.stage(), step.outcome(), step.reason()});
  }
  std::cout << VerdictName(*result) << "\n" << table.Text();
  return kOk;
}

}  // namespace

void AddStats(Session& session) {
  CLI::App* command = session.root->add_subcommand("stats", "counters since start");
  const auto watch = std::make_shared<bool>(false);
  command->add_flag("-w,--watch", *watch, "a line of rates every second");
  command->callback([&session, watch] { session.run = *watch ? &WatchStats : &RunStats; });
}

void AddExplain(Session& session) {
  CLI::App* command =
      session.root->add_subcommand("explain", "the way a request would take, and why");
  const auto method = std::make_shared<std::string>();
  const auto url = std::make_shared<std::string>();
  const auto headers = std::make_shared<std::vector<std::string>>();
  command->add_option("METHOD", *method, "GET, POST, …")->required();
  command->add_option("URL", *url, "http://host/path?query, or /path?query")->required();
  command->add_option("-H,--header", *headers, "\"name: value\", may be repeated");
  command->callback([&session, method, url, headers] {
    session.run = [method, url, headers](Session& chosen, Client& client) -> ExitCode {
      v1::ExplainRequest request;
      request.set_method(*method);
      request.set_url(base::PercentSafe(*url));
      if (!ReadHeaders(*headers, request.mutable_headers())) return kUsage;
      return RunExplain(request, chosen, client);
    };
  });
}

}  // namespace catzilla::control_client
