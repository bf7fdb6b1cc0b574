#include "sidecar/loop/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace catzilla::loop {
namespace {

struct BindAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

bool ParseAddress(const TcpAddress& address, BindAddress& out) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  if (inet_pton(AF_INET, address.address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    out.length = sizeof(sockaddr_in);
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (inet_pton(AF_INET6, address.address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    out.length = sizeof(sockaddr_in6);
    return true;
  }
  return false;
}

std::string Remedy(int error) {
  switch (error) {
    case EACCES:
      return " (grant CAP_NET_BIND_SERVICE or use a port above 1023)";
    case EADDRINUSE:
      return " (another process has it: stop that one or choose another port)";
    case EADDRNOTAVAIL:
      return " (no interface of this machine has that address)";
    case EMFILE:
    case ENFILE:
      return " (raise the limit of open files)";
    default:
      return "";
  }
}

SocketError MakeError(const std::string& what, int error) {
  return {error, what + ": " + std::strerror(error) + Remedy(error)};
}

void CloseAll(const std::vector<int>& fds) {
  for (const int fd : fds) ::close(fd);
}

// Returns the descriptor or -errno.
int BindTcp(const BindAddress& address, bool reuse_port) {
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (reuse_port) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0) {
    const int error = errno;
    ::close(fd);
    return -error;
  }
  return fd;
}

void SetPort(BindAddress& address, uint16_t port) {
  // sin_port and sin6_port are at the same place.
  reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = htons(port);
}

}  // namespace

base::Result<std::vector<int>, SocketError> ListenTcp(const TcpAddress& address, int backlog,
                                                      int count) {
  const std::string what = "listen " + address.address + ":" + std::to_string(address.port);
  BindAddress bound;
  if (!ParseAddress(address, bound)) {
    return base::Fail(SocketError{EINVAL, what + ": not an IP address (names are not resolved)"});
  }
  // The probe: without SO_REUSEPORT, so it fails where a second daemon would silently share.
  const int probe = BindTcp(bound, /*reuse_port=*/false);
  if (probe < 0) return base::Fail(MakeError(what, -probe));
  if (address.port == 0) SetPort(bound, LocalPort(probe));
  ::close(probe);

  std::vector<int> fds;
  for (int i = 0; i < count; ++i) {
    const int fd = BindTcp(bound, /*reuse_port=*/true);
    if (fd < 0) {
      CloseAll(fds);
      return base::Fail(MakeError(what, -fd));
    }
    fds.push_back(fd);
  }
  for (const int fd : fds) {
    if (::listen(fd, backlog) != 0) {
      const int error = errno;
      CloseAll(fds);
      return base::Fail(MakeError(what, error));
    }
  }
  return fds;
}

base::Result<int, SocketError> ListenUnix(const std::string& path, mode_t mode, int backlog) {
  const std::string what = "listen unix:" + path;
  if (path.empty() || path.size() > kUnixPathBytesMax) {
    return base::Fail(SocketError{ENAMETOOLONG, what + ": a socket's path has 1 to " +
                                                    std::to_string(kUnixPathBytesMax) +
                                                    " bytes (choose a shorter runtime folder)"});
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return base::Fail(MakeError(what, errno));

  // Does somebody answer there? Only a refused connection proves a leftover.
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  std::string holder = "another process";
  if (probe >= 0) {
    const bool answered = ::connect(probe, generic, sizeof(address)) == 0;
    const bool refused = !answered && errno == ECONNREFUSED;
    ucred peer{};  // Of whoever listens (unix(7)).
    socklen_t length = sizeof(peer);
    if (answered && ::getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) {
      holder = "process " + std::to_string(peer.pid);
    }
    ::close(probe);
    struct stat status{};
    if (refused && ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
      ::unlink(path.c_str());
    }
  }
  // bind() makes the file; the umask keeps others out until the mode is set.
  const mode_t before = ::umask(0177);
  const int bound = ::bind(fd, generic, sizeof(address));
  const int bind_error = errno;
  ::umask(before);
  if (bound != 0 || ::chmod(path.c_str(), mode) != 0 || ::listen(fd, backlog) != 0) {
    const int error = bound != 0 ? bind_error : errno;
    ::close(fd);
    if (error == EADDRINUSE) {
      return base::Fail(SocketError{
          error, what + ": in use by " + holder +
                     " (another sidecar is running there: stop it or set --runtime-dir)"});
    }
    return base::Fail(MakeError(what, error));
  }
  return fd;
}

#ifdef CATZILLA_SANITIZED
// A sanitizer watches buffers through the functions it knows.
ssize_t Receive(int fd, void* buffer, size_t bytes) { return ::recv(fd, buffer, bytes, 0); }
ssize_t Send(int fd, const void* bytes, size_t count, int flags) {
  return ::send(fd, bytes, count, flags);
}
#else
ssize_t Receive(int fd, void* buffer, size_t bytes) {
  return ::syscall(SYS_recvfrom, fd, buffer, bytes, 0, nullptr, nullptr);
}
ssize_t Send(int fd, const void* bytes, size_t count, int flags) {
  return ::syscall(SYS_sendto, fd, bytes, count, flags, nullptr, 0);
}
#endif

int TakeSocketError(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

size_t UnreadBytes(int fd) {
  int bytes = 0;
  return ::ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

uint16_t LocalPort(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return 0;
  if (storage.ss_family != AF_INET && storage.ss_family != AF_INET6) return 0;
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

PeerAddress ToPeerAddress(const sockaddr_storage& address) {
  PeerAddress peer;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    peer.address[10] = peer.address[11] = 0xff;
    std::memcpy(peer.address + 12, &v4.sin_addr, 4);
    peer.port = ntohs(v4.sin_port);
    peer.is_ip = true;
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    std::memcpy(peer.address, &v6.sin6_addr, 16);
    peer.port = ntohs(v6.sin6_port);
    peer.is_ip = true;
  }
  return peer;
}

std::string PeerAddress::HostText() const {
  if (!is_ip) return "";
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  char text[INET6_ADDRSTRLEN] = {};
  if (std::memcmp(address, kMapped, sizeof(kMapped)) == 0) {
    inet_ntop(AF_INET, address + 12, text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, address, text, sizeof(text));
  }
  return text;
}

}  // namespace catzilla::loop
