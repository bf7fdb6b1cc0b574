// catzillactl mount add, rm, ls: static mounts, live.
#include <climits>
#include <cstdlib>
#include <ctime>
#include <iostream>

#include "control_client/commands/command.h"
#include "control_client/commands/mount_options.h"
#include "sidecar/base/utf8.h"

namespace catzilla::control_client {
namespace {

struct AddFlags {
  MountOptions mount;
  bool dry_run = false;
};

ExitCode RunAdd(const AddFlags& flags, Session& session, Client& client) {
  v1::MountServiceCreateRequest request;
  if (const std::string wrong = SetMount(flags.mount, *request.mutable_mount()); !wrong.empty()) {
    std::cerr << "catzillactl: " << base::PercentSafe(wrong) << "\n";
    return kUsage;
  }
  request.set_dry_run(flags.dry_run);
  const auto result = client.CreateMount(request);
  if (!result.ok()) return Report(result.error());
  PrintDiagnostics(result->diagnostics());
  if (session.PrintStructured(*result)) return kOk;
  const std::string& name = result->mount().mount().name();
  if (session.format == Format::kName) {
    std::cout << name << "\n";
  } else {
    std::cout << "mount " << name << " added: " << result->mount().mount().prefix() << " -> "
              << result->mount().mount().root() << ", version " << result->version()
              << (flags.dry_run ? " (dry run)" : "") << "\n";
  }
  return kOk;
}

// One line per mount; fails if any did, and names it.
ExitCode RunRemove(const std::vector<std::string>& names, Client& client) {
  ExitCode worst = kOk;
  for (const std::string& name : names) {
    v1::MountServiceDeleteRequest request;
    request.set_name(name);
    const auto result = client.DeleteMount(request);
    if (result.ok()) {
      PrintDiagnostics(result->diagnostics());
      std::cout << "mount " << name << " removed, version " << result->version() << "\n";
    } else {
      std::cerr << "mount " << base::PercentSafe(name) << ": ";
      worst = Report(result.error());
    }
  }
  return worst;
}

const v1::MountStats* StatsOf(const v1::StatsServiceGetResponse& stats, const std::string& name) {
  for (const v1::MountStats& mount : stats.stats().mounts()) {
    if (mount.name() == name) return &mount;
  }
  return nullptr;
}

std::string Share(uint64_t part, uint64_t whole) {
  return whole == 0 ? "-" : std::to_string(part * 100 / whole) + "%";
}

// What each mount has done, beside where it is.
ExitCode PrintWide(const v1::MountServiceListResponse& list, Client& client) {
  const auto stats = client.GetStats();
  if (!stats.ok()) return Report(stats.error());
  Table table({"NAME", "PREFIX", "ROOT", "REQUESTS", "BYTES", "HITS", "ENTRIES", "HELD", "EVICTED",
               "SENDFILE", "GZIP", "ERRORS", "WATCH"});
  for (const v1::MountState& state : list.mounts()) {
    const config::v1::Mount& mount = state.mount();
    const v1::MountStats* seen = StatsOf(*stats, mount.name());
    if (seen == nullptr) continue;  // Removed between the two questions.
    table.Row({mount.name(), mount.prefix(), mount.root(), std::to_string(seen->requests()),
               Bytes(seen->bytes()), Share(seen->hits(), seen->hits() + seen->misses()),
               std::to_string(seen->entries()), Bytes(seen->bytes_held()),
               std::to_string(seen->evictions()), std::to_string(seen->sendfile()),
               Share(seen->compressed_out(), seen->compressed_in()), std::to_string(seen->errors()),
               seen->watch()});
  }
  std::cout << table.Text();
  return kOk;
}

ExitCode RunList(Session& session, Client& client) {
  const auto result = client.ListMounts();
  if (!result.ok()) return Report(result.error());
  if (session.PrintStructured(*result)) return kOk;
  if (session.format == Format::kWide) return PrintWide(*result, client);
  Table table({"NAME", "HOST", "PREFIX", "ROOT", "SOURCE", "AGE"});
  for (const v1::MountState& state : result->mounts()) {
    const config::v1::Mount& mount = state.mount();
    if (session.format == Format::kName) {
      std::cout << mount.name() << "\n";
      continue;
    }
    table.Row({mount.name(), mount.host().empty() ? "*" : mount.host(), mount.prefix(),
               mount.root(), Layer(state.info().layer()),
               Age(std::time(nullptr) - state.info().time().seconds())});
  }
  if (session.format != Format::kName) std::cout << table.Text();
  return kOk;
}

}  // namespace

void AddMount(Session& session) {
  CLI::App* mount =
      session.root->add_subcommand("mount", "static mounts, live")->require_subcommand(1);

  CLI::App* add = mount->add_subcommand("add", "serve a directory under a prefix");
  const auto flags = std::make_shared<AddFlags>();
  AddMountOptions(*add, flags->mount);
  add->add_flag("--dry-run", flags->dry_run, "check only");
  add->callback([&session, flags] {
    session.run = [flags](Session& chosen, Client& client) {
      return RunAdd(*flags, chosen, client);
    };
  });

  CLI::App* remove = mount->add_subcommand("rm", "stop serving mounts");
  const auto names = std::make_shared<std::vector<std::string>>();
  remove->add_option("NAME", *names, "one or more")->required();
  remove->callback([&session, names] {
    session.run = [names](Session&, Client& client) { return RunRemove(*names, client); };
  });

  mount->add_subcommand("ls", "list mounts")->callback([&session] { session.run = &RunList; });
}

}  // namespace catzilla::control_client
