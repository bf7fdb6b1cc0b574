// Admission, the queue, deadlines and generations, on one loop.
#include "sidecar/worker/rig_test.h"

namespace catzilla::worker {
namespace {

using Frame = FakeConnection::Frame;

config::Pool OneCredit() {
  config::Pool config;
  config.credits_per_worker = 1;
  return config;
}
HelloText Another(HelloText hello, uint32_t pid) {
  hello.pid = pid;
  return hello;
}

TEST(PoolTest, WithoutRegistrationEveryRequestIsRefusedAtOnce) {
  config::Pool config;
  config.retry_after_s = 7;
  Rig rig(config);
  Notes notes;
  RequestSpec spec;
  origin::Failure failure;
  EXPECT_EQ(rig.dispatcher.Start(spec, rig.serving, notes, &failure), nullptr);
  EXPECT_EQ(failure.kind, FailureKind::kNoWorkers);
  EXPECT_EQ(failure.retry_after_s, 7u);
  EXPECT_EQ(rig.pool->Status().failures[size_t(FailureKind::kNoWorkers)], 1u);
  EXPECT_TRUE(notes.notes.empty());
}

TEST(PoolTest, RegisteredButNotYetReadyRequestsWaitForTheFirstWorker) {
  Notes notes, again;
  Rig rig;
  const HelloText hello = rig.Begin();
  ASSERT_NE(rig.Start(notes), nullptr);
  rig.Pump();
  EXPECT_FALSE(notes.ended);
  Rig::FakeWorker worker = rig.Attach(hello);
  // The table of the first generation says where it goes.
  EXPECT_EQ(notes.notes, (Lines{"failure superseded"}));
  const uint32_t stream = rig.StartOn(*worker.lane, again);
  ASSERT_NE(stream, 0u);
  worker.lane->Respond(stream);
  rig.Pump();
  EXPECT_EQ(again.notes.back(), "end");
}

TEST(PoolTest, WorkerIsReadyWithItsLaneNotBefore) {
  Rig rig;
  const HelloText hello = rig.Begin();
  auto control = rig.Connect(hello.Frame(Purpose::kControl, 0));
  EXPECT_EQ(rig.pool->Status().workers.at(0).state, WorkerStatus::State::kStarting);
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kAttached), 1);
  EXPECT_EQ(rig.pool->active_generation(), 0u);
  auto lane = rig.Connect(hello.Frame(Purpose::kLane, 0));
  EXPECT_EQ(rig.pool->Status().workers.at(0).state, WorkerStatus::State::kReady);
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kReady), 1);
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kSwitched), 1);
  EXPECT_EQ(rig.pool->active_generation(), 1u);
}

TEST(PoolTest, QueueIsBoundedByCount) {
  Notes notes[5];
  config::Pool config = OneCredit();
  config.queue_max = 2;
  Rig rig(config);
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  for (Notes& each : notes) rig.Start(each);
  EXPECT_EQ(notes[3].notes, (Lines{"refused queue_full"}));
  EXPECT_EQ(notes[4].notes, (Lines{"refused queue_full"}));
  EXPECT_EQ(rig.pool->Status().queued, 2u);
  // The oldest first, one by one.
  for (int i = 0; i < 3; ++i) {
    rig.Pump();
    Frame frame;
    ASSERT_TRUE(worker.lane->Take(FrameType::kRequest, &frame));
    EXPECT_EQ(worker.lane->waiting(), 0u);
    worker.lane->Respond(frame.header.stream);
    rig.Pump();
    EXPECT_TRUE(notes[i].ended) << i;
  }
  EXPECT_EQ(rig.pool->Status().queued, 0u);
}

TEST(PoolTest, QueueIsBoundedByAge) {
  Notes running, waiting;
  config::Pool config = OneCredit();
  config.queue_timeout_us = 50'000;
  Rig rig(config);
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const uint32_t stream = rig.StartOn(*worker.lane, running);
  rig.Start(waiting);
  ASSERT_TRUE(rig.Until([&] { return waiting.ended; }));
  EXPECT_EQ(waiting.notes, (Lines{"failure queue_timeout"}));
  EXPECT_FALSE(running.ended);
  worker.lane->Respond(stream);
  rig.Pump();
  EXPECT_EQ(worker.lane->waiting(), 0u) << "what had waited too long was never sent";
  EXPECT_EQ(rig.in_flight(), 0u);
}

TEST(PoolTest, RequestWhoseClientLeavesWhileItWaitsIsNeverSent) {
  Notes running, gone, patient;
  Rig rig(OneCredit());
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const uint32_t stream = rig.StartOn(*worker.lane, running);
  Call* call = rig.Start(gone, [](RequestSpec& spec) { spec.target = "/gone"; });
  rig.Start(patient, [](RequestSpec& spec) { spec.target = "/patient"; });
  call->Cancel(CancelCode::kClientGone);
  worker.lane->Respond(stream);
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(worker.lane->Take(FrameType::kRequest, &frame));
  RequestView view;
  ASSERT_EQ(DecodeRequest(frame.payload, &view), nullptr);
  EXPECT_EQ(view.target, "/patient");
  worker.lane->Respond(frame.header.stream);
  rig.Pump();
  EXPECT_TRUE(gone.notes.empty());
  EXPECT_EQ(rig.in_flight(), 0u);
}

TEST(PoolTest, GrantThatFindsItsCallGoneGivesTheCreditToTheNext) {
  Notes running, gone, patient;
  Rig rig(OneCredit());
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const uint32_t stream = rig.StartOn(*worker.lane, running);
  Call* call = rig.Start(gone);
  rig.Start(patient);
  // The answer's observer hears of it when the grant for `gone` has just been posted.
  running.on_response = nullptr;
  worker.lane->Respond(stream);
  while (!running.ended) rig.loop.RunOnce(false);
  call->Cancel(CancelCode::kClientGone);
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(worker.lane->Take(FrameType::kRequest, &frame));
  worker.lane->Respond(frame.header.stream);
  rig.Pump();
  EXPECT_TRUE(patient.ended);
  EXPECT_EQ(rig.in_flight(), 0u);
}

TEST(PoolTest, LeastBusyWorkerGetsTheNextRequest) {
  Notes notes[6];
  Rig rig;
  const HelloText hello = rig.Begin();
  Rig::FakeWorker a = rig.Attach(hello);
  Rig::FakeWorker b = rig.Attach(Another(hello, 101));
  for (Notes& each : notes) rig.Start(each);
  rig.Pump();
  EXPECT_EQ(a.lane->waiting(), 3u);
  EXPECT_EQ(b.lane->waiting(), 3u);
  Frame frame;
  for (FakeConnection* lane : {a.lane.get(), b.lane.get()}) {
    while (lane->Take(FrameType::kRequest, &frame)) lane->Respond(frame.header.stream);
  }
  rig.Pump();
}

// Deadlines...

TEST(PoolTest, SoftDeadlineAnswersTheClientAndTellsTheWorkerAndKeepsTheSlot) {
  Notes notes, next;
  config::Pool config = OneCredit();
  config.request_timeout_us = 50'000;
  config.hard_timeout_us = 60'000'000;
  config.queue_timeout_us = 60'000'000;
  Rig rig(config);
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const uint32_t stream = rig.StartOn(*worker.lane, notes);
  ASSERT_TRUE(rig.Until([&] { return notes.ended; }));
  EXPECT_EQ(notes.notes, (Lines{"failure timeout"}));
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(worker.lane->Take(FrameType::kCancel, &frame));
  EXPECT_EQ(frame.header.aux, static_cast<uint32_t>(CancelCode::kDeadline));
  EXPECT_EQ(rig.in_flight(), 1u) << "the slot is free when the worker says so";
  Call* call = rig.Start(next, [](RequestSpec& spec) { spec.deadline_us = INT64_MAX / 2; });
  ASSERT_NE(call, nullptr);
  rig.Pump();
  EXPECT_EQ(worker.lane->waiting(), 0u);
  worker.lane->Send(FrameType::kEnd, stream, {}, 0, 1);
  rig.Pump();
  ASSERT_TRUE(worker.lane->Take(FrameType::kRequest, &frame));
  worker.lane->Respond(frame.header.stream);
  rig.Pump();
  EXPECT_TRUE(next.ended);
}

TEST(PoolTest, SoftDeadlineIsForTheBeginningOfTheAnswerOnly) {
  Notes notes;
  config::Pool config;
  config.request_timeout_us = 1'000'000;
  Rig rig(config);
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const uint32_t stream = rig.StartOn(*worker.lane, notes);
  worker.lane->Respond(stream, "", 0);
  const int64_t end_us = base::ReadClock().monotonic_us + 1'300'000;
  rig.Until([&] { return base::ReadClock().monotonic_us > end_us; });
  EXPECT_EQ(notes.notes, (Lines{"response 200"}));
  worker.lane->Send(FrameType::kEnd, stream);
  rig.Pump();
  EXPECT_TRUE(notes.ended);
}

TEST(PoolTest, SoftDeadlineWaitsWhileTheBodyMoves) {
  Notes notes;
  config::Pool config;
  config.request_timeout_us = 1'000'000;
  Rig rig(config);
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  Call* call = nullptr;
  rig.StartOn(*worker.lane, notes, &call, [](RequestSpec& spec) {
    spec.method = "PUT";
    spec.body_mode = BodyMode::kStreaming;
  });
  // An upload twice as long as the deadline, a byte every turn.
  const int64_t end_us = base::ReadClock().monotonic_us + 2'200'000;
  rig.Until([&] {
    if (!notes.ended && call->body_window() > 0) call->SendBody("b", false);
    return notes.ended || base::ReadClock().monotonic_us > end_us;
  });
  EXPECT_TRUE(notes.notes.empty());
  // It stops, and nothing comes: then the time is up.
  ASSERT_TRUE(rig.Until([&] { return notes.ended; }));
  EXPECT_EQ(notes.notes, (Lines{"failure timeout"}));
}

TEST(PoolTest, StreamThatItsClientLeavesHasItsGraceFromThenOn) {
  Notes notes;
  config::Pool config;
  config.request_timeout_us = 20'000;
  config.hard_timeout_us = 3'000'000;
  Rig rig(config);
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  Call* call = nullptr;
  const uint32_t stream = rig.StartOn(*worker.lane, notes, &call, [](RequestSpec& spec) {
    spec.accept_us = 1;  // It has streamed since the machine was started.
    spec.deadline_us = INT64_MAX / 2;
  });
  worker.lane->Respond(stream, "", 0);
  rig.Pump();
  call->Cancel(CancelCode::kClientGone);
  const int64_t end_us = base::ReadClock().monotonic_us + 500'000;
  rig.Until([&] { return base::ReadClock().monotonic_us > end_us; });
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kHardTimeout), 0);
  ASSERT_TRUE(rig.Until([&] { return rig.events.Count(WorkerEvent::Kind::kHardTimeout) == 1; }));
}

TEST(PoolTest, HardDeadlineRecyclesTheWorkerOnce) {
  Notes notes;
  config::Pool config;
  config.request_timeout_us = 20'000;
  config.hard_timeout_us = 60'000;
  Rig rig(config);
  const HelloText hello = rig.Begin();
  Rig::FakeWorker worker = rig.Attach(hello);
  rig.StartOn(*worker.lane, notes);
  ASSERT_TRUE(rig.Until([&] { return rig.events.Count(WorkerEvent::Kind::kHardTimeout) > 0; }));
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(worker.control->Take(FrameType::kGoaway, &frame));
  EXPECT_EQ(frame.header.aux, static_cast<uint32_t>(GoawayCode::kRecycle));
  ASSERT_TRUE(worker.lane->Take(FrameType::kGoaway, &frame));
  EXPECT_EQ(rig.pool->Status().workers.at(0).state, WorkerStatus::State::kRecycling);
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kHardTimeout), 1);
  // The lease will bring another: requests wait for it.
  Notes next;
  Call* call = rig.Start(next);
  ASSERT_NE(call, nullptr);
  call->Cancel(CancelCode::kClientGone);
}

TEST(PoolTest, RouteMayHaveAHardDeadlineOfItsOwn) {
  Notes notes;
  config::Pool config;
  config.request_timeout_us = 20'000;
  config.hard_timeout_us = 600'000'000;
  Rig rig(config);
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  rig.StartOn(*worker.lane, notes, nullptr,
              [](RequestSpec& spec) { spec.hard_timeout_us = 60'000; });
  ASSERT_TRUE(rig.Until([&] { return rig.events.Count(WorkerEvent::Kind::kHardTimeout) == 1; }));
}

TEST(PoolTest, BodyThatEndsEmptyWhileItsRequestWaitsEndsOnTheLane) {
  Notes running, waiting;
  Rig rig(OneCredit());
  const HelloText hello = rig.Begin();
  Rig::FakeWorker worker = rig.Attach(hello);
  const uint32_t stream = rig.StartOn(*worker.lane, running);
  Call* call = rig.Start(waiting, [](RequestSpec& spec) {
    spec.method = "PUT";
    spec.body_mode = BodyMode::kStreaming;
  });
  EXPECT_EQ(call->body_window(), 0u);
  call->SendBody("", true);
  EXPECT_TRUE(call->body_ended());
  worker.lane->Respond(stream);
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(worker.lane->Take(FrameType::kRequest, &frame));
  EXPECT_FALSE(frame.header.end());
  ASSERT_TRUE(worker.lane->Take(FrameType::kRequestData, &frame));
  EXPECT_TRUE(frame.header.end());
  // Sent again it ends again.
  Rig::FakeWorker second = rig.Attach(Another(hello, 101));
  worker.Kill();
  rig.Pump();
  ASSERT_TRUE(second.lane->Take(FrameType::kRequest, &frame));
  ASSERT_TRUE(second.lane->Take(FrameType::kRequestData, &frame));
  EXPECT_TRUE(frame.header.end());
  second.lane->Respond(frame.header.stream);
  rig.Pump();
  EXPECT_TRUE(waiting.ended);
}

// Orphans and generations...

TEST(PoolTest, OrphanWithoutWorkersFailsItsQueueAtOnceAndKeepsServingWithThem) {
  Notes running, waiting, late;
  Rig rig(OneCredit());
  const HelloText hello = rig.Begin();
  Rig::FakeWorker worker = rig.Attach(hello);
  const uint32_t stream = rig.StartOn(*worker.lane, running);
  rig.Start(waiting);
  EXPECT_TRUE(rig.registry.Orphan("app", hello.ticket.generation));
  EXPECT_TRUE(rig.pool->Status().orphaned);
  worker.lane->Respond(stream);
  rig.Pump();
  EXPECT_TRUE(running.ended) << "its workers are still there";
  worker.Kill();
  rig.Pump();
  EXPECT_EQ(waiting.notes, (Lines{"failure no_workers"}));
  EXPECT_EQ(rig.Start(late), nullptr);
  EXPECT_EQ(late.notes, (Lines{"refused no_workers"}));
  // The same instance registers again: requests have something to wait for.
  EXPECT_TRUE(rig.registry.Resume("app", hello.ticket.generation));
  Notes again;
  Call* call = rig.Start(again);
  ASSERT_NE(call, nullptr);
  call->Cancel(CancelCode::kClientGone);
}

TEST(PoolTest, RemovedPoolDrainsAndRefuses) {
  Notes notes;
  Rig rig;
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const uint32_t stream = rig.StartOn(*worker.lane, notes);
  rig.registry.Settle({});
  rig.Pump();
  Frame frame;
  EXPECT_TRUE(worker.control->Take(FrameType::kGoaway, &frame));
  Notes late;
  EXPECT_EQ(rig.Start(late), nullptr);
  worker.lane->Respond(stream);
  rig.Pump();
  EXPECT_TRUE(notes.ended);
}

TEST(PoolTest, RecycleOfOneWorkerLeavesTheOthersAlone) {
  Rig rig;
  const HelloText hello = rig.Begin();
  Rig::FakeWorker a = rig.Attach(hello);
  Rig::FakeWorker b = rig.Attach(Another(hello, 101));
  const uint64_t id = rig.pool->Status().workers.at(0).id;
  EXPECT_TRUE(rig.registry.Recycle("app", id));
  EXPECT_FALSE(rig.registry.Recycle("app", 999));
  rig.Pump();
  Frame frame;
  EXPECT_TRUE(a.control->Take(FrameType::kGoaway, &frame));
  EXPECT_FALSE(b.control->Take(FrameType::kGoaway, &frame));
}

TEST(PoolTest, HeadThatFitsNoFrameIsRefused) {
  Rig rig;
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  Notes notes;
  const std::string large(1'100'000, 'x');
  EXPECT_EQ(rig.Start(notes, [&](RequestSpec& spec) { spec.target = large; }), nullptr);
  EXPECT_EQ(notes.notes, (Lines{"refused too_large"}));
}

TEST(PoolTest, DispatcherThatDrainsFinishesAndThatClosesFails) {
  Notes finished, cut;
  Rig rig;
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const uint32_t stream = rig.StartOn(*worker.lane, finished);
  rig.StartOn(*worker.lane, cut);
  rig.dispatcher.Drain();
  rig.acceptor.Drain();
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(worker.lane->Take(FrameType::kGoaway, &frame));
  ASSERT_TRUE(worker.control->Take(FrameType::kGoaway, &frame));
  worker.lane->Respond(stream);
  rig.Pump();
  EXPECT_EQ(finished.notes.back(), "end");
  rig.dispatcher.Close();
  EXPECT_EQ(cut.notes, (Lines{"failure worker_lost"}));
}

}  // namespace
}  // namespace catzilla::worker
