#include "sidecar/http/http_date.h"

#include <gtest/gtest.h>

#include "sidecar/http/response_head.h"

namespace catzilla::http {
namespace {

constexpr int64_t kExample = 784111777;  // The RFC's own.
constexpr int64_t kNow = 1'790'000'000;  // In 2026.

TEST(HttpDate, ReadsAllThreeFormats) {
  EXPECT_EQ(ParseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT", kNow), kExample);
  EXPECT_EQ(ParseHttpDate("Sunday, 06-Nov-94 08:49:37 GMT", kNow), kExample);
  EXPECT_EQ(ParseHttpDate("Sun Nov  6 08:49:37 1994", kNow), kExample);
  EXPECT_EQ(ParseHttpDate("Sat Nov 16 00:00:00 1996", kNow), 848102400);
}

TEST(HttpDate, TwoDigitYearsAreNeverFarAhead) {
  EXPECT_EQ(ParseHttpDate("Tuesday, 01-Jan-76 00:00:00 GMT", kNow), 3345062400);  // 2076
  EXPECT_EQ(ParseHttpDate("Saturday, 01-Jan-77 00:00:00 GMT", kNow), 220924800);  // 1977
}

TEST(HttpDate, RefusesTheRest) {
  for (const std::string_view text :
       {"", "0", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 29 Feb 1995 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT", "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT, x",
        "Sun Nov 6 08:49:37 1994", "Sun, 06 Nov -994 08:49:37 GMT"}) {
    EXPECT_EQ(ParseHttpDate(text, kNow), std::nullopt) << text;
  }
  EXPECT_TRUE(ParseHttpDate("Thu, 29 Feb 1996 08:49:37 GMT", kNow).has_value());
}

TEST(HttpDate, WritesWhatItReads) {
  EXPECT_EQ(FormatHttpDate(kExample), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(FormatHttpDate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(FormatHttpDate(-1), "Wed, 31 Dec 1969 23:59:59 GMT");
  EXPECT_EQ(FormatHttpDate(INT64_MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
  for (int64_t seconds = -5'000'000'000; seconds < 9'000'000'000; seconds += 86'400 * 13 + 7'919) {
    EXPECT_EQ(ParseHttpDate(FormatHttpDate(seconds), kNow), seconds);
  }
}

TEST(DateCache, FollowsTheSecond) {
  DateCache cache;
  EXPECT_EQ(cache.Get(kExample), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(cache.Get(kExample), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(cache.Get(kExample + 1), "Sun, 06 Nov 1994 08:49:38 GMT");
  EXPECT_EQ(cache.Get(0), "Thu, 01 Jan 1970 00:00:00 GMT");
}

}  // namespace
}  // namespace catzilla::http
