#include "sidecar/worker/acceptor.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/loop/socket.h"
#include "sidecar/worker/dispatcher.h"
#include "sidecar/worker/greeting.h"

namespace catzilla::worker {

Acceptor::Acceptor(loop::Loop& loop, Registry& registry, AcceptorOptions options)
    : loop_(loop),
      registry_(registry),
      options_(std::move(options)),
      listener_(loop, *this),
      mailbox_(loop, *this, kMailboxMax),
      timer_(loop, *this) {
  timer_.Start(kTickUs, kTickUs);
  registry_.SetControlLinks(this);
}

Acceptor::~Acceptor() {
  CATZILLA_CHECK(connections_.empty(), "the acceptor was destroyed before its connections closed");
}

base::Result<base::Unit, std::string> Acceptor::Open() {
  const auto socket = loop::ListenUnix(options_.path, options_.mode, kBacklog);
  if (!socket.ok()) return base::Fail(socket.error().message);
  if (!listener_.Open(*socket)) {
    return base::Fail("watch " + options_.path + ": no more descriptors (raise RLIMIT_NOFILE)");
  }
  listening_ = true;
  return base::Unit{};
}

bool Acceptor::PeerAllowed(int fd, std::string* who) const {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    *who = "nobody known";
    return false;
  }
  *who = "uid " + std::to_string(peer.uid);
  return peer.uid == 0 || peer.uid == ::geteuid() ||
         std::find(options_.uids.begin(), options_.uids.end(), peer.uid) != options_.uids.end();
}

void Acceptor::OnAccept(int fd, const sockaddr_storage&) { Adopt(fd); }

void Acceptor::Adopt(int fd) {
  std::string who;
  const bool allowed = PeerAllowed(fd, &who);
  auto connection = std::make_unique<Greeting>(*this, loop_, registry_);
  if (!connection->Open(fd, loop_.now().monotonic_us + options_.hello_timeout_us)) return;
  Greeting& greeting = *connection;
  connections_.push_back(std::move(connection));
  if (!allowed) {
    greeting.Refuse({GoawayCode::kToken, who +
                                             " may not attach workers (allowed: the sidecar's own "
                                             "uid, root, and those listed for the worker socket)"});
    return;
  }
  DropLongestSilent();
  if (connections_.size() > kConnectionsMax) {
    greeting.Refuse({GoawayCode::kTooMany, "too many connections on worker.sock"});
  }
}

// A worker says HELLO as soon as it is connected. Whoever says nothing may be a probe, or mean
// harm; many of them must not take the places and descriptors of those who do.
void Acceptor::DropLongestSilent() {
  size_t silent = 0;
  Greeting* longest = nullptr;
  for (const auto& connection : connections_) {
    if (!connection->silent()) continue;
    if (longest == nullptr) longest = connection.get();
    ++silent;
  }
  if (silent <= kSilentMax) return;
  // What it has sent may lie unread in its socket still.
  if (longest->Speaks()) return;
  longest->Drop();
  ++silent_dropped_;
}

void Acceptor::PostControlGoaway(std::string pool, uint64_t generation, uint64_t worker_id,
                                 GoawayCode code) {
  (void)mailbox_.PostAlways({std::move(pool), generation, worker_id, code, nullptr});
}

bool Acceptor::PostDump(std::shared_ptr<StackDump> dump) {
  ControlMessage message;
  message.dump = std::move(dump);
  return mailbox_.Post(std::move(message));
}

void Acceptor::OnMessage(ControlMessage& message) {
  if (message.dump != nullptr) {
    for (auto& connection : connections_) connection->AskForStacks(message.dump);
    return message.dump->AllAsked();
  }
  for (auto& connection : connections_) {
    if (connection->Matches(message)) connection->Goaway(message.code);
  }
}

void Acceptor::OnTimer() {
  for (size_t i = 0; i < connections_.size(); ++i) connections_[i]->Tick();
  if (silent_dropped_ == silent_told_) return;
  WorkerEvent event;
  event.kind = WorkerEvent::Kind::kRefused;
  event.detail = std::to_string(silent_dropped_ - silent_told_) +
                 " connections on worker.sock said no HELLO and made room for others";
  silent_told_ = silent_dropped_;
  registry_.Emit({std::move(event)});
}

void Acceptor::OnConnectionClosed(Greeting& connection) {
  std::erase_if(connections_, [&](const auto& other) { return other.get() == &connection; });
}

void Acceptor::Drain() {
  for (auto& connection : connections_) connection->Goaway(GoawayCode::kDraining);
}

void Acceptor::Close() {
  if (closing_) return;
  closing_ = true;
  if (listening_) ::unlink(options_.path.c_str());
  listener_.Close();
  mailbox_.Close();
  timer_.Close();
  for (auto& connection : connections_) {
    connection->Refuse({GoawayCode::kDraining, "the sidecar is stopping"});
  }
}

}  // namespace catzilla::worker
