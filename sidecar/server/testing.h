// For tests: connections over socket pairs on a loop of the test's own, without listeners. Not
// linked into the sidecar.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/exchange/testing.h"
#include "sidecar/server/connection.h"

namespace catzilla::server {

// Does for its connections what LoopServer does. REQUIRES at its end: Close() was called and the
// loop has drained its handles.
class Hall final : public ConnectionHost {
 public:
  Hall(loop::Loop& loop, loop::Wheel& wheel, worker::Dispatcher& dispatcher)
      : desk(loop, wheel, dispatcher) {}
  ~Hall() { CATZILLA_CHECK(connections_.empty(), "a test's connection was never closed"); }

  // A new connection; returns the client's end, which is the caller's. `send_bytes`: what the
  // kernel takes of answers that nobody reads, about; 0: as it likes.
  [[nodiscard]] int Connect(std::shared_ptr<const config::Listener> listener, int send_bytes = 0) {
    int ends[2];
    CATZILLA_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0,
                   "no descriptors for a test");
    if (send_bytes > 0) {
      ::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes));
    }
    desk.context.loop.EnterTurn();
    auto connection = std::make_unique<Connection>(*this, std::move(listener), loop::PeerAddress{},
                                                   ClientPlace::kUncounted);
    CATZILLA_CHECK(connection->Open(ends[0]), "a test's socket cannot be watched");
    connections_.PushBack(*connection.release());
    ++open_;
    return ends[1];
  }
  void Drain() {
    desk.context.loop.EnterTurn();
    desk.context.draining = true;
    connections_.ForEach([](Connection& connection) { connection.Drain(); });
  }
  void Close() {
    desk.context.loop.EnterTurn();
    connections_.ForEach(
        [](Connection& connection) { connection.CloseNow(stats::CloseReason::kDrain); });
    desk.Close();
  }
  size_t open() const { return open_; }
  uint64_t closed(stats::CloseReason reason) const {
    return desk.stats.closed[static_cast<size_t>(reason)].value();
  }

  exchange::Desk desk;
  // What TakeClientPlace() says of clients that their PROXY header names.
  ClientPlace place = ClientPlace::kUncounted;

 private:
  exchange::Context& context() override { return desk.context; }
  ReadBuffer& read_buffer() override { return read_buffer_; }
  void OnConnectionClosed(Connection& connection) override {
    const std::unique_ptr<Connection> owned(&connection);
    connection.LeaveList();
    --open_;
  }
  ClientPlace TakeClientPlace(const config::Listener&, const loop::PeerAddress&) override {
    return place;
  }

  ReadBuffer read_buffer_;
  base::List<Connection, ConnectionTag> connections_;
  size_t open_ = 0;
};

}  // namespace catzilla::server
