// Many requests at once, clients that read slowly, and limits per connection: answers leave whole,
// in order, each once.
#include "sidecar/server/client_test.h"

namespace catzilla::server {
namespace {

std::string Get(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"; }

std::string Times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) all += text;
  return all;
}

class Pipelines : public Serving {
 protected:
  using Serving::Serving;
  // One request's answer, on a connection of its own.
  std::string AnswerTo(const std::string& request) {
    auto peer = Connect();
    peer->Send(request);
    ReadAll(*peer);
    return WithoutDates(peer->read);
  }
};

TEST_F(Pipelines, AreAnsweredInOrder) {
  const std::string a = AnswerTo(Get("/files/a"));
  const std::string b = AnswerTo(Get("/files/b"));
  const std::string none = AnswerTo(Get("/none"));
  auto peer = Connect();
  const std::string requests = Get("/files/a") + Get("/files/b") + Get("/none");
  ASSERT_EQ(peer->Send(Times(100, requests)), 100 * requests.size());
  ReadAll(*peer);
  EXPECT_TRUE(WithoutDates(peer->read) == Times(100, a + b + none)) << "the answers differ";
  EXPECT_EQ(hall.desk.stats.keepalive_reuses.value(), 299u);
}

// A long answer in the midst of short ones; the client takes a little at a time.
TEST_F(Pipelines, AreAnsweredToASlowReader) {
  const std::string expected = AnswerTo(Get("/files/a")) + AnswerTo(Get("/files/big")) +
                               AnswerTo(Get("/none")) + AnswerTo(Get("/files/big")) +
                               Times(50, AnswerTo(Get("/files/b")));
  auto peer = Connect(4096);
  peer->Send(Get("/files/a") + Get("/files/big") + Get("/none") + Get("/files/big") +
             Times(50, Get("/files/b")));
  size_t step = 1;
  for (int idle = 0; idle < 100; ++idle) {
    rig.loop.RunOnce(false);
    if (peer->Read(step) > 0) idle = 0;
    step = 1 + (step * 7 + 4093) % 16'384;
  }
  EXPECT_TRUE(WithoutDates(peer->read) == expected) << "the answers differ";
  EXPECT_EQ(hall.desk.context.exchanges.in_use(), 0u);
}

TEST_F(Pipelines, EndByTheClientDoesNotCutThem) {
  const std::string big = AnswerTo(Get("/files/big"));
  const std::string none = AnswerTo(Get("/none"));
  auto peer = Connect(4096);
  peer->Send(Get("/files/big") + Get("/none") + Get("/files/big") + Get("/none"));
  peer->EndSide();
  ASSERT_TRUE(ReadToEnd(*peer));
  EXPECT_TRUE(WithoutDates(peer->read) == big + none + big + none) << "the answers differ";
  ExpectNothingLeft();
}

TEST_F(Pipelines, ClientLeavesInTheMidst) {
  auto peer = Connect(4096);
  peer->Send(Get("/files/a") + Times(20, Get("/files/big")));
  Pump();
  peer->Read(100'000);
  Pump();
  EXPECT_EQ(hall.desk.context.exchanges.in_use(), 1u);
  peer->Leave();
  Pump();
  ExpectNothingLeft();
}

// A client that never reads makes us hold no more than the mark allows.
TEST_F(Pipelines, NobodyReads) {
  auto peer = Connect(4096);
  const std::string many = Times(1000, Get("/files/b"));
  size_t sent = 0;
  for (int i = 0; i < 50; ++i) {
    sent += peer->Send(std::string_view(many).substr(sent % many.size()));
    Pump();
  }
  const uint64_t answered = hall.desk.stats.responses[200].value();
  EXPECT_LT(answered * 1000, 2 * exchange::kOutputMark) << "answers pile up";
  peer->Leave();
  ExpectNothingLeft();
}

TEST_F(Pipelines, WaitForTheAppsAnswer) {
  auto worker = Attach();
  auto peer = Connect();
  peer->Send(Get("/files/a") + Get("/app") + Get("/files/a"));
  Pump();
  worker::FakeConnection::Frame frame;
  ASSERT_TRUE(worker.lane->Take(worker::FrameType::kRequest, &frame));
  ReadAll(*peer);
  EXPECT_EQ(Statuses(peer->read), "200") << "what comes behind the app's answer waits";
  worker.lane->Respond(frame.header.stream, "app");
  ReadAll(*peer);
  EXPECT_EQ(Statuses(peer->read), "200 200 200");
  EXPECT_LT(peer->read.find("\r\n\r\napp"), peer->read.rfind("hello"));
}

// An app is told of a client that has ended its side; what was answered before still leaves.
TEST_F(Pipelines, EndByTheClientWhileTheAppIsAsked) {
  auto worker = Attach();
  Peer peer(hall.Connect(listener));
  peer.Send(Get("/files/a") + Get("/app"));
  Pump();
  peer.EndSide();
  ReadAll(peer);
  EXPECT_EQ(Statuses(peer.read), "200");
  EXPECT_TRUE(peer.ended);
  worker::FakeConnection::Frame frame;
  EXPECT_TRUE(worker.lane->Take(worker::FrameType::kCancel, &frame));
  EXPECT_EQ(hall.desk.stats.responses[499].value(), 1u);
  ExpectNothingLeft();
}

// Enough for one turn: the others have theirs.
class ShortTurns : public Pipelines {
 protected:
  ShortTurns() : Pipelines([](config::Limits& limits) { limits.pipeline_max = 2; }) {}
};

TEST_F(ShortTurns, AnswerAllTheSame) {
  const std::string a = AnswerTo(Get("/files/a"));
  auto peer = Connect();
  peer->Send(Times(101, Get("/files/a")));
  ReadAll(*peer);
  EXPECT_TRUE(WithoutDates(peer->read) == Times(101, a)) << "the answers differ";
}

TEST_F(ShortTurns, AndTheClientHasEndedItsSide) {
  auto peer = Connect();
  peer->Send(Times(7, Get("/files/a")));
  peer->EndSide();
  ASSERT_TRUE(ReadToEnd(*peer));
  EXPECT_EQ(Statuses(peer->read), "200 200 200 200 200 200 200");
  ExpectNothingLeft();
}

class FewPerConnection : public Pipelines {
 protected:
  FewPerConnection()
      : Pipelines([](config::Limits& limits) { limits.requests_per_connection_max = 2; }) {}
};

TEST_F(FewPerConnection, TheLastOneSaysSoAndNoMoreAreAnswered) {
  Peer peer(hall.Connect(listener));
  peer.Send(Times(3, Get("/files/a")));
  ReadAll(peer);
  EXPECT_EQ(Statuses(peer.read), "200 200");
  const size_t says_so = peer.read.find("Connection: close\r\n");
  ASSERT_NE(says_so, std::string::npos);
  EXPECT_GT(says_so, peer.read.find("hello"));
  EXPECT_TRUE(peer.ended);
  peer.Leave();
  Pump();
  EXPECT_EQ(closed(CloseReason::kDone), 1u);
  ExpectNothingLeft();
}

}  // namespace
}  // namespace catzilla::server
