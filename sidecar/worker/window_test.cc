// Windows in both directions: bodies keep to the worker's, answers to ours, and no byte of either
// gets lost.
#include "sidecar/worker/rig_test.h"

namespace catzilla::worker {
namespace {

using Frame = FakeConnection::Frame;

class WindowTest : public ::testing::Test {
 protected:
  WindowTest() : hello(rig.Begin()), worker(rig.Attach(hello)), lane(*worker.lane) {}

  void EndSays(EndCode code, uint32_t stream) {
    lane.Send(FrameType::kEnd, stream, {}, 0, static_cast<uint32_t>(code));
    rig.Pump();
  }
  bool LaneIsLost() {
    rig.Pump();
    return lane.closed() && rig.dispatcher.lanes() == 0;
  }

  Notes notes;
  Frame frame;
  Rig rig;
  HelloText hello;
  Rig::FakeWorker worker;
  FakeConnection& lane;
};

RequestSpec& Streaming(RequestSpec& spec) {
  spec.method = "POST";
  spec.body_mode = BodyMode::kStreaming;
  spec.body_length = kLengthUnknown;
  return spec;
}

TEST_F(WindowTest, BodyKeepsToTheWorkersWindow) {
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(lane, notes, &call, [](RequestSpec& s) { Streaming(s); });
  EXPECT_EQ(call->body_window(), hello.stream_window);
  call->SendBody(std::string(hello.stream_window, 'b'), false);
  EXPECT_EQ(call->body_window(), 0u);
  rig.Pump();
  size_t received = 0;
  while (lane.Take(FrameType::kRequestData, &frame)) received += frame.payload.size();
  EXPECT_EQ(received, hello.stream_window);
  lane.Send(FrameType::kWindow, stream, {}, 0, 1000);
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"room"}));
  EXPECT_EQ(call->body_window(), 1000u);
  call->SendBody("last", true);
  rig.Pump();
  ASSERT_TRUE(lane.Take(FrameType::kRequestData, &frame));
  EXPECT_TRUE(frame.header.end());
  EXPECT_EQ(call->body_window(), 0u);
  lane.Respond(stream);
  rig.Pump();
  EXPECT_TRUE(notes.ended);
}

TEST_F(WindowTest, LanesWindowHoldsBodiesBackAndWakesAllOfThem) {
  Rig tight;
  HelloText small = tight.Begin();
  small.connection_window = small.stream_window;  // One stream can take all of it.
  Rig::FakeWorker other = tight.Attach(small);
  Notes first, second;
  Call* a = nullptr;
  Call* b = nullptr;
  tight.StartOn(*other.lane, first, &a, [](RequestSpec& s) { Streaming(s); });
  tight.StartOn(*other.lane, second, &b, [](RequestSpec& s) { Streaming(s); });
  a->SendBody(std::string(small.stream_window, 'a'), false);
  EXPECT_EQ(b->body_window(), 0u);
  other.lane->Send(FrameType::kWindow, 0, {}, 0, 500);
  tight.Pump();
  EXPECT_EQ(second.notes, (Lines{"room"}));
  EXPECT_EQ(b->body_window(), 500u);
  EXPECT_EQ(a->body_window(), 0u);
  a->Cancel(CancelCode::kClientGone);
  b->Cancel(CancelCode::kClientGone);
}

TEST_F(WindowTest, FirstWindowOfAnExpectingRequestOpensItsBody) {
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(
      lane, notes, &call, [](RequestSpec& spec) { Streaming(spec).flags = kExpectContinue; });
  EXPECT_EQ(call->body_window(), 0u);
  lane.Send(FrameType::kWindow, stream, {}, 0, 4096);
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"room"}));
  EXPECT_EQ(call->body_window(), 4096u);
  call->SendBody("x", true);
  lane.Respond(stream);
  rig.Pump();
  EXPECT_TRUE(notes.ended);
}

TEST_F(WindowTest, AnswerBeforeTheBodysEndStopsTheBody) {
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(lane, notes, &call, [](RequestSpec& s) { Streaming(s); });
  call->SendBody("half", false);
  lane.Respond(stream, "no thanks", kFlagEnd, 413);
  rig.Pump();
  ASSERT_TRUE(lane.Take(FrameType::kEnd, &frame));
  EXPECT_EQ(frame.header.aux, static_cast<uint32_t>(EndCode::kStopped));
  EXPECT_EQ(notes.notes, (Lines{"response 413 complete", "end"}));
}

TEST_F(WindowTest, SlowReaderKeepsMemoryBoundedAndItsWindowComesBackOnlyAsItReads) {
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(lane, notes, &call);
  const uint32_t window = rig.registry.options().stream_window;
  lane.Respond(stream, "", 0);
  const std::string chunk(32 * 1024, 'x');
  uint64_t credit = window;
  uint64_t sent = 0;
  uint64_t read = 0;
  const uint64_t total = 64ull << 20;
  while (sent < total) {
    // The worker sends all it may...
    while (credit >= chunk.size()) {
      lane.Send(FrameType::kResponseData, stream, chunk);
      credit -= chunk.size();
      sent += chunk.size();
      rig.Pump();
    }
    ASSERT_LE(notes.body.size(), window) << "more was in flight than the window allows";
    // ...and the client takes a little.
    const size_t taken = std::min<size_t>(notes.body.size(), 100'000);
    call->Consumed(taken);
    read += taken;
    notes.body.erase(0, taken);
    notes.notes.clear();
    rig.Pump();
    while (lane.Take(FrameType::kWindow, &frame)) credit += frame.header.aux;
    ASSERT_GT(taken, 0u);
  }
  EXPECT_GE(read + window, sent);
  EXPECT_FALSE(lane.closed());
  call->Cancel(CancelCode::kClientGone);
}

TEST_F(WindowTest, DataPastTheWindowLosesTheLane) {
  const uint32_t stream = rig.StartOn(lane, notes);
  lane.Respond(stream, "", 0);
  const std::string chunk(64 * 1024, 'x');
  const size_t fits = rig.registry.options().stream_window / chunk.size();
  for (size_t i = 0; i <= fits; ++i) {
    lane.Send(FrameType::kResponseData, stream, chunk);
    rig.Pump();
  }
  EXPECT_TRUE(LaneIsLost());
  EXPECT_EQ(notes.notes.back(), "failure worker_lost");
}

TEST_F(WindowTest, AThousandStreamsReturnTheLanesWindowToTheLastByte) {
  // Each ends with bytes unread; were one byte kept, the lane would run dry.
  const std::string chunk(60 * 1024, 'x');
  for (int i = 0; i < 1000; ++i) {
    Notes each;
    const uint32_t stream = rig.StartOn(lane, each);
    ASSERT_NE(stream, 0u);
    lane.Respond(stream, "", 0);
    lane.Send(FrameType::kResponseData, stream, chunk, kFlagEnd);
    rig.Pump();
    ASSERT_TRUE(each.ended);
  }
  EXPECT_FALSE(lane.closed());
}

}  // namespace
}  // namespace catzilla::worker
