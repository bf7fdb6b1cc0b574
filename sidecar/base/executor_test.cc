#include "sidecar/base/executor.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <future>
#include <memory>

namespace catzilla::base {
namespace {

TEST(Executor, RunsWhatIsPostedOnThreadsWithItsName) {
  Executor executor("files", 1, 8);
  std::promise<std::string> name;
  ASSERT_TRUE(executor.TryPost([&] {
    char text[16] = {};
    pthread_getname_np(pthread_self(), text, sizeof(text));
    name.set_value(text);
  }));
  EXPECT_EQ(name.get_future().get(), "files/0");
}

TEST(Executor, DeclinesWhenTheQueueIsFull) {
  Executor executor("files", 1, 2);
  std::promise<void> running, release;
  std::shared_future<void> released = release.get_future().share();
  ASSERT_TRUE(executor.TryPost([&] {
    running.set_value();
    released.wait();
  }));
  running.get_future().wait();
  EXPECT_TRUE(executor.TryPost([] {}));
  EXPECT_TRUE(executor.TryPost([] {}));
  EXPECT_FALSE(executor.TryPost([] {}));
  EXPECT_EQ(executor.state().queued, 2u);
  EXPECT_EQ(executor.state().running, 1u);
  EXPECT_EQ(executor.state().declined, 1u);
  release.set_value();
  executor.Shutdown();
  EXPECT_EQ(executor.state().completed, 3u);
}

TEST(Executor, ShutdownRunsWhatIsQueuedAndDeclinesTheRest) {
  std::atomic<int> ran{0};
  Executor executor("files", 2, 1000);
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(executor.TryPost([&] { ++ran; }));
  executor.Shutdown();
  EXPECT_EQ(ran, 500);
  EXPECT_FALSE(executor.TryPost([&] { ++ran; }));
  executor.Shutdown();
  EXPECT_EQ(ran, 500);
}

TEST(Executor, ADeclinedTaskIsDestroyedUnrun) {
  Executor executor("files", 1, 1);
  executor.Shutdown();
  auto held = std::make_shared<int>(1);
  EXPECT_FALSE(executor.TryPost([held] { *held = 2; }));
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(*held, 1);
}

TEST(Executor, TakesTasksFromManyThreadsAtOnce) {
  std::atomic<int> ran{0};
  int posted = 0;
  {
    Executor executor("files", 3, 64);
    std::atomic<int> accepted{0};
    std::vector<std::thread> posters;
    for (int t = 0; t < 4; ++t) {
      posters.emplace_back([&] {
        for (int i = 0; i < 2000; ++i) {
          if (executor.TryPost([&] { ++ran; })) ++accepted;
        }
      });
    }
    for (std::thread& poster : posters) poster.join();
    posted = accepted;
  }
  EXPECT_EQ(ran, posted);
}

}  // namespace
}  // namespace catzilla::base
