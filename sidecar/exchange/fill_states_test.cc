// Clients that want the same answer, which is not stored yet: the first leads a fill, the others
// follow it; and everything that may come between.
//
// What cannot happen: a late or malformed body (a request with a body goes past the cache); a late
// file; a drain (as in forward_states_test.cc). A lookup is one call of Run(), between which
// nothing comes.
#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

using origin::CancelCode;
using worker::EndCode;

class Filling : public testing::Test {
 protected:
  Filling() { stage.Attach(); }

  static std::string Get(const std::string& id, const std::string& more = "") {
    return "GET /kept HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + id + "\r\n" + more + "\r\n";
  }
  // Both wait; the worker has the leader's request only.
  void Begin() {
    leader.Say(Get("r1"));
    stream = stage.TakeRequest();
    ASSERT_NE(stream, 0u);
    follower.Say(Get("r2"));
    ASSERT_EQ(stage.TakeRequest(), 0u);
    ASSERT_EQ(leader.read() + follower.read(), "");
    ASSERT_EQ(stage.desk.context.fill_drivers.in_use(), 1u);
  }
  void AnswerBegins() {
    stage.BeginAnswer(stream, {{"content-length", "5"}}, "he");
    EXPECT_EQ(leader.read(), Answer("r1", "he"));
  }
  void AnswerEnds() { stage.AnswerData(stream, "llo", true); }
  // Ends every test but those that say otherwise: whether it is stored now.
  bool IsStored() {
    Visitor later(stage.desk.context);
    later.Say(Get("r3", "Cache-Control: only-if-cached\r\n"));
    return later.read().starts_with("HTTP/1.1 200");
  }
  static std::string Answer(const std::string& id, const std::string& body,
                            const std::string& status = "; fwd-status=200; stored") {
    return "HTTP/1.1 200 OK\r\nDate: now\r\nCache-Status: catzilla; fwd=uri-miss" + status +
           "\r\nContent-Length: 5\r\nServer: catzilla\r\nX-Request-Id: " + id + "\r\n\r\n" + body;
  }
  static std::string Collapsed(const std::string& body) {
    return Answer("r2", body, "; fwd-status=200; stored; collapsed");
  }
  void ExpectLogged(const std::vector<std::string>& lines) {
    stage.ExpectAllGivenBack();
    EXPECT_EQ(stage.Logged(), lines);
  }

  Stage stage;
  Visitor leader{stage.desk.context};
  Visitor follower{stage.desk.context};
  uint32_t stream = 0;
};

TEST_F(Filling, OneAnswerForBothAndForLater) {
  Begin();
  EXPECT_TRUE(leader.exchange().SurvivesClientEnd());
  AnswerBegins();
  EXPECT_EQ(follower.read(), Collapsed("he"));
  AnswerEnds();
  EXPECT_EQ(leader.read(), Answer("r1", "hello"));
  EXPECT_EQ(follower.read(), Collapsed("hello"));
  EXPECT_EQ(leader.outcome + follower.outcome, "keep-alivekeep-alive");
  Visitor later(stage.desk.context);
  later.Say(Get("r3"));
  EXPECT_EQ(later.read(),
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: now\r\nAge: 0\r\nCache-Status: "
            "catzilla; hit; ttl=3599\r\nServer: catzilla\r\nX-Request-Id: r3\r\n\r\nhello");
  ExpectLogged({"200 5 /kept worker cache=uri-miss", "200 5 /kept worker cache=uri-miss",
                "200 5 /kept cache"});
}

// What is not known yet may be worth keeping.
TEST_F(Filling, LeaderLeavesAndNobodyFollows) {
  leader.Say(Get("r1"));
  stream = stage.TakeRequest();
  leader.Leave();
  EXPECT_EQ(stage.TakeCancel(), 0u);
  stage.BeginAnswer(stream, {{"content-length", "5"}}, "he");
  AnswerEnds();
  EXPECT_TRUE(IsStored());
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Logged().front(), "499 0 /kept worker cache=uri-miss end=client_closed");
}

TEST_F(Filling, LeaderLeavesAndAnotherFollows) {
  Begin();
  leader.Leave();
  EXPECT_EQ(stage.TakeCancel(), 0u);
  stage.BeginAnswer(stream, {{"content-length", "5"}}, "he");
  AnswerEnds();
  EXPECT_EQ(leader.read(), "");
  EXPECT_EQ(follower.read(), Collapsed("hello"));
  EXPECT_TRUE(IsStored());
  stage.ExpectAllGivenBack();
}

TEST_F(Filling, LeaderLeavesWhileItStreams) {
  leader.Say(Get("r1"));
  stream = stage.TakeRequest();
  AnswerBegins();
  leader.Leave();
  EXPECT_EQ(stage.TakeCancel(), 0u) << "it is worth keeping";
  AnswerEnds();
  EXPECT_TRUE(IsStored());
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Logged().front(), "200 2 /kept worker cache=uri-miss end=client_closed");
}

TEST_F(Filling, FollowerLeaves) {
  Begin();
  follower.Leave();
  AnswerBegins();
  AnswerEnds();
  EXPECT_EQ(leader.read(), Answer("r1", "hello"));
  EXPECT_EQ(follower.read(), "");
  ExpectLogged(
      {"499 0 /kept worker cache=uri-miss end=client_closed", "200 5 /kept worker cache=uri-miss"});
}

TEST_F(Filling, FollowerLeavesWhileItStreams) {
  Begin();
  AnswerBegins();
  follower.Leave();
  AnswerEnds();
  EXPECT_EQ(leader.read(), Answer("r1", "hello"));
  EXPECT_EQ(follower.read(), Collapsed("he"));
  ExpectLogged(
      {"200 2 /kept worker cache=uri-miss end=client_closed", "200 5 /kept worker cache=uri-miss"});
}

TEST_F(Filling, BothLeaveAndItIsNotWorthKeeping) {
  Begin();
  leader.Leave();
  follower.Leave();
  stage.BeginAnswer(stream, {{"cache-control", "no-store"}}, "he");
  EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(CancelCode::kUnwanted));
  EXPECT_FALSE(IsStored());
  stage.ExpectAllGivenBack();
}

TEST_F(Filling, PlanIsReplaced) {
  Begin();
  stage.ReplacePlan();
  AnswerBegins();
  AnswerEnds();
  EXPECT_EQ(leader.read(), Answer("r1", "hello"));
  EXPECT_EQ(follower.read(), Collapsed("hello"));
  ExpectLogged({"200 5 /kept worker cache=uri-miss", "200 5 /kept worker cache=uri-miss"});
}

TEST_F(Filling, AppFails) {
  Begin();
  stage.EndAnswer(stream, EndCode::kFailed, "ValueError");
  EXPECT_EQ(leader.read(), RefusalText(500, false, "r1"));
  EXPECT_TRUE(follower.read().starts_with("HTTP/1.1 500 "));
  EXPECT_FALSE(IsStored());
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Logged().front(),
            "500 76 /kept worker cache=uri-miss cause=app_failed detail=ValueError");
}

TEST_F(Filling, AppFailsWhileItStreams) {
  Begin();
  AnswerBegins();
  stage.EndAnswer(stream, EndCode::kFailed, "ValueError");
  EXPECT_EQ(leader.read(), Answer("r1", "he"));
  EXPECT_EQ(follower.read(), Collapsed("he"));
  EXPECT_EQ(leader.outcome + " " + follower.outcome, "broken broken");
  EXPECT_FALSE(IsStored());
  stage.ExpectAllGivenBack();
}

TEST_F(Filling, WorkerIsLostAndTheNextOneIsAsked) {
  Begin();
  stage.worker.Kill();
  stage.Attach();
  stream = stage.TakeRequest();
  ASSERT_NE(stream, 0u);
  AnswerBegins();
  AnswerEnds();
  EXPECT_EQ(follower.read(), Collapsed("hello"));
  EXPECT_TRUE(IsStored());
  stage.ExpectAllGivenBack();
}

TEST_F(Filling, WorkersAreLost) {
  Begin();
  stage.worker.Kill();
  stage.Attach();
  ASSERT_NE(stage.TakeRequest(), 0u);
  stage.worker.Kill();
  stage.Pump();
  EXPECT_EQ(leader.read(), RefusalText(502, false, "r1"));
  EXPECT_TRUE(follower.read().starts_with("HTTP/1.1 502 "));
  stage.ExpectAllGivenBack();
}

TEST_F(Filling, WorkerIsLostWhileItStreams) {
  Begin();
  AnswerBegins();
  stage.worker.Kill();
  stage.Pump();
  EXPECT_EQ(follower.read(), Collapsed("he"));
  EXPECT_EQ(leader.outcome + " " + follower.outcome, "broken broken");
  EXPECT_FALSE(IsStored());
  stage.ExpectAllGivenBack();
}

TEST_F(Filling, LengthIsNotKept) {
  Begin();
  AnswerBegins();
  stage.EndAnswer(stream);
  EXPECT_EQ(leader.outcome + " " + follower.outcome, "broken broken");
  EXPECT_FALSE(IsStored());
  stage.ExpectAllGivenBack();
}

// The answer was made for the leader alone: each of the others asks for its own.
TEST_F(Filling, AnswerIsNotShared) {
  Begin();
  stage.BeginAnswer(stream, {{"cache-control", "private"}, {"content-length", "5"}}, "he");
  const uint32_t own = stage.TakeRequest();
  ASSERT_NE(own, 0u);
  AnswerEnds();
  stage.lane().Respond(own, "other");
  stage.Pump();
  EXPECT_EQ(leader.read(),
            "HTTP/1.1 200 OK\r\nDate: now\r\nServer: catzilla\r\ncache-control: "
            "private\r\ncontent-length: 5\r\nCache-Status: catzilla; fwd=uri-miss; "
            "fwd-status=200\r\nX-Request-Id: r1\r\n\r\nhello");
  EXPECT_TRUE(follower.read().ends_with("X-Request-Id: r2\r\n\r\nother"));
  ExpectLogged({"200 5 /kept worker cache=uri-miss", "200 5 /kept worker cache=uri-miss"});
}

TEST_F(Filling, AnswerIsNotSharedAndItsClientLeaves) {
  leader.Say(Get("r1"));
  stream = stage.TakeRequest();
  stage.BeginAnswer(stream, {{"cache-control", "private"}, {"content-length", "5"}}, "he");
  leader.Leave();
  EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(CancelCode::kClientGone));
  ExpectLogged({"200 2 /kept worker cache=uri-miss end=client_closed"});
}

TEST_F(Filling, AnswerIsNotSharedAndItsWorkerIsLost) {
  leader.Say(Get("r1"));
  stream = stage.TakeRequest();
  stage.BeginAnswer(stream, {{"cache-control", "private"}, {"content-length", "5"}}, "he");
  stage.worker.Kill();
  stage.Pump();
  EXPECT_EQ(leader.outcome, "broken");
  ExpectLogged(
      {"200 2 /kept worker cache=uri-miss cause=worker_lost detail=the worker has gone "
       "end=broken"});
}

// Nobody is left to take what is not to be shared.
TEST_F(Filling, LeaderHasLeftAndTheAnswerIsNotShared) {
  Begin();
  leader.Leave();
  stage.BeginAnswer(stream, {{"cache-control", "private"}, {"content-length", "5"}}, "he");
  EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(CancelCode::kUnwanted));
  const uint32_t own = stage.TakeRequest();
  ASSERT_NE(own, 0u);
  stage.lane().Respond(own, "other");
  stage.Pump();
  EXPECT_TRUE(follower.read().ends_with("other"));
  stage.ExpectAllGivenBack();
}

TEST_F(Filling, AnswerIsAnotherVariant) {
  leader.Say(Get("r1", "Accept-Language: de\r\n"));
  stream = stage.TakeRequest();
  follower.Say(Get("r2", "Accept-Language: en\r\n"));
  stage.BeginAnswer(stream, {{"vary", "accept-language"}, {"content-length", "5"}}, "he");
  const uint32_t own = stage.TakeRequest();
  ASSERT_NE(own, 0u) << "it asks anew";
  AnswerEnds();
  stage.lane().Respond(own, "hi");
  stage.Pump();
  EXPECT_TRUE(leader.read().ends_with("hello"));
  EXPECT_TRUE(follower.read().ends_with("2\r\nhi\r\n0\r\n\r\n"));
  stage.ExpectAllGivenBack();
}

// HEAD shares the key of GET, but not its answer.
TEST_F(Filling, HeadAsksAndAGetFollows) {
  leader.Say("HEAD /kept HTTP/1.1\r\nHost: a\r\nX-Request-Id: r1\r\n\r\n");
  stream = stage.TakeRequest();
  ASSERT_NE(stream, 0u);
  follower.Say(Get("r2"));
  stage.BeginAnswer(stream, {{"content-length", "5"}});
  stage.EndAnswer(stream);
  EXPECT_TRUE(leader.read().ends_with("\r\n\r\n"));
  EXPECT_NE(leader.read().find("ength: 5\r\n"), std::string::npos);
  if (const uint32_t own = stage.TakeRequest(); own != 0) {
    stage.BeginAnswer(own, {{"content-length", "5"}}, "hello");
    stage.EndAnswer(own);
  }
  EXPECT_TRUE(follower.read().ends_with("\r\n\r\nhello"));
  stage.ExpectAllGivenBack();
}

// Each client's own conditions are judged by us.
TEST_F(Filling, FollowerHasItAlready) {
  leader.Say(Get("r1"));
  stream = stage.TakeRequest();
  follower.Say(Get("r2", "If-None-Match: \"1\"\r\n"));
  stage.BeginAnswer(stream, {{"etag", "\"1\""}, {"content-length", "5"}}, "he");
  EXPECT_TRUE(follower.read().starts_with("HTTP/1.1 304 "));
  EXPECT_EQ(follower.outcome, "keep-alive");
  AnswerEnds();
  EXPECT_TRUE(leader.read().ends_with("\r\n\r\nhello"));
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Logged().front(), "304 0 /kept worker cache=uri-miss");
}

TEST_F(Filling, ARequestWithABodyGoesPastIt) {
  leader.Say(Get("r1", "Content-Length: 4\r\n") + "body");
  stream = stage.TakeRequest();
  stage.lane().Respond(stream);
  stage.Pump();
  EXPECT_FALSE(IsStored());
  EXPECT_EQ(leader.outcome, "keep-alive");
  stage.ExpectAllGivenBack();
}

}  // namespace
}  // namespace catzilla::exchange
