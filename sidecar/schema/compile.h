// A merged, valid configuration -> the Snapshot the loops read, and the settings main needs at
// start.
//
// Resources equal to those of the previous Snapshot are the same objects, so what hangs on them
// (caches, pools, counters) lives on. Pure; any thread. REQUIRES: Validate() found no error.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sidecar/config/snapshot.h"
#include "sidecar/schema/layers.h"

namespace catzilla::schema {

std::shared_ptr<const config::Snapshot> Compile(const Layers& layers, const Merged& merged,
                                                uint64_t version, uint64_t memory_limit_bytes,
                                                const config::Snapshot* previous);

// The control plane's own settings, resolved; all of them need a restart to change.
struct ControlSettings {
  std::string socket;  // Absolute.
  std::string worker_socket;
  uint32_t socket_mode = 0660;
  std::string socket_group;  // Empty: the process's own.
  std::string tcp_address;   // Empty: none.
  std::string tls_cert_file;
  std::string tls_key_file;
  std::string tls_client_ca_file;
  std::string token;  // The reference, not the secret.
  config::v1::Role tcp_role = config::v1::ROLE_READ;
  std::vector<config::v1::RoleBinding> roles;
  std::string state_dir;
};

// `runtime_dir` is used when the configuration names none.
ControlSettings CompileControl(const config::v1::Config& config, const std::string& runtime_dir);

}  // namespace catzilla::schema
