// catzillactl route ls: what is routed where.
#include <ctime>
#include <iostream>

#include "control_client/commands/command.h"

namespace catzilla::control_client {
namespace {

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
               EnumName(v1::Lane_Name(route.lane()), "LANE_"), Layer(route.info().layer()),
               Age(std::time(nullptr) - route.info().time().seconds())});
  }
  if (session.format != Format::kName) std::cout << table.Text();
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

}  // namespace catzilla::control_client
