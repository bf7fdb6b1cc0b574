// Tasks that hang together: what they cost the others, and that they cost no more.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "sidecar/base/clock.h"
#include "sidecar/base/executor.h"

namespace catzilla::base {
namespace {

using Group = Executor::Group;
using Posted = Executor::Posted;

// A file system that answers nobody until it is released; at its end at the latest. Make it after
// the executor, which waits for its threads.
class Hanging {
 public:
  ~Hanging() { Release(); }
  void Release() {
    if (!std::exchange(is_released_, true)) state_->release.set_value();
  }
  Executor::Task Task() const {
    return [state = state_] {
      ++state->begun;
      state->released.wait();
      ++state->ended;
    };
  }
  int begun() const { return state_->begun; }
  int ended() const { return state_->ended; }

 private:
  struct State {
    std::promise<void> release;
    std::shared_future<void> released = release.get_future().share();
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  bool is_released_ = false;
};

bool Until(const std::function<bool()>& done) {
  const int64_t end_us = ReadClockMicros(CLOCK_MONOTONIC) + 20'000'000;
  while (!done()) {
    if (ReadClockMicros(CLOCK_MONOTONIC) > end_us) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(ExecutorGroup, C12OneGroupNeverHasAllThreads) {
  Executor executor("files", 4, 64);
  executor.SetDeadline(60'000'000);
  Hanging hanging;
  const auto sick = Ref<Group>::Make();
  const auto well = Ref<Group>::Make();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(executor.TryPost(sick, hanging.Task(), nullptr), Posted::kYes);
  }
  ASSERT_TRUE(Until([&] { return hanging.begun() == 3; }));
  // Long before any deadline.
  std::promise<void> ran;
  EXPECT_EQ(executor.TryPost(well, [&] { ran.set_value(); }, nullptr), Posted::kYes);
  ran.get_future().wait();
  EXPECT_EQ(hanging.begun(), 3);
  hanging.Release();
  executor.Shutdown();
  EXPECT_EQ(hanging.ended(), 10);
}

TEST(ExecutorGroup, C12WhoIsLateIsToldAndItsThreadReplaced) {
  std::atomic<int> late{0};
  Executor executor("files", 2, 64);
  Hanging hanging;
  executor.SetDeadline(300'000);
  const auto first = Ref<Group>::Make();
  const auto second = Ref<Group>::Make();
  // Two file systems hang at the same time, and hold both threads.
  for (const auto& group : {first, second}) {
    EXPECT_EQ(executor.TryPost(group, hanging.Task(), [&] { ++late; }), Posted::kYes);
  }
  ASSERT_TRUE(Until([&] { return late == 2; }));
  ASSERT_TRUE(Until([&] { return executor.state().stuck == 2; }));
  std::promise<void> ran;
  EXPECT_TRUE(executor.TryPost([&] { ran.set_value(); }));
  ran.get_future().wait();

  // A sick group is tried with one thread at a time, and not at all when too many hang.
  for (size_t i = 1; i < Executor::kGroupStuckMax; ++i) {
    EXPECT_EQ(executor.TryPost(first, hanging.Task(), nullptr), Posted::kYes);
    ASSERT_TRUE(Until([&] { return executor.state().stuck == 2 + i; }));
  }
  EXPECT_EQ(executor.TryPost(first, hanging.Task(), nullptr), Posted::kSick);
  EXPECT_EQ(executor.state().written_off, 1 + Executor::kGroupStuckMax);

  // When it comes back, all are as before, and as many.
  hanging.Release();
  ASSERT_TRUE(Until([&] { return executor.state().stuck == 0; }));
  executor.SetDeadline(60'000'000);
  std::promise<void> again;
  EXPECT_EQ(executor.TryPost(first, [&] { again.set_value(); }, nullptr), Posted::kYes);
  again.get_future().wait();
  executor.Shutdown();
  EXPECT_EQ(late, 2);
}

TEST(ExecutorGroup, C12WhatHasNotBegunInTimeIsNeverRun) {
  std::atomic<int> late{0}, ran{0};
  Executor executor("files", 1, 64);
  Hanging hanging;
  executor.SetDeadline(300'000);
  const auto group = Ref<Group>::Make();
  ASSERT_EQ(executor.TryPost(group, hanging.Task(), nullptr), Posted::kYes);
  ASSERT_TRUE(Until([&] { return hanging.begun() == 1; }));
  auto held = std::make_shared<int>(1);
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(executor.TryPost(group, [&ran, held] { ++ran; }, [&late] { ++late; }), Posted::kYes);
  }
  // The replaced thread may take one of them in time; each is either run or late.
  ASSERT_TRUE(Until([&] { return late + ran == 8; }));
  ASSERT_TRUE(Until([&] { return held.use_count() == 1; }));
  EXPECT_EQ(executor.state().queued, 0u);
}

TEST(ExecutorGroup, C12OneGroupLeavesRoomInTheQueue) {
  Executor executor("files", 2, 8);
  Hanging hanging;
  const auto group = Ref<Group>::Make();
  ASSERT_EQ(executor.TryPost(group, hanging.Task(), nullptr), Posted::kYes);
  ASSERT_TRUE(Until([&] { return hanging.begun() == 1; }));
  int posted = 0;
  while (executor.TryPost(group, hanging.Task(), nullptr) == Posted::kYes) ++posted;
  EXPECT_EQ(posted, 6);
  std::promise<void> ran;
  EXPECT_TRUE(executor.TryPost([&] { ran.set_value(); }));
  ran.get_future().wait();
}

// The last reference to what posts may be in what is late.
TEST(ExecutorGroup, C12WhatIsLateMayPostWhenItGoes) {
  Executor executor("files", 2, 64);
  executor.SetDeadline(20'000);
  struct Poster {
    explicit Poster(Executor& to) : executor(to) {}
    ~Poster() {
      (void)executor.TryPost([] {});
    }
    Executor& executor;
  };
  const auto group = Ref<Group>::Make();
  for (int i = 0; i < 50; ++i) {
    auto poster = std::make_shared<Poster>(executor);
    (void)executor.TryPost(
        group, [poster] { std::this_thread::yield(); }, [poster] { std::this_thread::yield(); });
  }
  executor.Shutdown();
  EXPECT_EQ(executor.state().queued, 0u);
}

}  // namespace
}  // namespace catzilla::base
