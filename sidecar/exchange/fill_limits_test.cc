// Fills that take long, outgrow the cache, or meet clients that do not read; stored answers that
// are validated, or dropped while they leave.
#include <algorithm>

#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

using origin::CancelCode;
using worker::EndCode;
using worker::FrameType;

class LargeFill : public testing::Test {
 protected:
  explicit LargeFill(config::Cache cache = {}) : stage({}, std::move(cache)) { stage.Attach(); }

  static std::string Get(const std::string& id, const std::string& more = "") {
    return "GET /kept HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + id + "\r\n" + more + "\r\n";
  }
  // `told`: with its length. What is too long from the start is not shared at all.
  void Begin(uint64_t length, bool told = true) {
    leader.Say(Get("r1"));
    stream = stage.TakeRequest();
    ASSERT_NE(stream, 0u);
    follower.Say(Get("r2"));
    const std::string text = std::to_string(length);
    stage.BeginAnswer(stream, told ? std::vector<http::Field>{{"content-length", text}}
                                   : std::vector<http::Field>());
    left = length;
  }
  // As much of the body as the window lets through.
  void SendSome() {
    worker::FakeConnection::Frame frame;
    for (;;) {
      stage.Pump();
      while (stage.lane().Take(FrameType::kWindow, &frame)) {
        if (frame.header.stream == stream) window += frame.header.aux;
      }
      const uint64_t bytes = std::min({left, window, uint64_t{64} * 1024});
      if (bytes == 0) return;
      left -= bytes;
      window -= bytes;
      stage.AnswerData(stream, std::string(bytes, 'z'), left == 0);
    }
  }
  // Chunked or not.
  static bool HasAll(const Visitor& client, uint64_t length) {
    const std::string text = client.read();
    const std::string_view body = std::string_view(text).substr(text.find("\r\n\r\n") + 4);
    return client.outcome == "keep-alive" &&
           static_cast<uint64_t>(std::count(body.begin(), body.end(), 'z')) == length &&
           (body.size() == length || body.ends_with("\r\n0\r\n\r\n"));
  }
  bool IsStored() {
    Visitor later(stage.desk.context);
    later.Say(Get("r3", "Cache-Control: only-if-cached\r\n"));
    return later.read().starts_with("HTTP/1.1 200");
  }

  Stage stage;
  Visitor leader{stage.desk.context};
  Visitor follower{stage.desk.context};
  uint32_t stream = 0;
  uint64_t left = 0;
  uint64_t window = 256 * 1024;
};

// What will be stored is there for all: one that does not read holds up nobody.
TEST_F(LargeFill, OneOutputIsFull) {
  constexpr uint64_t kLength = 600 * 1024;
  Begin(kLength);
  leader.SetReading(false);
  SendSome();
  EXPECT_EQ(left, 0u);
  EXPECT_TRUE(HasAll(follower, kLength));
  EXPECT_FALSE(leader.over());
  EXPECT_TRUE(leader.exchange().wants_output());
  EXPECT_LE(leader.pending_bytes(), kOutputMark + 128 * 1024);
  EXPECT_TRUE(IsStored());
  leader.SetReading(true);
  stage.Pump();
  EXPECT_TRUE(HasAll(leader, kLength));
  EXPECT_EQ(leader.outcome, "keep-alive");
  stage.ExpectAllGivenBack();
}

TEST_F(LargeFill, OneOutputIsFullAndItsClientLeaves) {
  constexpr uint64_t kLength = 600 * 1024;
  Begin(kLength);
  follower.SetReading(false);
  SendSome();
  EXPECT_FALSE(follower.over());
  follower.Leave();
  EXPECT_TRUE(HasAll(leader, kLength));
  stage.ExpectAllGivenBack();
}

TEST_F(LargeFill, FailsWhileAnOutputIsFull) {
  Begin(600 * 1024);
  follower.SetReading(false);
  left = 400 * 1024;  // The last frame of SendSome() ends the answer too early.
  SendSome();
  EXPECT_EQ(leader.outcome, "broken");
  EXPECT_FALSE(follower.over());
  follower.SetReading(true);
  stage.Pump();
  EXPECT_EQ(follower.outcome, "broken");
  EXPECT_FALSE(IsStored());
  stage.ExpectAllGivenBack();
}

// What cannot be stored is a window that moves with its slowest reader.
TEST_F(LargeFill, OutgrowsTheCacheAndOneOutputIsFull) {
  constexpr uint64_t kLength = 3u << 20;
  Begin(kLength, false);
  leader.SetReading(false);
  SendSome();
  EXPECT_GT(left, 0u) << "the worker waits";
  EXPECT_FALSE(follower.over());
  leader.SetReading(true);
  SendSome();
  EXPECT_EQ(left, 0u);
  EXPECT_TRUE(HasAll(leader, kLength));
  EXPECT_TRUE(HasAll(follower, kLength));
  EXPECT_FALSE(IsStored());
  stage.ExpectAllGivenBack();
}

TEST_F(LargeFill, OutgrowsTheCacheAndItsSlowestReaderLeaves) {
  constexpr uint64_t kLength = 3u << 20;
  Begin(kLength, false);
  leader.SetReading(false);
  SendSome();
  leader.Leave();
  SendSome();
  EXPECT_EQ(left, 0u);
  EXPECT_TRUE(HasAll(follower, kLength));
  stage.ExpectAllGivenBack();
}

TEST_F(LargeFill, IsTooLongFromTheStart) {
  constexpr uint64_t kLength = 3u << 20;
  Begin(kLength);
  const uint32_t own = stage.TakeRequest();
  ASSERT_NE(own, 0u) << "each client asks for its own";
  stage.lane().Respond(own, "own");
  SendSome();
  EXPECT_TRUE(HasAll(leader, kLength));
  EXPECT_TRUE(follower.read().ends_with("own"));
  stage.ExpectAllGivenBack();
}

TEST_F(LargeFill, OutgrowsTheCacheAndAllLeave) {
  Begin(3u << 20, false);
  leader.SetReading(false);
  follower.SetReading(false);
  SendSome();
  leader.Leave();
  follower.Leave();
  EXPECT_EQ(stage.TakeCancel(), static_cast<uint32_t>(CancelCode::kUnwanted));
  stage.ExpectAllGivenBack();
}

TEST_F(LargeFill, StoredAnswerIsPurgedWhileItLeaves) {
  constexpr uint64_t kLength = 128 * 1024;
  Begin(kLength);
  SendSome();
  Visitor later(stage.desk.context);
  later.SetReading(false);
  later.Say(Get("r3"));
  EXPECT_TRUE(later.leaving());
  stage.house.caches.begin()->second->Purge(cache::PurgeKind::kAll, "", {});
  stage.ReplacePlan();
  stage.Pump();
  later.SetReading(true);
  EXPECT_TRUE(HasAll(later, kLength));
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Logged().back(), "200 131072 /kept cache");
}

TEST_F(LargeFill, StoredAnswerIsLeavingAsItsClientLeaves) {
  Begin(128 * 1024);
  SendSome();
  Visitor later(stage.desk.context);
  later.SetReading(false);
  later.Say(Get("r3"));
  later.Leave();
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Logged().back(), "200 0 /kept cache end=client_closed");
}

TEST_F(LargeFill, OnlyWhatIsStoredIsWanted) {
  leader.Say(Get("r1", "Cache-Control: only-if-cached\r\n"));
  EXPECT_TRUE(leader.read().starts_with("HTTP/1.1 504 "));
  EXPECT_EQ(leader.outcome, "keep-alive");
  EXPECT_EQ(stage.TakeRequest(), 0u);
  stage.ExpectAllGivenBack();
}

class Validating : public LargeFill {
 protected:
  // Stored, and to be asked about each time.
  Validating() {
    leader.Say(Get("r1"));
    stream = stage.TakeRequest();
    stage.BeginAnswer(stream, kFields, "hello");
    stage.EndAnswer(stream);
    EXPECT_EQ(leader.outcome, "keep-alive");
    leader.Say(Get("r2"));
    stream = stage.TakeRequest();
    EXPECT_NE(stream, 0u);
    follower.Say(Get("r3"));
    EXPECT_EQ(stage.TakeRequest(), 0u);
  }
  const std::vector<http::Field> kFields = {
      {"cache-control", "no-cache"}, {"etag", "\"1\""}, {"content-length", "5"}};
};

TEST_F(Validating, ItIsConfirmed) {
  stage.BeginAnswer(stream, {{"etag", "\"1\""}}, "", 304);
  stage.EndAnswer(stream);
  EXPECT_TRUE(leader.read().ends_with("\r\n\r\nhello"));
  EXPECT_NE(leader.read().find("fwd-status=304"), std::string::npos);
  EXPECT_TRUE(follower.read().ends_with("\r\n\r\nhello"));
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Counted(), "200:3");
}

TEST_F(Validating, BothLeaveAndItIsConfirmed) {
  leader.Leave();
  follower.Leave();
  stage.BeginAnswer(stream, {{"etag", "\"1\""}}, "", 304);
  stage.EndAnswer(stream);
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Counted(), "200:1 499:2");
}

TEST_F(Validating, ItIsReplaced) {
  stage.BeginAnswer(stream, {{"etag", "\"2\""}, {"content-length", "3"}}, "new");
  stage.EndAnswer(stream);
  EXPECT_TRUE(leader.read().ends_with("\r\n\r\nnew"));
  EXPECT_TRUE(follower.read().ends_with("\r\n\r\nnew"));
  stage.ExpectAllGivenBack();
}

TEST_F(Validating, AppFails) {
  stage.EndAnswer(stream, EndCode::kFailed, "ValueError");
  EXPECT_EQ(leader.outcome + " " + follower.outcome, "keep-alive keep-alive");
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Counted(), "200:1 500:2");
}

class SlowFill : public LargeFill {
 protected:
  static config::Cache Impatient() {
    config::Cache cache;
    cache.fill_timeout_us = 400'000;
    return cache;
  }
  SlowFill() : LargeFill(Impatient()) {}
};

TEST_F(SlowFill, FollowerHasWaitedTooLongAndAsksAlone) {
  leader.Say(Get("r1"));
  follower.Say(Get("r2"));
  stream = stage.TakeRequest();
  ASSERT_NE(stream, 0u);
  uint32_t own = 0;
  ASSERT_TRUE(stage.Until([&] { return (own = stage.TakeRequest()) != 0; }));
  stage.lane().Respond(own, "alone");
  stage.lane().Respond(stream, "first");
  stage.Pump();
  EXPECT_TRUE(follower.read().ends_with("X-Request-Id: r2\r\n\r\nalone"));
  EXPECT_NE(leader.read().find("first"), std::string::npos);
  stage.ExpectAllGivenBack();
  EXPECT_EQ(stage.Logged().front(), "200 5 /kept worker cache=uri-miss");
}

}  // namespace
}  // namespace catzilla::exchange
