#include "sidecar/cache/freshness.h"

#include <gtest/gtest.h>

#include "sidecar/cache/testing.h"

namespace catzilla::cache {
namespace {

using testing::Request;

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kWallS = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT
constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";

Storability Ask(std::string_view request, int status, std::vector<Field> fields,
                StoragePolicy policy = {}) {
  return Storable(Request(request).view(), {status, fields}, policy,
                  {10 * kSecond, 10 * kSecond, kWallS});
}

TEST(Freshness, WhatMayBeStored) {
  const struct {
    std::string_view request;
    int status;
    std::vector<Field> fields;
    std::string_view reason;  // Empty: storable.
  } kRows[] = {
      {"GET /", 200, {{"Cache-Control", "max-age=60"}}, ""},
      {"GET /", 404, {{"Cache-Control", "max-age=60"}}, ""},
      {"GET /", 503, {{"Cache-Control", "max-age=5"}}, ""},
      {"GET /", 200, {{"Expires", "Sun, 06 Nov 1994 09:49:37 GMT"}, {"Date", kDate}}, ""},
      {"HEAD /", 200, {{"Cache-Control", "max-age=60"}}, "method"},
      {"POST /", 200, {{"Cache-Control", "max-age=60"}}, "method"},
      {"GET /\nCache-Control: no-store",
       200,
       {{"Cache-Control", "max-age=60"}},
       "request no-store"},
      {"GET /", 200, {{"Cache-Control", "max-age=60, no-store"}}, "no-store"},
      {"GET /", 200, {{"Cache-Control", "max-age=60, no-store, must-understand"}}, ""},
      {"GET /", 599, {{"Cache-Control", "max-age=60, no-store, must-understand"}}, "no-store"},
      {"GET /", 200, {{"Cache-Control", "private, max-age=60"}}, "private"},
      {"GET /", 200, {{"Cache-Control", "max-age=60"}, {"Vary", "Accept, *"}}, "vary *"},
      {"GET /", 200, {{"Cache-Control", "max-age=60"}, {"Set-Cookie", "a=b"}}, "set-cookie"},
      {"GET /", 206, {{"Cache-Control", "max-age=60"}}, "status"},
      {"GET /", 400, {{"Cache-Control", "max-age=60"}}, "status"},
      {"GET /", 413, {{"Cache-Control", "max-age=60"}}, "status"},
      {"GET /", 431, {{"Cache-Control", "max-age=60"}}, "status"},
      {"GET /", 304, {{"Cache-Control", "max-age=60"}}, "status"},
      // RFC 9111 3.5.
      {"GET /\nAuthorization: x", 200, {{"Cache-Control", "max-age=60"}}, "authorization"},
      {"GET /\nAuthorization: x", 200, {{"Cache-Control", "max-age=60, public"}}, ""},
      {"GET /\nAuthorization: x", 200, {{"Cache-Control", "s-maxage=60"}}, ""},
      {"GET /\nAuthorization: x", 200, {{"Cache-Control", "max-age=60, must-revalidate"}}, ""},
      // Nothing explicit: not kept without a policy, whatever validators it has.
      {"GET /", 200, {}, "stale at once"},
      {"GET /", 200, {{"ETag", "\"a\""}}, "no freshness"},
      {"GET /", 404, {{"ETag", "\"a\""}}, "no freshness"},
      // Stale at once is worth keeping only to validate it.
      {"GET /", 200, {{"Cache-Control", "max-age=0"}}, "stale at once"},
      {"GET /", 200, {{"Cache-Control", "max-age=0"}, {"ETag", "\"a\""}}, ""},
      {"GET /", 200, {{"Cache-Control", "no-cache"}, {"Last-Modified", kDate}}, ""},
      {"GET /", 200, {{"Cache-Control", "no-cache"}}, "stale at once"},
      {"GET /", 200, {{"Expires", "0"}}, "stale at once"},
      {"GET /", 200, {{"Cache-Control", "max-age=60"}, {"Age", "60"}}, "stale at once"},
  };
  for (const auto& row : kRows) {
    const Storability result = Ask(row.request, row.status, row.fields);
    EXPECT_EQ(result.reason, row.reason) << row.request << " " << row.status << " "
                                         << (row.fields.empty() ? "" : row.fields[0].value);
    EXPECT_EQ(result.storable, row.reason.empty());
  }
}

TEST(Freshness, LifetimeTakesTheMostSpecific) {
  const struct {
    std::vector<Field> fields;
    int64_t lifetime_s;
  } kRows[] = {
      {{{"Cache-Control", "max-age=60, s-maxage=600"}, {"Expires", kDate}}, 600},
      {{{"Cache-Control", "s-maxage=6, max-age=600"}}, 6},
      {{{"Cache-Control", "max-age=60"}, {"Expires", "Sun, 06 Nov 1994 10:49:37 GMT"}}, 60},
      {{{"Expires", "Sun, 06 Nov 1994 08:50:37 GMT"}, {"Date", kDate}}, 60},
      // From Date, not from our clock.
      {{{"Expires", "Sun, 06 Nov 1994 08:50:37 GMT"}, {"Date", "Sun, 06 Nov 1994 08:49:27 GMT"}},
       70},
      {{{"Expires", "Sunday, 06-Nov-94 08:50:37 GMT"}}, 60},
      {{{"Expires", "SUN, 06 nov 1994 08:50:37 gmt"}}, 60},  // C3
  };
  for (const auto& row : kRows) {
    const Storability result = Ask("GET /", 200, row.fields);
    EXPECT_TRUE(result.storable) << result.reason;
    EXPECT_EQ(result.freshness.lifetime_us, row.lifetime_s * kSecond) << row.fields[0].value;
  }
}

TEST(Freshness, PoliciesSpeakOnlyWhereTheAnswerIsSilent) {
  StoragePolicy policy{.default_ttl_us = 5 * kSecond};
  EXPECT_EQ(Ask("GET /", 200, {}, policy).freshness.lifetime_us, 5 * kSecond);
  policy.route_ttl_us = 9 * kSecond;
  EXPECT_EQ(Ask("GET /", 200, {}, policy).freshness.lifetime_us, 9 * kSecond);
  EXPECT_EQ(Ask("GET /", 200, {{"Cache-Control", "max-age=60"}}, policy).freshness.lifetime_us,
            60 * kSecond);
  EXPECT_FALSE(Ask("GET /", 200, {{"Cache-Control", "no-store"}}, policy).storable);
  EXPECT_FALSE(Ask("GET /", 200, {{"Set-Cookie", "a=b"}}, policy).storable);
  EXPECT_FALSE(Ask("GET /", 404, {}, policy).storable) << "an error is not kept unless it says so";
  EXPECT_FALSE(Ask("GET /", 500, {}, policy).storable);
  EXPECT_FALSE(Ask("GET /\nAuthorization: x", 200, {}, policy).storable);
  policy.route_ttl_us = 0;
  EXPECT_FALSE(Ask("GET /", 200, {}, policy).storable) << "ttl=0 is off, whatever the default";
}

TEST(Freshness, AgeAddsUp) {
  auto age = [](std::vector<Field> fields, int64_t delay_s) {
    fields.push_back({"Cache-Control", "max-age=1000"});
    const ExchangeTimes times{10 * kSecond, (10 + delay_s) * kSecond, kWallS};
    return Storable(Request("GET /").view(), {200, fields}, {}, times).freshness.initial_age_us /
           kSecond;
  };
  EXPECT_EQ(age({}, 0), 0);
  EXPECT_EQ(age({}, 3), 3) << "the time it took counts";
  EXPECT_EQ(age({{"Age", "7"}}, 3), 10);
  EXPECT_EQ(age({{"Age", "7, 100"}}, 0), 7);
  EXPECT_EQ(age({{"Age", "-7"}}, 0), 0);
  EXPECT_EQ(age({{"Date", "Sun, 06 Nov 1994 08:49:07 GMT"}}, 0), 30) << "apparent age";
  EXPECT_EQ(age({{"Date", "Sun, 06 Nov 1994 08:49:07 GMT"}, {"Age", "40"}}, 0), 40);
  EXPECT_EQ(age({{"Date", "Sun, 06 Nov 1994 09:49:37 GMT"}}, 0), 0) << "a clock ahead of ours";
}

TEST(Freshness, JudgesStoredAnswers) {
  Freshness plain{.lifetime_us = 60 * kSecond, .response_us = 100 * kSecond, .has_validator = true};
  Freshness no_cache = plain;
  no_cache.no_cache = true;
  Freshness must = plain;
  must.never_stale = true;
  Freshness bare = plain;
  bare.has_validator = false;
  const struct {
    std::string_view request;
    const Freshness* stored;
    int64_t age_s;
    Verdict verdict;
    Forward forward;
  } kRows[] = {
      {"GET /", &plain, 0, Verdict::kServe, Forward::kNone},
      {"HEAD /", &plain, 0, Verdict::kServe, Forward::kNone},
      {"GET /", &plain, 59, Verdict::kServe, Forward::kNone},
      {"GET /", &plain, 60, Verdict::kRevalidate, Forward::kStale},
      {"GET /", &bare, 60, Verdict::kMiss, Forward::kStale},
      {"HEAD /", &plain, 60, Verdict::kBypass, Forward::kStale},
      {"POST /", &plain, 0, Verdict::kBypass, Forward::kMethod},
      {"GET /", &no_cache, 0, Verdict::kRevalidate, Forward::kStale},
      {"GET /\nCache-Control: max-stale", &no_cache, 0, Verdict::kRevalidate, Forward::kStale},
      {"GET /", nullptr, 0, Verdict::kMiss, Forward::kUriMiss},
      {"HEAD /", nullptr, 0, Verdict::kBypass, Forward::kUriMiss},
      {"GET /\nRange: bytes=0-1", nullptr, 0, Verdict::kBypass, Forward::kUriMiss},
      {"GET /\nRange: bytes=0-1", &plain, 0, Verdict::kServe, Forward::kNone},
      {"GET /\nIf-Match: \"a\"", nullptr, 0, Verdict::kBypass, Forward::kUriMiss},
      {"GET /\nCache-Control: no-cache", &plain, 0, Verdict::kRevalidate, Forward::kRequest},
      {"GET /\nPragma: no-cache", &plain, 0, Verdict::kRevalidate, Forward::kRequest},
      {"GET /\nCache-Control: max-age=10", &plain, 10, Verdict::kServe, Forward::kNone},
      {"GET /\nCache-Control: max-age=10", &plain, 11, Verdict::kRevalidate, Forward::kRequest},
      {"GET /\nCache-Control: min-fresh=10", &plain, 50, Verdict::kServe, Forward::kNone},
      {"GET /\nCache-Control: min-fresh=10", &plain, 51, Verdict::kRevalidate, Forward::kRequest},
      {"GET /\nCache-Control: max-stale", &plain, 1000, Verdict::kServe, Forward::kNone},
      {"GET /\nCache-Control: max-stale=10", &plain, 70, Verdict::kServe, Forward::kNone},
      {"GET /\nCache-Control: max-stale=10", &plain, 71, Verdict::kRevalidate, Forward::kStale},
      {"GET /\nCache-Control: max-stale=10", &must, 65, Verdict::kRevalidate, Forward::kStale},
      {"GET /\nCache-Control: only-if-cached", &plain, 0, Verdict::kServe, Forward::kNone},
      {"GET /\nCache-Control: only-if-cached", &plain, 60, Verdict::kOnlyIfCached, Forward::kStale},
      {"GET /\nCache-Control: only-if-cached", nullptr, 0, Verdict::kOnlyIfCached,
       Forward::kUriMiss},
  };
  for (const auto& row : kRows) {
    const Judgement judgement = Judge(row.stored, RequestFacts::Of(Request(row.request).head()),
                                      (100 + row.age_s) * kSecond);
    EXPECT_EQ(judgement.verdict, row.verdict) << row.request << " at " << row.age_s;
    EXPECT_EQ(judgement.forward, row.forward) << row.request << " at " << row.age_s;
    if (row.stored != nullptr && row.verdict != Verdict::kBypass) {
      EXPECT_EQ(judgement.age_s, row.age_s);
      EXPECT_EQ(judgement.ttl_s, 60 - row.age_s);
    }
  }
  EXPECT_EQ(Judge(nullptr, RequestFacts::Of(Request("GET /").head()), 0, true).forward,
            Forward::kVaryMiss);
}

}  // namespace
}  // namespace catzilla::cache
