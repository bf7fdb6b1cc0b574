#include "sidecar/base/epoch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace catzilla::base {
namespace {

void CountDeletion(void* object) { ++*static_cast<int*>(object); }

TEST(Epoch, FreesAtOnceWithoutReaders) {
  EpochDomain domain;
  int deleted = 0;
  domain.Retire(&deleted, CountDeletion, 10);
  EXPECT_EQ(domain.stats().pending_bytes, 10u);
  EXPECT_EQ(domain.Reclaim(), 1u);
  EXPECT_EQ(deleted, 1);
  EXPECT_EQ(domain.stats().pending_objects, 0u);
  EXPECT_EQ(domain.stats().pending_bytes, 0u);
}

TEST(Epoch, WaitsForReadersThatEnteredBefore) {
  EpochDomain domain;
  EpochDomain::Reader old_reader(domain);
  EpochDomain::Reader sleeper(domain);
  int deleted = 0;
  old_reader.Enter();
  domain.Retire(&deleted, CountDeletion, 1);
  EpochDomain::Reader new_reader(domain);
  new_reader.Enter();  // Came later: cannot have seen it.
  EXPECT_EQ(domain.Reclaim(), 0u);
  old_reader.Leave();
  EXPECT_EQ(domain.Reclaim(), 1u);
  EXPECT_EQ(deleted, 1);
  new_reader.Leave();
}

TEST(Epoch, EnteringAgainEndsTheTurnBefore) {
  EpochDomain domain;
  EpochDomain::Reader reader(domain);
  int deleted = 0;
  reader.Enter();
  domain.Retire(&deleted, CountDeletion, 1);
  reader.Enter();
  EXPECT_EQ(domain.Reclaim(), 1u);
  reader.Leave();
}

TEST(Epoch, SaysWhenTooMuchGarbageWaits) {
  EpochDomain domain({.objects_max = 2, .bytes_max = 100});
  EpochDomain::Reader reader(domain);
  int deleted = 0;
  reader.Enter();
  domain.Retire(&deleted, CountDeletion, 100);
  EXPECT_FALSE(domain.saturated());
  domain.Retire(&deleted, CountDeletion, 1);
  EXPECT_TRUE(domain.saturated());
  reader.Leave();
  EXPECT_EQ(domain.Reclaim(), 2u);
  EXPECT_FALSE(domain.saturated());
}

TEST(Epoch, TheDomainFreesWhatIsLeft) {
  int deleted = 0;
  {
    EpochDomain domain;
    for (int i = 0; i < 200; ++i) domain.Retire(&deleted, CountDeletion, 1);
  }
  EXPECT_EQ(deleted, 200);
}

// Readers follow one shared pointer while a writer replaces it; a freed value is overwritten first,
// so that a use after free is seen even without a sanitizer.
TEST(Epoch, ReadersNeverMeetAFreedObject) {
  struct Value {
    std::atomic<uint64_t> alive{0x600d};
  };
  EpochDomain domain;
  std::atomic<Value*> shared{new Value};
  std::atomic<bool> stop{false};
  std::atomic<int> bad{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      EpochDomain::Reader reader(domain);
      while (!stop.load(std::memory_order_relaxed)) {
        reader.Enter();
        for (int i = 0; i < 50; ++i) {
          const Value* value = shared.load(std::memory_order_acquire);
          if (value->alive.load(std::memory_order_relaxed) != 0x600d) ++bad;
        }
        reader.Leave();
      }
    });
  }
  for (int i = 0; i < 20000; ++i) {
    Value* old = shared.exchange(new Value, std::memory_order_acq_rel);
    domain.Retire(
        old,
        [](void* object) {
          static_cast<Value*>(object)->alive.store(0xdead);
          delete static_cast<Value*>(object);
        },
        sizeof(Value));
    if (i % 16 == 0) domain.Reclaim();
  }
  stop = true;
  for (std::thread& thread : readers) thread.join();
  delete shared.load();
  EXPECT_EQ(bad, 0);
}

}  // namespace
}  // namespace catzilla::base
