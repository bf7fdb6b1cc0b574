// What has been answered and is not over: a refusal whose request has a body that is still to be
// skipped, and a long answer that is still leaving; and everything that may come then.
//
// What cannot happen: a worker, a fill or a deadline of theirs (nothing is awaited of them any
// more); a late or malformed body while a long answer leaves (Run() says kDone only when the body
// is there, or the connection closes).
#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

class SkippingABody : public testing::Test {
 protected:
  void Ask(const std::string& framing, const std::string& body = "") {
    client.Say("POST /none HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n" + body);
  }
  void ExpectRefused(const std::string& outcome, bool closes) {
    EXPECT_EQ(client.read(), RefusalText(404, closes));
    EXPECT_EQ(client.outcome, outcome);
    stage.ExpectAllGivenBack();
    EXPECT_EQ(stage.Counted(), "404:1");
    EXPECT_EQ(stage.CountedByRoute(), "<none> 4xx:1");
    EXPECT_EQ(stage.Logged(), std::vector<std::string>{"404 46 <none> sidecar cause=no_route"});
  }
  Stage stage;
  Visitor client{stage.desk.context};
};

TEST_F(SkippingABody, ThatIsShort) {
  Ask("Content-Length: 4\r\n");
  EXPECT_EQ(client.read(), RefusalText(404, false)) << "the answer does not wait for the body";
  EXPECT_TRUE(client.exchange().answered());
  client.Say("bo");
  EXPECT_FALSE(client.over());
  client.Say("dy");
  ExpectRefused("keep-alive", false);
}

TEST_F(SkippingABody, ThatCameAlong) {
  Ask("Content-Length: 4\r\n", "bod");
  client.Say("y");
  ExpectRefused("keep-alive", false);
}

TEST_F(SkippingABody, InChunks) {
  Ask("Transfer-Encoding: chunked\r\n");
  client.Say("3\r\nabc\r\n");
  client.Say("0\r\n\r\n");
  ExpectRefused("keep-alive", false);
}

TEST_F(SkippingABody, ThatIsTooLong) {
  Ask("Content-Length: 65537\r\n");
  ExpectRefused("close unread", true);
}

// Its length was not known when the connection was promised to live on.
TEST_F(SkippingABody, WhoseChunksAreTooLong) {
  Ask("Transfer-Encoding: chunked\r\n");
  client.Say("ffff\r\n" + std::string(0xffff, 'x') + "\r\n");
  EXPECT_FALSE(client.over());
  client.Say("2\r\nab\r\n");
  ExpectRefused("close unread", false);
}

TEST_F(SkippingABody, ThatWaitsToBeAskedFor) {
  Ask("Content-Length: 4\r\nExpect: 100-continue\r\n");
  ExpectRefused("close unread", true);
}

TEST_F(SkippingABody, ClientLeaves) {
  Ask("Content-Length: 4\r\n");
  client.Leave();
  ExpectRefused("keep-alive unread", false);
}

TEST_F(SkippingABody, BodyIsLate) {
  Ask("Content-Length: 4\r\n");
  client.FailBody(408);
  ExpectRefused("close unread", false);
}

TEST_F(SkippingABody, BodyIsMalformed) {
  Ask("Transfer-Encoding: chunked\r\n");
  client.Say("zz\r\n");
  ExpectRefused("close unread", false);
}

TEST_F(SkippingABody, PlanIsReplaced) {
  Ask("Content-Length: 4\r\n");
  stage.ReplacePlan();
  client.Say("body");
  ExpectRefused("keep-alive", false);
}

TEST_F(SkippingABody, TheOutputIsFull) {
  client.SetReading(false);
  Ask("Content-Length: 4\r\n");
  client.Say("body");
  EXPECT_EQ(client.outcome, "keep-alive") << "a refusal is short: it counts as sent";
  client.SetReading(true);
  ExpectRefused("keep-alive", false);
}

class LeavingFile : public testing::Test {
 protected:
  static constexpr uint64_t kBytes = 2u << 20;  // More than a mount keeps in memory.

  LeavingFile() {
    stage.house.Write("big", std::string(kBytes, 'f'));
    client.SetReading(false);
    client.Say("GET /files/big HTTP/1.1\r\nHost: a\r\n\r\n");
    stage.house.Settle();
    stage.Pump();
    EXPECT_TRUE(client.leaving());
    EXPECT_EQ(stage.Counted(), "") << "it is counted when it has left";
  }
  void ExpectLogged(const std::string& line) {
    stage.ExpectAllGivenBack();
    EXPECT_EQ(stage.Counted(), "200:1");
    EXPECT_EQ(stage.CountedByRoute(), "/files 2xx:1");
    EXPECT_EQ(stage.Logged(), std::vector<std::string>{line});
  }
  Stage stage;
  Visitor client{stage.desk.context};
};

TEST_F(LeavingFile, Leaves) {
  client.SetReading(true);
  EXPECT_EQ(client.outcome, "keep-alive");
  EXPECT_TRUE(client.read().ends_with("\r\n\r\n" + std::string(kBytes, 'f')));
  ExpectLogged("200 2097152 /files file");
}

TEST_F(LeavingFile, ClientLeaves) {
  client.Leave();
  ExpectLogged("200 0 /files file end=client_closed");
}

TEST_F(LeavingFile, FileHasChanged) {
  client.Truncate();
  EXPECT_EQ(client.outcome, "broken");
  ExpectLogged("200 0 /files file cause=file_changed end=broken");
}

TEST_F(LeavingFile, FileCannotBeRead) {
  client.exchange().OnReadError(EIO);
  client.Truncate();
  EXPECT_EQ(client.outcome, "broken");
  ExpectLogged("200 0 /files file cause=EIO end=broken");
}

TEST_F(LeavingFile, PlanIsReplaced) {
  stage.ReplacePlan();
  client.SetReading(true);
  EXPECT_TRUE(client.read().ends_with(std::string(kBytes, 'f')));
  ExpectLogged("200 2097152 /files file");
}

TEST_F(LeavingFile, DrainBegins) {
  stage.desk.context.draining = true;
  client.SetReading(true);
  EXPECT_EQ(client.outcome, "keep-alive") << "what it has said holds; the connection closes";
  ExpectLogged("200 2097152 /files file");
}

class LeavingAnswerOfAnApp : public testing::Test {
 protected:
  LeavingAnswerOfAnApp() {
    stage.Attach();
    client.SetReading(false);
    client.Say("GET /app HTTP/1.1\r\nHost: a\r\nX-Request-Id: r1\r\n\r\n");
    const uint32_t stream = stage.TakeRequest();
    stage.BeginAnswer(stream, {{"content-length", "131072"}});
    stage.AnswerData(stream, body.substr(64 * 1024));
    stage.AnswerData(stream, body.substr(64 * 1024), true);
    EXPECT_TRUE(client.leaving());
    EXPECT_EQ(stage.rig.in_flight(), 0u);
  }
  void ExpectLogged(const std::string& line) {
    stage.ExpectAllGivenBack();
    EXPECT_EQ(stage.Counted(), "200:1");
    EXPECT_EQ(stage.Logged(), std::vector<std::string>{line});
  }
  const std::string body = std::string(128 * 1024, 'a');
  Stage stage;
  Visitor client{stage.desk.context};
};

TEST_F(LeavingAnswerOfAnApp, LeavesThoughItsWorkerIsLostAndItsPlanReplaced) {
  stage.worker.Kill();
  stage.ReplacePlan();
  stage.Pump();
  client.SetReading(true);
  EXPECT_TRUE(client.read().ends_with("\r\n\r\n" + body));
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged("200 131072 /app worker");
}

TEST_F(LeavingAnswerOfAnApp, ClientLeaves) {
  client.Leave();
  ExpectLogged("200 0 /app worker end=client_closed");
}

}  // namespace
}  // namespace catzilla::exchange
