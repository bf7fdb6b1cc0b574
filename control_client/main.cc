// catzillactl: the sidecar's control plane on the command line.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <map>

#include "control_client/commands/command.h"
#include "sidecar/base/closest.h"

namespace {

using namespace catzilla::control_client;  // NOLINT: this file is the program.

constexpr void (*kCommands[])(Session&) = {&AddStatus,   &AddGet,        &AddApply,   &AddDiff,
                                           &AddValidate, &AddMount,      &AddRoute,   &AddWorker,
                                           &AddCache,    &AddStats,      &AddExplain, &AddMemory,
                                           &AddDrain,    &AddCompletion, &AddVersion};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The same rule by which the sidecar chooses its runtime folder.
std::string DefaultAddress() {
  if (const std::string folder = Environment("CATZILLA_RUNTIME_DIR"); !folder.empty()) {
    return "unix:" + folder + "/control.sock";
  }
  const std::string user = Environment("XDG_RUNTIME_DIR");
  if (geteuid() != 0 && !user.empty()) return "unix:" + user + "/catzilla/control.sock";
  return "unix:/run/catzilla/control.sock";
}

void AddGlobalOptions(CLI::App& app, Session& session, std::string& timeout) {
  app.add_option("--address", session.options.address, "unix:PATH, /PATH or HOST:PORT")
      ->envname("CATZILLA_ADDRESS")
      ->default_str(DefaultAddress());
  app.add_option("--token", session.options.token, "bearer token for TCP")
      ->envname("CATZILLA_TOKEN");
  CLI::Option* ca = app.add_option("--tls-ca", session.options.ca_file, "speak TLS, trust this CA")
                        ->check(CLI::ExistingFile);
  CLI::Option* key = app.add_option("--tls-key", session.options.key_file, "the certificate's key")
                         ->check(CLI::ExistingFile)
                         ->needs(ca);
  CLI::Option* certificate =
      app.add_option("--tls-cert", session.options.cert_file, "client certificate")
          ->check(CLI::ExistingFile)
          ->needs(ca)
          ->needs(key);
  key->needs(certificate);
  app.add_option("--timeout", timeout, "per call, in milliseconds or with a unit (10s)");
  app.add_option("-o,--output", session.format, "table, wide, json, yaml or name")
      ->option_text("FORMAT")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Format>{{"table", Format::kTable},
                                                                        {"wide", Format::kWide},
                                                                        {"json", Format::kJson},
                                                                        {"yaml", Format::kYaml},
                                                                        {"name", Format::kName}}));
}

// Says what an unknown command or flag may have been. False: there is none among the words.
bool Suggest(const CLI::App& app) {
  const std::vector<std::string> words = app.remaining(true);
  if (words.empty()) return false;
  const std::string word = words.front().substr(0, words.front().find('='));
  const bool flag = word.starts_with('-');
  std::vector<std::string> names;
  const CLI::App* deepest = &app;
  for (;;) {
    if (flag) {
      for (const CLI::Option* option : deepest->get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
      }
    }
    if (deepest->get_subcommands().empty()) break;
    deepest = deepest->get_subcommands().front();
  }
  const auto commands = deepest->get_subcommands([](const CLI::App*) { return true; });
  if (!flag) {
    if (commands.empty()) return false;  // One argument too many: CLI11 says it well.
    for (const CLI::App* command : commands) names.push_back(command->get_name());
  }
  const std::string_view close = catzilla::base::Closest(word, {names.begin(), names.end()});
  std::cerr << "catzillactl: '" << word << "' is no " << (flag ? "flag" : "command") << " ("
            << (close.empty() ? "see --help" : "did you mean " + std::string(close) + "?") << ")\n";
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  // What goes wrong is told once, in our words.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  CLI::App app("Control a catzilla-sidecar: mounts, caches, routes, workers, configuration.",
               "catzillactl");
  Session session;
  session.root = &app;
  std::string timeout;
  AddGlobalOptions(app, session, timeout);
  app.set_version_flag("--version", std::string("catzillactl ") + CATZILLA_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(kExitCodesHelp);
  for (const auto add : kCommands) add(session);
  try {
    app.parse(argc, argv);
    if (session.options.address.empty()) session.options.address = DefaultAddress();
    if (session.options.address.starts_with('/') || session.options.address.starts_with("./")) {
      session.options.address.insert(0, "unix:");
    }
    if (!timeout.empty() && !ParseDuration(timeout, &session.options.timeout_ms)) {
      throw CLI::ValidationError("--timeout", timeout + " is no duration (try 10s or 500ms)");
    }
    Client client(session.options);
    const ExitCode code = session.run(session, client);
    std::cout.flush();
    return std::cout.good() ? code : kFailure;
  } catch (const CLI::ParseError& error) {
    // Help and the version are no errors; everything else is usage.
    if (error.get_exit_code() != 0 && Suggest(app)) return kUsage;
    return app.exit(error) == 0 ? kOk : kUsage;
  }
}
