#include "sidecar/control/access.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "sidecar/base/secret.h"
#include "sidecar/schema/state_file.h"

namespace catzilla::control {
namespace {

// Of the socket behind a descriptor; 0: it is closed, or something else by now.
uint64_t SocketInode(int fd) {
  struct stat status{};
  if (fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) return 0;
  return status.st_ino;
}

}  // namespace

std::string_view RoleText(Role role) {
  switch (role) {
    case config::v1::ROLE_READ:
      return "read";
    case config::v1::ROLE_REGISTER:
      return "register";
    case config::v1::ROLE_PURGE:
      return "purge";
    case config::v1::ROLE_OPERATE:
      return "operate";
    case config::v1::ROLE_ADMIN:
      return "admin";
    default:
      return "none";
  }
}

bool Access::Add(int fd, Credentials credentials) {
  const uint64_t inode = SocketInode(fd);
  base::MutexLock lock(mutex_);
  if (connections_.size() >= kConnectionsMax) {
    // gRPC does not tell when it closes a descriptor; its socket tells.
    std::erase_if(connections_, [](const auto& entry) {
      return SocketInode(entry.first) != entry.second.socket_inode;
    });
    if (connections_.size() >= kConnectionsMax) return false;
  }
  connections_[fd] = {std::move(credentials), inode};
  return true;
}

Role Access::RoleOf(const Credentials& credentials) const {
  if (credentials.uid == 0 || credentials.uid == options_.own_uid) return config::v1::ROLE_ADMIN;
  const auto in_group = [&](gid_t gid) {
    return credentials.gid == gid || std::find(credentials.groups.begin(), credentials.groups.end(),
                                               gid) != credentials.groups.end();
  };
  Role role =
      in_group(options_.socket_group) ? config::v1::ROLE_REGISTER : config::v1::ROLE_UNSPECIFIED;
  for (const auto& binding : options_.roles) {
    if (binding.has_uid() && binding.uid() != credentials.uid) continue;
    if (binding.has_gid() && !in_group(binding.gid())) continue;
    role = std::max(role, binding.role());
  }
  return role;
}

Peer Access::Identify(const std::string& peer, std::string_view authorization) const {
  Peer out;
  if (peer.starts_with("fd:")) {
    const int fd = static_cast<int>(std::strtol(peer.c_str() + 3, nullptr, 10));
    base::MutexLock lock(mutex_);
    const auto found = connections_.find(fd);
    if (found == connections_.end() || found->second.socket_inode == 0 ||
        SocketInode(fd) != found->second.socket_inode) {
      return out;
    }
    const Credentials& credentials = found->second.credentials;
    out.role = RoleOf(credentials);
    out.own_user = credentials.uid == 0 || credentials.uid == options_.own_uid;
    out.name = "uid " + std::to_string(credentials.uid);
    return out;
  }
  if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return out;
  out.name = peer;
  if (!options_.tcp_token.empty()) {
    constexpr std::string_view kBearer = "Bearer ";
    if (!authorization.starts_with(kBearer)) return out;
    if (!base::IsSecret(authorization.substr(kBearer.size()), options_.tcp_token)) return out;
  }
  out.role = options_.tcp_role;
  return out;
}

base::Result<std::string, std::string> ReadSecret(const std::string& reference) {
  std::string secret;
  if (reference.starts_with("${env:") && reference.ends_with('}')) {
    const std::string name = reference.substr(6, reference.size() - 7);
    const char* value = std::getenv(name.c_str());
    if (value == nullptr)
      return base::Fail("control.token: the environment has no " + name + " (set it)");
    secret = value;
  } else if (reference.starts_with("${file:") && reference.ends_with('}')) {
    const std::string path = reference.substr(7, reference.size() - 8);
    if (!schema::ReadWholeFile(path, 64 * 1024, &secret)) {
      return base::Fail("control.token: " + path + ": " + std::strerror(errno) +
                        " (let the sidecar's user read it)");
    }
  } else {
    return base::Fail(std::string("control.token: is no reference (write ${file:…} or ${env:…})"));
  }
  while (secret.ends_with('\n') || secret.ends_with('\r')) secret.pop_back();
  if (secret.size() < 16)
    return base::Fail(std::string("control.token: has fewer than 16 bytes (make a longer one)"));
  return secret;
}

}  // namespace catzilla::control
