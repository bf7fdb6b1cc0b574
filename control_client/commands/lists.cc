// catzillactl route ls, worker ls: what the app registered and who answers.
#include <ctime>
#include <iostream>

#include "control_client/commands/command.h"

namespace catzilla::control_client {
namespace {

std::string Lower(std::string name, const std::string& prefix) {
  name.erase(0, prefix.size());
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
  return text.empty() ? "*" : text;
}

ExitCode RunRoutes(const std::string& pool, Session& session, Client& client) {
  v1::RouteServiceListRequest request;
  request.set_pool(pool);
  const auto result = client.ListRoutes(request);
  if (!result.ok()) return Report(result.error());
  if (session.PrintStructured(*result)) return kOk;
  Table table({"NAME", "METHODS", "PATH", "HOST", "POOL", "CACHE", "LANE", "SOURCE", "AGE"});
  for (const v1::RouteState& route : result->routes()) {
    if (session.format == Format::kName) {
      std::cout << route.name() << "\n";
      continue;
    }
    table.Row({route.name(), Joined(route.methods()), route.path(),
               route.host().empty() ? "*" : route.host(), route.pool(),
               route.cache().empty() ? "-" : route.cache(),
               Lower(v1::Lane_Name(route.lane()), "LANE_"), Layer(route.info().layer()),
               Age(std::time(nullptr) - route.info().time().seconds())});
  }
  if (session.format != Format::kName) std::cout << table.Text();
  return kOk;
}

ExitCode RunWorkers(const std::string& pool, Session& session, Client& client) {
  v1::PoolServiceListRequest request;
  request.set_pool(pool);
  const auto result = client.ListPools(request);
  if (!result.ok()) return Report(result.error());
  if (session.PrintStructured(*result)) return kOk;
  Table table({"NAME", "POOL", "STATE", "GENERATION", "LANES", "IN-FLIGHT", "REQUESTS", "RSS",
               "RESTARTS", "AGE"});
  for (const v1::PoolState& state : result->pools()) {
    for (const v1::WorkerInfo& worker : state.workers()) {
      const std::string name = std::to_string(worker.pid());
      if (session.format == Format::kName) {
        std::cout << name << "\n";
        continue;
      }
      table.Row({name, state.name(), Lower(v1::WorkerState_Name(worker.state()), "WORKER_STATE_"),
                 std::to_string(worker.generation().number()), std::to_string(worker.lanes()),
                 std::to_string(worker.in_flight()), std::to_string(worker.requests()),
                 Bytes(worker.rss_bytes()), std::to_string(worker.restarts()),
                 Age(std::time(nullptr) - worker.started().seconds())});
    }
  }
  if (session.format == Format::kName) return kOk;
  std::cout << table.Text();
  for (const v1::PoolState& state : result->pools()) {
    std::cout << "pool " << state.name() << ": queue " << state.queued() << "/" << state.queue_max()
              << ", in flight " << state.in_flight() << ", requests " << state.requests() << "\n";
    if (!state.last_error().empty())
      std::cerr << "pool " << state.name() << ": " << state.last_error() << "\n";
    for (const v1::WorkerInfo& worker : state.workers()) {
      if (worker.last_error().empty()) continue;
      std::cerr << "worker " << worker.pid() << ": " << worker.last_error() << "\n";
    }
  }
  return kOk;
}

}  // namespace

void AddRoute(Session& session) {
  CLI::App* route = session.root->add_subcommand("route", "routes")->require_subcommand(1);
  CLI::App* list = route->add_subcommand("ls", "list routes in the order they are tried");
  const auto pool = std::make_shared<std::string>();
  list->add_option("--pool", *pool, "only this pool's");
  list->callback([&session, pool] {
    session.run = [pool](Session& chosen, Client& client) {
      return RunRoutes(*pool, chosen, client);
    };
  });
}

void AddWorker(Session& session) {
  CLI::App* worker =
      session.root->add_subcommand("worker", "worker processes")->require_subcommand(1);
  CLI::App* list = worker->add_subcommand("ls", "list workers, their load and their last errors");
  const auto pool = std::make_shared<std::string>();
  list->add_option("--pool", *pool, "only this pool's");
  list->callback([&session, pool] {
    session.run = [pool](Session& chosen, Client& client) {
      return RunWorkers(*pool, chosen, client);
    };
  });
}

}  // namespace catzilla::control_client
