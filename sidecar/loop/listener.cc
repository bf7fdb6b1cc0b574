#include "sidecar/loop/listener.h"

#include <cerrno>

namespace catzilla::loop {

bool Listener::Open(int fd) {
  if (!poll_.Open(fd)) return false;
  poll_.Watch(kReadable);
  return true;
}

void Listener::Pause() {
  if (poll_.open()) poll_.Watch(0);
}

void Listener::Resume() {
  if (poll_.open()) poll_.Watch(kReadable);
}

void Listener::DrainAndClose() {
  if (poll_.open()) {
    while (AcceptSome(kAcceptsPerTurn)) {
    }
  }
  Close();
}

void Listener::Close() {
  if (poll_.closed()) {
    handles_open_ = 1;  // Never opened: only the timer has to close.
  }
  poll_.Close();
  retry_.Close();
}

void Listener::OnReady(unsigned) { AcceptSome(kAcceptsPerTurn); }

bool Listener::AcceptSome(int count) {
  for (int i = 0; i < count && poll_.open(); ++i) {
    sockaddr_storage peer{};
    socklen_t length = sizeof(peer);
    const int fd = ::accept4(poll_.fd(), reinterpret_cast<sockaddr*>(&peer), &length,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      handler_.OnAccept(fd, peer);
      continue;
    }
    // The client left while it was queued: the next one may still be there.
    if (errno == ECONNABORTED || errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    poll_.Watch(0);
    retry_.Start(kRetryUs);
    handler_.OnAcceptFailed(errno);
    return false;
  }
  return poll_.open();
}

void Listener::OnTimer() { Resume(); }

void Listener::OnClosed() {
  if (--handles_open_ == 0) handler_.OnListenerClosed();
}

void Listener::OnTimerClosed() {
  if (--handles_open_ == 0) handler_.OnListenerClosed();
}

}  // namespace catzilla::loop
