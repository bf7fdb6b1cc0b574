// Who may do what: the role of a peer, from its uid and groups, or from TLS or a token over TCP.
//
// Threads: any. Owns: the credentials of every open connection of the control socket, by
//          descriptor.
// Limits:  kConnectionsMax connections; one more is closed.
// Fails:   closed: who is not known has no role.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "catzilla/config/v1/config.pb.h"
#include "sidecar/base/mutex.h"
#include "sidecar/base/result.h"
#include "sidecar/control/socket.h"

namespace catzilla::control {

using Role = config::v1::Role;

struct AccessOptions {
  uid_t own_uid = 0;
  gid_t socket_group = static_cast<gid_t>(-1);
  std::vector<config::v1::RoleBinding> roles;
  Role tcp_role = config::v1::ROLE_READ;
  std::string tcp_token;  // The secret itself; empty: TLS alone decides who gets in.
};

struct Peer {
  Role role = config::v1::ROLE_UNSPECIFIED;  // None.
  bool own_user = false;                     // The sidecar's own user, or root.
  std::string name = "unknown";              // "uid 1000", for origins and the log.
};

class Access {
 public:
  static constexpr size_t kConnectionsMax = 512;

  explicit Access(AccessOptions options) : options_(std::move(options)) {}

  // False: there are too many; the caller closes.
  bool Add(int fd, Credentials credentials);

  // `peer` as gRPC names it ("fd:17", "ipv4:..."); `authorization` as the client sent it.
  Peer Identify(const std::string& peer, std::string_view authorization) const;

 private:
  struct Connection {
    Credentials credentials;
    uint64_t socket_inode = 0;
  };
  Role RoleOf(const Credentials& credentials) const;

  const AccessOptions options_;
  mutable base::Mutex mutex_;
  std::map<int, Connection> connections_ CATZILLA_GUARDED_BY(mutex_);
};

// Resolves "${file:…}" or "${env:…}"; a trailing newline is not part of the secret. At least 16
// bytes.
base::Result<std::string, std::string> ReadSecret(const std::string& reference);

std::string_view RoleText(Role role);

}  // namespace catzilla::control
