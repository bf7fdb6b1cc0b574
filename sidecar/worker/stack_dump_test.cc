// Where workers stand: asked over their control connections, collected within bounds and in time.
#include <thread>

#include "sidecar/worker/rig_test.h"

namespace catzilla::worker {
namespace {

using Frame = FakeConnection::Frame;

// Asks on a thread, as the control plane does, while the loop turns.
class Question {
 public:
  Question(Rig& rig, std::string pool, uint32_t pid, int64_t timeout_us = 20'000'000)
      : rig_(rig), thread_([this, pool = std::move(pool), pid, timeout_us] {
          auto found = rig_.registry.DumpStacks(pool, pid, timeout_us);
          if (found.ok()) {
            answers = *found;
          } else {
            error = found.error();
          }
          done.store(true);
        }) {}
  ~Question() { thread_.join(); }
  bool Done() {
    return rig_.Until([this] { return done.load(); });
  }

  std::vector<StackDump::Answer> answers;
  std::string error;
  std::atomic<bool> done{false};

 private:
  Rig& rig_;
  std::thread thread_;
};

bool Asked(Rig& rig, FakeConnection& control, Frame* frame) {
  return rig.Until([&] { return control.Take(FrameType::kDump, frame); });
}

TEST(StackDump, EachWorkerThatIsMeantIsAskedAndTold) {
  Rig rig;
  HelloText hello = rig.Begin();
  Rig::FakeWorker first = rig.Attach(hello);
  hello.pid = 200;
  Rig::FakeWorker second = rig.Attach(hello);
  hello.pid = 300;
  hello.capabilities = 0;
  Rig::FakeWorker older = rig.Attach(hello);
  Frame frame;
  {
    Question all(rig, "app", 0);
    ASSERT_TRUE(Asked(rig, *first.control, &frame));
    EXPECT_TRUE(frame.payload.empty());
    first.control->Send(FrameType::kDump, 0, "thread MainThread", 0, frame.header.aux);
    ASSERT_TRUE(Asked(rig, *second.control, &frame));
    second.control->Kill();
    ASSERT_TRUE(all.Done());
    ASSERT_EQ(all.answers.size(), 3u);
    EXPECT_EQ(all.answers[0].pid, 100u);
    EXPECT_EQ(all.answers[0].pool, "app");
    EXPECT_EQ(all.answers[0].generation, hello.ticket.generation);
    EXPECT_EQ(all.answers[0].stacks, "thread MainThread");
    EXPECT_EQ(all.answers[1].error, "it has closed its connection instead of an answer");
    EXPECT_NE(all.answers[2].error.find("upgrade it"), std::string::npos);
  }
  EXPECT_FALSE(older.control->Take(FrameType::kDump, &frame)) << "it could not read it";
  Question other(rig, "other", 0);
  ASSERT_TRUE(other.Done());
  EXPECT_TRUE(other.answers.empty() && other.error.empty());
}

TEST(StackDump, WhoDoesNotAnswerIsSaidSoAndIsNotAskedTwice) {
  Rig rig;
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  const auto ask = [&] {
    auto dump = std::make_shared<StackDump>("", 100);
    EXPECT_TRUE(rig.acceptor.PostDump(dump));
    rig.Pump();
    return dump;
  };
  const auto late = ask()->Wait(1'000);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_NE(late[0].error.find("no answer within 1 ms"), std::string::npos) << late[0].error;
  const auto again = ask();
  Frame frame;
  ASSERT_TRUE(worker.control->Take(FrameType::kDump, &frame));
  EXPECT_FALSE(worker.control->Take(FrameType::kDump, &frame));
  // What it says at last is what the one who asks now wants to know.
  worker.control->Send(FrameType::kDump, 0, "here", 0, 1);
  rig.Pump();
  const auto answers = again->Wait(1'000);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].stacks, "here");
}

TEST(StackDump, IsTakenOneAtATime) {
  Rig rig;
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  Question first(rig, "", 0);
  Frame frame;
  ASSERT_TRUE(Asked(rig, *worker.control, &frame));
  Question second(rig, "", 0);
  ASSERT_TRUE(second.Done());
  EXPECT_EQ(second.error, "another dump is under way");
  worker.control->Send(FrameType::kDump, 0, "here", 0, frame.header.aux);
  EXPECT_TRUE(first.Done());
}

TEST(StackDump, WhatNobodyAskedForOrIsNoTextIsRefused) {
  Rig rig;
  Rig::FakeWorker worker = rig.Attach(rig.Begin());
  Frame frame;
  {
    Question latin(rig, "", 0);
    ASSERT_TRUE(Asked(rig, *worker.control, &frame));
    worker.control->Send(FrameType::kDump, 0, "caf\xe9", 0, frame.header.aux);
    ASSERT_TRUE(latin.Done());
    EXPECT_EQ(latin.answers[0].error, "its answer is not UTF-8");
  }
  worker.control->Send(FrameType::kDump, 0, "again", 0, frame.header.aux);
  rig.Pump();
  ASSERT_TRUE(worker.control->Take(FrameType::kGoaway, &frame));
  EXPECT_EQ(frame.payload, "DUMP answers what was not asked");
}

TEST(StackDump, AllTextsTogetherAreBounded) {
  StackDump dump("", 0);
  const std::string text(64 * 1024, 'x');
  for (uint32_t pid = 0; pid < 60; ++pid) dump.Tell(dump.Ask("app", pid, {}), text);
  dump.AllAsked();
  size_t bytes = 0, left_out = 0;
  for (const auto& answer : dump.Wait(1)) {
    bytes += answer.stacks.size();
    left_out += answer.error.empty() ? 0 : 1;
  }
  EXPECT_EQ(bytes, StackDump::kBytesMax);
  EXPECT_EQ(left_out, 12u);
}

TEST(Saturation, IsALatelyRefusedRequest) {
  PoolStatus pool;
  EXPECT_FALSE(IsSaturated(pool, 0));
  pool.saturated_us = 1'000'000;
  EXPECT_TRUE(IsSaturated(pool, 1'000'000 + kSaturationUs - 1));
  EXPECT_FALSE(IsSaturated(pool, 1'000'000 + kSaturationUs));
}

}  // namespace
}  // namespace catzilla::worker
