// How connections end when it is not the client that ends them: a drain, answers that close while
// the client still sends; and how they begin behind a balancer that names the client.
#include <fstream>

#include "sidecar/server/client_test.h"

namespace catzilla::server {
namespace {

using worker::FakeConnection;
using worker::FrameType;

constexpr char kGet[] = "GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n";

class Endings : public Serving {
 protected:
  // The stream on which the app was asked.
  static uint32_t TakeRequest(worker::Rig::FakeWorker& worker) {
    FakeConnection::Frame frame;
    return worker.lane->Take(FrameType::kRequest, &frame) ? frame.header.stream : 0;
  }
};

TEST_F(Endings, DrainClosesTheIdle) {
  auto fresh = Connect();
  auto used = Connect();
  used->Send(kGet);
  ReadAll(*used);
  hall.Drain();
  ReadAll(*used);
  ReadAll(*fresh);
  EXPECT_TRUE(used->ended && fresh->ended);
  EXPECT_EQ(Statuses(used->read), "200");
  EXPECT_EQ(closed(CloseReason::kDrain), 2u);
  ExpectNothingLeft();
}

TEST_F(Endings, DrainLetsARequestBeAnswered) {
  auto worker = Attach();
  auto peer = Connect();
  peer->Send(std::string("GET /app HTTP/1.1\r\nHost: a\r\n\r\n") + kGet);
  Pump();
  const uint32_t stream = TakeRequest(worker);
  hall.Drain();
  ReadAll(*peer);
  EXPECT_EQ(peer->read, "");
  EXPECT_FALSE(peer->ended);
  worker.lane->Respond(stream, "app");
  ReadAll(*peer);
  EXPECT_EQ(Statuses(peer->read), "200") << "what comes behind it is for another sidecar";
  EXPECT_TRUE(peer->ended);
  peer->Leave();
  Pump();
  EXPECT_EQ(closed(CloseReason::kDrain), 1u);
  ExpectNothingLeft();
}

TEST_F(Endings, DrainLetsAHeadBeCompleted) {
  auto peer = Connect();
  peer->Send("GET /files/a HTTP/1.1\r\nHo");
  Pump();
  hall.Drain();
  peer->Send("st: a\r\n\r\n");
  ReadAll(*peer);
  EXPECT_EQ(Statuses(peer->read), "200");
  EXPECT_NE(peer->read.find("\r\nConnection: close\r\n"), std::string::npos);
  EXPECT_TRUE(peer->ended);
  ExpectNothingLeft();
}

TEST_F(Endings, DrainLetsAnswersArrive) {
  std::vector<std::unique_ptr<Peer>> peers;
  peers.push_back(Connect(4096));
  peers.back()->Send("GET /files/big HTTP/1.1\r\nHost: a\r\n\r\n");
  peers.push_back(Connect(4096));
  for (int i = 0; i < 20; ++i) peers.back()->Send("GET /files/b HTTP/1.1\r\nHost: a\r\n\r\n");
  Pump();
  hall.Drain();
  for (const auto& peer : peers) {
    ASSERT_TRUE(ReadToEnd(*peer));
    EXPECT_EQ(Statuses(peer->read).find('?'), std::string::npos) << "an answer was cut";
    EXPECT_FALSE(peer->read.empty());
  }
  EXPECT_GT(peers[0]->read.size(), kBig);
  ExpectNothingLeft();
}

// It would meet a reset if we closed, and might never see the answer.
TEST_F(Endings, AnswerIsReadByAClientThatStillSends) {
  auto peer = Connect();
  peer->Send("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
  const std::string more(50'000, 'x');
  for (int i = 0; i < 20; ++i) {
    peer->Send(more);
    Pump();
  }
  EXPECT_EQ(hall.open(), 1u);
  ReadAll(*peer);
  EXPECT_EQ(Statuses(peer->read), "404");
  EXPECT_TRUE(peer->ended);
  EXPECT_FALSE(peer->reset);
  peer->EndSide();
  Pump();
  EXPECT_EQ(closed(CloseReason::kUnread), 1u);
  ExpectNothingLeft();
}

TEST_F(Endings, ClientThatNeverEndsIsNotWaitedForLong) {
  auto peer = Connect();
  peer->Send("GET / HTTP/1.1\r\n\r\n");
  ReadAll(*peer);
  EXPECT_EQ(Statuses(peer->read), "400");
  EXPECT_TRUE(peer->ended);
  EXPECT_EQ(hall.open(), 1u);
  ASSERT_TRUE(Until([&] { return hall.open() == 0; }));
  EXPECT_EQ(closed(CloseReason::kBadRequest), 1u);
  ExpectNothingLeft();
}

class BehindABalancer : public Endings {
 protected:
  BehindABalancer() {
    listener->proxy_protocol = true;
    log_path = house.root + "/access.log";
    auto opened = stats::AccessLog::Open(log_path, 1, 1 << 20);
    CATZILLA_CHECK(opened.ok(), "no log for a test");
    log = std::move(*opened);
    hall.desk.context.access_log = log.get();
  }
  // How many lines of the log name this client. Ends the log.
  int Logged(const std::string& client) {
    hall.desk.context.access_log = nullptr;
    log.reset();
    int count = 0;
    std::ifstream file(log_path);
    for (std::string line; std::getline(file, line);) {
      count += line.find("\"client\":\"" + client + "\"") != std::string::npos ? 1 : 0;
    }
    return count;
  }
  void ExpectServedAtEveryByte(const std::string& header, const std::string& client) {
    const std::string text = header + kGet + kGet;
    for (size_t cut = 0; cut < text.size(); ++cut) {
      Peer peer(hall.Connect(listener));
      peer.Send(std::string_view(text).substr(0, cut));
      Pump();
      peer.Send(std::string_view(text).substr(cut));
      ReadAll(peer);
      ASSERT_EQ(Statuses(peer.read), "200 200") << cut;
      peer.Leave();
      Pump();
    }
    EXPECT_EQ(Logged(client), static_cast<int>(2 * text.size()));
    ExpectNothingLeft();
  }
  static std::string Version2(char command, std::string_view addresses) {
    std::string text("\r\n\r\n\0\r\nQUIT\n", 12);
    text += command;
    text += '\x11';  // TCP over IPv4.
    text += '\0';
    text += static_cast<char>(addresses.size());
    return text.append(addresses);
  }
  std::string log_path;
  std::unique_ptr<stats::AccessLog> log;
};

TEST_F(BehindABalancer, Version1) {
  ExpectServedAtEveryByte("PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n", "192.0.2.7");
}

TEST_F(BehindABalancer, Version1OfIpv6) {
  ExpectServedAtEveryByte("PROXY TCP6 2001:db8::7 2001:db8::8 5000 80\r\n", "2001:db8::7");
}

TEST_F(BehindABalancer, Version2) {
  const std::string_view addresses("\xc0\0\2\7\xc0\0\2\x8\x13\x88\0\x50", 12);
  ExpectServedAtEveryByte(Version2('\x21', addresses), "192.0.2.7");
}

// The balancer's own health check: the peer speaks for itself.
TEST_F(BehindABalancer, Version2OfTheBalancerItself) {
  Peer peer(hall.Connect(listener));
  peer.Send(Version2('\x20', "") + kGet);
  ReadAll(peer);
  EXPECT_EQ(Statuses(peer.read), "200");
  EXPECT_EQ(Logged("192.0.2.7"), 0);
}

TEST_F(BehindABalancer, WhoDoesNotNameTheClientGetsNoWord) {
  for (const char* text : {kGet, "PROXY TCP4 192.0.2.999 192.0.2.8 5000 80\r\n",
                           "PROXY TCP4 192.0.2.7 192.0.2.8 5000 80 \r\n", "\r\n\r\nXX"}) {
    Peer peer(hall.Connect(listener));
    peer.Send(text);
    ReadAll(peer);
    EXPECT_EQ(peer.read, "") << text;
    EXPECT_TRUE(peer.ended || peer.reset) << text;
  }
  EXPECT_EQ(closed(CloseReason::kProxyHeader), 4u);
  ExpectNothingLeft();
}

TEST_F(BehindABalancer, EndsInTheMidstOfItsHeader) {
  const std::string header = "PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n";
  for (size_t cut = 0; cut <= header.size(); ++cut) {
    Peer peer(hall.Connect(listener));
    peer.Send(std::string_view(header).substr(0, cut));
    if (cut % 2 == 0) Pump();
    peer.EndSide();
    ReadAll(peer);
    EXPECT_EQ(peer.read, "");
    ASSERT_EQ(hall.open(), 0u) << cut;
  }
  ExpectNothingLeft();
}

TEST_F(BehindABalancer, AClientWithTooManyConnectionsIsTold) {
  hall.place = ClientPlace::kFull;
  Peer peer(hall.Connect(listener));
  peer.Send(std::string("PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n") + kGet);
  ReadAll(peer);
  EXPECT_EQ(Statuses(peer.read), "503");
  EXPECT_TRUE(peer.ended);
  peer.Leave();
  Pump();
  EXPECT_EQ(closed(CloseReason::kOverLimit), 1u);
  ExpectNothingLeft();
}

}  // namespace
}  // namespace catzilla::server
