// kill -9 of a worker: what is sent again, what fails, and what stays with nobody.
#include "sidecar/worker/rig_test.h"

namespace catzilla::worker {
namespace {

using Frame = FakeConnection::Frame;

RequestSpec& Post(RequestSpec& spec) {
  spec.method = "POST";
  return spec;
}
HelloText Another(HelloText hello, uint32_t pid) {
  hello.pid = pid;
  return hello;
}

TEST(WorkerKilled, IdempotentRequestGoesToAnotherWorker) {
  Notes notes;
  Rig rig;
  const HelloText hello = rig.Begin();
  Rig::FakeWorker first = rig.Attach(hello);
  ASSERT_NE(rig.StartOn(*first.lane, notes), 0u);
  Rig::FakeWorker second = rig.Attach(Another(hello, 101));
  first.Kill();
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(second.lane->Take(FrameType::kRequest, &frame));
  EXPECT_EQ(frame.header.aux, 1u);
  second.lane->Respond(frame.header.stream);
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"response 200 complete", "end"}));
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kLost), 1);
  EXPECT_EQ(rig.pool->Status().retries, 1u);
}

TEST(WorkerKilled, TheNextOneAsksForTheBodyAnew) {
  Notes notes;
  Rig rig;
  const HelloText hello = rig.Begin();
  Rig::FakeWorker first = rig.Attach(hello);
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(*first.lane, notes, &call, [](RequestSpec& spec) {
    spec.method = "PUT";
    spec.body_mode = BodyMode::kStreaming;
    spec.body_length = kLengthUnknown;
    spec.flags = kExpectContinue;
  });
  first.lane->Send(FrameType::kWindow, stream, {}, 0, 1000);
  rig.Pump();
  EXPECT_EQ(call->body_window(), 1000u);
  Rig::FakeWorker second = rig.Attach(Another(hello, 101));
  first.Kill();
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(second.lane->Take(FrameType::kRequest, &frame));
  EXPECT_EQ(call->body_window(), 0u);
  second.lane->Send(FrameType::kWindow, frame.header.stream, {}, 0, 500);
  rig.Pump();
  EXPECT_EQ(call->body_window(), 500u);
  call->Cancel(CancelCode::kClientGone);
}

TEST(WorkerKilled, OnlyOnce) {
  Notes notes;
  Rig rig;
  const HelloText hello = rig.Begin();
  Rig::FakeWorker first = rig.Attach(hello);
  rig.StartOn(*first.lane, notes);
  Rig::FakeWorker second = rig.Attach(Another(hello, 101));
  first.Kill();
  rig.Pump();
  second.Kill();
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"failure worker_lost"}));
}

TEST(WorkerKilled, WaitsForTheReplacementWhenItWasTheOnlyOne) {
  Notes notes, fresh;
  Rig rig;
  const HelloText hello = rig.Begin();
  Rig::FakeWorker first = rig.Attach(hello);
  rig.StartOn(*first.lane, notes);
  first.Kill();
  rig.Pump();
  rig.Start(fresh, Post);
  EXPECT_FALSE(notes.ended);
  Rig::FakeWorker second = rig.Attach(Another(hello, 101));
  rig.Pump();
  Frame frame;
  while (second.lane->Take(FrameType::kRequest, &frame)) second.lane->Respond(frame.header.stream);
  rig.Pump();
  EXPECT_EQ(notes.notes.back(), "end");
  EXPECT_EQ(fresh.notes.back(), "end");
  EXPECT_EQ(rig.in_flight(), 0u);
}

struct Phase {
  const char* name;
  std::function<void(RequestSpec&)> request;
  std::function<void(FakeConnection&, uint32_t, Call&)> before;
  const char* last_note;  // Null: it is sent again.
};

TEST(WorkerKilled, WhatMayBeSentAgainDependsOnHowFarItCame) {
  const auto nothing = [](FakeConnection&, uint32_t, Call&) {};
  const auto stream_body = [](RequestSpec& spec) {
    spec.method = "PUT";
    spec.body_mode = BodyMode::kStreaming;
  };
  const Phase kPhases[] = {
      {"GET on its way", [](RequestSpec&) {}, nothing, nullptr},
      {"POST on its way", [](RequestSpec& s) { Post(s); }, nothing, "failure worker_lost"},
      {"POST of an idempotent route", [](RequestSpec& s) { Post(s).idempotent = true; }, nothing,
       nullptr},
      {"PUT with its body inline",
       [](RequestSpec& s) {
         s.method = "PUT";
         s.body_mode = BodyMode::kInline;
         s.body = "abc";
       },
       nothing, nullptr},
      {"PUT before its body", stream_body, nothing, nullptr},
      {"PUT in its body", stream_body,
       [](FakeConnection&, uint32_t, Call& call) { call.SendBody("a", false); },
       "failure worker_lost"},
      {"GET whose answer has begun", [](RequestSpec&) {},
       [](FakeConnection& lane, uint32_t stream, Call&) { lane.Respond(stream, "", 0); },
       "failure worker_lost"},
      {"GET that got 103", [](RequestSpec&) {},
       [](FakeConnection& lane, uint32_t stream, Call&) {
         std::string payload;
         EncodeHead({103, {}}, &payload);
         lane.Send(FrameType::kInformational, stream, payload);
       },
       "failure worker_lost"},
      {"GET whose answer is complete", [](RequestSpec&) {},
       [](FakeConnection& lane, uint32_t stream, Call&) { lane.Respond(stream); }, "end"},
  };
  for (const Phase& phase : kPhases) {
    SCOPED_TRACE(phase.name);
    Notes notes;
    Rig rig;
    const HelloText hello = rig.Begin();
    Rig::FakeWorker first = rig.Attach(hello);
    Call* call = nullptr;
    const uint32_t stream = rig.StartOn(*first.lane, notes, &call, phase.request);
    ASSERT_NE(stream, 0u);
    Rig::FakeWorker second = rig.Attach(Another(hello, 101));
    phase.before(*first.lane, stream, *call);
    first.Kill();
    rig.Pump();
    if (phase.last_note != nullptr) {
      ASSERT_TRUE(notes.ended);
      EXPECT_EQ(notes.notes.back(), phase.last_note);
      EXPECT_EQ(second.lane->waiting(), 0u);
      EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
      continue;
    }
    Frame frame;
    ASSERT_TRUE(second.lane->Take(FrameType::kRequest, &frame));
    second.lane->Respond(frame.header.stream);
    rig.Pump();
    EXPECT_EQ(notes.notes.back(), "end");
    EXPECT_EQ(rig.in_flight(), 0u);
  }
}

TEST(WorkerKilled, CancelledAndDetachedStreamsGiveTheirCreditsBack) {
  Notes cancelled, detached;
  Rig rig;
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  Call* call = nullptr;
  rig.StartOn(*worker.lane, cancelled, &call);
  const uint32_t stream = rig.StartOn(*worker.lane, detached);
  call->Cancel(CancelCode::kClientGone);
  worker.lane->Respond(stream, "x", kFlagEnd, 200, kDetachedAnswer);
  rig.Pump();
  EXPECT_EQ(rig.in_flight(), 1u);
  worker.Kill();
  rig.Pump();
  EXPECT_EQ(rig.dispatcher.calls_in_use(), 0u);
  EXPECT_TRUE(rig.pool->Status().workers.empty());
}

TEST(WorkerKilled, LossOfItsControlConnectionStopsNewRequestsNotTheRunningOnes) {
  Notes running, waiting;
  Rig rig;
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const uint32_t stream = rig.StartOn(*worker.lane, running);
  worker.control->Kill();
  rig.Pump();
  Call* call = rig.Start(waiting);
  rig.Pump();
  Frame frame;
  EXPECT_FALSE(worker.lane->Take(FrameType::kRequest, &frame));
  worker.lane->Respond(stream);
  rig.Pump();
  EXPECT_TRUE(running.ended);
  EXPECT_EQ(running.notes.back(), "end");
  call->Cancel(CancelCode::kClientGone);
}

}  // namespace
}  // namespace catzilla::worker
