#include "sidecar/cache/fill.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "sidecar/base/clock.h"
#include "sidecar/cache/testing.h"

namespace catzilla::cache {
namespace {

using testing::At;
using testing::Bench;
using testing::ReadAll;
using testing::Request;
using testing::Text;
using State = Fill::State;

const std::vector<Field>& Fresh() {
  static const std::vector<Field> fields = {{"Cache-Control", "max-age=60"}};
  return fields;
}

// A leader on exchange 1 and a follower on exchange 2, both waiting for /a.
struct TwoClients : ::testing::Test {
  TwoClients() {
    lead = bench.Join(request, first, 1);
    follow = bench.Join(request, second, 2);
  }
  ~TwoClients() override {
    lead.fill->Leave(first);
    lead.fill->Leave(second);
  }
  Producer::Begun Begin(std::vector<Field> fields, int status = 200) {
    return lead.producer.Begin(request.view(), {status, fields}, At(bench.now_us));
  }
  Fill& fill() { return *lead.fill; }

  Bench bench;
  Request request{"GET /a"};
  Follower first, second;
  Joined lead, follow;
  State state = State::kPending;
};
using Fills = TwoClients;

TEST_F(Fills, ConcurrentMissesShareOneFill) {
  EXPECT_EQ(lead.role, Role::kLead);
  EXPECT_EQ(follow.role, Role::kFollow);
  EXPECT_EQ(follow.fill, lead.fill);
  EXPECT_EQ(fill().Look(second), State::kPending);
  EXPECT_EQ(Begin(Fresh()), Producer::Begun::kShared);
  EXPECT_EQ(bench.waker.woken[2], 1);
  EXPECT_TRUE(lead.producer.Append("hel"));
  EXPECT_EQ(bench.waker.woken[2], 1) << "woken once until it looks";
  EXPECT_EQ(ReadAll(fill(), second, &state), "hel");
  EXPECT_EQ(state, State::kStreaming);
  EXPECT_TRUE(lead.producer.Append("lo"));
  EXPECT_EQ(bench.waker.woken[2], 2);
  lead.producer.Finish();
  EXPECT_EQ(ReadAll(fill(), second, &state), "lo");
  EXPECT_EQ(state, State::kComplete);
  EXPECT_EQ(ReadAll(fill(), first, &state), "hello")
      << "the leader's client reads at its own speed";
  EXPECT_EQ(Text(*bench.Find("GET /a")), "hello");
  EXPECT_EQ(bench.store.stats().fills, 0u);
  EXPECT_EQ(bench.store.stats().fill_bytes, 0u);
}

TEST_F(Fills, LatecomersReadFromTheBeginning) {
  Begin(Fresh());
  ASSERT_TRUE(lead.producer.Append(std::string(100'000, 'x')));
  Follower third;
  const Joined late = bench.Join(request, third, 3);
  EXPECT_EQ(late.role, Role::kFollow);
  EXPECT_EQ(ReadAll(fill(), third, &state).size(), 100'000u);
  fill().Leave(third);
}

TEST_F(Fills, TheFirstClientLeavingEndsNothing) {
  fill().Leave(first);
  EXPECT_TRUE(lead.producer.Wanted());
  Begin(Fresh());
  fill().Leave(second);
  EXPECT_TRUE(lead.producer.Wanted()) << "it will be stored";
  EXPECT_TRUE(lead.producer.Append("x"));
  lead.producer.Finish();
  EXPECT_TRUE(bench.Find("GET /a"));
}

TEST_F(Fills, WhatMayNotBeSharedReleasesTheFollowers) {
  EXPECT_EQ(Begin({{"Cache-Control", "private"}}), Producer::Begun::kAlone);
  EXPECT_FALSE(lead.producer.active());
  EXPECT_EQ(bench.waker.woken[2], 1);
  EXPECT_EQ(fill().Look(second), State::kReleased);
  // For a bounded time nobody waits for anybody under this key.
  for (int i = 0; i < 2; ++i) {
    Follower other;
    Joined again = bench.Join(request, other, 3);
    EXPECT_EQ(again.role, Role::kLead);
    EXPECT_TRUE(again.hit_for_miss);
    again.fill->Leave(other);
  }
  bench.now_us += ObjectStore::kHitForMissUs;
  Follower a, b;
  Joined x = bench.Join(request, a, 3);
  EXPECT_FALSE(x.hit_for_miss);
  EXPECT_EQ(bench.Join(request, b, 4).role, Role::kFollow);
  x.fill->Leave(a);
  x.fill->Leave(b);
}

TEST_F(Fills, AnAnswerThatBreaksOffIsNotKept) {
  Begin(Fresh());
  ASSERT_TRUE(lead.producer.Append("half"));
  lead.producer.Abort();
  EXPECT_EQ(fill().Look(second), State::kFailed);
  EXPECT_FALSE(bench.Find("GET /a"));
  EXPECT_EQ(bench.store.stats().fills, 0u);
}

TEST_F(Fills, AnAnswerOfAnotherLengthThanDeclaredIsNotKept) {
  Begin({Fresh()[0], {"Content-Length", "5"}});
  ASSERT_TRUE(lead.producer.Append("four"));
  lead.producer.Finish();
  EXPECT_EQ(fill().Look(second), State::kFailed);
  EXPECT_FALSE(bench.Find("GET /a"));
}

TEST_F(Fills, AProducerThatGoesAwayFailsTheFill) {
  lead.producer = Producer();
  EXPECT_EQ(fill().Look(second), State::kFailed);
}

TEST_F(Fills, FollowersOfAnotherVariantSeeSoAndLeadTheirOwn) {
  Follower german;
  const Request other("GET /a\nAccept-Language: de");
  EXPECT_EQ(bench.Join(other, german, 3).role, Role::kFollow) << "the Vary is not known yet";
  Begin({Fresh()[0], {"Vary", "Accept-Language"}});
  EXPECT_EQ(fill().Look(german), State::kStreaming);
  EXPECT_FALSE(fill().Selects(other.head()));
  EXPECT_TRUE(fill().Selects(request.head()));
  fill().Leave(german);
  Joined own = bench.Join(other, german, 3);
  EXPECT_EQ(own.role, Role::kLead);
  own.fill->Leave(german);
}

TEST_F(Fills, NobodyWaitsBehindAFillThatIsTooSlow) {
  bench.now_us += 31'000'000;
  Follower third;
  Joined own = bench.Join(request, third, 3);
  EXPECT_EQ(own.role, Role::kLead);
  EXPECT_EQ(lead.deadline_us, 31'000'000);
  own.fill->Leave(third);
}

TEST_F(Fills, NobodyWaitsBehindAFillThatStandsStill) {
  Begin(Fresh());
  bench.now_us += 20'000'000;
  ASSERT_TRUE(lead.producer.Append("begun", bench.now_us));
  bench.now_us += 20'000'000;
  Follower third, fourth;
  Joined behind = bench.Join(request, third, 3);
  EXPECT_EQ(behind.role, Role::kFollow) << "it moves, if slowly";
  bench.now_us += 10'000'000;
  Joined own = bench.Join(request, fourth, 4);
  EXPECT_EQ(own.role, Role::kLead);
  behind.fill->Leave(third);
  own.fill->Leave(fourth);
}

TEST_F(Fills, BeyondTheObjectMaximumItIsAWindow) {
  Begin(Fresh());
  const std::string chunk(64 * 1024, 'x');
  uint64_t sent = 0;
  // At the app's speed up to the maximum, whoever reads.
  while (lead.producer.Room() == SIZE_MAX) {
    ASSERT_TRUE(lead.producer.Append(chunk));
    sent += chunk.size();
  }
  EXPECT_GT(sent, 1u << 20);
  EXPECT_EQ(lead.producer.Room(), 0u) << "nobody has read anything";
  Follower third;
  Joined alone = bench.Join(request, third, 3);
  EXPECT_EQ(alone.role, Role::kLead) << "newcomers ask for themselves";
  alone.fill->Leave(third);

  bench.waker.woken.clear();
  const uint64_t got = ReadAll(fill(), first, &state).size();
  EXPECT_EQ(got, sent);
  EXPECT_EQ(bench.waker.woken[1], 0) << "the slowest decides";
  (void)ReadAll(fill(), second, &state);
  EXPECT_EQ(bench.waker.woken[1], 1) << "the producer may go on";
  EXPECT_GE(lead.producer.Room(), Fill::kWindowBytes - kSegmentBytesMax);

  fill().Leave(second);
  uint64_t peak = 0;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(lead.producer.Append(chunk));
    sent += chunk.size();
    peak = std::max(peak, bench.store.stats().fill_bytes);
    ASSERT_EQ(ReadAll(fill(), first, &state).size(), chunk.size());
  }
  EXPECT_LT(peak, 512u * 1024) << "memory stays flat";
  lead.producer.Finish();
  EXPECT_EQ(ReadAll(fill(), first, &state), "");
  EXPECT_EQ(state, State::kComplete);
  EXPECT_FALSE(bench.Find("GET /a"));
}

// What one read or one write costs, in the thread's own time, with so many followers that have
// overtaken what the cache keeps.
double MicrosPerStep(size_t followers) {
  Bench bench;
  const Request request{"GET /a"};
  std::vector<Follower> crowd(followers);
  Joined lead = bench.Join(request, crowd[0], 0);
  for (size_t i = 1; i < followers; ++i) {
    EXPECT_EQ(bench.Join(request, crowd[i], static_cast<uint32_t>(i)).role, Role::kFollow);
  }
  lead.producer.Begin(request.view(), {200, Fresh()}, At(bench.now_us));
  const std::string chunk(64 * 1024, 'x');
  State state = State::kPending;
  Fill::Piece pieces[8];
  const auto read_all = [&] {
    for (Follower& follower : crowd) {
      while (lead.fill->Read(follower, pieces, &state) > 0) {
      }
    }
  };
  while (lead.producer.Room() == SIZE_MAX) EXPECT_TRUE(lead.producer.Append(chunk));
  read_all();
  constexpr int kRounds = 8;
  const int64_t begin_us = base::ReadClockMicros(CLOCK_THREAD_CPUTIME_ID);
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_TRUE(lead.producer.Append(std::string_view(chunk).substr(0, 1024)));
    read_all();
  }
  const int64_t spent_us = base::ReadClockMicros(CLOCK_THREAD_CPUTIME_ID) - begin_us;
  lead.producer.Finish();
  for (Follower& follower : crowd) lead.fill->Leave(follower);
  return static_cast<double>(spent_us) / static_cast<double>(kRounds * followers);
}

TEST(FillCost, AReadCostsTheSameHoweverManyFollow) {
  const double few = MicrosPerStep(64);
  const double many = MicrosPerStep(4096);
  EXPECT_LT(many, 10 * few + 1) << "it was 64 times as much when every read looked at everyone";
}

TEST_F(Fills, AnAnswerForNobodyThatIsNotKeptStops) {
  Begin(Fresh());
  const std::string chunk(64 * 1024, 'x');
  while (lead.producer.Room() == SIZE_MAX) ASSERT_TRUE(lead.producer.Append(chunk));
  fill().Leave(first);
  bench.waker.woken.clear();
  fill().Leave(second);
  EXPECT_EQ(bench.waker.woken[1], 1) << "the producer is told";
  EXPECT_FALSE(lead.producer.Wanted());
  EXPECT_FALSE(lead.producer.Append(chunk));
  lead.producer.Abort();
}

TEST_F(Fills, TooLargeByItsOwnWordsGoesAlone) {
  EXPECT_EQ(Begin({Fresh()[0], {"Content-Length", "2000000"}}), Producer::Begun::kAlone);
}

// A purge while an answer is on its way: those who wait get it, the store does not keep it, and
// nobody who comes later sees it.
struct PurgeCase {
  const char* name;
  PurgeKind kind;
  const char* value;
  bool covers;
};
class PurgeInFlight : public ::testing::TestWithParam<PurgeCase> {};

TEST_P(PurgeInFlight, BeforeAndAfterTheHead) {
  const PurgeCase& row = GetParam();
  for (const bool head_first : {true, false}) {
    Bench bench;
    const Request request("GET /a");
    Follower first;
    Joined lead = bench.Join(request, first, 1);
    const std::vector<Field> fields = {Fresh()[0], {"Cache-Tag", "red, redder"}};
    if (head_first) lead.producer.Begin(request.view(), {200, fields}, At(bench.now_us));
    bench.store.Purge(row.kind, row.value, {});
    if (row.covers) {
      Follower late;
      Joined own = bench.Join(request, late, 2);
      EXPECT_EQ(own.role, Role::kLead) << row.name;
      own.fill->Leave(late);
      own.producer.Abort();
    }
    if (!head_first) lead.producer.Begin(request.view(), {200, fields}, At(bench.now_us));
    ASSERT_TRUE(lead.producer.Append("old"));
    lead.producer.Finish();
    State state;
    EXPECT_EQ(ReadAll(*lead.fill, first, &state), "old");
    EXPECT_EQ(static_cast<bool>(bench.Find("GET /a")), !row.covers) << row.name << head_first;
    lead.fill->Leave(first);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Kinds, PurgeInFlight,
    ::testing::Values(PurgeCase{"url", PurgeKind::kUrl, "http://example.org/a", true},
                      PurgeCase{"path", PurgeKind::kUrl, "/a", true},
                      PurgeCase{"other_url", PurgeKind::kUrl, "/b", false},
                      PurgeCase{"prefix", PurgeKind::kPrefix, "http://example.org/", true},
                      PurgeCase{"other_prefix", PurgeKind::kPrefix, "/ab", false},
                      PurgeCase{"host", PurgeKind::kHost, "example.org", true},
                      PurgeCase{"tag", PurgeKind::kTag, "red", true},
                      PurgeCase{"other_tag", PurgeKind::kTag, "re", false},
                      PurgeCase{"all", PurgeKind::kAll, "", true}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(PurgeDuringValidation, ADoesNotBringThePurgedBack) {
  Bench bench;
  bench.Fill("GET /a", {{"Cache-Control", "max-age=0"}, {"ETag", "\"v1\""}}, "old");
  const base::Ref<Object> stale = bench.Find("GET /a");
  const Request request("GET /a");
  bench.store.Purge(PurgeKind::kAll, "", {});
  // The exchange found it before the purge and joins after.
  Follower follower;
  Joined joined = bench.Join(request, follower, 1, stale.get());
  const base::Ref<Object> fresh =
      joined.producer.NotModified(request.view(), {304, Fresh()}, At(bench.now_us));
  EXPECT_TRUE(fresh) << "this client still gets it";
  EXPECT_FALSE(bench.Find("GET /a"));
  EXPECT_EQ(bench.store.stats().objects, 0u);
  joined.fill->Leave(follower);
}

// Property: whatever was stored and purged in whatever order, a purge counts and removes exactly
// what a plain model says.
TEST(PurgeProperty, AgreesWithAModel) {
  struct Known {
    std::string path;
    int variant;
    std::set<std::string> tags;
  };
  const std::vector<std::string> tags = {"a", "ab", "abc", "b", "a b"};
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    Bench bench;
    std::map<std::pair<std::string, int>, Known> model;
    for (int step = 0; step < 150; ++step) {
      if (random() % 5 != 0) {
        Known known{"/p" + std::to_string(random() % 3) + "/" + std::to_string(random() % 4),
                    static_cast<int>(random() % 3),
                    {}};
        std::string list;
        for (size_t i = 0; i < 4; ++i) {
          if (random() % 2 == 0) continue;
          known.tags.insert(tags[i]);
          list += tags[i] + ",";
        }
        bench.Fill("GET " + known.path + "\nX-V: " + std::to_string(known.variant),
                   {Fresh()[0], {"Vary", "X-V"}, {"Cache-Tag", list}}, "x");
        model[{known.path, known.variant}] = known;
        continue;
      }
      const PurgeKind kind = static_cast<PurgeKind>(random() % 3);
      std::string value = kind == PurgeKind::kTag ? tags[random() % tags.size()]
                                                  : "/p" + std::to_string(random() % 3);
      if (kind == PurgeKind::kUrl) value += "/" + std::to_string(random() % 4);
      const size_t expected = std::erase_if(model, [&](const auto& item) {
        const Known& known = item.second;
        if (kind == PurgeKind::kTag) return known.tags.count(value) != 0;
        return kind == PurgeKind::kUrl ? known.path == value : known.path.starts_with(value);
      });
      ASSERT_EQ(bench.store.Purge(kind, value, {}).objects, expected) << value;
      ASSERT_EQ(bench.store.stats().objects, model.size());
    }
    for (const auto& [key, known] : model) {
      EXPECT_TRUE(bench.Find("GET " + known.path + "\nX-V: " + std::to_string(known.variant)));
    }
  }
}

// Loops, as threads: each asks for a few keys, leads or follows, while one purges. Every body tells
// the version that the app had when it was asked; after a purge's answer nobody may see an older
// one.
TEST(Threads, FillsFollowersAndPurges) {
  class NoWaker final : public Waker {
   public:
    void Wake(base::Ticket) override {}
  } waker;
  base::EpochDomain domain;
  ObjectStore store(domain, waker, {1, 2}, testing::SmallCache());
  std::atomic<uint64_t> version{1};
  std::atomic<uint64_t> floor{0};  // The oldest version that may be served from the store.
  std::atomic<int> wrong{0};
  std::atomic<int> completed{0};
  auto loop = [&](unsigned number) {
    base::EpochDomain::Reader reader(domain);
    std::minstd_rand random(number + 1);
    for (int i = 0; i < 1500; ++i) {
      const Request request("GET /" + std::to_string(random() % 3));
      CacheKey key;
      BuildKey(request.view(), {}, store.seed(), &key);
      reader.Enter();
      const uint64_t lowest = floor.load();
      const Object* object = store.Find(key, request.head(), nullptr);
      if (object != nullptr) {
        const std::string text = Text(*object);
        if (std::stoull(text) < lowest) ++wrong;
        store.Count(number, CacheResult::kHit);
        reader.Leave();
        continue;
      }
      Follower follower;
      Joined joined =
          store.Join(key, request.head(), nullptr, {}, {number, 0, 0}, follower, 1'000'000);
      if (joined.role == Role::kLead) {
        const std::string body =
            std::to_string(version.load()) + std::string(random() % 70'000, ' ');
        const bool storable = random() % 8 != 0;
        const std::vector<Field> fields = {{"Cache-Control", "max-age=60"}, {"Cache-Tag", "t"}};
        if (random() % 16 == 0) {
          joined.producer.Abort();
        } else if (joined.producer.Begin(request.view(), {storable ? 200 : 206, fields},
                                         At(1'000'000)) == Producer::Begun::kShared) {
          for (size_t at = 0; at < body.size(); at += 30'000) {
            if (!joined.producer.Append(std::string_view(body).substr(at, 30'000))) break;
          }
          if (joined.producer.active()) joined.producer.Finish();
        }
      }
      if (joined.fill) {
        // Followers poll here; in the sidecar they are woken.
        for (;;) {
          const State state = joined.fill->Look(follower);
          if (state == State::kComplete || state == State::kFailed || state == State::kReleased)
            break;
          std::this_thread::yield();
        }
        State state;
        const std::string text = ReadAll(*joined.fill, follower, &state);
        if (state == State::kComplete) {
          ++completed;
          if (std::stoull(text) < lowest) ++wrong;
        }
        joined.fill->Leave(follower);
      }
      reader.Leave();
      domain.Reclaim();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < 3; ++number) threads.emplace_back(loop, number);
  std::minstd_rand random(99);
  for (int i = 0; i < 300; ++i) {
    const uint64_t next = version.fetch_add(1) + 1;
    switch (random() % 4) {
      case 0:
        store.Purge(PurgeKind::kTag, "t", {});
        break;
      case 1:
        store.Purge(PurgeKind::kPrefix, "/", {});
        break;
      case 2:
        store.Purge(PurgeKind::kHost, "example.org", {});
        break;
      default:
        for (int k = 0; k < 3; ++k)
          store.Purge(PurgeKind::kUrl, "http://example.org/" + std::to_string(k), {});
        break;
    }
    floor.store(next);  // Whoever reads this from now on must not see what was before the purge.
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(completed, 0);
  EXPECT_EQ(store.stats().fills, 0u);
  EXPECT_EQ(store.stats().fill_bytes, 0u);
}

}  // namespace
}  // namespace catzilla::cache
