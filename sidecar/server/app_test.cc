// Requests for an app over a connection: bodies that stream, wait and break off, answers that
// break.
#include "sidecar/server/client_test.h"

namespace catzilla::server {
namespace {

using worker::FakeConnection;
using worker::FrameType;

class AskingAnApp : public Serving {
 protected:
  AskingAnApp() : app(Attach()) {}

  uint32_t TakeRequest() {
    Pump();
    FakeConnection::Frame frame;
    return app.lane->Take(FrameType::kRequest, &frame) ? frame.header.stream : 0;
  }
  // Told to stop; it obeys.
  bool TakeCancel() {
    Pump();
    FakeConnection::Frame frame;
    if (!app.lane->Take(FrameType::kCancel, &frame)) return false;
    app.lane->Send(FrameType::kEnd, frame.header.stream, "", 0,
                   static_cast<uint32_t>(worker::EndCode::kCancelled));
    Pump();
    return true;
  }
  void ExpectAllGivenBack() {
    ExpectNothingLeft();
    EXPECT_EQ(rig.in_flight(), 0u);
    EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
  }
  uint64_t answers(int status) const {
    return hall.desk.stats.responses[static_cast<size_t>(status)].value();
  }

  worker::Rig::FakeWorker app;
};

// A small body goes along in one piece, or not at all.
TEST_F(AskingAnApp, ClientEndsAtEveryByteOfASmallBody) {
  const std::string text = "POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    Peer peer(hall.Connect(listener));
    peer.Send(std::string_view(text).substr(0, cut));
    if (cut % 2 == 0) Pump();
    peer.EndSide();
    ASSERT_EQ(TakeRequest() != 0, cut == text.size()) << cut;
    ReadAll(peer);
    EXPECT_EQ(peer.read, "") << cut;
    ASSERT_TRUE(peer.ended) << cut;
  }
  EXPECT_TRUE(TakeCancel()) << "the app is told of who has left";
  EXPECT_EQ(answers(499), 5u) << "the head was there, and what was there of the body";
  ExpectAllGivenBack();
}

TEST_F(AskingAnApp, LongBodyWaitsForTheWorker) {
  const std::string body(400'000, 'x');
  Peer peer(hall.Connect(listener));
  peer.Send("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n");
  const uint32_t stream = TakeRequest();
  ASSERT_NE(stream, 0u);
  size_t sent = 0;
  std::string got;
  const auto turn = [&] {
    sent += peer.Send(std::string_view(body).substr(sent));
    Pump();
    FakeConnection::Frame frame;
    while (app.lane->Take(FrameType::kRequestData, &frame)) got += frame.payload;
  };
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_EQ(got.size(), 64u * 1024) << "the worker's window";
  for (int i = 0; i < 100 && got.size() < body.size(); ++i) {
    app.lane->Send(FrameType::kWindow, 0, "", 0, 64 * 1024);
    app.lane->Send(FrameType::kWindow, stream, "", 0, 64 * 1024);
    turn();
  }
  EXPECT_TRUE(got == body) << "the body differs";
  app.lane->Respond(stream, "thanks");
  ReadAll(peer);
  EXPECT_EQ(Statuses(peer.read), "200");
  EXPECT_FALSE(peer.ended);
  peer.Leave();
  ExpectAllGivenBack();
}

TEST_F(AskingAnApp, ClientEndsInTheMidstOfALongBody) {
  Peer peer(hall.Connect(listener));
  peer.Send("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\nsome");
  ASSERT_NE(TakeRequest(), 0u);
  peer.EndSide();
  EXPECT_TRUE(TakeCancel());
  ReadAll(peer);
  EXPECT_EQ(peer.read, "");
  EXPECT_TRUE(peer.ended);
  EXPECT_EQ(answers(499), 1u);
  ExpectAllGivenBack();
}

// All of the body may lie before its end: that is known only when the worker takes it.
TEST_F(AskingAnApp, ClientLeavesWhileNothingIsReadOfIt) {
  Peer peer(hall.Connect(listener));
  peer.Send("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n");
  const uint32_t stream = TakeRequest();
  ASSERT_NE(stream, 0u);
  const std::string body(400'000, 'x');
  for (int i = 0; i < 10; ++i) {
    peer.Send(body);
    Pump();
  }
  peer.Leave();
  Pump();
  EXPECT_EQ(hall.desk.context.exchanges.in_use(), 1u);
  bool cancelled = false;
  for (int i = 0; i < 50 && !cancelled; ++i) {
    app.lane->Send(FrameType::kWindow, 0, "", 0, 64 * 1024);
    app.lane->Send(FrameType::kWindow, stream, "", 0, 64 * 1024);
    cancelled = TakeCancel();
  }
  EXPECT_TRUE(cancelled);
  EXPECT_EQ(answers(499), 1u);
  ExpectAllGivenBack();
}

TEST_F(AskingAnApp, BodyIsAskedFor) {
  Peer peer(hall.Connect(listener));
  peer.Send("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  const uint32_t stream = TakeRequest();
  ASSERT_NE(stream, 0u);
  app.lane->Send(FrameType::kWindow, stream, "", 0, 1000);
  ReadAll(peer);
  EXPECT_EQ(peer.read, "HTTP/1.1 100 Continue\r\n\r\n");
  peer.Send("body");
  Pump();
  app.lane->Respond(stream);
  ReadAll(peer);
  EXPECT_TRUE(peer.read.ends_with("\r\n\r\nhello"));
  peer.Leave();
  ExpectAllGivenBack();
}

// Nothing may follow an answer that broke off, whatever the client has asked for behind it.
TEST_F(AskingAnApp, WorkerIsLostInTheMidstOfAnAnswer) {
  Peer peer(hall.Connect(listener));
  peer.Send(
      "GET /app HTTP/1.1\r\nHost: a\r\n\r\n"
      "GET /files/a HTTP/1.1\r\nHost: a\r\n\r\n");
  const uint32_t stream = TakeRequest();
  ASSERT_NE(stream, 0u);
  app.lane->Respond(stream, "some", 0);
  app.Kill();
  ReadAll(peer);
  EXPECT_TRUE(peer.read.ends_with("\r\n\r\n4\r\nsome\r\n"));
  EXPECT_TRUE(peer.ended);
  peer.Leave();
  Pump();
  EXPECT_EQ(closed(CloseReason::kTruncated), 1u);
  EXPECT_EQ(answers(200), 1u + 6) << "and what was warmed twice";
  ExpectAllGivenBack();
}

}  // namespace
}  // namespace catzilla::server
