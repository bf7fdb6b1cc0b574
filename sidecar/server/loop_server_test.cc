// A loop's listeners and connections over TCP: who is let in, a new plan, the drain, the end.
#include "sidecar/server/loop_server.h"

#include <netinet/in.h>

#include "sidecar/loop/socket.h"
#include "sidecar/server/client_test.h"
#include "sidecar/worker/registry.h"

namespace catzilla::server {
namespace {

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

class OneLoop : public testing::Test {
 protected:
  explicit OneLoop(const config::Limits& limits = {}) {
    config::Snapshot snapshot;
    snapshot.limits = std::make_shared<config::Limits>(limits);
    LoopServer::Parts parts{loop, wheel, dispatcher, house.epochs, stats, counts};
    parts.on_drained = [this] { ++drained; };
    parts.on_closed = [this] { ++closed; };
    server = std::make_unique<LoopServer>(std::move(parts),
                                          house.MakePlan(snapshot, nullptr, nullptr, nullptr));
    const auto sockets = loop::ListenTcp({"127.0.0.1", 0}, 16, 1);
    CATZILLA_CHECK(sockets.ok(), "no port for a test");
    port = loop::LocalPort(sockets->front());
    EXPECT_TRUE(server->Open(std::make_shared<config::Listener>(), sockets->front()));
  }
  ~OneLoop() override {
    server->CloseNow();
    dispatcher.Close();
    wheel.Close();
    loop.DrainHandles();
  }

  std::unique_ptr<Peer> Connect() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
    return std::make_unique<Peer>(fd);
  }
  // The statuses that come until there are `count` bytes or the end.
  std::string Ask(Peer& peer) {
    peer.read.clear();
    peer.Send(kGet);
    EXPECT_TRUE(Until([&] {
      peer.Read();
      return !peer.read.empty() || peer.ended;
    }));
    return Statuses(peer.read);
  }
  bool Until(const std::function<bool()>& done) {
    for (int turns = 0; turns < 100'000; ++turns) {
      if (done()) return true;
      loop.RunOnce(true);
    }
    return false;
  }
  uint64_t open() const { return stats.connections_open.value(); }
  bool Tell(ServerMessage::Kind kind) {
    ServerMessage message;
    message.kind = kind;
    return server->Post(std::move(message));
  }

  exchange::House house;
  stats::LoopStats stats;
  SharedCounts counts;
  loop::Loop loop;
  loop::Wheel wheel{loop};
  worker::Registry registry{{}};
  worker::Dispatcher dispatcher{loop, wheel, registry};
  std::unique_ptr<LoopServer> server;
  uint16_t port = 0;
  int drained = 0;
  int closed = 0;
};

TEST_F(OneLoop, CountsItsConnections) {
  auto first = Connect();
  auto second = Connect();
  EXPECT_EQ(Ask(*first), "404");
  EXPECT_EQ(Ask(*second), "404");
  EXPECT_EQ(Ask(*first), "404");
  EXPECT_EQ(open(), 2u);
  EXPECT_EQ(counts.connections.load(), 2u);
  first->Leave();
  EXPECT_TRUE(Until([&] { return open() == 1; }));
  EXPECT_EQ(stats.accepted.value(), 2u);
  EXPECT_EQ(stats.requests.value(), 3u);
  EXPECT_EQ(stats.keepalive_reuses.value(), 1u);
}

TEST_F(OneLoop, ServesANewPlanOnOldConnections) {
  auto peer = Connect();
  EXPECT_EQ(Ask(*peer), "404");
  config::Snapshot snapshot;
  auto route = std::make_shared<config::Route>();
  route->path = "/";
  route->source = config::Layer::kFile;
  snapshot.routes = {route};
  ServerMessage message;
  message.plan = house.MakePlan(snapshot, nullptr, nullptr, nullptr);
  ASSERT_TRUE(server->Post(std::move(message)));
  EXPECT_TRUE(Until([&] { return Ask(*peer) == "503"; })) << "the new route has no pool";
}

TEST_F(OneLoop, DrainsWhenTheLastConnectionHasGone) {
  auto idle = Connect();
  auto busy = Connect();
  EXPECT_EQ(Ask(*idle), "404");
  const uint64_t before = stats.bytes_received.value();
  busy->Send("GET / HTTP/1.1\r\n");
  EXPECT_TRUE(Until([&] { return stats.bytes_received.value() > before; }));
  ASSERT_TRUE(Tell(ServerMessage::Kind::kDrain));
  EXPECT_TRUE(Until([&] { return idle->Read() == 0 && idle->ended; }));
  EXPECT_EQ(drained, 0);
  busy->Send("Host: a\r\n\r\n");
  EXPECT_TRUE(Until([&] { return drained == 1; }));
  busy->Read();
  EXPECT_EQ(Statuses(busy->read), "404");
  ASSERT_TRUE(Tell(ServerMessage::Kind::kDrain)) << "twice is once";
  // Listeners stay: a client that the kernel has let in is answered, and told to go.
  auto late = Connect();
  EXPECT_EQ(Ask(*late), "404");
  EXPECT_NE(late->read.find("Connection: close"), std::string::npos);
  EXPECT_EQ(drained, 1);
}

TEST_F(OneLoop, ClosesWhateverIsUnderWay) {
  auto idle = Connect();
  auto busy = Connect();
  EXPECT_EQ(Ask(*idle), "404");
  busy->Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
  EXPECT_TRUE(Until([&] { return stats.connections_active.value() == 1; }));
  ASSERT_TRUE(Tell(ServerMessage::Kind::kClose));
  EXPECT_TRUE(Until([&] { return closed == 1; }));
  EXPECT_TRUE(Until([&] { return counts.connections.load() == 0; }));
  EXPECT_FALSE(Tell(ServerMessage::Kind::kDrain)) << "nobody is there to be told";
}

struct OneAtATime : OneLoop {
  static config::Limits One() {
    config::Limits limits;
    limits.connections_max = 1;
    return limits;
  }
  OneAtATime() : OneLoop(One()) {}
};

TEST_F(OneAtATime, TheNextOneIsToldToComeAgain) {
  auto first = Connect();
  EXPECT_EQ(Ask(*first), "404");
  auto second = Connect();
  EXPECT_TRUE(Until([&] { return second->Read() == 0 && second->ended; }));
  EXPECT_EQ(Statuses(second->read), "503");
  EXPECT_NE(second->read.find("Retry-After: 1\r\n"), std::string::npos);
  first->Leave();
  EXPECT_TRUE(Until([&] { return open() == 0; }));
  auto third = Connect();
  EXPECT_EQ(Ask(*third), "404");
}

struct OnePerClient : OneLoop {
  static config::Limits One() {
    config::Limits limits;
    limits.connections_per_client_max = 1;
    return limits;
  }
  OnePerClient() : OneLoop(One()) {}
};

TEST_F(OnePerClient, TheNextOneOfThatClientIsToldToComeAgain) {
  auto first = Connect();
  EXPECT_EQ(Ask(*first), "404");
  auto second = Connect();
  EXPECT_TRUE(Until([&] { return second->Read() == 0 && second->ended; }));
  EXPECT_EQ(Statuses(second->read), "503");
  first->Leave();
  EXPECT_TRUE(Until([&] { return open() == 0; }));
  auto third = Connect();
  EXPECT_EQ(Ask(*third), "404");
  EXPECT_EQ(counts.connections.load(), 1u);
}

}  // namespace
}  // namespace catzilla::server
