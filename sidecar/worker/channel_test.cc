// The sidecar's side of the state table of frames.md, row by row.
#include "sidecar/worker/rig_test.h"

namespace catzilla::worker {
namespace {

using Frame = FakeConnection::Frame;

class ChannelTest : public ::testing::Test {
 protected:
  ChannelTest() : hello(rig.Begin()), worker(rig.Attach(hello)), lane(*worker.lane) {}

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

TEST_F(ChannelTest, RequestGoesOutAndItsAnswerComesBack) {
  const Field fields[] = {{"host", "shop"}, {"accept", "*/*"}};
  rig.Start(notes, [&](RequestSpec& spec) { spec.fields = fields; });
  rig.Pump();
  ASSERT_TRUE(lane.Take(FrameType::kRequest, &frame));
  EXPECT_EQ(frame.header.stream, 1u);
  EXPECT_TRUE(frame.header.end());
  RequestView view;
  ASSERT_EQ(DecodeRequest(frame.payload, &view), nullptr);
  EXPECT_EQ(view.target, "/x");
  EXPECT_EQ(view.field_count, 2);
  EXPECT_GT(view.deadline_us, 0u);
  EXPECT_EQ(rig.in_flight(), 1u);
  lane.Respond(1);
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"response 200 complete", "end"}));
  EXPECT_EQ(notes.body, "hello");
  EXPECT_EQ(notes.fields, "content-type: text/plain\n");
  EXPECT_EQ(rig.in_flight(), 0u);
  EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
}

TEST_F(ChannelTest, RequestsOfOneTurnLeaveInOneWrite) {
  Notes many[10];
  for (Notes& each : many) rig.Start(each);
  EXPECT_EQ(lane.waiting(), 0u) << "nothing leaves before the end of the turn";
  rig.Pump();
  EXPECT_EQ(lane.waiting(), 10u);
  while (lane.Take(FrameType::kRequest, &frame)) lane.Respond(frame.header.stream);
  rig.Pump();
  for (Notes& each : many) EXPECT_TRUE(each.ended);
}

TEST_F(ChannelTest, AnswerStreamsWithInterimAndTrailers) {
  const uint32_t stream = rig.StartOn(lane, notes);
  std::string fields, payload;
  AppendField("link", "</a.css>; rel=preload", &fields);
  EncodeHead({103, FieldsView(fields)}, &payload);
  lane.Send(FrameType::kInformational, stream, payload);
  lane.Respond(stream, "one", 0);
  lane.Send(FrameType::kResponseData, stream, "two");
  payload.clear();
  fields.clear();
  AppendField("x-sum", "abc", &fields);
  EncodeHead({0, FieldsView(fields)}, &payload);
  lane.Send(FrameType::kTrailers, stream, payload, kFlagEnd);
  rig.Pump();
  EXPECT_EQ(notes.notes,
            (Lines{"informational 103", "response 200", "data 3", "trailer x-sum=abc", "end"}));
  EXPECT_EQ(notes.body, "onetwo");
}

// Frames that break the rules, by the state of the stream they come on.
struct Breach {
  const char* name;
  std::function<void(FakeConnection&, uint32_t)> commit;
};
std::string HeadPayload(uint16_t status) {
  std::string payload;
  EncodeHead({status, {}}, &payload);
  return payload;
}

TEST(ChannelBreach, EachOneLosesTheLaneWithASentence) {
  const Breach kBreaches[] = {
      {"response on an idle stream", [](auto& l, uint32_t s) { l.Respond(s + 1); }},
      {"data on an idle stream",
       [](auto& l, uint32_t s) { l.Send(FrameType::kResponseData, s + 1, "x"); }},
      {"end on an idle stream", [](auto& l, uint32_t s) { l.Send(FrameType::kEnd, s + 1); }},
      {"detached on an idle stream",
       [](auto& l, uint32_t s) { l.Send(FrameType::kDetached, s + 1); }},
      {"credit on an open stream",
       [](auto& l, uint32_t s) { l.Send(FrameType::kCredit, s, {}, 0, 1); }},
      {"data before response",
       [](auto& l, uint32_t s) { l.Send(FrameType::kResponseData, s, "x"); }},
      {"trailers before response",
       [](auto& l, uint32_t s) { l.Send(FrameType::kTrailers, s, HeadPayload(0)); }},
      {"second response",
       [](auto& l, uint32_t s) {
         l.Respond(s, "", 0);
         l.Respond(s, "", 0);
       }},
      {"informational behind response",
       [](auto& l, uint32_t s) {
         l.Respond(s, "", 0);
         l.Send(FrameType::kInformational, s, HeadPayload(103));
       }},
      {"data behind trailers",
       [](auto& l, uint32_t s) {
         l.Respond(s, "", 0);
         l.Send(FrameType::kTrailers, s, HeadPayload(0));
         l.Send(FrameType::kResponseData, s, "x");
       }},
      {"response on a closed stream",
       [](auto& l, uint32_t s) {
         l.Respond(s);
         l.Respond(s);
       }},
      {"end twice",
       [](auto& l, uint32_t s) {
         l.Respond(s);
         l.Send(FrameType::kEnd, s);
       }},
      {"a frame of the sidecar", [](auto& l, uint32_t s) { l.Send(FrameType::kCancel, s); }},
      {"hello on a lane",
       [](auto& l, uint32_t) { l.Send(FrameType::kHello, 0, std::string(184, 'x')); }},
      {"unknown type", [](auto& l, uint32_t s) { l.Send(static_cast<FrameType>(0x7E), s); }},
      {"window of nothing", [](auto& l, uint32_t s) { l.Send(FrameType::kWindow, s); }},
      {"response that lies about its size",
       [](auto& l, uint32_t s) { l.Send(FrameType::kResponse, s, std::string(10, 'x')); }},
  };
  for (const Breach& breach : kBreaches) {
    SCOPED_TRACE(breach.name);
    Rig rig;
    Rig::FakeWorker worker = rig.Attach(rig.Begin());
    Notes notes;
    // Not idempotent: the request must fail, and not wait for another worker.
    const uint32_t stream =
        rig.StartOn(*worker.lane, notes, nullptr, [](RequestSpec& spec) { spec.method = "POST"; });
    breach.commit(*worker.lane, stream);
    rig.Pump();
    Frame frame;
    ASSERT_TRUE(worker.lane->Take(FrameType::kGoaway, &frame));
    EXPECT_FALSE(frame.payload.empty());
    EXPECT_TRUE(worker.lane->closed());
    EXPECT_TRUE(notes.ended);
    EXPECT_EQ(rig.dispatcher.lanes(), 0u);
    EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
    EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kLog), 1);
  }
}

TEST_F(ChannelTest, LateWindowOnAnyStreamIsHarmless) {
  const uint32_t stream = rig.StartOn(lane, notes);
  lane.Respond(stream);
  lane.Send(FrameType::kWindow, stream, {}, 0, 1000);
  lane.Send(FrameType::kWindow, 0, {}, 0, kWindowMax);
  rig.Pump();
  EXPECT_FALSE(lane.closed());
}

TEST_F(ChannelTest, UnknownFramesThatMayBeIgnoredAre) {
  lane.Send(static_cast<FrameType>(0x7E), 5, "later", kFlagIgnorable);
  lane.Send(FrameType::kPing, 0, "12345678");
  rig.Pump();
  ASSERT_TRUE(lane.Take(FrameType::kPong, &frame));
  EXPECT_EQ(frame.payload, "12345678");
}

// What the app gets wrong costs its request, never the lane.

TEST_F(ChannelTest, EndWithoutResponseFailsTheRequestOnly) {
  const uint32_t stream = rig.StartOn(lane, notes);
  EndSays(EndCode::kComplete, stream);
  EXPECT_EQ(notes.notes, (Lines{"failure app_failed"}));
  EXPECT_EQ(rig.dispatcher.lanes(), 1u);
  EXPECT_EQ(rig.in_flight(), 0u);
}

TEST_F(ChannelTest, AppThatRaisesBeforeAndBehindItsHead) {
  uint32_t stream = rig.StartOn(lane, notes);
  lane.Send(FrameType::kEnd, stream, "ValueError: no", 0, static_cast<uint32_t>(EndCode::kFailed));
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"failure app_failed"}));
  EXPECT_EQ(notes.cause, "ValueError: no");
  Notes later;
  stream = rig.StartOn(lane, later);
  lane.Respond(stream, "half", 0);
  EndSays(EndCode::kFailed, stream);
  EXPECT_EQ(later.notes, (Lines{"response 200", "failure app_failed"}));
}

TEST_F(ChannelTest, HeadThatCannotBeSentIsRefusedAndTheLaneLives) {
  const std::pair<const char*, const char*> kFields[] = {
      {"x", "a\r\nset-cookie: b"}, {"x", "a\nb"}, {"x y", "a"}, {"", "a"}, {"x:", "a"}};
  for (const auto& [name, value] : kFields) {
    Notes each;
    const uint32_t stream = rig.StartOn(lane, each);
    std::string fields, payload;
    AppendField(name, value, &fields);
    ResponseView view;
    view.status = 200;
    view.fields = FieldsView(fields);
    EncodeResponse(view, &payload);
    lane.Send(FrameType::kResponse, stream, payload);  // The body would follow.
    rig.Pump();
    EXPECT_EQ(each.notes, (Lines{"failure bad_answer"}));
    ASSERT_TRUE(lane.Take(FrameType::kCancel, &frame));
    EXPECT_EQ(frame.header.aux, static_cast<uint32_t>(CancelCode::kBadAnswer));
    EndSays(EndCode::kCancelled, stream);
  }
  EXPECT_EQ(rig.dispatcher.lanes(), 1u);
  EXPECT_EQ(rig.in_flight(), 0u);
}

TEST_F(ChannelTest, StatusOutsideTheRangeIsRefused) {
  for (uint16_t status : {uint16_t{0}, uint16_t{101}, uint16_t{199}, uint16_t{600}}) {
    Notes each;
    const uint32_t stream = rig.StartOn(lane, each);
    lane.Respond(stream, "x", kFlagEnd, status);
    rig.Pump();
    EXPECT_EQ(each.notes, (Lines{"failure bad_answer"})) << status;
  }
  EXPECT_EQ(rig.in_flight(), 0u);
  EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
}

// Cancelling...

TEST_F(ChannelTest, CancelKeepsTheCreditUntilTheWorkerHasLetGo) {
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(lane, notes, &call);
  call->Cancel(CancelCode::kClientGone);
  rig.Pump();
  ASSERT_TRUE(lane.Take(FrameType::kCancel, &frame));
  EXPECT_EQ(frame.header.stream, stream);
  EXPECT_EQ(frame.header.aux, 1u);
  EXPECT_EQ(rig.in_flight(), 1u);
  EndSays(EndCode::kCancelled, stream);
  EXPECT_EQ(rig.in_flight(), 0u);
  EXPECT_TRUE(notes.notes.empty());
  EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
}

TEST_F(ChannelTest, EverythingBetweenCancelAndItsEndIsDroppedAndItsWindowReturned) {
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(lane, notes, &call);
  lane.Respond(stream, "", 0);
  rig.Pump();
  call->Cancel(CancelCode::kClientGone);
  // 4 MiB, in all four times the windows the stream would have.
  std::string chunk(64 * 1024, 'x');
  for (int i = 0; i < 4; ++i) {
    lane.Send(FrameType::kResponseData, stream, chunk);
    rig.Pump();
  }
  EndSays(EndCode::kComplete, stream);  // Crossed with the CANCEL: it is the answer all the same.
  EXPECT_EQ(notes.notes, (Lines{"response 200"}));
  EXPECT_EQ(rig.in_flight(), 0u);
  EXPECT_FALSE(lane.closed());
}

TEST_F(ChannelTest, CancelInEachPhaseLeavesNothingBehind) {
  for (int phase = 0; phase < 4; ++phase) {
    SCOPED_TRACE(phase);
    Notes each;
    Call* call = nullptr;
    const uint32_t stream = rig.StartOn(lane, each, &call, [&](RequestSpec& spec) {
      spec.method = "POST";
      spec.body_mode = BodyMode::kStreaming;
    });
    if (phase >= 1) call->SendBody("abc", phase >= 2);
    if (phase >= 3) {
      lane.Respond(stream, "", 0);
      lane.Send(FrameType::kResponseData, stream, "held");
      rig.Pump();
    }
    call->Cancel(CancelCode::kClientGone);
    rig.Pump();
    ASSERT_TRUE(lane.Take(FrameType::kCancel, &frame));
    EXPECT_EQ(lane.waiting(), 0u) << "nothing follows a CANCEL";
    EndSays(EndCode::kCancelled, stream);
    EXPECT_EQ(rig.in_flight(), 0u);
    EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
  }
}

TEST_F(ChannelTest, ObserverMayCancelFromInsideEveryEvent) {
  Call* call = nullptr;
  uint32_t stream = rig.StartOn(lane, notes, &call);
  notes.on_response = [&] { call->Cancel(CancelCode::kClientGone); };
  lane.Respond(stream);  // With END in the same frame.
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"response 200 complete"}));
  EXPECT_EQ(rig.in_flight(), 0u);
  Notes later;
  stream = rig.StartOn(lane, later, &call);
  later.on_data = [&](size_t) { call->Cancel(CancelCode::kClientGone); };
  lane.Respond(stream, "", 0);
  lane.Send(FrameType::kResponseData, stream, "a");
  lane.Send(FrameType::kResponseData, stream, "b");
  rig.Pump();
  EndSays(EndCode::kCancelled, stream);
  EXPECT_EQ(later.notes, (Lines{"response 200", "data 1"}));
  EXPECT_EQ(rig.in_flight(), 0u);
}

// Detached answers...

// S6: what is answered, or merely open, keeps no request waiting.
TEST_F(ChannelTest, AnAnswerThatHasBegunHoldsNoCredit) {
  const uint32_t stream = rig.StartOn(lane, notes);
  EXPECT_EQ(rig.in_flight(), 1u);
  lane.Respond(stream, "", 0);
  rig.Pump();
  EXPECT_EQ(rig.in_flight(), 0u);
  EXPECT_FALSE(notes.ended);
  lane.Send(FrameType::kResponseData, stream, "a");
  lane.Send(FrameType::kEnd, stream);
  rig.Pump();
  EXPECT_TRUE(notes.ended);
  EXPECT_EQ(rig.in_flight(), 0u);
}

TEST_F(ChannelTest, MoreStreamsThanTheTableHadPlacesAtFirst) {
  std::vector<std::unique_ptr<Notes>> all;
  std::vector<uint32_t> streams;
  for (int i = 0; i < 500; ++i) {
    all.push_back(std::make_unique<Notes>());
    streams.push_back(rig.StartOn(lane, *all.back()));
    lane.Respond(streams.back(), "", 0);
    rig.Pump();
  }
  EXPECT_EQ(rig.in_flight(), 0u);
  for (const uint32_t stream : streams) {
    lane.Send(FrameType::kEnd, stream);
    rig.Pump();
  }
  for (const auto& one : all) EXPECT_TRUE(one->ended);
  EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
}

// S4: the excess of one answer costs no other stream of the lane.
TEST_F(ChannelTest, AHeadPastTheLimitFailsAlone) {
  Notes other;
  const uint32_t stream = rig.StartOn(lane, notes);
  const uint32_t second = rig.StartOn(lane, other);
  rig.pool->SetResponseHeadMax(10);
  lane.Respond(stream);
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"failure bad_answer"}));
  rig.pool->SetResponseHeadMax(64 * 1024);
  lane.Respond(second);
  rig.Pump();
  EXPECT_TRUE(other.ended);
}

TEST_F(ChannelTest, DetachedAnswerKeepsItsPlaceUntilCreditComes) {
  const uint32_t stream = rig.StartOn(lane, notes);
  lane.Respond(stream, "ok", kFlagEnd, 200, kDetachedAnswer);
  rig.Pump();
  EXPECT_TRUE(notes.ended);
  EXPECT_EQ(rig.in_flight(), 0u);
  EXPECT_EQ(rig.dispatcher.calls_in_use(), 1u);
  lane.Send(FrameType::kCredit, stream, {}, 0, 1);
  rig.Pump();
  EXPECT_EQ(rig.in_flight(), 0u);
  EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
}

TEST_F(ChannelTest, CeilingOfTheWorkerIsKept) {
  lane.Send(FrameType::kCredit, 0, {}, 0, 1);
  rig.Pump();
  Notes second;
  const uint32_t stream = rig.StartOn(lane, notes);
  rig.Start(second);
  rig.Pump();
  EXPECT_EQ(lane.waiting(), 0u);
  lane.Respond(stream);
  rig.Pump();
  ASSERT_TRUE(lane.Take(FrameType::kRequest, &frame)) << "the one that waited";
  lane.Respond(frame.header.stream);
  rig.Pump();
  EXPECT_TRUE(second.ended);
}

// GOAWAY...

TEST_F(ChannelTest, WorkerThatLeavesFinishesWhatItHasBegunAndTheRestGoesElsewhere) {
  HelloText other_hello = hello;
  other_hello.pid = 101;
  Notes begun, later;
  const uint32_t first = rig.StartOn(lane, begun);
  Call* call = nullptr;
  rig.StartOn(lane, later, &call, [](RequestSpec& spec) { spec.method = "POST"; });
  Rig::FakeWorker other = rig.Attach(other_hello);
  lane.Send(FrameType::kGoaway, first, "recycled", 0, 0);
  rig.Pump();
  ASSERT_TRUE(other.lane->Take(FrameType::kRequest, &frame))
      << "not begun: sent again, though a POST";
  EXPECT_EQ(frame.header.aux, 1u) << "and says that it is the second attempt";
  other.lane->Respond(frame.header.stream);
  lane.Respond(first);
  rig.Pump();
  EXPECT_TRUE(begun.ended && later.ended);
  EXPECT_EQ(begun.notes.back(), "end");
  EXPECT_EQ(later.notes.back(), "end");
  EXPECT_TRUE(lane.closed()) << "closed with its last stream";
  EXPECT_EQ(rig.dispatcher.lanes(), 1u);
}

TEST_F(ChannelTest, RefusedRequestGoesToAnotherWorkerOnce) {
  HelloText other_hello = hello;
  other_hello.pid = 101;
  Rig::FakeWorker other = rig.Attach(other_hello);
  Call* call = rig.Start(notes, [](RequestSpec& spec) { spec.method = "POST"; });
  ASSERT_NE(call, nullptr);
  rig.Pump();
  const bool here = lane.Take(FrameType::kRequest, &frame);
  FakeConnection& first = here ? lane : *other.lane;
  ASSERT_TRUE(here || other.lane->Take(FrameType::kRequest, &frame));
  first.Send(FrameType::kEnd, frame.header.stream, {}, 0, static_cast<uint32_t>(EndCode::kRefused));
  rig.Pump();
  const bool again_here = lane.Take(FrameType::kRequest, &frame);
  ASSERT_TRUE(again_here || other.lane->Take(FrameType::kRequest, &frame));
  FakeConnection& second = again_here ? lane : *other.lane;
  second.Send(FrameType::kEnd, frame.header.stream, {}, 0,
              static_cast<uint32_t>(EndCode::kRefused));
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"failure worker_lost"}));
  EXPECT_EQ(rig.in_flight(), 0u);
}

TEST_F(ChannelTest, StreamIdsWrapAndSkipThoseAlive) {
  Notes long_lived;
  const uint32_t kept = rig.StartOn(lane, long_lived);
  for (int i = 0; i < 600; ++i) {
    Notes each;
    const uint32_t stream = rig.StartOn(lane, each);
    ASSERT_NE(stream, 0u);
    ASSERT_NE(stream, kept);
    lane.Respond(stream);
    rig.Pump();
    ASSERT_TRUE(each.ended);
  }
  lane.Respond(kept);
  rig.Pump();
  EXPECT_TRUE(long_lived.ended);
}

// Half of its table: who asks for one more is told so, not granted the worker again and again.
TEST(FullLane, SaysSoAtOnce) {
  config::Pool config;
  config.credits_per_worker = 60'000;
  Notes many, one;
  Rig rig(config);
  HelloText hello = rig.Begin();
  hello.in_flight_max = 60'000;
  Rig::FakeWorker worker = rig.Attach(hello);
  for (int i = 0; i < 16384; ++i) ASSERT_NE(rig.Start(many), nullptr);
  rig.Pump();
  EXPECT_TRUE(many.notes.empty());
  rig.Start(one);
  rig.Pump();
  EXPECT_EQ(one.notes, (Lines{"failure queue_full"}));
  EXPECT_EQ(rig.in_flight(), 16384u);
}

}  // namespace
}  // namespace catzilla::worker
