#include "sidecar/cache/store.h"

#include <gtest/gtest.h>

#include <cstring>

#if !defined(CATZILLA_SANITIZED)
#include <jemalloc/jemalloc.h>
#endif

#include "sidecar/cache/cache_status.h"
#include "sidecar/cache/testing.h"
#include "sidecar/cache/validation.h"

namespace catzilla::cache {
namespace {

using testing::At;
using testing::Bench;
using testing::Request;
using testing::Text;

const Field kFresh = {"Cache-Control", "max-age=60"};

TEST(Store, KeepsAndFindsAnAnswer) {
  Bench bench;
  EXPECT_FALSE(bench.Find("GET /a"));
  bench.Fill("GET /a",
             {kFresh,
              {"Content-Type", "text/plain"},
              {"Connection", "x-hop"},
              {"X-Hop", "1"},
              {"Age", "3"}},
             "hello");
  const base::Ref<Object> object = bench.Find("GET /a");
  ASSERT_TRUE(object);
  EXPECT_EQ(object->head(),
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: max-age=60\r\n"
            "Content-Type: text/plain\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n");
  EXPECT_EQ(object->fields().substr(0, 13), "Cache-Control");
  EXPECT_EQ(object->not_modified_head(),
            "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nDate: Sun, 09 Sep 2001 "
            "01:46:40 GMT\r\n");
  EXPECT_EQ(Text(*object), "hello");
  EXPECT_TRUE(bench.Find("HEAD /a")) << "HEAD is answered from GET's answer";
  EXPECT_FALSE(bench.Find("GET /a?x=1"));
  EXPECT_FALSE(bench.Find("GET /a\nHost: other.org"));
  EXPECT_EQ(bench.store.stats().objects, 1u);
  EXPECT_EQ(bench.store.stats().bytes, object->charge());
}

TEST(Store, KeepsLongBodiesInTheirSegments) {
  Bench bench;
  std::string body;
  for (int i = 0; i < 60'000; ++i) body += std::to_string(i);
  bench.Fill("GET /a", {kFresh}, body);
  const base::Ref<Object> object = bench.Find("GET /a");
  ASSERT_TRUE(object);
  EXPECT_GT(object->body().size(), 1u);
  EXPECT_EQ(Text(*object), body);
  EXPECT_GE(object->charge(), body.size());
  EXPECT_LE(object->charge(), body.size() + body.size() / 4);
}

TEST(Store, KeepsAnEmptyBody) {
  Bench bench;
  bench.Fill("GET /a", {kFresh, {"Content-Length", "0"}}, "");
  const base::Ref<Object> object = bench.Find("GET /a");
  ASSERT_TRUE(object);
  EXPECT_EQ(Text(*object), "");
  EXPECT_TRUE(object->body().empty());
  bench.Fill("GET /b", {kFresh}, "", 204);
  EXPECT_EQ(bench.Find("GET /b")->head().find("Content-Length"), std::string_view::npos);
}

TEST(Store, KeepsVariantsApart) {
  Bench bench;
  bench.Fill("GET /a\nAccept-Language: de", {kFresh, {"Vary", "Accept-Language"}}, "hallo");
  bench.Fill("GET /a\nAccept-Language: en", {kFresh, {"Vary", "Accept-Language"}}, "hello");
  EXPECT_EQ(Text(*bench.Find("GET /a\nAccept-Language: de")), "hallo");
  EXPECT_EQ(Text(*bench.Find("GET /a\nAccept-Language: en")), "hello");
  bool others = false;
  const Request french("GET /a\nAccept-Language: fr");
  {
    base::EpochDomain::Guard guard(bench.domain);
    EXPECT_EQ(bench.store.Find(bench.Key(french), french.head(), &others), nullptr);
  }
  EXPECT_TRUE(others);
  bench.Fill("GET /a\nAccept-Language: de", {kFresh, {"Vary", "Accept-Language"}}, "neu");
  EXPECT_EQ(bench.store.stats().objects, 2u) << "the same variant is replaced";
}

TEST(Store, AnAnswerWithAnotherVaryReplacesAllVariants) {
  Bench bench;
  bench.Fill("GET /a", {kFresh}, "for everyone");
  bench.Fill("GET /a\nAccept-Language: de", {kFresh, {"Vary", "Accept-Language"}}, "hallo");
  EXPECT_FALSE(bench.Find("GET /a\nAccept-Language: en"))
      << "what once was for everyone is so no more";
  EXPECT_EQ(bench.store.stats().objects, 1u);
}

TEST(Store, BoundsTheVariantsOfAKey) {
  Bench bench;
  for (size_t i = 0; i < ObjectStore::kVariantsMax + 10; ++i) {
    bench.Fill("GET /a\nX-V: " + std::to_string(i), {kFresh, {"Vary", "X-V"}}, "x");
  }
  EXPECT_EQ(bench.store.stats().objects, ObjectStore::kVariantsMax);
  EXPECT_FALSE(bench.Find("GET /a\nX-V: 0")) << "the oldest go";
  EXPECT_TRUE(bench.Find("GET /a\nX-V: " + std::to_string(ObjectStore::kVariantsMax + 9)));
}

TEST(Store, StaysWithinItsBytes) {
  Bench bench;
  for (int i = 0; i < 500; ++i)
    bench.Fill("GET /" + std::to_string(i), {kFresh}, std::string(20'000, 'x'));
  const CacheStats stats = bench.store.stats();
  EXPECT_LE(stats.bytes, stats.bytes_max);
  EXPECT_GT(stats.evictions[static_cast<size_t>(EvictionReason::kCapacity)], 0u);
  EXPECT_EQ(stats.fill_bytes, 0u);
  config::Cache smaller = testing::SmallCache();
  smaller.memory_bytes_max = 100'000;
  bench.store.Reconfigure(smaller);
  EXPECT_LE(bench.store.stats().bytes, 100'000u);
}

TEST(Store, DeclinesAnswersWithTooManyTags) {
  Bench bench;
  std::string tags;
  for (int i = 0; i < 65; ++i) tags += "t" + std::to_string(i) + " ";
  bench.Fill("GET /a", {kFresh, {"Surrogate-Key", tags}}, "x");
  EXPECT_FALSE(bench.Find("GET /a")) << "what cannot be purged is not kept";
}

// Purging...

uint64_t PurgedObjects(Bench& bench, PurgeKind kind, std::string_view value) {
  return bench.store.Purge(kind, value, {}).objects;
}

TEST(Purge, ByUrlTakesEveryVariantAndNothingElse) {
  Bench bench;
  bench.Fill("GET /a?x=1&y=2\nX-V: 1", {kFresh, {"Vary", "X-V"}}, "1");
  bench.Fill("GET /a?x=1&y=2\nX-V: 2", {kFresh, {"Vary", "X-V"}}, "2");
  bench.Fill("GET /a", {kFresh}, "3");
  bench.Fill("GET /a?x=1&y=2\nHost: b.org", {kFresh}, "4");
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kUrl, "http://Example.org:80/a?x=1&y=2#top"), 2u);
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kUrl, "http://example.org/a?x=1&y=2"), 0u);
  EXPECT_TRUE(bench.Find("GET /a"));
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kUrl, "/a?x=1&y=2"), 1u) << "a path alone: every host";
  EXPECT_EQ(bench.store.stats().objects, 1u);
}

TEST(Purge, ByPrefixHostAndAll) {
  Bench bench;
  for (std::string_view target : {"/a/1", "/a/2", "/ab", "/b"}) {
    bench.Fill("GET " + std::string(target), {kFresh}, "x");
    bench.Fill("GET " + std::string(target) + "\nHost: b.org", {kFresh}, "x");
  }
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kPrefix, "http://b.org/a/"), 2u);
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kPrefix, "/a/"), 2u);
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kPrefix, "/a"), 2u)
      << "/ab on two hosts: character by character";
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kHost, "org"), 0u);
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kHost, "B.org"), 1u);
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kAll, ""), 1u);
  EXPECT_EQ(bench.store.stats().objects, 0u);
}

TEST(Purge, PreviewTellsWhatWouldGoAndTakesNothing) {
  Bench bench;
  bench.Fill("GET /a/1\nHost: a.org", {kFresh}, "1");
  bench.Fill("GET /a/2\nHost: a.org", {kFresh}, "2");
  bench.Fill("GET /a/1\nHost: b.org", {kFresh, {"Surrogate-Key", "tagged"}}, "3");
  const struct {
    PurgeKind kind;
    const char* value;
    uint64_t objects;
  } kCases[] = {{PurgeKind::kUrl, "http://a.org/a/1", 1},
                {PurgeKind::kUrl, "/a/1", 2},
                {PurgeKind::kPrefix, "/a/", 3},
                {PurgeKind::kHost, "a.org", 2},
                {PurgeKind::kTag, "tagged", 1},
                {PurgeKind::kTag, "tag", 0},
                {PurgeKind::kAll, "", 3}};
  for (const auto& test : kCases) {
    const Purged preview = bench.store.Preview(test.kind, test.value, {});
    EXPECT_EQ(preview.objects, test.objects) << test.value;
    EXPECT_EQ(preview.bytes > 0, test.objects > 0) << test.value;
  }
  const Purged all = bench.store.Preview(PurgeKind::kAll, "", {});
  const Purged gone = bench.store.Purge(PurgeKind::kAll, "", {});
  EXPECT_EQ(gone.objects, all.objects);
  EXPECT_EQ(gone.bytes, all.bytes);
}

TEST(Purge, ByTagIsExact) {
  Bench bench;
  bench.Fill("GET /1", {kFresh, {"Surrogate-Key", "item item-7"}}, "x");
  bench.Fill("GET /2", {kFresh, {"Cache-Tag", "item-7, item-70"}}, "x");
  bench.Fill("GET /3", {kFresh, {"Surrogate-Key", "item-70"}}, "x");
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kTag, "ite"), 0u);
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kTag, "item-7"), 2u);
  EXPECT_TRUE(bench.Find("GET /3")) << "a tag that begins alike";
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kTag, "item"), 0u) << "its object is gone already";
  EXPECT_EQ(PurgedObjects(bench, PurgeKind::kTag, "item-70"), 1u);
  EXPECT_EQ(bench.store.stats().purged[static_cast<size_t>(PurgeKind::kTag)], 3u);
}

TEST(Purge, UnsafeMethodsInvalidateWhatTheyName) {
  Bench bench;
  auto fill = [&] {
    for (const char* target : {"/a", "/b", "/c", "/d"})
      bench.Fill(std::string("GET ") + target, {kFresh}, "x");
  };
  fill();
  const Request post("POST /a\nContent-Length: 0");
  const std::vector<Field> fields = {{"Location", "/b"},
                                     {"Content-Location", "http://example.org/c"},
                                     {"Location", "http://evil.org/d"}};
  EXPECT_EQ(bench.store.Invalidate(post.view(), {500, fields}, {}), 0u) << "errors change nothing";
  EXPECT_EQ(bench.store.Invalidate(Request("GET /a").view(), {200, fields}, {}), 0u);
  EXPECT_EQ(bench.store.Invalidate(post.view(), {201, fields}, {}), 3u);
  EXPECT_TRUE(bench.Find("GET /d"));
  EXPECT_FALSE(bench.Find("GET /a"));
}

// Validation...

TEST(Validation, FreshensWithTheFieldsOfA304) {
  Bench bench;
  std::string body(100'000, 'x');
  bench.Fill("GET /a",
             {{"Cache-Control", "max-age=0"},
              {"ETag", "\"v1\""},
              {"Content-Type", "text/html"},
              {"X-Old", "1"},
              {"Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"}},
             body);
  const base::Ref<Object> stale = bench.Find("GET /a");
  ASSERT_TRUE(stale);
  const Conditions conditions = ConditionsFor(*stale);
  EXPECT_EQ(conditions.if_none_match, "\"v1\"");
  EXPECT_EQ(conditions.if_modified_since, "Sun, 06 Nov 1994 08:49:37 GMT");

  const Request request("GET /a");
  Follower follower;
  Joined joined = bench.Join(request, follower, 1, stale.get());
  ASSERT_EQ(joined.producer.stale(), stale.get());
  const std::vector<Field> news = {{"Cache-Control", "max-age=30"},
                                   {"X-Old", "2"},
                                   {"Content-Type", "nonsense"},
                                   {"Content-Length", "0"},
                                   {"ETag", "\"v1\""}};
  const base::Ref<Object> fresh =
      joined.producer.NotModified(request.view(), {304, news}, At(bench.now_us));
  ASSERT_TRUE(fresh);
  EXPECT_EQ(joined.fill->Look(follower), Fill::State::kObject);
  EXPECT_EQ(joined.fill->object(), fresh);
  joined.fill->Leave(follower);
  EXPECT_EQ(fresh->body()[0].data(), stale->body()[0].data()) << "the body is shared";
  EXPECT_EQ(
      fresh->head(),
      "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nETag: \"v1\"\r\nContent-Type: text/html\r\n"
      "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: max-age=30\r\nX-Old: 2\r\n"
      "Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n");
  EXPECT_EQ(bench.Find("GET /a"), fresh);
  EXPECT_EQ(bench.store.stats().objects, 1u);
}

TEST(Validation, DropsWhatMayNoLongerBeKept) {
  Bench bench;
  bench.Fill("GET /a", {{"Cache-Control", "max-age=0"}, {"ETag", "\"v1\""}}, "x");
  const base::Ref<Object> stale = bench.Find("GET /a");
  const Request request("GET /a");
  Follower follower;
  Joined joined = bench.Join(request, follower, 1, stale.get());
  const std::vector<Field> news = {{"Cache-Control", "no-store"}};
  EXPECT_FALSE(joined.producer.NotModified(request.view(), {304, news}, At(bench.now_us)));
  EXPECT_EQ(joined.fill->Look(follower), Fill::State::kReleased);
  joined.fill->Leave(follower);
  EXPECT_FALSE(bench.Find("GET /a"));
}

TEST(Validation, RepliesToConditionsAndRanges) {
  Bench bench;
  bench.Fill("GET /a",
             {kFresh, {"ETag", "\"v1\""}, {"Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"}},
             std::string(1000, 'x'));
  const base::Ref<Object> object = bench.Find("GET /a");
  auto reply = [&](std::string_view text) {
    return ReplyTo(Request(text).head(), *object, 1'000'000'000);
  };
  using Kind = Reply::Kind;
  EXPECT_EQ(reply("GET /a").kind, Kind::kWhole);
  EXPECT_EQ(reply("GET /a\nIf-None-Match: \"v1\"").kind, Kind::kNotModified);
  EXPECT_EQ(reply("GET /a\nIf-None-Match: W/\"v1\"").kind, Kind::kNotModified);
  EXPECT_EQ(reply("HEAD /a\nIf-None-Match: *").kind, Kind::kNotModified);
  EXPECT_EQ(reply("GET /a\nIf-None-Match: \"v2\"").kind, Kind::kWhole);
  EXPECT_EQ(reply("GET /a\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT").kind,
            Kind::kNotModified);
  EXPECT_EQ(
      reply("GET /a\nIf-None-Match: \"v2\"\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT").kind,
      Kind::kWhole);
  EXPECT_EQ(reply("GET /a\nIf-Match: \"v2\"").kind, Kind::kFailed);
  const Reply part = reply("GET /a\nRange: bytes=2-4");
  EXPECT_EQ(part.kind, Kind::kPartial);
  EXPECT_EQ(part.range, (http::ByteRange{2, 3}));
  EXPECT_EQ(reply("HEAD /a\nRange: bytes=2-4").kind, Kind::kWhole);
  EXPECT_EQ(reply("GET /a\nRange: bytes=1000-").kind, Kind::kUnsatisfiable);
  EXPECT_EQ(reply("GET /a\nRange: bytes=0-1,500-501").kind, Kind::kWhole) << "several: the whole";
  EXPECT_EQ(reply("GET /a\nRange: bytes=0-1,5-6").range, (http::ByteRange{0, 7}))
      << "near ones are joined";
  EXPECT_EQ(reply("GET /a\nRange: bytes=2-4\nIf-Range: \"v2\"").kind, Kind::kWhole);
  EXPECT_EQ(reply("GET /a\nRange: bytes=2-4\nIf-Range: \"v1\"").kind, Kind::kPartial);
}

TEST(CacheStatus, Lines) {
  char out[kCacheLinesBytesMax];
  auto hit = [&](int64_t age, int64_t ttl) {
    return std::string(out, WriteHitLines(out, age, ttl));
  };
  EXPECT_EQ(hit(7, 53), "Age: 7\r\nCache-Status: catzilla; hit; ttl=53\r\n");
  EXPECT_EQ(hit(70, -10), "Age: 70\r\nCache-Status: catzilla; hit; ttl=-10\r\n");
  EXPECT_LE(hit(INT64_MAX, INT64_MIN).size(), kCacheLinesBytesMax);
  auto forward = [&](const Forwarded& forwarded) {
    return std::string(out, WriteForwardLine(out, forwarded));
  };
  EXPECT_EQ(forward({.why = Forward::kUriMiss, .status = 200, .stored = true, .collapsed = true}),
            "Cache-Status: catzilla; fwd=uri-miss; fwd-status=200; stored; collapsed\r\n");
  EXPECT_EQ(forward({.why = Forward::kStale, .status = 304, .revalidated = true, .ttl_s = 60}),
            "Cache-Status: catzilla; fwd=stale; fwd-status=304; ttl=60\r\n");
  EXPECT_EQ(forward({.why = Forward::kMethod}), "Cache-Status: catzilla; fwd=method\r\n");
}

#if !defined(CATZILLA_SANITIZED)
TEST(Store, AHitAllocatesNothing) {
  Bench bench;
  const std::string target =
      "GET /a?b=1&a=2\nAccept-Encoding: gzip, br\nAccept-Language: de\nUser-Agent: x";
  bench.Fill(target, {kFresh, {"Vary", "Accept-Encoding, Accept-Language"}, {"ETag", "\"v1\""}},
             "hello");
  const Request request(target + "\nIf-None-Match: \"v2\"");
  base::EpochDomain::Reader reader(bench.domain);
  CacheKey key;
  char out[4096];
  auto hit = [&] {
    reader.Enter();
    BuildKey(request.view(), {}, bench.store.seed(), &key);
    const Object* object = bench.store.Find(key, request.head(), nullptr);
    const Judgement judgement =
        Judge(&object->freshness(), RequestFacts::Of(request.head()), bench.now_us);
    const Reply reply = ReplyTo(request.head(), *object, 1'000'000'000);
    std::memcpy(out, object->head().data(), object->head().size());
    WriteHitLines(out + object->head().size(), judgement.age_s, judgement.ttl_s);
    bench.store.Count(0, CacheResult::kHit);
    reader.Leave();
    bench.domain.Reclaim();
    return judgement.verdict == Verdict::kServe && reply.kind == Reply::Kind::kWhole;
  };
  EXPECT_TRUE(hit());  // The key's text takes its memory once per exchange.
  uint64_t* allocated = nullptr;
  size_t size = sizeof(allocated);
  ASSERT_EQ(mallctl("thread.allocatedp", &allocated, &size, nullptr, 0), 0);
  const uint64_t before = *allocated;
  bool served = true;
  for (int i = 0; i < 100; ++i) served = hit() && served;
  EXPECT_EQ(*allocated, before);
  EXPECT_TRUE(served);
}
#endif

TEST(Describe, O8TheVariantOfTheRequestIsSelected) {
  Bench bench;
  for (const char* value : {"1", "2"}) {
    bench.Fill("GET /a\nX-V: " + std::string(value), {kFresh, {"Vary", "X-V"}}, value);
  }
  const Request second("GET /a\nX-V: 2");
  for (const char* url : {"http://example.org/a", "/a"}) {
    const std::vector<Description> found =
        bench.store.Describe(url, {}, &second.head(), bench.now_us);
    ASSERT_EQ(found.size(), 2u) << url;
    for (const Description& one : found) EXPECT_EQ(one.selected, one.vary[0].second == "2") << url;
  }
  EXPECT_TRUE(bench.store.Describe("/b", {}, nullptr, bench.now_us).empty());
  const ObjectStore::Known known = bench.store.Ask(bench.Key(second), second.head());
  EXPECT_TRUE(known.freshness.has_value());
  const Request third("GET /a\nX-V: 3");
  EXPECT_FALSE(bench.store.Ask(bench.Key(third), third.head()).freshness.has_value());
  EXPECT_TRUE(bench.store.Ask(bench.Key(third), third.head()).variants_exist);
}

TEST(Describe, ShowsVariantsAndFills) {
  Bench bench;
  bench.Fill("GET /a\nX-V: 1", {kFresh, {"Vary", "X-V"}, {"ETag", "\"e\""}, {"Cache-Tag", "t"}},
             "12345");
  const Request request("GET /a\nX-V: 2");
  Follower follower;
  Joined joined = bench.Join(request, follower);
  bench.Find("GET /a\nX-V: 1")->CountHit();
  const std::vector<Description> found =
      bench.store.Describe("http://example.org/a", {}, &request.head(), bench.now_us + 5'000'000);
  ASSERT_EQ(found.size(), 2u);
  ASSERT_EQ(found[0].vary.size(), 1u);
  EXPECT_EQ(found[0].vary[0].first, "X-V");
  EXPECT_EQ(found[0].vary[0].second, "1");
  EXPECT_EQ(found[0].etag, "\"e\"");
  EXPECT_EQ(found[0].tags, std::vector<std::string>{"t"});
  EXPECT_EQ(found[0].body_bytes, 5u);
  EXPECT_EQ(found[0].age_s, 5);
  EXPECT_EQ(found[0].ttl_s, 55);
  EXPECT_EQ(found[0].stored_for_us, 5'000'000);
  EXPECT_EQ(found[0].hits, 1u);
  EXPECT_FALSE(found[0].selected) << "the request is another variant's";
  EXPECT_TRUE(found[1].in_flight);
  joined.fill->Leave(follower);
}

}  // namespace
}  // namespace catzilla::cache
