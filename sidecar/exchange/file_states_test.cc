// A request for a file that has to be opened, and everything that may come between.
//
// What cannot happen: a worker or a fill that fails (no file waits for them); a deadline (opening
// has none: the executor's threads always tell); a full output (the exchange looks at no mark for a
// file, its connection parses nothing while there is one). Routing and a hot file are one call of
// Run(), between which nothing comes.
#include <future>
#include <thread>

#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

class OpeningAFile : public testing::Test {
 protected:
  OpeningAFile() {
    stage.house.Write("a.txt", "hello");
    // The executor's one thread is busy until Open(): what is asked for stays under way.
    EXPECT_TRUE(stage.house.executor.TryPost([this] { gate.get_future().wait(); }));
    while (stage.house.executor.state().running == 0) std::this_thread::yield();
  }
  ~OpeningAFile() override {
    if (!is_open) gate.set_value();
  }
  void Open() {
    is_open = true;
    gate.set_value();
    stage.house.Settle();
    stage.Pump();
  }
  void ExpectLogged(const std::vector<std::string>& lines, const std::string& counted) {
    stage.ExpectAllGivenBack();
    EXPECT_EQ(stage.Counted(), counted);
    EXPECT_EQ(stage.Logged(), lines);
  }

  static std::string Hello(const std::string& more = "") {
    return "HTTP/1.1 200 OK\r\nServer: catzilla\r\nDate: now\r\nContent-Type: text/plain; "
           "charset=utf-8\r\nAccept-Ranges: bytes\r\nContent-Length: 5\r\n" +
           more + "\r\nhello";
  }
  static constexpr char kGet[] = "GET /files/a.txt HTTP/1.1\r\nHost: a\r\n\r\n";
  static constexpr char kWithBody[] =
      "GET /files/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";

  std::promise<void> gate;
  Stage stage;
  bool is_open = false;
  Visitor client{stage.desk.context};
};

TEST_F(OpeningAFile, EndsWithItsBytes) {
  client.Say(kGet);
  EXPECT_EQ(client.returns, std::vector<Next>{Next::kWait});
  EXPECT_TRUE(client.exchange().SurvivesClientEnd());
  Open();
  EXPECT_EQ(client.read(), Hello());
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged({"200 5 /files file"}, "200:1");
}

TEST_F(OpeningAFile, ClientLeaves) {
  client.Say(kGet);
  client.Leave();
  Open();  // Its news find nobody.
  EXPECT_EQ(client.read(), "");
  EXPECT_EQ(client.wakes, 0);
  ExpectLogged({"499 0 /files file end=client_closed"}, "499:1");
}

TEST_F(OpeningAFile, ClientLeavesAndAnotherHasItsPlace) {
  client.Say(kGet);
  client.Leave();
  Visitor other(stage.desk.context);
  other.Say("GET /files/b.txt HTTP/1.1\r\nHost: a\r\n\r\n");
  Open();
  EXPECT_EQ(other.read(), RefusalText(404, false));
  ExpectLogged({"499 0 /files file end=client_closed", "404 46 /files file"}, "404:1 499:1");
}

TEST_F(OpeningAFile, TwoWaitForOneAndOneLeaves) {
  Visitor other(stage.desk.context);
  client.Say(kGet);
  other.Say(kGet);
  client.Leave();
  Open();
  EXPECT_EQ(other.read(), Hello());
  ExpectLogged({"499 0 /files file end=client_closed", "200 5 /files file"}, "200:1 499:1");
}

TEST_F(OpeningAFile, BodyComesMeanwhile) {
  client.Say(kWithBody);
  client.Say("body");
  EXPECT_FALSE(client.over());
  Open();
  EXPECT_EQ(client.read(), Hello());
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged({"200 5 /files file"}, "200:1");
}

TEST_F(OpeningAFile, BodyComesAfterTheAnswer) {
  client.Say(kWithBody);
  Open();
  EXPECT_EQ(client.read(), Hello());
  EXPECT_FALSE(client.over());
  client.Say("body");
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged({"200 5 /files file"}, "200:1");
}

TEST_F(OpeningAFile, BodyThatWaitsToBeAskedForIsNotWanted) {
  client.Say(
      "GET /files/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: "
      "100-continue\r\n\r\n");
  Open();
  EXPECT_EQ(client.read(), Hello("Connection: close\r\n"));
  EXPECT_EQ(client.outcome, "close unread");
  ExpectLogged({"200 5 /files file"}, "200:1");
}

TEST_F(OpeningAFile, BodyIsLate) {
  client.Say(kWithBody);
  client.FailBody(408);
  EXPECT_EQ(client.read(), RefusalText(408, true));
  EXPECT_EQ(client.outcome, "close unread");
  Open();
  ExpectLogged({"408 52 /files file cause=request_body"}, "408:1");
}

TEST_F(OpeningAFile, BodyIsMalformed) {
  client.Say("GET /files/a.txt HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.Say("zz\r\n");
  EXPECT_EQ(client.read(), RefusalText(400, true));
  EXPECT_EQ(client.outcome, "close unread");
  Open();
  ExpectLogged({"400 48 /files file cause=request_body"}, "400:1");
}

TEST_F(OpeningAFile, PlanIsReplaced) {
  client.Say(kGet);
  stage.ReplacePlan();
  Open();
  EXPECT_EQ(client.read(), Hello());
  ExpectLogged({"200 5 /files file"}, "200:1");
}

TEST_F(OpeningAFile, DrainBegins) {
  client.Say(kGet);
  stage.desk.context.draining = true;  // It has promised nothing yet, but was not told to close.
  Open();
  EXPECT_EQ(client.read(), Hello());
  EXPECT_EQ(client.outcome, "keep-alive");
  ExpectLogged({"200 5 /files file"}, "200:1");
}

TEST_F(OpeningAFile, TheLastOfItsConnectionSaysSo) {
  client.last = true;
  client.Say(kGet);
  Open();
  EXPECT_EQ(client.read(), Hello("Connection: close\r\n"));
  EXPECT_EQ(client.outcome, "close");
  ExpectLogged({"200 5 /files file"}, "200:1");
}

TEST_F(OpeningAFile, TooManyAreUnderWay) {
  std::vector<std::unique_ptr<Visitor>> others;
  for (int i = 0; i < 6; ++i) {  // Three quarters of the executor's queue are one mount's.
    others.push_back(std::make_unique<Visitor>(stage.desk.context));
    others.back()->Say("GET /files/" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_FALSE(others.back()->over());
  }
  client.Say("GET /files/a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.read(), RefusalText(503, false, "", "", "Retry-After: 1\r\n"));
  for (const auto& other : others) other->Leave();
  Open();
  EXPECT_EQ(stage.Counted(), "499:6 503:1");
  EXPECT_EQ(stage.Logged().front(), "503 56 /files file cause=files_overloaded");
  stage.ExpectAllGivenBack();
}

}  // namespace
}  // namespace catzilla::exchange
