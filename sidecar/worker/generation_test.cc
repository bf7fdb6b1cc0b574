// Deploys: which generation a request goes to, and what becomes of those that wait.
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
config::Pool OneCredit() {
  config::Pool config;
  config.credits_per_worker = 1;
  return config;
}

TEST(GenerationTest, NewCodeTakesOverInOneStepWithoutAFailedRequest) {
  std::vector<std::unique_ptr<Notes>> notes;
  Rig rig;
  const HelloText old_hello = rig.Begin();
  Rig::FakeWorker old_worker = rig.Attach(old_hello);
  const auto start = [&] {
    notes.push_back(std::make_unique<Notes>());
    ASSERT_NE(rig.Start(*notes.back(), Post), nullptr);
  };
  for (int i = 0; i < 5; ++i) start();
  const HelloText new_hello = rig.Begin(2);
  Rig::FakeWorker new_a = rig.Attach(Another(new_hello, 200));
  for (int i = 0; i < 5; ++i) start();
  rig.Pump();
  EXPECT_EQ(new_a.lane->waiting(), 0u) << "one of two is not enough";
  EXPECT_EQ(old_worker.lane->waiting(), 10u);
  Rig::FakeWorker new_b = rig.Attach(Another(new_hello, 201));
  for (int i = 0; i < 4; ++i) start();
  rig.Pump();
  EXPECT_EQ(new_a.lane->waiting() + new_b.lane->waiting(), 4u);
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kSwitched), 2);
  // The old one finishes its ten, is told to go, and goes.
  Frame frame;
  ASSERT_TRUE(old_worker.control->Take(FrameType::kGoaway, &frame));
  EXPECT_EQ(frame.header.aux, static_cast<uint32_t>(GoawayCode::kSuperseded));
  old_worker.lane->Receive();
  int answered = 0;
  bool told = false;
  std::vector<uint32_t> streams;
  for (uint32_t stream = 1; stream <= 10; ++stream) streams.push_back(stream);
  while (old_worker.lane->Take(FrameType::kGoaway, &frame)) told = true;
  for (uint32_t stream : streams) {
    old_worker.lane->Respond(stream);
    ++answered;
  }
  EXPECT_TRUE(told);
  for (FakeConnection* lane : {new_a.lane.get(), new_b.lane.get()}) {
    while (lane->Take(FrameType::kRequest, &frame)) lane->Respond(frame.header.stream);
  }
  rig.Pump();
  for (const auto& each : notes) {
    ASSERT_TRUE(each->ended);
    EXPECT_EQ(each->notes.back(), "end");
  }
  old_worker.Kill();
  rig.Pump();
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kLeft), 1);
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kLost), 0);
  EXPECT_EQ(rig.events.Count(WorkerEvent::Kind::kRetired), 1);
}

TEST(GenerationTest, OneThatNeverBecameReadyIsPushedAsideByTheNext) {
  Rig rig;
  const HelloText first = rig.Begin(5);
  Rig::FakeWorker stuck = rig.Attach(first);
  const HelloText second = rig.Begin();
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(stuck.control->Take(FrameType::kGoaway, &frame));
  Rig::FakeWorker worker = rig.Attach(Another(second, 300));
  EXPECT_EQ(rig.pool->active_generation(), second.ticket.generation.number);
}

TEST(GenerationTest, DrainThatTakesTooLongIsCut) {
  Notes notes;
  RegistryOptions options;
  options.drain_timeout_us = 100'000;
  Rig rig({}, options);
  Rig::FakeWorker old_worker = rig.Attach(rig.Begin());
  rig.StartOn(*old_worker.lane, notes, nullptr, [](RequestSpec& s) { Post(s); });
  Rig::FakeWorker new_worker = rig.Attach(Another(rig.Begin(), 101));
  ASSERT_TRUE(rig.Until([&] { return notes.ended; }));
  EXPECT_EQ(notes.notes, (Lines{"failure worker_lost"}));
  EXPECT_EQ(notes.cause, "the drain timeout has passed");
  Frame frame;
  EXPECT_TRUE(old_worker.lane->Take(FrameType::kCancel, &frame));
  EXPECT_TRUE(old_worker.lane->closed());
}

// An old and a new generation, both with a worker; the plan still names the old one.
struct Deploy {
  explicit Deploy(config::Pool config = OneCredit()) : rig(std::move(config)) {
    old_hello = rig.Begin();
    old_worker = rig.Attach(old_hello);
    old_serving = rig.serving;
    rig.switches = false;
    new_hello = Another(rig.Begin(), 200);
    new_worker = rig.Attach(new_hello);
  }
  void Switch() {
    rig.Switch(new_hello.ticket.generation.number);
    rig.Pump();
  }
  Rig rig;
  HelloText old_hello, new_hello;
  Rig::FakeWorker old_worker, new_worker;
  base::Ref<Generation> old_serving;
};

TEST(GenerationTest, PreparedIsNotSwitched) {
  Notes notes;
  Deploy deploy;
  EXPECT_EQ(deploy.rig.events.Count(WorkerEvent::Kind::kPrepared), 2);
  EXPECT_EQ(deploy.rig.events.Count(WorkerEvent::Kind::kSwitched), 1);
  EXPECT_EQ(deploy.rig.pool->active_generation(), 1u);
  // Workers are ready, and no plan names them: nothing goes there, for as long as that may be.
  const uint32_t stream = deploy.rig.StartOn(*deploy.old_worker.lane, notes);
  ASSERT_NE(stream, 0u);
  EXPECT_EQ(deploy.new_worker.lane->waiting(), 0u);
  Frame frame;
  EXPECT_FALSE(deploy.old_worker.control->Take(FrameType::kGoaway, &frame));
  deploy.old_worker.lane->Respond(stream);
  deploy.rig.Pump();
  EXPECT_TRUE(notes.ended);
}

TEST(GenerationTest, UntilEveryLoopHasThePlanEachTableHasItsOwnCode) {
  Notes old_notes, new_notes, waiting, more;
  Deploy deploy;
  Rig& rig = deploy.rig;
  // One loop has the new plan, another has not: both generations serve.
  const base::Ref<Generation> newer = rig.pool->Publish(2);
  ASSERT_NE(rig.StartOn(*deploy.old_worker.lane, old_notes), 0u);
  rig.Start(waiting);  // For the old one, whose only credit is taken.
  rig.serving = newer;
  const uint32_t stream = rig.StartOn(*deploy.new_worker.lane, new_notes);
  ASSERT_NE(stream, 0u) << "those who wait for the old one are in nobody's way";
  deploy.new_worker.lane->Respond(stream);
  rig.Pump();
  EXPECT_FALSE(waiting.ended);
  EXPECT_EQ(deploy.new_worker.lane->waiting(), 0u) << "a free credit is no other generation's";
  EXPECT_FALSE(deploy.old_serving->current()) << "what it answers is not kept any more";
  EXPECT_FALSE(deploy.old_serving->over());
  deploy.old_worker.lane->Respond(1);
  rig.Pump();
  Frame frame;
  ASSERT_TRUE(deploy.old_worker.lane->Take(FrameType::kRequest, &frame));
  deploy.old_worker.lane->Respond(frame.header.stream);
  rig.Pump();
  EXPECT_EQ(waiting.notes.back(), "end");
}

TEST(GenerationTest, WhatWaitsAtTheSwitchIsRoutedAnew) {
  Notes running, waiting, late;
  Deploy deploy;
  Rig& rig = deploy.rig;
  const uint32_t stream = rig.StartOn(*deploy.old_worker.lane, running);
  rig.Start(waiting, [](RequestSpec& spec) { Post(spec); });
  deploy.Switch();
  EXPECT_EQ(waiting.notes, (Lines{"failure superseded"}));
  rig.serving = deploy.old_serving;  // Routed before the switch, its body came after it.
  EXPECT_EQ(rig.Start(late), nullptr);
  EXPECT_EQ(late.notes, (Lines{"refused superseded"}));
  deploy.old_worker.lane->Respond(stream);
  rig.Pump();
  EXPECT_EQ(running.notes.back(), "end") << "what runs is finished";
  EXPECT_EQ(rig.pool->Status().queued, 0u);
}

TEST(GenerationTest, RetriesDoNotCross) {
  Notes read, write;
  config::Pool config;
  Deploy deploy(config);
  Rig& rig = deploy.rig;
  rig.StartOn(*deploy.old_worker.lane, read);
  rig.StartOn(*deploy.old_worker.lane, write, nullptr, [](RequestSpec& spec) { Post(spec); });
  deploy.Switch();
  deploy.old_worker.Kill();
  rig.Pump();
  EXPECT_EQ(read.notes, (Lines{"failure superseded"}))
      << "it may begin again, where it belongs now";
  EXPECT_EQ(write.notes, (Lines{"failure worker_lost"}));
  EXPECT_EQ(deploy.new_worker.lane->waiting(), 0u);
}

TEST(GenerationTest, WhatTheLeavingWorkerHasNotBegunIsRoutedAnew) {
  Notes notes;
  config::Pool config;
  Deploy deploy(config);
  Rig& rig = deploy.rig;
  rig.StartOn(*deploy.old_worker.lane, notes, nullptr, [](RequestSpec& spec) { Post(spec); });
  deploy.Switch();
  deploy.old_worker.lane->Send(FrameType::kGoaway, 0);  // No stream of it was begun.
  rig.Pump();
  EXPECT_EQ(notes.notes, (Lines{"failure superseded"}));
}

// Its master has gone too; the next instance is there and its workers are yet to come.
TEST(GenerationTest, WhoWaitsForTheDeadIsRoutedAnewWhenNewerCodeTakesOver) {
  Notes running, waiting, late;
  Deploy deploy;
  Rig& rig = deploy.rig;
  rig.StartOn(*deploy.old_worker.lane, running, nullptr, [](RequestSpec& spec) { Post(spec); });
  rig.Start(waiting);
  EXPECT_TRUE(rig.registry.Orphan("app", deploy.old_hello.ticket.generation));
  deploy.old_worker.Kill();
  rig.Pump();
  rig.Start(late);
  rig.Pump();
  EXPECT_EQ(running.notes, (Lines{"failure worker_lost"}));
  EXPECT_FALSE(waiting.ended);
  EXPECT_FALSE(late.ended);
  EXPECT_EQ(deploy.new_worker.lane->waiting(), 0u);
  deploy.Switch();
  EXPECT_EQ(waiting.notes, (Lines{"failure superseded"}));
  EXPECT_EQ(late.notes, (Lines{"failure superseded"}));
}

TEST(GenerationTest, WithoutHopeOfNewerCodeTheyAreToldSo) {
  Notes waiting;
  Deploy deploy;
  Rig& rig = deploy.rig;
  EXPECT_TRUE(rig.registry.Orphan("app", deploy.old_hello.ticket.generation));
  deploy.old_worker.Kill();
  rig.Pump();
  rig.Start(waiting);
  rig.Pump();
  EXPECT_FALSE(waiting.ended);
  EXPECT_TRUE(rig.registry.Orphan("app", deploy.new_hello.ticket.generation));
  rig.Pump();
  EXPECT_EQ(waiting.notes, (Lines{"failure no_workers"}));
}

TEST(GenerationTest, OneThatAPlanNamesIsNotPushedAsideByTheNext) {
  Notes notes;
  Deploy deploy;
  Rig& rig = deploy.rig;
  rig.serving = rig.pool->Publish(2);  // Not every loop has it yet.
  rig.Begin();
  rig.Pump();
  EXPECT_FALSE(rig.serving->over());
  EXPECT_NE(rig.StartOn(*deploy.new_worker.lane, notes), 0u);
  deploy.new_worker.lane->Respond(1);
  deploy.Switch();
  EXPECT_TRUE(deploy.old_serving->over());
  EXPECT_EQ(rig.pool->active_generation(), 2u);
}

TEST(GenerationTest, ATableThatIsNeverServedLeavesTheOldGenerationWhole) {
  Notes notes;
  Deploy deploy;
  Rig& rig = deploy.rig;
  rig.registry.Settle({{"app", 1}});  // Another plan, with the old table still.
  rig.Pump();
  Frame frame;
  EXPECT_FALSE(deploy.old_worker.control->Take(FrameType::kGoaway, &frame));
  EXPECT_FALSE(deploy.new_worker.control->Take(FrameType::kGoaway, &frame));
  EXPECT_NE(rig.StartOn(*deploy.old_worker.lane, notes), 0u);
  deploy.old_worker.lane->Respond(1);
  rig.Pump();
  EXPECT_TRUE(notes.ended);
}

}  // namespace
}  // namespace catzilla::worker
