// An answer of an app that is on its way to the client, and everything that may come between.
//
// What cannot happen: a late file (none is awaited); a drain (an answer that has begun has said
// whether it closes). After its end the answer waits for nobody but its client: leaving_test.cc.
#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

using origin::CancelCode;
using worker::EndCode;

class StreamingAnAnswer : public testing::Test {
 protected:
  explicit StreamingAnAnswer(config::Pool pool = {}) : stage(std::move(pool)) { stage.Attach(); }
  // The client has "abc" of the body.
  void Begin(const std::string& request, const std::vector<http::Field>& fields = {}) {
    client.Say(request);
    stream = stage.TakeRequest();
    ASSERT_NE(stream, 0u);
    stage.BeginAnswer(stream, fields, "abc");
    ASSERT_NE(client.read(), "");
  }
  void ExpectLogged(const std::string& line) {
    stage.ExpectAllGivenBack();
    EXPECT_EQ(stage.Counted(), "200:1");
    EXPECT_EQ(stage.CountedByRoute(), "/app 2xx:1");
    EXPECT_EQ(stage.Logged(), std::vector<std::string>{line});
  }
  static std::string Chunked(const std::string& body, bool closes = false) {
    return std::string("HTTP/1.1 200 OK\r\nDate: now\r\nServer: catzilla\r\n") +
           (closes ? "Connection: close\r\n" : "") +
           "Transfer-Encoding: chunked\r\nX-Request-Id: r1\r\n\r\n" + body;
  }
  static std::string OfLength(int length, const std::string& body) {
    return "HTTP/1.1 200 OK\r\nDate: now\r\nServer: catzilla\r\ncontent-length: " +
           std::to_string(length) + "\r\nX-Request-Id: r1\r\n\r\n" + body;
  }

  const std::string get = "GET /app HTTP/1.1\r\nHost: a\r\nX-Request-Id: r1\r\n\r\n";
  const std::string post =
      "POST /app HTTP/1.1\r\nHost: a\r\nX-Request-Id: r1\r\nTransfer-Encoding: chunked\r\n\r\n";
  Stage stage;
  Visitor client{stage.desk.context};
  uint32_t stream = 0;
};

TEST_F(StreamingAnAnswer, InChunks) {
  Begin(get);
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n"));
  EXPECT_FALSE(client.exchange().answered());
  stage.AnswerData(stream, "defg");
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n4\r\ndefg\r\n"));
  stage.EndAnswer(stream);
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"));
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("200 7 /app worker");
}

TEST_F(StreamingAnAnswer, OfKnownLength) {
  Begin(get, {{"content-length", "5"}});
  stage.AnswerData(stream, "de", true);
  EXPECT_EQ(client.read(), OfLength(5, "abcde"));
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("200 5 /app worker");
}

// To HTTP/1.0 the end of the connection is the end of the answer.
TEST_F(StreamingAnAnswer, UntilTheConnectionEnds) {
  Begin("GET /app HTTP/1.0\r\nConnection: keep-alive\r\nX-Request-Id: r1\r\n\r\n");
  stage.EndAnswer(stream);
  EXPECT_EQ(client.read(),
            "HTTP/1.1 200 OK\r\nDate: now\r\nServer: catzilla\r\nConnection: "
            "close\r\nX-Request-Id: r1\r\n\r\nabc");
  EXPECT_EQ(client.outcome, "close");
  ExpectLogged("200 3 /app worker");
}

TEST_F(StreamingAnAnswer, ShorterThanItsLength) {
  Begin(get, {{"content-length", "5"}});
  stage.EndAnswer(stream);
  EXPECT_EQ(client.read(), OfLength(5, "abc"));
  EXPECT_EQ(client.outcome, "broken");
  ExpectLogged("200 3 /app worker cause=answer_shorter_than_its_length end=broken");
}

TEST_F(StreamingAnAnswer, LongerThanItsLength) {
  Begin(get, {{"content-length", "5"}});
  stage.AnswerData(stream, "deHTTP/1.1 200 OK\r\n\r\n", true);
  EXPECT_EQ(client.read(), OfLength(5, "abcde"));
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("200 5 /app worker cause=answer_longer_than_its_length");
}

TEST_F(StreamingAnAnswer, ClientLeaves) {
  Begin(get);
  client.Leave();
  EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(CancelCode::kClientGone));
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n"));
  ExpectLogged("200 3 /app worker end=client_closed");
}

TEST_F(StreamingAnAnswer, BodyComesMeanwhile) {
  Begin(post);
  client.Say("2\r\nxy\r\n0\r\n\r\n");
  stage.Pump();
  worker::FakeConnection::Frame frame;
  ASSERT_TRUE(stage.lane().Take(worker::FrameType::kRequestData, &frame));
  EXPECT_EQ(frame.payload, "xy");
  stage.EndAnswer(stream);
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n0\r\n\r\n", true));
  EXPECT_EQ(client.outcome, "close");
  ExpectLogged("200 3 /app worker");
}

// The answer is complete and leaves; what is still to come of the request is nobody's.
TEST_F(StreamingAnAnswer, AnswerEndsBeforeTheBody) {
  Begin(post);
  stage.EndAnswer(stream);
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n0\r\n\r\n", true));
  EXPECT_EQ(client.outcome, "close unread");
  ExpectLogged("200 3 /app worker");
}

TEST_F(StreamingAnAnswer, BodyIsLate) {
  Begin(post);
  client.FailBody(408);
  EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(CancelCode::kClientGone));
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n", true)) << "nothing may follow";
  EXPECT_EQ(client.outcome, "broken unread");
  ExpectLogged("200 3 /app worker end=broken");
}

TEST_F(StreamingAnAnswer, BodyIsMalformed) {
  Begin(post);
  client.Say("zz\r\n");
  EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(CancelCode::kClientGone));
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n", true));
  EXPECT_EQ(client.outcome, "broken unread");
  ExpectLogged("200 3 /app worker end=broken");
}

TEST_F(StreamingAnAnswer, PlanIsReplaced) {
  Begin(get);
  stage.ReplacePlan();
  stage.AnswerData(stream, "de", true);
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  ExpectLogged("200 5 /app worker");
}

TEST_F(StreamingAnAnswer, WorkerIsLost) {
  Begin(get);
  stage.worker.Kill();
  stage.Pump();
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n")) << "no end: the client must see it broke";
  EXPECT_EQ(client.outcome, "broken");
  ExpectLogged("200 3 /app worker cause=worker_lost detail=the worker has gone end=broken");
}

TEST_F(StreamingAnAnswer, AppFails) {
  Begin(get);
  stage.EndAnswer(stream, EndCode::kFailed, "ValueError");
  EXPECT_EQ(client.read(), Chunked("3\r\nabc\r\n"));
  EXPECT_EQ(client.outcome, "broken");
  ExpectLogged("200 3 /app worker cause=app_failed detail=ValueError end=broken");
}

// A client that does not read makes the worker wait: the window is given back as bytes leave.
TEST_F(StreamingAnAnswer, OutputIsFull) {
  Begin(get, {{"content-length", "524291"}});
  client.SetReading(false);
  const std::string piece(64 * 1024, 'd');
  for (int i = 0; i < 4; ++i) stage.AnswerData(stream, piece);
  EXPECT_TRUE(client.exchange().wants_output());
  EXPECT_LE(client.pending_bytes(), kOutputMark + piece.size());
  worker::FakeConnection::Frame frame;
  uint64_t given_back = 0;
  while (stage.lane().Take(worker::FrameType::kWindow, &frame)) {
    if (frame.header.stream == stream) given_back += frame.header.aux;
  }
  EXPECT_LT(given_back, 4 * piece.size()) << "the last bytes have not left";
  client.SetReading(true);
  stage.Pump();
  EXPECT_FALSE(client.exchange().wants_output());
  while (stage.lane().Take(worker::FrameType::kWindow, &frame)) {
    if (frame.header.stream == stream) given_back += frame.header.aux;
  }
  EXPECT_GT(given_back, 3 * piece.size());
  for (int i = 0; i < 4; ++i) stage.AnswerData(stream, piece, i == 3);
  EXPECT_EQ(client.read(), OfLength(524'291, "abc" + std::string(512 * 1024, 'd')));
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("200 524291 /app worker");
}

TEST_F(StreamingAnAnswer, ClientLeavesWhileTheOutputIsFull) {
  Begin(get);
  client.SetReading(false);
  for (int i = 0; i < 4; ++i) stage.AnswerData(stream, std::string(64 * 1024, 'd'));
  client.Leave();
  EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(CancelCode::kClientGone));
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Counted(), "200:1");
}

TEST_F(StreamingAnAnswer, WorkerIsLostWhileTheOutputIsFull) {
  Begin(get);
  client.SetReading(false);
  for (int i = 0; i < 4; ++i) stage.AnswerData(stream, std::string(64 * 1024, 'd'));
  stage.worker.Kill();
  stage.Pump();
  client.SetReading(true);
  stage.Pump();
  EXPECT_EQ(client.read().size(), Chunked("3\r\nabc\r\n").size() + 4 * (64 * 1024 + 9));
  EXPECT_EQ(client.outcome, "broken");
  ExpectLogged("200 262147 /app worker cause=worker_lost detail=the worker has gone end=broken");
}

class StreamingPastTheDeadline : public StreamingAnAnswer {
 protected:
  static config::Pool Impatient() {
    config::Pool pool;
    pool.request_timeout_us = 1'000;
    return pool;
  }
  StreamingPastTheDeadline() : StreamingAnAnswer(Impatient()) {}
};

// It is for the beginning of an answer.
TEST_F(StreamingPastTheDeadline, GoesOn) {
  Begin(get);
  const int64_t later_us = base::ReadClock().monotonic_us + 250'000;
  ASSERT_TRUE(stage.Until([&] { return base::ReadClock().monotonic_us > later_us; }));
  EXPECT_FALSE(client.over());
  stage.EndAnswer(stream);
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("200 3 /app worker");
}

}  // namespace
}  // namespace catzilla::exchange
