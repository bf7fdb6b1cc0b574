#include "sidecar/server/loop_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/exchange/client_origin.h"

namespace catzilla::server {

// One listening socket of this loop.
class LoopServer::Port final : private loop::Listener::Handler {
 public:
  Port(LoopServer& server, std::shared_ptr<const config::Listener> config)
      : server_(server), config_(std::move(config)), listener_(server.context_.loop, *this) {}

  bool Open(int fd) { return listener_.Open(fd); }
  void Close() { listener_.DrainAndClose(); }

 private:
  void OnAccept(int fd, const sockaddr_storage& peer) override {
    server_.Accept(config_, fd, loop::ToPeerAddress(peer));
  }
  void OnAcceptFailed(int) override { server_.context_.stats.accepts_failed.Add(); }

  LoopServer& server_;
  const std::shared_ptr<const config::Listener> config_;
  loop::Listener listener_;
};

LoopServer::LoopServer(Parts parts, std::shared_ptr<const exchange::Plan> plan)
    : epochs_(parts.epochs),
      reader_(parts.epochs),
      counts_(parts.counts),
      on_plan_(std::move(parts.on_plan)),
      on_drained_(std::move(parts.on_drained)),
      on_closed_(std::move(parts.on_closed)),
      context_(parts.loop, parts.wheel, parts.dispatcher, *this, parts.stats),
      mailbox_(parts.loop, *this, kMessagesMax) {
  context_.access_log = parts.access_log;
  context_.upstreams = parts.upstreams;
  context_.passed_files = parts.passed_files;
  context_.random_state = parts.random_seed;
  context_.plan = std::move(plan);
  context_.loop.AddHooks(this);
}

LoopServer::~LoopServer() {
  CATZILLA_CHECK(connections_.empty(), "a loop's server was destroyed under its connections");
}

bool LoopServer::Open(std::shared_ptr<const config::Listener> listener, int fd) {
  ports_.push_back(std::make_unique<Port>(*this, std::move(listener)));
  return ports_.back()->Open(fd);
}

void LoopServer::OnTurnBegin(const base::Now&) { reader_.Enter(); }

void LoopServer::OnTurnEnd(const base::Now&) {
  context_.stats.connections_open.Set(connection_count_);
  context_.stats.connections_active.Set(context_.exchanges.in_use());
  reader_.Leave();
  epochs_.Reclaim();
}

void LoopServer::OnOpened(base::Ticket ticket, files::OpenResult result) {
  ServerMessage message;
  message.kind = ServerMessage::Kind::kOpened;
  message.ticket = ticket;
  message.opened = std::move(result);
  // A closed mailbox means a loop that is going away with all its exchanges.
  (void)Post(std::move(message));
}

void LoopServer::OnMessage(ServerMessage& message) {
  switch (message.kind) {
    case ServerMessage::Kind::kPlan:
      TakePlan(message);
      return;
    case ServerMessage::Kind::kOpened: {
      exchange::Exchange* waiting = context_.exchanges.Find(message.ticket);
      if (waiting != nullptr) waiting->OnOpened(std::move(message.opened));
      return;
    }
    case ServerMessage::Kind::kFillMoved:
      WakeFill(message.ticket);
      return;
    case ServerMessage::Kind::kDrain:
      Drain();
      return;
    case ServerMessage::Kind::kClose:
      CloseNow();
      return;
  }
}

// Whoever has published the plan holds the one before until it hears of this: a plan is large, and
// does not die on a loop.
void LoopServer::TakePlan(ServerMessage& message) {
  context_.plan = std::move(message.plan);
  context_.access_log = message.access_log;
  if (on_plan_) on_plan_(context_.plan->version());
}

void LoopServer::WakeFill(base::Ticket ticket) {
  if (auto* driver = context_.fill_drivers.Find(ticket)) {
    driver->OnWake();
  } else if (auto* follower = context_.exchanges.Find(ticket)) {
    follower->OnFillMoved();
  }
}

void LoopServer::Accept(const std::shared_ptr<const config::Listener>& listener, int fd,
                        const loop::PeerAddress& peer) {
  context_.stats.accepted.Add();
  const config::Limits& limits = *context_.plan->snapshot->limits;
  const uint32_t most = std::min(limits.connections_max, counts_.connections_max);
  if (counts_.connections.fetch_add(1) >= most) {
    counts_.connections.fetch_sub(1);
    RefuseConnection(fd);
    return;
  }
  // Behind the PROXY protocol the client has yet to be named.
  const ClientPlace place =
      listener->proxy_protocol ? ClientPlace::kUncounted : TakeClientPlace(*listener, peer);
  if (place == ClientPlace::kFull) {
    counts_.connections.fetch_sub(1);
    RefuseConnection(fd);
    return;
  }
  auto connection = std::make_unique<Connection>(*this, listener, peer, place);
  if (!connection->Open(fd)) {
    counts_.connections.fetch_sub(1);
    if (place == ClientPlace::kCounted) counts_.clients.Remove(peer);
    return;
  }
  connections_.PushBack(*connection.release());
  ++connection_count_;
}

ClientPlace LoopServer::TakeClientPlace(const config::Listener& listener,
                                        const loop::PeerAddress& client) {
  const uint32_t most = context_.plan->snapshot->limits->connections_per_client_max;
  if (most == 0 || exchange::IsTrusted(listener, client)) return ClientPlace::kUncounted;
  return counts_.clients.TryAdd(client, most);
}

// One too many: a short answer that fits any socket's buffer, and away.
void LoopServer::RefuseConnection(int fd) {
  char answer[exchange::kBareRefusalBytes];
  const size_t bytes = exchange::WriteBareRefusal(context_, 503, true, answer);
  (void)!::send(fd, answer, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(fd, SHUT_WR);
  ::close(fd);
  context_.stats.responses[503].Add();
  context_.stats.closed[static_cast<size_t>(stats::CloseReason::kOverLimit)].Add();
}

void LoopServer::OnConnectionClosed(Connection& connection) {
  const std::unique_ptr<Connection> owned(&connection);
  connection.LeaveList();
  --connection_count_;
  counts_.connections.fetch_sub(1);
  if (connection.client_place() == ClientPlace::kCounted) {
    counts_.clients.Remove(connection.client());
  }
  CheckDrained();
}

// Answers say Connection: close from now on; who is idle goes at once. Listeners stay open until
// everything is over: closing one of several would reset clients that the kernel has queued on it.
void LoopServer::Drain() {
  if (draining_) return;
  draining_ = true;
  context_.draining = true;
  connections_.ForEach([](Connection& connection) { connection.Drain(); });
  CheckDrained();
}

void LoopServer::CheckDrained() {
  if (!draining_ || drained_told_ || connection_count_ > 0) return;
  drained_told_ = true;
  if (on_drained_) on_drained_();
}

void LoopServer::CloseNow() {
  if (closed_) return;
  closed_ = true;
  for (const auto& port : ports_) port->Close();
  connections_.ForEach(
      [](Connection& connection) { connection.CloseNow(stats::CloseReason::kDrain); });
  mailbox_.Close();
  if (on_closed_) on_closed_();
}

}  // namespace catzilla::server
