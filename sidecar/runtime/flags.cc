#include "sidecar/runtime/flags.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <climits>
#include <cstdlib>
#include <iostream>

#include "sidecar/schema/yaml.h"

namespace catzilla::runtime {
namespace {

// A flag where it was given, else the variable that set it.
std::string OriginOf(const CLI::App& app, const std::string& flag, const std::string& variable) {
  const CLI::Option* option = app.get_option(flag);
  if (option->count() == 0) return "";
  const char* value = std::getenv(variable.c_str());
  const auto results = option->results();
  // CLI11 fills an option from its variable as if it had been given; only the command line can
  // differ.
  return value != nullptr && !results.empty() && results.front() == value ? variable : flag;
}

}  // namespace

std::optional<int> ParseFlags(int argc, char** argv, Flags* flags) {
  CLI::App app("Serves static mounts and cached answers, forwards the rest to an app's workers.",
               "catzilla-sidecar");
  app.set_version_flag("--version", std::string("catzilla-sidecar ") + CATZILLA_VERSION);
  app.add_option("--config", flags->config_file, "configuration file, YAML or JSON")
      ->envname("CATZILLA_CONFIG");
  app.add_option("--root", flags->root, "serve this folder under /; needs no configuration file")
      ->envname("CATZILLA_ROOT");
  app.add_option("--upstream", flags->upstreams,
                 "HTTP servers that answer what is no file: 127.0.0.1:3000, unix:/run/app.sock")
      ->envname("CATZILLA_UPSTREAM")
      ->delimiter(',');
  app.add_option("--host", flags->host, "address of the HTTP listener (0.0.0.0)")
      ->envname("CATZILLA_HOST");
  app.add_option("--port", flags->port, "port of the HTTP listener (8080)")
      ->envname("CATZILLA_PORT");
  app.add_option("--trusted-proxies", flags->trusted_proxies,
                 "addresses and networks whose X-Forwarded-* and Forwarded are believed: "
                 "127.0.0.1,10.0.0.0/8")
      ->envname("CATZILLA_TRUSTED_PROXIES")
      ->delimiter(',');
  app.add_option("--ops-host", flags->ops_host, "address of /metrics and the probes (0.0.0.0)")
      ->envname("CATZILLA_OPS_HOST");
  app.add_option("--ops-port", flags->ops_port,
                 "port of /metrics and the probes (9901); 0: any free")
      ->envname("CATZILLA_OPS_PORT");
  app.add_option("--runtime-dir", flags->runtime_dir, "folder of control.sock and worker.sock")
      ->envname("CATZILLA_RUNTIME_DIR");
  app.add_option("--log-level", flags->log_level, "debug, info, warning or error")
      ->envname("CATZILLA_LOG_LEVEL");
  app.add_option("--loops", flags->loops, "event loops; default: the container's CPU quota")
      ->envname("CATZILLA_LOOPS")
      ->check(CLI::Range(1, 8));
  app.add_flag("--expect-app", flags->expect_app,
               "an app will register: not ready, and 503 for its paths, until it has")
      ->envname("CATZILLA_EXPECT_APP");
  app.add_flag("--check", flags->check, "check the configuration, say what is wrong, exit 0 or 1");
  app.add_flag("--print-config-reference", flags->print_reference,
               "print docs/configuration.md and exit");
  app.add_flag("--print-diagnostics", flags->print_diagnostics,
               "print docs/diagnostics.md and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  for (const auto& [path, flag, variable] :
       {std::tuple{"listeners[http].address", "--host", "CATZILLA_HOST"},
        std::tuple{"listeners[http].port", "--port", "CATZILLA_PORT"},
        std::tuple{"mounts[root]", "--root", "CATZILLA_ROOT"},
        std::tuple{"pools[upstream]", "--upstream", "CATZILLA_UPSTREAM"},
        std::tuple{"telemetry.ops_address", "--ops-host", "CATZILLA_OPS_HOST"},
        std::tuple{"listeners[http].trusted_proxies", "--trusted-proxies",
                   "CATZILLA_TRUSTED_PROXIES"},
        std::tuple{"app.expected", "--expect-app", "CATZILLA_EXPECT_APP"},
        std::tuple{"telemetry.ops_port", "--ops-port", "CATZILLA_OPS_PORT"},
        std::tuple{"telemetry.log_level", "--log-level", "CATZILLA_LOG_LEVEL"}}) {
    if (const std::string origin = OriginOf(app, flag, variable); !origin.empty()) {
      flags->origins.emplace(path, origin);
    }
  }
  return std::nullopt;
}

void Overlay(const Flags& flags, schema::FileLayer* layer, schema::Diagnostics* findings) {
  config::v1::Config& config = layer->config;
  // Host and port speak of the first listener; without any in the file there is one named "http".
  if (config.listeners().empty()) config.add_listeners()->set_name("http");
  config::v1::Listener& listener = *config.mutable_listeners(0);
  if (!flags.host.empty()) listener.set_address(flags.host);
  if (flags.port.has_value()) listener.set_port(*flags.port);
  if (!flags.trusted_proxies.empty()) {
    listener.clear_trusted_proxies();
    for (const std::string& range : flags.trusted_proxies) listener.add_trusted_proxies(range);
  }
  if (!flags.root.empty()) {
    config::v1::Mount& mount = *config.add_mounts();
    mount.set_name("root");
    mount.set_prefix("/");
    char absolute[PATH_MAX];
    mount.set_root(::realpath(flags.root.c_str(), absolute) != nullptr ? absolute : flags.root);
    if (!flags.upstreams.empty()) mount.set_fallback_pool("upstream");
  }
  if (!flags.upstreams.empty()) {
    config::v1::Pool& pool = *config.add_pools();
    pool.set_name("upstream");
    for (const std::string& target : flags.upstreams) {
      pool.mutable_upstream()->add_targets(target);
    }
    if (flags.root.empty()) {
      config::v1::Route& route = *config.add_routes();
      route.set_name("upstream");
      route.set_path("/{path:path}");
      route.set_pool("upstream");
    }
  }
  if (flags.expect_app) config.mutable_app()->set_expected(true);
  if (!flags.ops_host.empty()) {
    schema::SetField(&config, "telemetry.ops_address", flags.ops_host, findings);
  }
  if (flags.ops_port.has_value()) {
    schema::SetField(&config, "telemetry.ops_port", std::to_string(*flags.ops_port), findings);
  }
  if (!flags.log_level.empty()) {
    schema::SetField(&config, "telemetry.log_level", flags.log_level, findings);
  }
  for (const auto& [path, origin] : flags.origins) layer->origins[path] = origin;
}

std::string RuntimeDir(const Flags& flags) {
  if (!flags.runtime_dir.empty()) return flags.runtime_dir;
  const char* user = std::getenv("XDG_RUNTIME_DIR");
  if (::geteuid() != 0 && user != nullptr && *user != '\0') return std::string(user) + "/catzilla";
  return "/run/catzilla";
}

}  // namespace catzilla::runtime
