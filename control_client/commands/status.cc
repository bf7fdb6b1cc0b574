// catzillactl status, memory, drain: the sidecar as a process.
#include <ctime>
#include <iostream>

#include "control_client/commands/command.h"

namespace catzilla::control_client {
namespace {

std::string StateName(v1::SidecarState state) {
  switch (state) {
    case v1::SIDECAR_STATE_STARTING:
      return "starting";
    case v1::SIDECAR_STATE_SERVING:
      return "serving";
    case v1::SIDECAR_STATE_DEGRADED:
      return "degraded";
    case v1::SIDECAR_STATE_DRAINING:
      return "draining";
    default:
      return "unknown";
  }
}

ExitCode RunStatus(Session& session, Client& client) {
  const auto result = client.Status();
  if (!result.ok()) return Report(result.error());
  const v1::StatusResponse& status = *result;
  if (session.PrintStructured(status)) return kOk;
  if (session.format == Format::kName) {
    std::cout << StateName(status.state()) << "\n";
    return kOk;
  }
  std::cout << "state      " << StateName(status.state()) << "\n"
            << "version    " << status.version() << " " << status.build() << "\n"
            << "pid        " << status.pid() << ", up "
            << Age(std::time(nullptr) - status.started().seconds()) << ", " << status.loops()
            << (status.loops() == 1 ? " loop" : " loops") << "\n"
            << "config     version " << status.config_version();
  if (!status.config_file().empty()) std::cout << ", file " << status.config_file();
  std::cout << "\nresources  " << Count(status.mounts(), "mount") << ", "
            << Count(status.routes(), "route") << "\n";
  if (status.restart_pending() > 0) {
    std::cout << "restart    is needed for " << Count(status.restart_pending(), "changed field")
              << "\n";
    for (const v1::Diagnostic& diagnostic : status.diagnostics()) {
      if (diagnostic.code() == "CZ1401")
        std::cout << "           " << DiagnosticLine(diagnostic) << "\n";
    }
  }
  for (const v1::ListenerState& listener : status.listeners()) {
    std::cout << "listener   " << listener.name() << " " << listener.address() << ":"
              << listener.port() << ", " << Count(listener.connections(), "connection") << "\n";
  }
  std::cout << "ops        " << status.ops_address() << "\n";
  for (const v1::RegistrationState& app : status.registrations()) {
    std::cout << "app        " << app.app() << ", generation " << app.generation().number() << ", "
              << app.workers_ready() << "/" << app.workers_expected() << " workers ready"
              << (app.has_orphaned_at() ? ", orphaned" : "") << "\n";
    if (!app.last_error().empty()) std::cout << "           " << app.last_error() << "\n";
  }
  for (const std::string& problem : status.problems())
    std::cout << "problem    " << problem << "\n";
  if (status.has_last_rejected()) {
    std::cout << "rejected   " << status.last_rejected().origin() << "\n";
    for (const v1::Diagnostic& diagnostic : status.last_rejected().diagnostics()) {
      std::cout << "           " << DiagnosticLine(diagnostic) << "\n";
    }
  }
  return kOk;
}

ExitCode RunMemory(Session& session, Client& client) {
  const auto result = client.Memory();
  if (!result.ok()) return Report(result.error());
  if (session.PrintStructured(*result)) return kOk;
  Table table({"ARENA", "ALLOCATED", "RESIDENT"});
  for (const v1::ArenaMemory& arena : result->arenas()) {
    table.Row({arena.name(), Bytes(arena.allocated_bytes()), Bytes(arena.resident_bytes())});
  }
  table.Row({"process", Bytes(result->allocated_bytes()), Bytes(result->resident_bytes())});
  std::cout << table.Text() << "rss " << Bytes(result->rss_bytes()) << ", limit "
            << (result->limit_bytes() == 0 ? "none" : Bytes(result->limit_bytes())) << "\n";
  return kOk;
}

}  // namespace

void AddStatus(Session& session) {
  CLI::App* command = session.root->add_subcommand("status", "show how the sidecar is");
  command->callback([&session] { session.run = &RunStatus; });
}

void AddMemory(Session& session) {
  CLI::App* command = session.root->add_subcommand("memory", "show memory by arena");
  command->callback([&session] { session.run = &RunMemory; });
}

void AddDrain(Session& session) {
  CLI::App* command = session.root->add_subcommand(
      "drain", "finish what is in flight, then end the sidecar, as SIGTERM does");
  const auto reason = std::make_shared<std::string>();
  command->add_option("--reason", *reason, "why, for the log");
  command->callback([&session, reason] {
    session.run = [reason](Session& chosen, Client& client) -> ExitCode {
      v1::DrainRequest request;
      request.set_reason(*reason);
      const auto result = client.Drain(request);
      if (!result.ok()) return Report(result.error());
      if (chosen.PrintStructured(*result)) return kOk;
      std::cout << "draining, " << Count(result->requests_active(), "request") << " in flight\n";
      return kOk;
    };
  });
}

}  // namespace catzilla::control_client
