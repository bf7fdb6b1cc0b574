#include "sidecar/control/socket.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sidecar/base/check.h"

namespace catzilla::control {
namespace {

using Opened = base::Result<base::Unit, std::string>;

std::string Wrong(const std::string& path, const std::string& remedy) {
  return path + ": " + std::strerror(errno) + " (" + remedy + ")";
}

Credentials ReadCredentials(int fd) {
  Credentials out;
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
    out.pid = peer.pid;
    out.uid = peer.uid;
    out.gid = peer.gid;
  }
  gid_t groups[256];
  size = sizeof(groups);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
    out.groups.assign(groups, groups + size / sizeof(gid_t));
  }
  return out;
}

}  // namespace

Opened ControlSocket::Open(const SocketOptions& options) {
  options_ = options;
  group_ = getegid();
  if (!options_.group.empty()) {
    const struct group* entry = getgrnam(options_.group.c_str());
    if (entry == nullptr)
      return base::Fail("no group is named \"" + options_.group + "\" (create it)");
    group_ = entry->gr_gid;
  }
  Opened locked = Lock();
  if (!locked) return locked;
  Opened bound = Bind();
  if (!bound) Close();
  return bound;
}

// The lock file stays when we go: removing it would let two daemons lock two files of one name.
Opened ControlSocket::Lock() {
  const std::string path = options_.path + ".lock";
  lock_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_ < 0)
    return base::Fail(
        Wrong(path, "let the sidecar's user write to the folder, or set control.runtime_dir"));
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    char pid[32] = {};
    const ssize_t n = pread(lock_, pid, sizeof(pid) - 1, 0);
    const std::string holder = n > 1 ? ", process " + std::string(pid, strcspn(pid, "\n")) : "";
    close(lock_);
    lock_ = -1;
    return base::Fail(options_.path + ": another catzilla-sidecar" + holder +
                      " already serves this control socket (stop it, or start this one with "
                      "another --runtime-dir)");
  }
  char pid[32];
  const int length = std::snprintf(pid, sizeof(pid), "%d\n", static_cast<int>(getpid()));
  if (ftruncate(lock_, 0) != 0 || pwrite(lock_, pid, static_cast<size_t>(length), 0) != length) {
    return base::Fail(Wrong(path, "is the disk full?"));
  }
  return base::Unit{};
}

// Only who holds the lock gets here, so a socket at the path is a dead one's.
Opened ControlSocket::Bind() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options_.path.size() >= sizeof(address.sun_path)) {
    return base::Fail(
        options_.path + ": is longer than the " + std::to_string(sizeof(address.sun_path) - 1) +
        " bytes a socket path can have (set control.runtime_dir to a shorter folder)");
  }
  std::memcpy(address.sun_path, options_.path.c_str(), options_.path.size() + 1);
  struct stat status{};
  if (lstat(options_.path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      return base::Fail(options_.path +
                        ": is there and is no socket (remove it, or set control.socket)");
    }
    unlink(options_.path.c_str());
  }
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener_ < 0) return base::Fail(Wrong("socket", "raise the limit of open files"));
  // Nobody but us until mode and group are right. The mode of a socket is that of its descriptor
  // before bind(); umask is not touched, it belongs to every thread.
  fchmod(listener_, 0600);
  if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return base::Fail(Wrong(
        options_.path, "let the sidecar's user write to the folder, or set control.runtime_dir"));
  }
  bound_ = true;
  if (!options_.group.empty() &&
      chown(options_.path.c_str(), static_cast<uid_t>(-1), group_) != 0) {
    return base::Fail(
        Wrong(options_.path, "the sidecar's user must be a member of the group " + options_.group));
  }
  if (chmod(options_.path.c_str(), options_.mode) != 0)
    return base::Fail(Wrong(options_.path, "check the folder's owner"));
  if (listen(listener_, kBacklog) != 0)
    return base::Fail(Wrong(options_.path, "is the path on a file system with sockets?"));
  return base::Unit{};
}

void ControlSocket::Start(Accepted accepted) {
  CATZILLA_CHECK(listener_ >= 0 && !thread_.joinable(), "Start() comes once, after Open()");
  wake_ = eventfd(0, EFD_CLOEXEC);
  CATZILLA_CHECK(wake_ >= 0, "no event descriptor");
  thread_ = std::thread([this, accepted = std::move(accepted)] { Run(accepted); });
}

void ControlSocket::Run(const Accepted& accepted) {
  for (;;) {
    pollfd fds[2] = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      // Out of descriptors: the peer stays in the backlog; looking again at once would spin.
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) poll(fds, 1, 100);
      continue;
    }
    Credentials credentials = ReadCredentials(fd);
    accepted(Renumber(fd), std::move(credentials));
  }
}

int ControlSocket::Renumber(int fd) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const int top = static_cast<int>(limit.rlim_cur < 65536 ? limit.rlim_cur : 65536);
  const int begin = top / 2;
  if (next_number_ < begin || next_number_ >= top - 64) next_number_ = begin;
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, next_number_);
  if (moved < 0) return fd;
  next_number_ = moved + 1;
  close(fd);
  return moved;
}

void ControlSocket::Close() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(wake_, &one, sizeof(one));
    thread_.join();
  }
  // Before the lock is let go: the next daemon's socket must not be removed.
  if (bound_) unlink(options_.path.c_str());
  for (int* fd : {&listener_, &wake_, &lock_}) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
  bound_ = false;
}

}  // namespace catzilla::control
