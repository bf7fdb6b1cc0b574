// A request on its way to a worker: its small body is awaited, the answer is awaited, the answer
// streams; and everything that may come between.
//
// What cannot happen: a malformed small body (only one of known length is collected first, and any
// bytes will do); a full output before the answer has begun (nothing is in it: the connection
// begins no request before the last answer has left); a drain (it changes what connections do, and
// what requests from then on are told: Visitor::last).
#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

using origin::CancelCode;
using worker::EndCode;

class Forwarding : public testing::Test {
 protected:
  explicit Forwarding(config::Pool pool = {}) : stage(std::move(pool)) {}

  void ExpectLogged(const std::string& line) {
    stage.ExpectAllGivenBack();
    EXPECT_EQ(stage.Counted(), line.substr(0, 3) + ":1");
    EXPECT_EQ(stage.CountedByRoute(), std::string("/app ") + line[0] + "xx:1");
    EXPECT_EQ(stage.Logged(), std::vector<std::string>{line});
  }
  void ExpectCancelled(CancelCode why) {
    EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(why));
  }
  // `head` is the app's own fields, and how the body is framed.
  static std::string Answer(const std::string& head, const std::string& body, bool closes = false) {
    return std::string("HTTP/1.1 200 OK\r\nDate: now\r\nServer: catzilla\r\n") +
           (closes ? "Connection: close\r\n" : "") + head + "X-Request-Id: r1\r\n\r\n" + body;
  }
  // All that the worker gets of a streamed body.
  std::string TakeBody() {
    std::string body;
    stage.Pump();
    for (worker::FakeConnection::Frame frame; !frame.header.end();) {
      if (!stage.lane().Take(worker::FrameType::kRequestData, &frame)) return body + " (no end)";
      body += frame.payload;
    }
    return body;
  }
  static std::string Hello() {
    return Answer("content-type: text/plain\r\nContent-Length: 5\r\n", "hello");
  }
  static constexpr char kTail[] = " HTTP/1.1\r\nHost: a\r\nX-Request-Id: r1\r\n";

  const std::string get = std::string("GET /app") + kTail + "\r\n";
  const std::string chunked =
      std::string("POST /app") + kTail + "Transfer-Encoding: chunked\r\n\r\n";
  Stage stage;
  Visitor client{stage.desk.context};
};

// RFC 9112 section 3.2.2: who names the host in the target may leave out the path, not the query.
TEST_F(Forwarding, AnAbsoluteTargetReachesTheAppWithoutItsHost) {
  stage.AddRoute("/", {"GET"}, "");
  stage.Attach();
  const std::pair<std::string, std::string> targets[] = {{"http://a", "/"},
                                                         {"http://a?", "/?"},
                                                         {"http://a?x=1&y", "/?x=1&y"},
                                                         {"http://a/?z", "/?z"}};
  for (const auto& [asked, told] : targets) {
    Visitor guest{stage.desk.context};
    guest.Say("GET " + asked + " HTTP/1.1\r\nHost: b\r\n\r\n");
    stage.Pump();
    worker::FakeConnection::Frame frame;
    ASSERT_TRUE(stage.lane().Take(worker::FrameType::kRequest, &frame)) << asked;
    worker::RequestView view;
    ASSERT_EQ(worker::DecodeRequest(frame.payload, &view), nullptr);
    EXPECT_EQ(view.target, told);
    EXPECT_EQ(view.path, "/");
    stage.lane().Respond(frame.header.stream);
    stage.Pump();
    EXPECT_EQ(guest.outcome, "keep-alive");
  }
}

class AwaitingASmallBody : public Forwarding {
 protected:
  AwaitingASmallBody() { stage.Attach(); }
  void Begin(const std::string& request) {
    client.Say(request);
    EXPECT_EQ(stage.TakeRequest(), 0u) << "a slow client holds no worker";
    EXPECT_FALSE(client.exchange().answered());
    EXPECT_FALSE(client.exchange().request_complete());
  }
  const std::string post = std::string("POST /app") + kTail + "Content-Length: 4\r\n\r\n";
};

TEST_F(AwaitingASmallBody, TheWorkerGetsItInOnePiece) {
  Begin(post);
  client.Say("bo");
  EXPECT_EQ(stage.TakeRequest(), 0u);
  client.Say("dy");
  stage.Pump();
  worker::FakeConnection::Frame frame;
  ASSERT_TRUE(stage.lane().Take(worker::FrameType::kRequest, &frame));
  EXPECT_TRUE(frame.header.end());
  EXPECT_TRUE(frame.payload.ends_with("body"));
  stage.lane().Respond(frame.header.stream);
  stage.Pump();
  EXPECT_EQ(client.read(), Hello());
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("200 5 /app worker");
}

TEST_F(AwaitingASmallBody, ClientLeaves) {
  Begin(post);
  client.Say("bo");
  client.Leave();
  EXPECT_EQ(stage.TakeRequest(), 0u);
  EXPECT_EQ(client.read(), "");
  ExpectLogged("499 0 /app worker end=client_closed");
}

TEST_F(AwaitingASmallBody, BodyIsLate) {
  Begin("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
  client.Say("bo");
  client.FailBody(408);
  EXPECT_EQ(stage.TakeRequest(), 0u);
  EXPECT_EQ(client.read(), RefusalText(408, true));
  EXPECT_EQ(client.outcome, "close unread");
  ExpectLogged("408 52 /app worker cause=request_body");
}

TEST_F(AwaitingASmallBody, PlanIsReplaced) {
  Begin(post);
  stage.ReplacePlan();
  client.Say("body");
  stage.lane().Respond(stage.TakeRequest());
  stage.Pump();
  EXPECT_EQ(client.read(), Hello());
  ExpectLogged("200 5 /app worker");
}

TEST_F(AwaitingASmallBody, WorkerIsLostAndTheNextOneGetsIt) {
  Begin(post);
  stage.worker.Kill();
  stage.Pump();
  client.Say("body");
  EXPECT_FALSE(client.over());
  stage.Attach();
  stage.lane().Respond(stage.TakeRequest());
  stage.Pump();
  EXPECT_EQ(client.read(), Hello());
  ExpectLogged("200 5 /app worker");
}

class AwaitingTheAnswer : public Forwarding {
 protected:
  explicit AwaitingTheAnswer(config::Pool pool = {}) : Forwarding(std::move(pool)) {
    stage.Attach();
  }
  void Ask(const std::string& request) {
    client.Say(request);
    stream = stage.TakeRequest();
    ASSERT_NE(stream, 0u);
    EXPECT_EQ(client.read(), "");
  }
  uint32_t stream = 0;
};

TEST_F(AwaitingTheAnswer, Comes) {
  Ask(get);
  EXPECT_FALSE(client.exchange().SurvivesClientEnd());
  stage.lane().Respond(stream);
  stage.Pump();
  EXPECT_EQ(client.read(), Hello());
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("200 5 /app worker");
}

TEST_F(AwaitingTheAnswer, ClientLeaves) {
  Ask(get);
  client.Leave();
  ExpectCancelled(CancelCode::kClientGone);
  EXPECT_EQ(client.read(), "");
  ExpectLogged("499 0 /app worker end=client_closed");
}

TEST_F(AwaitingTheAnswer, ClientLeavesAsTheAnswerComes) {
  Ask(get);
  client.Leave();
  stage.lane().Respond(stream);  // Sent before the CANCEL was read.
  stage.Pump();
  EXPECT_EQ(client.read(), "");
  ExpectLogged("499 0 /app worker end=client_closed");
}

TEST_F(AwaitingTheAnswer, BodyIsLate) {
  Ask(chunked);
  client.Say("3\r\nabc\r\n");
  client.FailBody(408);
  ExpectCancelled(CancelCode::kClientGone);
  EXPECT_EQ(client.read(), RefusalText(408, true, "r1"));
  EXPECT_EQ(client.outcome, "close unread");
  ExpectLogged("408 70 /app worker cause=request_body");
}

TEST_F(AwaitingTheAnswer, BodyIsMalformed) {
  Ask(chunked);
  client.Say("3\r\nabcd");
  ExpectCancelled(CancelCode::kClientGone);
  EXPECT_EQ(client.read(), RefusalText(400, true, "r1"));
  EXPECT_EQ(client.outcome, "close unread");
  ExpectLogged("400 66 /app worker cause=request_body");
}

TEST_F(AwaitingTheAnswer, PlanIsReplaced) {
  Ask(get);
  stage.ReplacePlan();
  stage.lane().Respond(stream);
  stage.Pump();
  EXPECT_EQ(client.read(), Hello());
  ExpectLogged("200 5 /app worker");
}

TEST_F(AwaitingTheAnswer, WorkerIsLost) {
  Ask(chunked);
  client.Say("0\r\n\r\n");
  stage.Pump();
  stage.worker.Kill();
  stage.Pump();
  EXPECT_EQ(client.read(), RefusalText(502, false, "r1"));
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("502 66 /app worker cause=worker_lost detail=the worker has gone");
}

TEST_F(AwaitingTheAnswer, WorkerIsLostAndTheNextOneIsAsked) {
  Ask(get);
  stage.worker.Kill();
  stage.Attach();
  stage.lane().Respond(stage.TakeRequest());
  stage.Pump();
  EXPECT_EQ(client.read(), Hello());
  ExpectLogged("200 5 /app worker");
}

TEST_F(AwaitingTheAnswer, AppFails) {
  Ask(get);
  stage.EndAnswer(stream, EndCode::kFailed, "ValueError");
  EXPECT_EQ(client.read(), RefusalText(500, false, "r1"));
  ExpectLogged("500 76 /app worker cause=app_failed detail=ValueError");
}

TEST_F(AwaitingTheAnswer, AnswerCannotBeSent) {
  Ask(get);
  stage.BeginAnswer(stream, {{"bad name", "x"}});
  ExpectCancelled(CancelCode::kBadAnswer);
  EXPECT_EQ(client.read(), RefusalText(502, false, "r1"));
  stage.ExpectAllGivenBack();
}

TEST_F(AwaitingTheAnswer, HintsComeFirst) {
  Ask(get);
  std::string fields, payload;
  worker::AppendField("link", "</a>", &fields);
  worker::EncodeHead({103, worker::FieldsView(fields)}, &payload);
  stage.lane().Send(worker::FrameType::kInformational, stream, payload);
  stage.lane().Respond(stream);
  stage.Pump();
  EXPECT_EQ(client.read(), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + Hello());
  ExpectLogged("200 5 /app worker");
}

TEST_F(AwaitingTheAnswer, TheLastOfItsConnectionSaysSo) {
  client.last = true;
  Ask(get);
  stage.BeginAnswer(stream, {{"content-length", "2"}}, "hi");
  stage.EndAnswer(stream);
  EXPECT_EQ(client.read(), Answer("content-length: 2\r\n", "hi", true));
  EXPECT_EQ(client.outcome, "close");
  ExpectLogged("200 2 /app worker");
}

TEST_F(AwaitingTheAnswer, BodyMayBegin) {
  Ask(std::string("POST /app") + kTail + "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  stage.lane().Send(worker::FrameType::kWindow, stream, "", 0, 1000);
  stage.Pump();
  EXPECT_EQ(client.read(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Say("body");
  EXPECT_EQ(TakeBody(), "body");
  stage.lane().Respond(stream);
  stage.Pump();
  EXPECT_EQ(client.read(), "HTTP/1.1 100 Continue\r\n\r\n" + Hello());
  ExpectLogged("200 5 /app worker");
}

// What the worker does not take is not read from the client either.
TEST_F(AwaitingTheAnswer, BodyIsFasterThanTheWorker) {
  Ask(chunked);
  const std::string bytes(40'000, 'b');
  client.Say("9c40\r\n" + bytes + "\r\n");
  EXPECT_TRUE(client.wishes.empty());
  client.Say("9c40\r\n" + bytes + "\r\n");
  EXPECT_EQ(client.wishes, std::vector<bool>{false}) << "the window is 64 KiB";
  client.Say("0\r\n\r\n");
  stage.lane().Send(worker::FrameType::kWindow, stream, "", 0, 64 * 1024);
  stage.Pump();
  EXPECT_EQ(client.wishes, (std::vector<bool>{false, true}));
  EXPECT_EQ(TakeBody(), bytes + bytes);
  stage.lane().Respond(stream);
  stage.Pump();
  EXPECT_EQ(client.read(), Hello());
  ExpectLogged("200 5 /app worker");
}

class AwaitingTheAnswerInVain : public AwaitingTheAnswer {
 protected:
  static config::Pool Impatient() {
    config::Pool pool;
    pool.request_timeout_us = pool.queue_timeout_us = 1;
    pool.credits_per_worker = 1;
    pool.queue_max = 1;
    return pool;
  }
  AwaitingTheAnswerInVain() : AwaitingTheAnswer(Impatient()) {}
};

TEST_F(AwaitingTheAnswerInVain, Deadline) {
  Ask(get);
  ASSERT_TRUE(stage.Until([&] { return client.over(); }));
  ExpectCancelled(CancelCode::kDeadline);
  EXPECT_EQ(client.read(), RefusalText(504, false, "r1"));
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged(
      "504 70 /app worker cause=timeout detail=the app did not begin its answer before the "
      "deadline");
}

TEST_F(AwaitingTheAnswerInVain, TheQueueIsFull) {
  Visitor running(stage.desk.context), waiting(stage.desk.context);
  running.Say(get);
  waiting.Say(get);
  client.Say(get);
  EXPECT_EQ(client.read(), RefusalText(503, false, "r1", "", "Retry-After: 1\r\n"));
  waiting.Leave();
  running.Leave();
  EXPECT_NE(stage.TakeCancel(), 0u);
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Logged().front(),
            "503 74 /app worker cause=queue_full detail=the pool's queue is full");
}

}  // namespace
}  // namespace catzilla::exchange
