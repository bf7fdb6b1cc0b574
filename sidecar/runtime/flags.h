// What the command line and the environment say, and how it lies over the configuration file.
//
// Threads: values. Within the file layer flags win over the environment, the environment over the
// file; each value remembers where it came from, and `catzillactl get config` shows it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sidecar/schema/layers.h"

namespace catzilla::runtime {

struct Flags {
  std::string config_file;             // Empty: none.
  std::string root;                    // --root: serve this folder under "/".
  std::vector<std::string> upstreams;  // --upstream: these servers answer.
  std::string host;
  std::optional<uint16_t> port;
  std::string ops_host;
  std::vector<std::string> trusted_proxies;
  std::optional<uint16_t> ops_port;
  std::string runtime_dir;
  std::string log_level;
  bool expect_app = false;
  int loops = 0;       // 0: as the cgroup says.
  bool check = false;  // Check the configuration and exit.
  bool print_reference = false;
  bool print_diagnostics = false;
  std::map<std::string, std::string> origins;  // "listeners[http].port" -> "--port"
};

// Parses the command line; unset flags are taken from CATZILLA_CONFIG, CATZILLA_ROOT,
// CATZILLA_UPSTREAM, CATZILLA_HOST, CATZILLA_PORT, CATZILLA_OPS_HOST, CATZILLA_OPS_PORT,
// CATZILLA_RUNTIME_DIR, CATZILLA_LOG_LEVEL and CATZILLA_LOOPS. Returns an exit code if the program
// is to end (help, version, usage error).
std::optional<int> ParseFlags(int argc, char** argv, Flags* flags);

// Lays the flags over the file's layer.
void Overlay(const Flags& flags, schema::FileLayer* layer, schema::Diagnostics* findings);

// --runtime-dir, $CATZILLA_RUNTIME_DIR, /run/catzilla as root, else $XDG_RUNTIME_DIR/catzilla.
std::string RuntimeDir(const Flags& flags);

}  // namespace catzilla::runtime
