// What a connection's clocks do: every wait for a client has its end and its reason.
//
// The wheel notices a deadline within two ticks of 100 ms, so each of these takes that long.
#include "sidecar/server/client_test.h"

namespace catzilla::server {
namespace {

class Impatient : public Serving {
 protected:
  using Serving::Serving;
  // Every deadline but the one that a test is about.
  static constexpr int64_t kNever = 3'600'000'000;
  static void Patient(config::Limits& limits) {
    limits.header_timeout_us = limits.body_timeout_us = kNever;
    limits.write_timeout_us = limits.idle_timeout_us = kNever;
  }
  // Now and then: not more often than every 50 ms.
  static bool IsTime(int64_t* next_us) {
    const int64_t now_us = base::ReadClock().monotonic_us;
    if (now_us < *next_us) return false;
    *next_us = now_us + 50'000;
    return true;
  }
  void ExpectClosed(CloseReason reason) {
    EXPECT_EQ(closed(reason), 1u);
    ExpectNothingLeft();
  }
};

struct IdleDeadline : Impatient {
  IdleDeadline()
      : Impatient([](config::Limits& limits) {
          Patient(limits);
          limits.idle_timeout_us = 150'000;
        }) {}
};

TEST_F(IdleDeadline, ClosesWithoutAWord) {
  auto peer = Connect();
  ASSERT_TRUE(ReadToEnd(*peer));
  EXPECT_EQ(peer->read, "");
  EXPECT_FALSE(peer->reset);
  ExpectClosed(CloseReason::kIdle);
}

TEST_F(IdleDeadline, CountsFromTheLastAnswer) {
  auto peer = Connect();
  peer->Send("GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(ReadToEnd(*peer));
  EXPECT_EQ(Statuses(peer->read), "200");
  ExpectClosed(CloseReason::kIdle);
}

TEST_F(IdleDeadline, HoldsForAppsThatTakeTheirTime) {
  auto worker = Attach();
  auto peer = Connect();
  peer->Send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  const int64_t later_us = base::ReadClock().monotonic_us + 400'000;
  ASSERT_TRUE(Until([&] { return base::ReadClock().monotonic_us > later_us; }));
  peer->Read();
  EXPECT_FALSE(peer->ended) << "the client is not idle: it waits";
  peer->Leave();
  Pump();
  ExpectClosed(CloseReason::kClient);
}

struct HeaderDeadline : Impatient {
  HeaderDeadline()
      : Impatient([](config::Limits& limits) {
          Patient(limits);
          limits.header_timeout_us = 250'000;
        }) {}
};

TEST_F(HeaderDeadline, IsFromTheFirstByteHoweverTheyDrip) {
  auto peer = Connect();
  const std::string text = "GET /files/a HTTP/1.1\r\nHost: a\r\nX: " + std::string(20'000, 'x');
  size_t sent = 0;
  ASSERT_TRUE(Until([&] {
    if (!peer->ended) sent += peer->Send(std::string_view(text).substr(sent, 1));
    peer->Read();
    return peer->ended;
  }));
  EXPECT_EQ(Statuses(peer->read), "408");
  peer->Leave();
  Pump();
  ExpectClosed(CloseReason::kHeaderTimeout);
  EXPECT_EQ(hall.desk.stats.responses[408].value(), 1u);
}

TEST_F(HeaderDeadline, OfTheSecondRequest) {
  auto peer = Connect();
  peer->Send("GET /files/a HTTP/1.1\r\nHost: a\r\n\r\nGET /fil");
  ASSERT_TRUE(ReadToEnd(*peer));
  EXPECT_EQ(Statuses(peer->read), "200 408");
  peer->Leave();
  Pump();
  ExpectClosed(CloseReason::kHeaderTimeout);
}

struct BodyDeadline : Impatient {
  BodyDeadline()
      : Impatient([](config::Limits& limits) {
          Patient(limits);
          limits.body_timeout_us = 150'000;
        }) {}
};

TEST_F(BodyDeadline, OfABodyForTheApp) {
  auto worker = Attach();
  auto peer = Connect();
  peer->Send("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome");
  ASSERT_TRUE(ReadToEnd(*peer));
  EXPECT_EQ(Statuses(peer->read), "408");
  peer->Leave();
  Pump();
  ExpectClosed(CloseReason::kBodyTimeout);
}

TEST_F(BodyDeadline, OfABodyThatIsSkipped) {
  auto peer = Connect();
  peer->Send("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome");
  ASSERT_TRUE(ReadToEnd(*peer));
  EXPECT_EQ(Statuses(peer->read), "404");
  peer->Leave();
  Pump();
  ExpectClosed(CloseReason::kBodyTimeout);
  EXPECT_EQ(hall.desk.stats.responses[408].value(), 0u);
}

// A byte now and then keeps the gaps short, but not the average up.
TEST_F(BodyDeadline, OfABodyThatDrips) {
  auto peer = Connect();
  peer->Send("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
  int64_t next_us = 0;
  ASSERT_TRUE(Until([&] {
    if (IsTime(&next_us) && !peer->ended) peer->Send("x");
    peer->Read();
    return peer->ended;
  }));
  EXPECT_EQ(Statuses(peer->read), "404");
  peer->Leave();
  Pump();
  ExpectClosed(CloseReason::kBodyTimeout);
}

struct WriteDeadline : Impatient {
  WriteDeadline()
      : Impatient([](config::Limits& limits) {
          Patient(limits);
          limits.write_timeout_us = 150'000;
        }) {}
};

TEST_F(WriteDeadline, OfALongAnswer) {
  auto peer = Connect(4096);
  peer->Send("GET /files/big HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(Until([&] { return hall.open() == 0; }));
  ReadAll(*peer);
  EXPECT_LT(peer->read.size(), kBig);
  ExpectClosed(CloseReason::kWriteTimeout);
}

TEST_F(WriteDeadline, OfShortAnswers) {
  auto peer = Connect(4096);
  std::string many;
  for (int i = 0; i < 100; ++i) many += "GET /files/b HTTP/1.1\r\nHost: a\r\n\r\n";
  peer->Send(many);
  ASSERT_TRUE(Until([&] { return hall.open() == 0; }));
  ExpectClosed(CloseReason::kWriteTimeout);
}

// However slowly, it takes something: what the kernel holds for it, now and then.
TEST_F(WriteDeadline, IsFromTheLastByteThatWasTaken) {
  auto peer = Connect(4096);
  peer->Send("GET /files/big HTTP/1.1\r\nHost: a\r\n\r\n");
  const int64_t later_us = base::ReadClock().monotonic_us + 600'000;
  int64_t next_us = 0;
  ASSERT_TRUE(Until([&] {
    if (IsTime(&next_us)) peer->Read();
    return base::ReadClock().monotonic_us > later_us;
  }));
  EXPECT_EQ(hall.open(), 1u);
  peer->Leave();
  Pump();
  ExpectNothingLeft();
}

struct ProxyDeadline : HeaderDeadline {
  ProxyDeadline() { listener->proxy_protocol = true; }
};

TEST_F(ProxyDeadline, ClosesWithoutAWord) {
  auto peer = Connect();
  peer->Send("PROXY TCP4 192.0");
  ASSERT_TRUE(ReadToEnd(*peer));
  EXPECT_EQ(peer->read, "");
  ExpectClosed(CloseReason::kProxyHeader);
}

}  // namespace
}  // namespace catzilla::server
