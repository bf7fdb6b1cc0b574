#include "sidecar/base/cache_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <list>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>

namespace catzilla::base {
namespace {

struct Entry final : Owner, CacheNode {
  explicit Entry(uint64_t k, int v = 0) : key(k), value(v) { ++alive; }
  ~Entry() override { --alive; }
  const uint64_t key;
  const int value;
  static inline std::atomic<int> alive{0};
};

uint64_t Mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

class Counting final : public CacheTable<Entry>::Listener {
 public:
  void OnLinked(Entry&) override { ++linked; }
  void OnUnlinked(Entry&, CacheRemoval reason) override { ++unlinked[static_cast<int>(reason)]; }
  int linked = 0;
  int unlinked[3] = {};
};

struct Fixture : testing::Test {
  ~Fixture() override {
    table.Clear();
    domain.Reclaim();
    EXPECT_EQ(Entry::alive, 0);
  }
  CacheAdmission Put(uint64_t key, size_t charge, int value = 0) {
    return table.Insert(Ref<Entry>::Make(key, value), Mix(key), charge,
                        [&](const Entry& old) { return old.key == key; });
  }
  const Entry* Get(uint64_t key) {
    return table.Find(Mix(key), [&](const Entry& entry) { return entry.key == key; });
  }
  EpochDomain domain;
  Counting listener;
  CacheTable<Entry> table{
      domain, {.bytes_max = 10'000, .entry_bytes_max = 5'000, .shards = 1}, &listener};
};

using CacheTableTest = Fixture;

TEST_F(CacheTableTest, FindsWhatWasInserted) {
  EpochDomain::Guard guard(domain);
  EXPECT_EQ(Get(1), nullptr);
  EXPECT_EQ(Put(1, 100, 7), CacheAdmission::kAdmitted);
  ASSERT_NE(Get(1), nullptr);
  EXPECT_EQ(Get(1)->value, 7);
  EXPECT_EQ(Get(2), nullptr);
}

TEST_F(CacheTableTest, ReplacesItsEqual) {
  EpochDomain::Guard guard(domain);
  Put(1, 100, 7);
  const Entry* old = Get(1);
  Put(1, 150, 8);
  EXPECT_EQ(Get(1)->value, 8);
  EXPECT_EQ(old->value, 7) << "a reader in its epoch keeps what it found";
  EXPECT_EQ(table.bytes(), 150u);
  EXPECT_EQ(table.stats().entries, 1u);
  EXPECT_EQ(listener.unlinked[static_cast<int>(CacheRemoval::kReplaced)], 1);
}

TEST_F(CacheTableTest, DeclinesTheTooLargeAndDropsTheOutdated) {
  EpochDomain::Guard guard(domain);
  Put(1, 100);
  EXPECT_EQ(Put(1, 5'001), CacheAdmission::kTooLarge);
  EXPECT_EQ(Get(1), nullptr);
  EXPECT_EQ(table.bytes(), 0u);
}

TEST_F(CacheTableTest, LargeEntriesMustBeAskedForTwiceOnceItIsFull) {
  for (uint64_t key = 0; key < 100; ++key) Put(key, 100);
  EXPECT_EQ(Put(1000, 600), CacheAdmission::kUnproven);
  EXPECT_EQ(Put(1000, 600), CacheAdmission::kAdmitted);
  EXPECT_LE(table.bytes(), 10'000u);
}

TEST_F(CacheTableTest, NeverHoldsMoreThanItsLimitAndCountsExactly) {
  std::minstd_rand random(1);
  for (int i = 0; i < 20'000; ++i) {
    Put(random() % 500, 1 + random() % 400);
    ASSERT_LE(table.bytes(), 10'000u);
  }
  size_t bytes = 0;
  size_t entries = 0;
  table.ForEach([&](const Entry& entry) {
    bytes += entry.cache_charge();
    ++entries;
  });
  EXPECT_EQ(bytes, table.bytes());
  EXPECT_EQ(entries, table.stats().entries);
  int gone = 0;
  for (int count : listener.unlinked) gone += count;
  EXPECT_EQ(listener.linked - gone, static_cast<int>(entries));
}

TEST(CacheTable, HoldsNoMoreEntriesThanItMay) {
  EpochDomain domain;
  CacheTable<Entry> table(domain, {.bytes_max = 1 << 20, .entries_max = 100, .shards = 4});
  for (uint64_t key = 0; key < 1000; ++key) {
    const auto same = [&](const Entry& old) { return old.key == key; };
    EXPECT_EQ(table.Insert(Ref<Entry>::Make(key), Mix(key), 10, same), CacheAdmission::kAdmitted);
    EXPECT_LE(table.entries(), 100u);
  }
  EXPECT_EQ(table.entries(), 100u);
  EXPECT_EQ(table.stats().entries, 100u);
  EXPECT_EQ(table.bytes(), 1000u);
  table.Clear();
  EXPECT_EQ(table.entries(), 0u);
}

TEST_F(CacheTableTest, RemovesByPredicateAndByEntry) {
  for (uint64_t key = 0; key < 50; ++key) Put(key, 10);
  EXPECT_EQ(table.RemoveIf([](const Entry& entry) { return entry.key % 2 == 0; }), 25u);
  EpochDomain::Guard guard(domain);
  Entry* entry = const_cast<Entry*>(Get(1));
  EXPECT_TRUE(table.RemoveEntry(*entry));
  EXPECT_FALSE(table.RemoveEntry(*entry));
  EXPECT_EQ(table.Remove(Mix(3), [](const Entry& e) { return e.key == 3; }), 1u);
  EXPECT_EQ(table.stats().entries, 23u);
}

TEST_F(CacheTableTest, ShrinksLive) {
  for (uint64_t key = 0; key < 100; ++key) Put(key, 100);
  table.SetBytesMax(1'000, 0);
  EXPECT_LE(table.bytes(), 1'000u);
  EXPECT_EQ(Put(1, 300), CacheAdmission::kTooLarge);
}

TEST_F(CacheTableTest, StopsAdmittingWhileTooMuchGarbageWaits) {
  EpochDomain small({.objects_max = 3, .bytes_max = 1 << 20});
  {
    CacheTable<Entry> other(small, {.bytes_max = 1 << 20, .shards = 1});
    EpochDomain::Guard guard(small);
    auto insert = [&] {
      return other.Insert(Ref<Entry>::Make(1u), Mix(1), 10, [](const Entry&) { return true; });
    };
    for (int i = 0; i < 5; ++i) EXPECT_EQ(insert(), CacheAdmission::kAdmitted);
    EXPECT_EQ(insert(), CacheAdmission::kSaturated);
  }
}

TEST(CacheTable, ARefOutlivesTheEpochAndTheTable) {
  Ref<Entry> kept;
  {
    EpochDomain domain;
    CacheTable<Entry> table(domain, {.bytes_max = 1 << 20});
    table.Insert(Ref<Entry>::Make(1u, 5), Mix(1), 10, [](const Entry&) { return false; });
    EpochDomain::Guard guard(domain);
    kept = Ref<Entry>(table.Find(Mix(1), [](const Entry&) { return true; }));
    table.Clear();
  }
  EXPECT_EQ(kept->value, 5);
  EXPECT_EQ(Entry::alive, 1);
}

TEST(CacheTable, ManyThreadsReadInsertAndPurge) {
  EpochDomain domain;
  {
    CacheTable<Entry> table(domain, {.bytes_max = 40'000, .entry_bytes_max = 4'000, .shards = 4});
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        EpochDomain::Reader reader(domain);
        std::minstd_rand random(t + 1);
        Ref<Entry> kept;
        while (!stop.load(std::memory_order_relaxed)) {
          reader.Enter();
          for (int i = 0; i < 32; ++i) {
            const uint64_t key = random() % 300;
            Entry* entry = table.Find(Mix(key), [&](const Entry& e) { return e.key == key; });
            if (entry == nullptr) continue;
            if (entry->key != key) ++wrong;
            if (i == 0) kept = Ref<Entry>(entry);
          }
          reader.Leave();
          if (kept && kept->key >= 300) ++wrong;
          domain.Reclaim();
        }
      });
    }
    std::minstd_rand random(9);
    for (int i = 0; i < 20'000; ++i) {
      const uint64_t key = random() % 300;
      table.Insert(Ref<Entry>::Make(key), Mix(key), 50 + random() % 500,
                   [&](const Entry& old) { return old.key == key; });
      if (i % 1000 == 0) table.RemoveIf([](const Entry& entry) { return entry.key < 100; });
      ASSERT_LE(table.bytes(), 40'000u);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
  }
  domain.Reclaim();
  EXPECT_EQ(Entry::alive, 0);
}

// A plain LRU of the same bytes, to compare with.
class Lru {
 public:
  explicit Lru(size_t bytes_max) : bytes_max_(bytes_max) {}
  bool Touch(uint64_t key, size_t size) {
    auto found = where_.find(key);
    if (found != where_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return true;
    }
    order_.push_front({key, size});
    where_[key] = order_.begin();
    bytes_ += size;
    while (bytes_ > bytes_max_) {
      bytes_ -= order_.back().second;
      where_.erase(order_.back().first);
      order_.pop_back();
    }
    return false;
  }

 private:
  std::list<std::pair<uint64_t, size_t>> order_;
  std::unordered_map<uint64_t, std::list<std::pair<uint64_t, size_t>>::iterator> where_;
  size_t bytes_max_;
  size_t bytes_ = 0;
};

// Zipf over 50,000 objects of 200 B to 8 KiB, with a crawler that walks new objects now and then.
struct HitRatios {
  double table;
  double lru;
};
HitRatios Simulate(double skew, bool with_scan) {
  constexpr size_t kObjects = 50'000;
  constexpr size_t kBytes = 8u << 20;
  std::vector<double> weights(kObjects);
  for (size_t i = 0; i < kObjects; ++i)
    weights[i] = 1.0 / std::pow(static_cast<double>(i + 1), skew);
  std::discrete_distribution<uint64_t> zipf(weights.begin(), weights.end());
  std::mt19937_64 random(42);
  EpochDomain domain;
  CacheTable<Entry> table(domain, {.bytes_max = kBytes});
  Lru lru(kBytes);
  int asked = 0, hits = 0, lru_hits = 0;
  auto request = [&](uint64_t key, bool counted) {
    const size_t size = 200 + Mix(key + 7) % 8000;
    const bool lru_hit = lru.Touch(key, size);
    const bool hit =
        table.Find(Mix(key), [&](const Entry& entry) { return entry.key == key; }) != nullptr;
    if (!hit) {
      table.Insert(Ref<Entry>::Make(key), Mix(key), size,
                   [&](const Entry& e) { return e.key == key; });
    }
    if (!counted) return;
    ++asked;
    hits += hit;
    lru_hits += lru_hit;
  };
  uint64_t next_scanned = 1u << 20;
  for (int i = 0; i < 400'000; ++i) {
    request(zipf(random), i > 50'000);
    if (with_scan && i % 20'000 < 5'000) request(next_scanned++, false);
  }
  return {static_cast<double>(hits) / asked, static_cast<double>(lru_hits) / asked};
}

TEST(CacheTable, KeepsMoreOfAZipfTraceThanLru) {
  for (double skew : {0.7, 0.9, 1.1}) {
    for (bool scan : {false, true}) {
      const HitRatios ratios = Simulate(skew, scan);
      std::printf("zipf %.1f scan %d: table %.4f lru %.4f\n", skew, scan, ratios.table, ratios.lru);
      EXPECT_GT(ratios.table, ratios.lru) << "skew " << skew << " scan " << scan;
    }
  }
}

}  // namespace
}  // namespace catzilla::base
