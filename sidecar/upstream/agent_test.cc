// The agent against real sockets: a loop driven by hand, and servers in threads of their own.
#include "sidecar/upstream/agent.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "sidecar/base/clock.h"
#include "sidecar/upstream/registry.h"

namespace catzilla::upstream {
namespace {

constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

// Reads up to the end of a head; empty: the peer has closed.
std::string ReadHead(int fd) {
  std::string head;
  char byte;
  while (!head.ends_with("\r\n\r\n")) {
    if (::read(fd, &byte, 1) != 1) return "";
    head += byte;
  }
  return head;
}

void Write(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

// Serves one connection after the other; `script` gets each with its number.
class Server {
 public:
  explicit Server(std::function<void(int fd, int number)> script) : script_(std::move(script)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int number = 0;; ++number) {
        const int fd = ::accept(listener_, nullptr, nullptr);
        if (fd < 0) return;
        ++connections;
        current_ = fd;
        if (!over_) script_(fd, number);
        current_ = -1;
        ::close(fd);
      }
    });
  }
  ~Server() {
    // The agent may keep a connection for longer.
    over_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    if (current_ >= 0) ::shutdown(current_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }
  std::atomic<int> connections{0};

 private:
  const std::function<void(int, int)> script_;
  std::atomic<bool> over_{false};
  std::atomic<int> current_{-1};
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

struct Seen final : origin::Observer {
  void OnResponse(const origin::ResponseHead& head) override {
    status = head.status;
    complete = head.complete;
    body += head.body;
  }
  void OnInformational(const origin::ResponseHead& head) override { interim = head.status; }
  void OnData(std::string_view bytes) override {
    body += bytes;
    if (call != nullptr && consumes) call->Consumed(bytes.size());
  }
  void OnBodyRoom() override { ++rooms; }
  void OnEnd() override {
    ended = true;
    call = nullptr;
  }
  void OnFailure(const origin::Failure& failure) override {
    failed = true;
    kind = failure.kind;
    call = nullptr;
  }
  bool over() const { return ended || failed; }

  origin::Call* call = nullptr;
  uint16_t status = 0;
  uint16_t interim = 0;
  bool complete = false;
  bool consumes = true;
  bool ended = false;
  bool failed = false;
  origin::FailureKind kind = origin::FailureKind::kWorkerLost;
  int rooms = 0;
  std::string body;
};

class AgentTest : public testing::Test {
 protected:
  ~AgentTest() override {
    agent.Close();
    wheel.Close();
    loop.DrainHandles();
  }

  SetupRef Configure(const std::vector<std::string>& targets) {
    config::Pool pool;
    pool.name = "web";
    pool.upstream = upstream;
    pool.queue_max = 1;
    for (const std::string& target : targets) {
      pool.upstream->targets.push_back(*base::ParseEndpoint(target));
    }
    return registry.Configure(std::make_shared<const config::Pool>(pool), 16 * 1024);
  }

  void Start(const SetupRef& setup, Seen& seen, std::string_view method = "GET") {
    origin::RequestSpec spec;
    spec.method = method;
    spec.host = "a";
    seen.call = agent.Start(spec, setup, seen, &failure);
  }

  void RunUntil(const std::function<bool()>& done) {
    const int64_t due_us = base::ReadClockMicros(CLOCK_MONOTONIC) + 10'000'000;
    while (!done()) {
      ASSERT_LT(base::ReadClockMicros(CLOCK_MONOTONIC), due_us) << "it did not happen in time";
      loop.RunOnce(true);
    }
  }
  void Finish(Seen& seen) {
    RunUntil([&] { return seen.over(); });
  }

  config::Upstream upstream;
  origin::Failure failure;
  loop::Loop loop;
  loop::Wheel wheel{loop};
  Registry registry;
  Agent agent{loop, wheel, registry};
};

TEST_F(AgentTest, AnswersComeOneAfterTheOtherOnOneConnection) {
  Server server([](int fd, int) {
    while (!ReadHead(fd).empty()) Write(fd, kAnswer);
  });
  const SetupRef setup = Configure({server.target()});
  for (int i = 0; i < 3; ++i) {
    Seen seen;
    Start(setup, seen);
    Finish(seen);
    EXPECT_TRUE(seen.complete);
    EXPECT_EQ(seen.status, 200);
    EXPECT_EQ(seen.body, "hi");
    EXPECT_EQ(agent.calls_in_use(), 0u);
  }
  EXPECT_EQ(server.connections, 1);
  EXPECT_EQ(setup->targets[0]->in_flight(), 0u);
}

TEST_F(AgentTest, ARefusalTriesTheNextAndFailsWhenThereIsNone) {
  uint16_t port = 0;
  {
    Server gone([](int, int) {});
    port = static_cast<uint16_t>(std::stoi(gone.target().substr(10)));
  }
  const std::string refuses = "127.0.0.1:" + std::to_string(port);
  Server server([](int fd, int) {
    while (!ReadHead(fd).empty()) Write(fd, kAnswer);
  });
  const SetupRef both = Configure({refuses, server.target()});
  for (int i = 0; i < 4; ++i) {
    Seen seen;
    Start(both, seen, "POST");
    Finish(seen);
    EXPECT_EQ(seen.status, 200);
  }
  const SetupRef one = Configure({refuses});
  Seen seen;
  Start(one, seen);
  if (seen.call != nullptr) Finish(seen);
  EXPECT_EQ(seen.call == nullptr && !seen.failed ? failure.kind : seen.kind,
            origin::FailureKind::kUpstreamLost);
}

// The first connection answers once and then closes under the second request.
TEST_F(AgentTest, AUsedConnectionThatEndsIsTriedAgainIfThatIsSafe) {
  Server server([](int fd, int number) {
    (void)ReadHead(fd);
    Write(fd, kAnswer);
    (void)ReadHead(fd);
    if (number != 0) Write(fd, kAnswer);
  });
  const SetupRef setup = Configure({server.target()});
  Seen first;
  Start(setup, first);
  Finish(first);
  Seen second;
  Start(setup, second);
  Finish(second);
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(server.connections, 2);
  EXPECT_EQ(setup->pool->Status(0).retries, 1u);
}

TEST_F(AgentTest, WhatMayNotBeRepeatedFails) {
  Server server([](int fd, int number) {
    (void)ReadHead(fd);
    if (number == 0) Write(fd, kAnswer);
    (void)ReadHead(fd);
  });
  const SetupRef setup = Configure({server.target()});
  Seen first;
  Start(setup, first);
  Finish(first);
  Seen second;
  Start(setup, second, "POST");
  Finish(second);
  EXPECT_TRUE(second.failed);
  EXPECT_EQ(second.kind, origin::FailureKind::kUpstreamLost);
  EXPECT_EQ(server.connections, 1);
}

TEST_F(AgentTest, ExcessBytesAreNoAnswerAndEndTheConnection) {
  Server server([](int fd, int) {
    (void)ReadHead(fd);
    Write(fd, std::string(kAnswer) + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    (void)ReadHead(fd);
  });
  const SetupRef setup = Configure({server.target()});
  Seen seen;
  Start(setup, seen);
  Finish(seen);
  EXPECT_EQ(seen.status, 0);
  EXPECT_EQ(seen.kind, origin::FailureKind::kBadAnswer);
  RunUntil([&] { return agent.connections() == 0; });
}

TEST_F(AgentTest, CancelClosesTheConnection) {
  std::atomic<bool> asked{false};
  std::atomic<bool> closed{false};
  Server server([&](int fd, int) {
    (void)ReadHead(fd);
    asked = true;
    closed = ReadHead(fd).empty();
  });
  const SetupRef setup = Configure({server.target()});
  Seen seen;
  Start(setup, seen);
  RunUntil([&] { return asked.load(); });
  seen.call->Cancel(origin::CancelCode::kClientGone);
  RunUntil([&] { return closed.load(); });
  EXPECT_FALSE(seen.over());
  EXPECT_EQ(agent.calls_in_use(), 0u);
  EXPECT_EQ(setup->targets[0]->in_flight(), 0u);
}

TEST_F(AgentTest, MoreThanAServerTakesWaitsAndOneMoreIsRefused) {
  std::atomic<bool> go{false};
  Server server([&](int fd, int) {
    while (!ReadHead(fd).empty()) {
      while (!go) std::this_thread::yield();
      Write(fd, kAnswer);
    }
  });
  upstream.connections_max = 1;
  const SetupRef setup = Configure({server.target()});
  Seen first;
  Seen second;
  Seen third;
  Start(setup, first);
  Start(setup, second);
  Start(setup, third);
  EXPECT_EQ(third.call, nullptr);
  EXPECT_EQ(failure.kind, origin::FailureKind::kQueueFull);
  EXPECT_EQ(setup->pool->waiting(), 1u);
  go = true;
  Finish(first);
  Finish(second);
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(server.connections, 1);
  EXPECT_EQ(setup->pool->waiting(), 0u);
}

TEST_F(AgentTest, AnObserverThatTakesNothingStopsTheReading) {
  std::atomic<size_t> written{0};
  constexpr size_t kBytes = 32 << 20;
  Server server([&](int fd, int) {
    (void)ReadHead(fd);
    Write(fd, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kBytes) + "\r\n\r\n");
    const std::string piece(65536, 'x');
    for (size_t sent = 0; sent < kBytes; sent += piece.size()) {
      Write(fd, piece);
      written = sent;
    }
    (void)ReadHead(fd);
  });
  const SetupRef setup = Configure({server.target()});
  Seen seen;
  seen.consumes = false;
  Start(setup, seen);
  RunUntil([&] { return seen.body.size() >= Call::kWindowBytes; });
  for (int i = 0; i < 5; ++i) loop.RunOnce(true);
  EXPECT_LE(seen.body.size(), Call::kWindowBytes + 2 * 65536);
  EXPECT_LT(written, kBytes / 2);
  seen.consumes = true;
  seen.call->Consumed(seen.body.size());
  Finish(seen);
  EXPECT_EQ(seen.body.size(), kBytes);
}

TEST_F(AgentTest, ABodyIsStreamedAsTheServerReadsIt) {
  std::string got;
  Server server([&](int fd, int) {
    got = ReadHead(fd);
    got += ReadHead(fd);
    Write(fd, kAnswer);
    (void)ReadHead(fd);
  });
  const SetupRef setup = Configure({server.target()});
  Seen seen;
  origin::RequestSpec spec;
  spec.method = "POST";
  spec.host = "a";
  spec.body_mode = origin::BodyMode::kStreaming;
  spec.body_length = origin::kLengthUnknown;
  seen.call = agent.Start(spec, setup, seen, &failure);
  EXPECT_EQ(seen.call->body_window(), 0u);
  RunUntil([&] { return seen.rooms > 0; });
  EXPECT_EQ(seen.call->body_window(), Call::kSendBytes);
  seen.call->SendBody("hello", false);
  seen.call->SendBody("", true);
  EXPECT_TRUE(seen.call->body_ended());
  Finish(seen);
  EXPECT_EQ(seen.status, 200);
  EXPECT_TRUE(got.ends_with("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")) << got;
}

TEST_F(AgentTest, ATargetThatIsRemovedKeepsNoConnection) {
  std::atomic<bool> closed{false};
  Server server([&](int fd, int) {
    while (!ReadHead(fd).empty()) Write(fd, kAnswer);
    closed = true;
  });
  Server other([](int fd, int) {
    while (!ReadHead(fd).empty()) Write(fd, kAnswer);
  });
  const SetupRef before = Configure({server.target()});
  Seen seen;
  Start(before, seen);
  Finish(seen);
  const SetupRef after = Configure({other.target()});
  EXPECT_TRUE(before->targets[0]->retired());
  RunUntil([&] { return closed.load(); });
  // Who still has the old one is answered.
  Seen late;
  Start(before, late);
  Finish(late);
  EXPECT_EQ(late.status, 200);
}

}  // namespace
}  // namespace catzilla::upstream
