// What a request costs in system calls beside its bytes: epoll_ctl is counted by taking its place.
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sidecar/server/client_test.h"

namespace {
int epoll_changes = 0;
}

// libuv's calls come here, for the program's own symbols go before those of libraries.
extern "C" int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  ++epoll_changes;
  return static_cast<int>(::syscall(SYS_epoll_ctl, epoll, operation, fd, event));
}

namespace catzilla::server {
namespace {

using worker::FakeConnection;
using worker::FrameType;

class WatchingClients : public Serving {
 protected:
  WatchingClients() : app(Attach()) {}

  uint32_t TakeRequest() {
    Pump();
    FakeConnection::Frame frame;
    return app.lane->Take(FrameType::kRequest, &frame) ? frame.header.stream : 0;
  }

  worker::Rig::FakeWorker app;
};

TEST_F(WatchingClients, NothingChangesWhileASilentClientWaits) {
  Peer peer(hall.Connect(listener));
  Pump();
  EXPECT_GT(epoll_changes, 0) << "they are not counted";
  epoll_changes = 0;
  for (int i = 0; i < 3; ++i) {
    peer.Send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
    const uint32_t stream = TakeRequest();
    ASSERT_NE(stream, 0u);
    app.lane->Respond(stream, "x");
    ReadAll(peer);
  }
  EXPECT_EQ(Statuses(peer.read), "200 200 200");
  EXPECT_EQ(epoll_changes, 0);
  peer.Leave();
  ExpectNothingLeft();
}

// What comes early is told once, and read when it is its turn.
TEST_F(WatchingClients, AClientThatSendsMoreMeanwhileDoesNotKeepTheLoopBusy) {
  Peer peer(hall.Connect(listener));
  peer.Send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  uint32_t stream = TakeRequest();
  ASSERT_NE(stream, 0u);
  peer.Send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  Pump();
  const uint64_t before = rig.loop.turns();
  Pump();
  EXPECT_LE(rig.loop.turns() - before, 1u) << "its bytes wake the loop again and again";
  app.lane->Respond(stream, "x");
  stream = TakeRequest();
  ASSERT_NE(stream, 0u);
  app.lane->Respond(stream, "x");
  ReadAll(peer);
  EXPECT_EQ(Statuses(peer.read), "200 200");
  peer.EndSide();
  Pump();
  ReadAll(peer);
  EXPECT_TRUE(peer.ended);
  ExpectNothingLeft();
}

// The end of its side comes while bytes of it lie unread.
TEST_F(WatchingClients, AClientThatSendsMoreAndLeavesIsNoticed) {
  Peer peer(hall.Connect(listener));
  peer.Send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_NE(TakeRequest(), 0u);
  peer.Send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  Pump();
  peer.Leave();
  Pump();
  FakeConnection::Frame frame;
  ASSERT_TRUE(app.lane->Take(FrameType::kCancel, &frame));
  app.lane->Send(FrameType::kEnd, frame.header.stream, "", 0,
                 static_cast<uint32_t>(worker::EndCode::kCancelled));
  Pump();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace catzilla::server
