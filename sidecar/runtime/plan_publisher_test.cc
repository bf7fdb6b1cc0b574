#include "sidecar/runtime/plan_publisher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>

namespace catzilla::runtime {
namespace {

using PlanRef = PlanPublisher::PlanRef;

PlanRef PlanOf(uint64_t version) {
  auto snapshot = std::make_shared<config::Snapshot>();
  snapshot->version = version;
  return std::make_shared<const exchange::Plan>(std::move(snapshot));
}

// Loops that take a plan when the test says so.
class PlanPublisherTest : public testing::Test {
 protected:
  PlanPublisherTest() {
    PlanPublisher::Parts parts;
    parts.loops = 2;
    parts.post = [this](int loop, const PlanRef& plan) {
      if (full_[loop].load()) return false;
      base::MutexLock lock(mutex_);
      mail_[loop].push_back(plan);
      return true;
    };
    parts.settle = [this](const exchange::Plan& plan) { settled_.store(plan.version()); };
    publisher_.emplace(std::move(parts), PlanOf(1));
    loops_[0] = loops_[1] = publisher_->newest();
  }
  void Publish(uint64_t version) {
    publisher_->Publish([version] { return PlanOf(version); });
  }
  size_t waiting(int loop) {
    base::MutexLock lock(mutex_);
    return mail_[loop].size();
  }
  // As a loop's turn: everything that is there.
  void Turn(int loop) {
    std::vector<PlanRef> batch;
    {
      base::MutexLock lock(mutex_);
      batch.swap(mail_[loop]);
    }
    for (PlanRef& plan : batch) {
      loops_[loop] = std::move(plan);
      publisher_->OnServed(loop, loops_[loop]->version());
    }
  }
  bool Settled(uint64_t version) {
    for (int i = 0; i < 3000 && settled_.load() != version; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return settled_.load() == version;
  }

  std::atomic<bool> full_[2] = {};
  std::atomic<uint64_t> settled_{0};
  base::Mutex mutex_;
  std::vector<PlanRef> mail_[2];
  PlanRef loops_[2];
  std::optional<PlanPublisher> publisher_;
};

TEST_F(PlanPublisherTest, IsSettledWhenEveryLoopServesItAndNotBefore) {
  Publish(2);
  EXPECT_EQ(publisher_->newest()->version(), 2u);
  Turn(0);
  EXPECT_FALSE(publisher_->Await(2, 20'000)) << "one loop has yet to take it";
  EXPECT_EQ(settled_.load(), 0u);
  EXPECT_EQ(publisher_->settled()->version(), 1u);
  Turn(1);
  EXPECT_TRUE(publisher_->Await(2, 0));
  EXPECT_TRUE(Settled(2));
}

TEST_F(PlanPublisherTest, WhoAwaitsIsWokenByTheLastLoop) {
  Publish(2);
  std::atomic<bool> served{false};
  std::thread client([&] { served.store(publisher_->Await(2, 30'000'000)); });
  Turn(0);
  Turn(1);
  client.join();
  EXPECT_TRUE(served.load());
}

TEST_F(PlanPublisherTest, OldPlansOutliveTheLoopsThatServeThemAndDieOffThem) {
  const std::weak_ptr<const exchange::Plan> old = loops_[0];
  Publish(2);
  Publish(3);
  Turn(0);
  EXPECT_FALSE(old.expired());
  loops_[1] = nullptr;
  EXPECT_FALSE(old.expired()) << "a loop that lets go of a plan is not the last to hold it";
  Turn(1);
  ASSERT_TRUE(Settled(3));
  for (int i = 0; i < 3000 && !old.expired(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(old.expired());
}

TEST_F(PlanPublisherTest, AMailboxThatIsFullIsAskedAgainAndGetsTheNewestOnly) {
  full_[1].store(true);
  Publish(2);
  Publish(3);
  Turn(0);
  EXPECT_EQ(waiting(1), 0u);
  full_[1].store(false);
  for (int i = 0; i < 3000 && waiting(1) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(waiting(1), 1u);
  Turn(1);
  EXPECT_TRUE(Settled(3));
}

TEST_F(PlanPublisherTest, StopsWhileALoopHasYetToTakeItsPlan) {
  Publish(2);
  Turn(0);
  publisher_->Stop();
  EXPECT_FALSE(publisher_->Await(2, 60'000'000));
  EXPECT_EQ(settled_.load(), 0u);
}

}  // namespace
}  // namespace catzilla::runtime
