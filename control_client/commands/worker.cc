// catzillactl worker ls, restart, dump: who answers for the apps, fresh ones, and where they stand.
#include <chrono>
#include <ctime>
#include <iostream>
#include <set>
#include <thread>

#include "control_client/commands/command.h"
#include "sidecar/base/utf8.h"

namespace catzilla::control_client {
namespace {

struct Choice {
  std::string pool;
  uint32_t pid = 0;
  bool wait = false;
  std::string wait_timeout = "60s";
};

std::string Of(uint32_t pid) {
  // One that has died, and whose successor has not been started yet.
  return pid == 0 ? "-" : std::to_string(pid);
}

void PrintPool(const v1::PoolState& pool) {
  std::cout << "pool " << pool.name() << ": ";
  if (pool.has_lanes()) {
    std::cout << "lanes " << pool.lanes().fast() << " fast, " << pool.lanes().stack() << " stack, "
              << pool.lanes().slow() << " slow; ";
  }
  std::cout << "queue " << pool.queued() << "/" << pool.queue_max() << ", in flight "
            << pool.in_flight() << ", websockets " << pool.websockets() << ", requests "
            << pool.requests() << "; saturated " << (pool.saturated() ? "yes" : "no");
  if (!pool.preload_reason().empty()) {
    std::cout << "; not preloaded: " << base::PercentSafe(pool.preload_reason());
  }
  std::cout << "\n";
}

// What is wrong, with its traceback; the same one is told once.
void PrintErrors(const v1::PoolState& pool) {
  std::set<std::string> told;
  const auto tell = [&](const std::string& who, const std::string& error,
                        const std::string& traceback) {
    if (error.empty() && traceback.empty()) return;
    std::cerr << who << ": " << base::PercentSafe(error) << "\n";
    if (told.insert(traceback).second) std::cerr << Indented(traceback, 2);
  };
  tell("pool " + pool.name(), pool.last_error(), pool.last_traceback());
  for (const v1::WorkerInfo& worker : pool.workers()) {
    tell("worker " + Of(worker.pid()), worker.last_error(), worker.last_traceback());
  }
}

// The servers of upstream pools. False: there are none.
bool AddTargets(const v1::PoolServiceListResponse& result, const Session& session, Table* table) {
  bool any = false;
  for (const v1::PoolState& state : result.pools()) {
    for (const v1::TargetInfo& target : state.targets()) {
      any = true;
      if (session.format == Format::kName) {
        std::cout << target.target() << "\n";
        continue;
      }
      uint64_t failures = 0;
      for (const auto& [reason, count] : target.failures()) failures += count;
      table->Row({target.target(), state.name(), target.state(), std::to_string(target.in_flight()),
                  std::to_string(target.idle_connections()), std::to_string(target.requests()),
                  std::to_string(target.connects()), std::to_string(failures),
                  target.last_failure().empty() ? "-" : target.last_failure()});
    }
  }
  return any;
}

ExitCode RunList(const Choice& choice, Session& session, Client& client) {
  v1::PoolServiceListRequest request;
  request.set_pool(choice.pool);
  const auto result = client.ListPools(request);
  if (!result.ok()) return Report(result.error());
  if (session.PrintStructured(*result)) return kOk;
  Table table({"NAME", "POOL", "STATE", "GENERATION", "LANES", "IN-FLIGHT", "REQUESTS", "RSS",
               "RESTARTS", "AGE"});
  Table targets({"TARGET", "POOL", "STATE", "IN-FLIGHT", "IDLE", "REQUESTS", "CONNECTS", "FAILURES",
                 "LAST FAILURE"});
  for (const v1::PoolState& state : result->pools()) {
    for (const v1::WorkerInfo& worker : state.workers()) {
      if (session.format == Format::kName) {
        if (worker.pid() != 0) std::cout << worker.pid() << "\n";
        continue;
      }
      table.Row({Of(worker.pid()), state.name(),
                 EnumName(v1::WorkerState_Name(worker.state()), "WORKER_STATE_"),
                 std::to_string(worker.generation().number()), std::to_string(worker.lanes()),
                 std::to_string(worker.in_flight()), std::to_string(worker.requests()),
                 Bytes(worker.rss_bytes()), std::to_string(worker.restarts()),
                 Age(std::time(nullptr) - worker.started().seconds())});
    }
  }
  const bool has_targets = AddTargets(*result, session, &targets);
  if (session.format == Format::kName) return kOk;
  std::cout << table.Text();
  if (has_targets) std::cout << "\n" << targets.Text();
  for (const v1::PoolState& state : result->pools()) PrintPool(state);
  std::cout.flush();
  for (const v1::PoolState& state : result->pools()) PrintErrors(state);
  return kOk;
}

// Restarting...

// Whether none of `old` takes requests any more, and as many fresh ones do as are wanted.
bool IsReplaced(const v1::RestartedPool& wanted, const v1::PoolState& now, bool all) {
  std::set<uint32_t> old;
  for (const v1::WorkerInfo& worker : wanted.workers()) old.insert(worker.pid());
  uint32_t fresh = 0;
  for (const v1::WorkerInfo& worker : now.workers()) {
    const bool serves = worker.state() == v1::WORKER_STATE_READY;
    if (!old.contains(worker.pid())) {
      fresh += serves ? 1 : 0;
    } else if (serves || worker.state() == v1::WORKER_STATE_STARTING) {
      return false;
    }
  }
  const auto least = all ? wanted.workers_expected() : static_cast<uint32_t>(wanted.workers_size());
  return fresh >= std::max(1u, least);
}

ExitCode Await(const v1::RestartResponse& restarted, const Choice& choice, int64_t wait_ms,
               Client& client) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait_ms);
  for (;;) {
    const auto result = client.ListPools({});
    if (!result.ok()) return Report(result.error());
    const v1::PoolState* late = nullptr;
    bool replaced = true;
    for (const v1::RestartedPool& pool : restarted.pools()) {
      bool there = false;
      for (const v1::PoolState& now : result->pools()) {
        if (now.name() != pool.name()) continue;
        there = IsReplaced(pool, now, choice.pid == 0);
        if (!there) late = &now;
      }
      replaced = replaced && there;
    }
    if (replaced) return kOk;
    if (std::chrono::steady_clock::now() >= end) {
      std::cerr << "catzillactl: the fresh workers do not serve within " << choice.wait_timeout
                << ": they take over when they do, what served before goes on\n";
      if (late != nullptr) PrintErrors(*late);
      return kTimeout;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

ExitCode RunRestart(const Choice& choice, Session& session, Client& client) {
  int64_t wait_ms = 0;
  if (!ParseDuration(choice.wait_timeout, &wait_ms)) {
    std::cerr << "catzillactl: --wait-timeout: " << base::PercentSafe(choice.wait_timeout)
              << " is no duration (try 60s or 500ms)\n";
    return kUsage;
  }
  v1::RestartRequest request;
  request.set_pool(choice.pool);
  request.set_pid(choice.pid);
  const auto result = client.RestartWorkers(request);
  if (!result.ok()) return Report(result.error());
  const ExitCode code = choice.wait ? Await(*result, choice, wait_ms, client) : kOk;
  if (session.PrintStructured(*result)) return code;
  for (const v1::RestartedPool& pool : result->pools()) {
    if (code != kOk) break;
    if (session.format == Format::kName) {
      std::cout << pool.name() << "\n";
      continue;
    }
    std::cout << "pool " << pool.name() << ": "
              << Count(static_cast<uint64_t>(pool.workers_size()), "worker")
              << (choice.wait ? " replaced\n" : " will be replaced\n");
  }
  return code;
}

// Where they stand...

ExitCode RunDump(const Choice& choice, Session& session, Client& client) {
  v1::DumpRequest request;
  request.set_pool(choice.pool);
  request.set_pid(choice.pid);
  const auto result = client.DumpWorkers(request);
  if (!result.ok()) return Report(result.error());
  const bool structured = session.PrintStructured(*result);
  bool failed = false;
  for (const v1::WorkerDump& worker : result->workers()) {
    failed = failed || !worker.error().empty();
    if (structured) continue;
    if (session.format == Format::kName) {
      std::cout << worker.pid() << "\n";
      continue;
    }
    std::cout << "worker " << worker.pid() << " of pool " << worker.pool() << ", generation "
              << worker.generation().number() << "\n"
              << Indented(worker.stacks(), 2);
    std::cout.flush();
    if (!worker.error().empty()) {
      std::cerr << "worker " << worker.pid() << ": " << base::PercentSafe(worker.error()) << "\n";
    }
  }
  return failed ? kFailure : kOk;
}

using Run = ExitCode (*)(const Choice& choice, Session& session, Client& client);

std::shared_ptr<Choice> Add(Session& session, CLI::App* command, Run run) {
  const auto choice = std::make_shared<Choice>();
  command->callback([&session, choice, run] {
    session.run = [choice, run](Session& chosen, Client& client) {
      return run(*choice, chosen, client);
    };
  });
  return choice;
}

}  // namespace

void AddWorker(Session& session) {
  CLI::App* worker =
      session.root->add_subcommand("worker", "worker processes")->require_subcommand(1);
  CLI::App* list = worker->add_subcommand(
      "ls", "list workers and upstream servers, their load and their last errors");
  const auto listed = Add(session, list, &RunList);
  list->add_option("--pool", listed->pool, "only this pool's");

  CLI::App* restart = worker->add_subcommand(
      "restart", "fresh workers of the same code; the old ones leave once those serve");
  const auto restarted = Add(session, restart, &RunRestart);
  restart->add_option("pool", restarted->pool, "only this pool's");
  restart->add_option("--worker", restarted->pid, "only the worker with this pid");
  restart->add_flag("--wait", restarted->wait, "until the fresh workers serve");
  restart->add_option("--wait-timeout", restarted->wait_timeout,
                      "for how long --wait waits; then exit code 9");

  CLI::App* dump =
      worker->add_subcommand("dump", "where every thread and task of the workers stands");
  const auto dumped = Add(session, dump, &RunDump);
  dump->add_option("pool", dumped->pool, "only this pool's");
  dump->add_option("--worker", dumped->pid, "only the worker with this pid");
}

}  // namespace catzilla::control_client
