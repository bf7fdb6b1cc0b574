// The control plane's Unix socket: ours alone, with the right mode and group, and each peer's
// identity.
//
// gRPC's own listening would let a second daemon steal the path and leaves mode 0755, so we bind,
// accept and hand the descriptor over.
//
// Threads: Open() and Close() on one; accepting has a thread of its own, which calls `accepted`.
// Owns:    the lock file, the socket and its path; accepted descriptors belong to `accepted`.
// Limits:  kBacklog waiting. Descriptors are numbered round robin through the upper half of the
//          table, so the number of a connection that has just ended does not soon name another
//          peer.
// Fails:   Open() with a sentence and its remedy; a second daemon on the same path is told so.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/base/result.h"

namespace catzilla::control {

struct Credentials {
  pid_t pid = 0;
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  std::vector<gid_t> groups;  // Supplementary ones.
};

struct SocketOptions {
  std::string path;  // Absolute.
  uint32_t mode = 0660;
  std::string group;  // Empty: the process's own.
};

class ControlSocket {
 public:
  using Accepted = std::function<void(int fd, Credentials credentials)>;
  static constexpr int kBacklog = 64;

  ControlSocket() = default;
  ~ControlSocket() { Close(); }
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  // Locks, binds and listens; connections wait until Start().
  base::Result<base::Unit, std::string> Open(const SocketOptions& options);
  void Start(Accepted accepted);
  void Close();  // Idempotent; removes the socket's path.

  gid_t group() const { return group_; }

 private:
  base::Result<base::Unit, std::string> Lock();
  base::Result<base::Unit, std::string> Bind();
  void Run(const Accepted& accepted);
  int Renumber(int fd);

  SocketOptions options_;
  gid_t group_ = static_cast<gid_t>(-1);
  int lock_ = -1;
  int listener_ = -1;
  int wake_ = -1;
  int next_number_ = 0;
  bool bound_ = false;
  std::thread thread_;
};

}  // namespace catzilla::control
