#include "sidecar/loop/loop.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/loop/listener.h"
#include "sidecar/loop/mailbox.h"
#include "sidecar/loop/poll.h"
#include "sidecar/loop/socket.h"
#include "sidecar/loop/timer.h"

namespace catzilla::loop {
namespace {

class Recorder final : public Poll::Handler {
 public:
  void OnReady(unsigned ready) override { seen |= ready; }
  void OnClosed() override { closed = true; }
  unsigned seen = 0;
  bool closed = false;
};

TEST(Poll, TellsReadableAndHangup) {
  Loop loop;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
  Recorder recorder;
  {
    Poll poll(loop, recorder);
    ASSERT_TRUE(poll.Open(pair[0]));
    poll.Watch(kReadable | kHangup);
    ASSERT_EQ(write(pair[1], "x", 1), 1);
    loop.RunOnce(true);
    EXPECT_EQ(recorder.seen, static_cast<unsigned>(kReadable));
    close(pair[1]);
    recorder.seen = 0;
    loop.RunOnce(true);
    EXPECT_TRUE(recorder.seen & kHangup);
    poll.Close();
    poll.Close();
    loop.DrainHandles();
    EXPECT_TRUE(recorder.closed);
  }
}

TEST(Poll, ReleaseKeepsTheDescriptorOpen) {
  Loop loop;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
  Recorder recorder;
  Poll poll(loop, recorder);
  ASSERT_TRUE(poll.Open(pair[0]));
  poll.Watch(kReadable);
  const int fd = poll.Release();
  loop.DrainHandles();
  EXPECT_EQ(write(fd, "x", 1), 1);
  close(fd);
  close(pair[1]);
}

class Count final : public Deferred, public TurnHooks {
 public:
  void RunDeferred() override { ++runs; }
  void OnTurnBegin(const base::Now&) override { ++begins; }
  void OnTurnEnd(const base::Now&) override { ++ends; }
  int runs = 0;
  int begins = 0;
  int ends = 0;
};

TEST(Loop, DeferredWorkRunsOncePerTurnBeforeTheHooks) {
  Loop loop;
  Count count;
  loop.AddHooks(&count);
  loop.EnterTurn();
  loop.Defer(count);
  loop.Defer(count);
  loop.RunOnce(false);
  EXPECT_EQ(count.runs, 1);
  EXPECT_EQ(count.begins, count.ends);
  EXPECT_GE(count.begins, 1);
}

// Defers itself whenever it runs, as a connection did that waited for bytes it never read (S1).
class Restless final : public Deferred {
 public:
  explicit Restless(Loop& loop) : loop_(loop) {}
  void RunDeferred() override {
    ++runs;
    if (!stopped) loop_.Defer(*this);
  }
  int runs = 0;
  bool stopped = false;

 private:
  Loop& loop_;
};

class Ring final : public Deadline {
 public:
  void OnDeadline() override { ++rings; }
  int rings = 0;
};

TEST(Loop, WorkThatDefersItselfForEverStopsNeitherTimersNorOthers) {
  Loop loop;
  Wheel wheel(loop);
  Restless restless(loop);
  Count other;
  Ring ring;
  loop.EnterTurn();
  loop.Defer(restless);
  loop.Defer(other);
  wheel.Arm(ring, loop.now().monotonic_us + 1);
  while (ring.rings == 0) loop.RunOnce(true);
  EXPECT_EQ(other.runs, 1);
  EXPECT_GT(loop.turns_overrun(), 0u);
  // It goes on without an event from outside, and costs nothing once it has ended.
  const int runs = restless.runs;
  loop.RunOnce(true);
  EXPECT_GT(restless.runs, runs);
  restless.stopped = true;
  loop.RunOnce(true);
  const uint64_t overrun = loop.turns_overrun();
  loop.RunOnce(false);
  EXPECT_EQ(loop.turns_overrun(), overrun);
  wheel.Close();
  loop.DrainHandles();
}

// Work that defers the next piece of work, as often as it was told.
class Chain final : public Deferred {
 public:
  Chain(Loop& loop, int length) : loop_(loop), left(length) {}
  void RunDeferred() override {
    if (--left > 0) loop_.Defer(*this);
  }

 private:
  Loop& loop_;

 public:
  int left;
};

TEST(Loop, WorkDeferredByDeferredWorkBelongsToTheSameTurn) {
  Loop loop;
  Chain chain(loop, 5);
  loop.EnterTurn();
  loop.Defer(chain);
  loop.RunOnce(false);
  EXPECT_EQ(chain.left, 0);
  EXPECT_EQ(loop.turns_overrun(), 0u);
}

TEST(Wheel, FiresNeitherEarlyNorForgotten) {
  Loop loop;
  Wheel wheel(loop);
  Ring soon;
  Ring moved;
  Ring dropped;
  const int64_t start_us = loop.now().monotonic_us;
  wheel.Arm(soon, start_us + 150'000);
  wheel.Arm(moved, start_us + 100'000);
  wheel.Arm(moved, start_us + 100'000'000);
  wheel.Arm(dropped, start_us + 100'000);
  wheel.Disarm(dropped);
  while (soon.rings == 0) {
    loop.RunOnce(true);
    if (soon.rings == 0) continue;
    EXPECT_GE(loop.now().monotonic_us, start_us + 150'000);
  }
  EXPECT_EQ(moved.rings, 0);
  EXPECT_EQ(dropped.rings, 0);
  wheel.Arm(moved, loop.now().monotonic_us + 1);
  while (moved.rings == 0) loop.RunOnce(true);
  wheel.Close();
  loop.DrainHandles();
}

class Receiver final : public Mailbox<std::unique_ptr<int>>::Receiver {
 public:
  void OnMessage(std::unique_ptr<int>& message) override { sum += *message; }
  int sum = 0;
};

TEST(Mailbox, DeliversFromOtherThreadsAndDeclinesWhenFull) {
  Loop loop;
  Receiver receiver;
  Mailbox<std::unique_ptr<int>> mailbox(loop, receiver, 100);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) EXPECT_TRUE(mailbox.Post(std::make_unique<int>(1)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(mailbox.Post(std::make_unique<int>(1)));
  EXPECT_TRUE(mailbox.PostAlways(std::make_unique<int>(1)));
  while (receiver.sum < 101) loop.RunOnce(true);
  EXPECT_TRUE(mailbox.Post(std::make_unique<int>(1)));
  mailbox.Close();
  EXPECT_FALSE(mailbox.Post(std::make_unique<int>(1)));
  EXPECT_FALSE(mailbox.PostAlways(std::make_unique<int>(1)));
  loop.DrainHandles();
}

class Acceptor final : public Listener::Handler {
 public:
  void OnAccept(int fd, const sockaddr_storage& peer) override {
    host = ToPeerAddress(peer).HostText();
    ::close(fd);
    ++accepted;
  }
  void OnListenerClosed() override { closed = true; }
  int accepted = 0;
  bool closed = false;
  std::string host;
};

int ConnectTo(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

TEST(Listener, DrainAcceptsWhatTheKernelHasQueued) {
  Loop loop;
  Acceptor acceptor;
  Listener listener(loop, acceptor);
  auto fds = ListenTcp({"127.0.0.1", 0}, 16, 1);
  ASSERT_TRUE(fds.ok()) << fds.error().message;
  const uint16_t port = LocalPort((*fds)[0]);
  ASSERT_TRUE(listener.Open((*fds)[0]));
  const int first = ConnectTo(port);
  const int second = ConnectTo(port);
  listener.DrainAndClose();
  EXPECT_EQ(acceptor.accepted, 2);
  EXPECT_EQ(acceptor.host, "127.0.0.1");
  loop.DrainHandles();
  EXPECT_TRUE(acceptor.closed);
  close(first);
  close(second);
}

TEST(Socket, ASecondProcessOnThePortIsAnErrorWithARemedy) {
  auto first = ListenTcp({"127.0.0.1", 0}, 16, 2);
  ASSERT_TRUE(first.ok());
  const uint16_t port = LocalPort((*first)[0]);
  EXPECT_EQ(port, LocalPort((*first)[1]));
  auto second = ListenTcp({"127.0.0.1", port}, 16, 1);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("another process has it"), std::string::npos);
  for (const int fd : *first) close(fd);
}

TEST(Socket, AStaleUnixSocketIsReplacedALiveOneIsNot) {
  char folder[] = "/tmp/catzilla-socket-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/w.sock";
  auto live = ListenUnix(path, 0660, 4);
  ASSERT_TRUE(live.ok()) << live.error().message;
  struct stat status{};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
  auto second = ListenUnix(path, 0660, 4);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("in use"), std::string::npos);
  close(*live);
  auto third = ListenUnix(path, 0600, 4);
  ASSERT_TRUE(third.ok()) << third.error().message;
  close(*third);
  unlink(path.c_str());
  rmdir(folder);
  EXPECT_FALSE(ListenUnix(std::string(200, 'x'), 0600, 4).ok());
}

}  // namespace
}  // namespace catzilla::loop
