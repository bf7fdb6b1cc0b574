// Opening sockets: every error is a sentence with its remedy.
//
// Threads: any. Owns: nothing; the caller owns the descriptor it gets. Descriptors are non-blocking
//          and close-on-exec.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sidecar/base/result.h"

namespace catzilla::loop {

struct SocketError {
  int error = 0;        // errno
  std::string message;  // "listen 0.0.0.0:80: permission denied (grant CAP_NET_BIND_SERVICE …)"
};

// An address without a port, "0.0.0.0", "::", "127.0.0.1"; names are not resolved.
struct TcpAddress {
  std::string address;
  uint16_t port = 0;  // 0: any free one.
};

// Binds and listens. `count` sockets share the port through SO_REUSEPORT; a first bind without it
// makes sure that no other process has the port, which SO_REUSEPORT would hide.
base::Result<std::vector<int>, SocketError> ListenTcp(const TcpAddress& address, int backlog,
                                                      int count);

// Binds a Unix stream socket at `path` with `mode`. A socket file that nobody listens on is a
// leftover and is replaced; one that answers is in use.
base::Result<int, SocketError> ListenUnix(const std::string& path, mode_t mode, int backlog);

// Null-terminated paths longer than this do not fit sockaddr_un.
inline constexpr size_t kUnixPathBytesMax = 107;

// recv(2) and send(2) that are no cancellation points. No thread of ours is ever cancelled, but
// glibc's own pay for the possibility at every call.
ssize_t Receive(int fd, void* buffer, size_t bytes);
ssize_t Send(int fd, const void* bytes, size_t count, int flags);

// What has gone wrong with a connection since it was last asked (SO_ERROR), as errno; 0: nothing.
int TakeSocketError(int fd);

// How many bytes have come that nobody has read yet.
size_t UnreadBytes(int fd);

// The port a socket is bound to, 0 if it has none.
uint16_t LocalPort(int fd);

// "10.0.0.7:4242", "[::1]:80", "unix:".
struct PeerAddress {
  uint8_t address[16] = {};  // v4 as v4-mapped v6.
  uint16_t port = 0;
  bool is_ip = false;
  std::string HostText() const;
};
PeerAddress ToPeerAddress(const sockaddr_storage& address);

}  // namespace catzilla::loop
