// S7: what has not begun when newer code takes over is answered by that, where its table says.
#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

using Frame = worker::FakeConnection::Frame;

config::Pool OneCredit() {
  config::Pool pool;
  pool.credits_per_worker = 1;
  return pool;
}

class RoutedAnew : public testing::Test {
 protected:
  RoutedAnew() : stage(OneCredit()), busy(stage.desk.context), client(stage.desk.context) {
    stage.Attach();
    busy.Say("GET /app?busy HTTP/1.1\r\nHost: a\r\n\r\n");  // Has the only credit.
    running = stage.TakeRequest();
  }
  ~RoutedAnew() override {
    busy.Leave();
    client.Leave();
  }
  // Newer code, whose table is the stage's snapshot.
  void TakeOver() {
    stage.rig.switches = false;
    old = std::move(stage.worker);
    worker::HelloText hello = stage.rig.Begin();
    hello.pid = 200;
    stage.worker = stage.rig.Attach(hello);
    // As the publisher: the plan first, then the end of what it does not name.
    const uint64_t generation = hello.ticket.generation.number;
    stage.rig.serving = stage.rig.pool->Publish(generation);
    stage.Apply();
    stage.rig.registry.Settle({{"app", generation}});
    stage.Pump();
  }
  void RemoveRoutes() { stage.snapshot.routes.clear(); }
  // What the new worker has got, "/app hello", and its answer.
  std::string Serve(std::string_view answer) {
    stage.Pump();
    Frame frame;
    if (!stage.lane().Take(worker::FrameType::kRequest, &frame)) return "nothing";
    worker::RequestView view;
    EXPECT_EQ(worker::DecodeRequest(frame.payload, &view), nullptr);
    std::string got(view.target);
    if (!view.body.empty()) got += " " + std::string(view.body);
    stage.lane().Respond(frame.header.stream, answer);
    stage.Pump();
    return got;
  }

  Stage stage;
  Visitor busy, client;
  worker::Rig::FakeWorker old;
  uint32_t running = 0;
};

// The body of an answer, chunked or not.
std::string BodyOf(const std::string& text) {
  const size_t at = text.find("\r\n\r\n");
  const std::string body = at == std::string::npos ? "" : text.substr(at + 4);
  const size_t line = body.find("\r\n");
  return line == std::string::npos ? body
                                   : body.substr(line + 2, body.find("\r\n", line + 2) - line - 2);
}

TEST_F(RoutedAnew, WhatWaitedInTheQueueAndItsBody) {
  client.Say("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(stage.TakeRequest(), 0u);
  TakeOver();
  EXPECT_EQ(Serve("new"), "/app hello");
  EXPECT_EQ(BodyOf(client.read()), "new");
  EXPECT_EQ(client.outcome, "keep-alive");
  // What had begun is finished by the code that had begun it.
  old.lane->Respond(running, "old");
  stage.Pump();
  EXPECT_EQ(BodyOf(busy.read()), "old");
}

TEST_F(RoutedAnew, ABodyThatComesAfterwards) {
  client.Say("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
  TakeOver();
  EXPECT_EQ(Serve("new"), "nothing");
  client.Say("lo");
  EXPECT_EQ(Serve("new"), "/app hello");
  EXPECT_EQ(BodyOf(client.read()), "new");
}

TEST_F(RoutedAnew, ABodyThatIsStreamed) {
  const std::string body(20'000, 'b');
  client.Say("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + body.substr(0, 10));
  TakeOver();
  stage.Pump();
  client.Say(body.substr(10));
  stage.Pump();
  Frame frame;
  ASSERT_TRUE(stage.lane().Take(worker::FrameType::kRequest, &frame));
  const uint32_t stream = frame.header.stream;
  std::string got;
  while (stage.lane().Take(worker::FrameType::kRequestData, &frame)) got += frame.payload;
  EXPECT_EQ(got, body);
  stage.lane().Respond(stream, "new");
  stage.Pump();
  EXPECT_EQ(BodyOf(client.read()), "new");
}

TEST_F(RoutedAnew, ToNowhereIfTheNewTableHasNoSuchRoute) {
  client.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  RemoveRoutes();
  TakeOver();
  EXPECT_EQ(client.read().substr(0, 12), "HTTP/1.1 404");
  EXPECT_EQ(client.outcome, "keep-alive");
  EXPECT_EQ(Serve(""), "nothing");
}

TEST_F(RoutedAnew, AFillIsLedAnewByOneOfThoseWhoWaited) {
  Visitor other(stage.desk.context);
  client.Say("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
  other.Say("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
  TakeOver();
  EXPECT_EQ(Serve("new"), "/kept");
  EXPECT_EQ(Serve("again"), "nothing") << "one asks for both";
  EXPECT_EQ(BodyOf(client.read()), "new");
  EXPECT_EQ(BodyOf(other.read()), "new");
}

TEST_F(RoutedAnew, OldCodesFillIsNobodysButItsOwn) {
  Visitor late(stage.desk.context), later(stage.desk.context);
  stage.lane().Respond(running, "done");
  client.Say("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
  const uint32_t stream = stage.TakeRequest();
  ASSERT_NE(stream, 0u);
  TakeOver();
  late.Say("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
  old.lane->Respond(stream, "old");
  stage.Pump();
  EXPECT_EQ(BodyOf(client.read()), "old");
  EXPECT_EQ(Serve("new"), "/kept") << "who came later does not follow it";
  EXPECT_EQ(BodyOf(late.read()), "new");
  later.Say("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(BodyOf(later.read()), "new") << "and what it brought is not kept";
}

TEST_F(RoutedAnew, WithoutANewerPlanItIsRefused) {
  stage.rig.registry.Settle({{"app", 99}});
  client.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.read().substr(0, 12), "HTTP/1.1 503");
  EXPECT_NE(client.read().find("Retry-After: 1\r\n"), std::string::npos);
}

TEST_F(RoutedAnew, TheClientMayLeaveOnTheWay) {
  client.Say("GET /app HTTP/1.1\r\nHost: a\r\n\r\n");
  stage.rig.registry.Settle({{"app", 99}});  // It is given back...
  client.Leave();                            // ...and the news of it find nobody.
  TakeOver();
  EXPECT_EQ(Serve("new"), "nothing");
}

}  // namespace
}  // namespace catzilla::exchange
