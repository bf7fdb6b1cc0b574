#include "sidecar/cache/cache_control.h"

#include <gtest/gtest.h>

#include "sidecar/cache/testing.h"

namespace catzilla::cache {
namespace {

TEST(CacheControl, DeltaSeconds) {
  const struct {
    std::string_view text;
    int64_t seconds;
  } kRows[] = {
      {"0", 0},
      {"60", 60},
      {"007", 7},
      {"\"60\"", 60},
      {"2147483648", kDeltaSecondsMax},
      {"2147483649", kDeltaSecondsMax},
      {"99999999999999999999999999", kDeltaSecondsMax},
      {"", kAbsent},
      {"\"\"", kAbsent},
      {"-1", kAbsent},
      {"+1", kAbsent},
      {"1.5", kAbsent},
      {"0x10", kAbsent},
      {"60s", kAbsent},
      {" 60", kAbsent},
      {"\"60", kAbsent},
  };
  for (const auto& row : kRows) EXPECT_EQ(ParseDeltaSeconds(row.text), row.seconds) << row.text;
}

TEST(CacheControl, ResponseFreshness) {
  const struct {
    std::vector<std::string_view> values;
    int64_t max_age_s;
    int64_t s_maxage_s;
  } kRows[] = {
      {{"max-age=60"}, 60, kAbsent},
      {{"MAX-AGE=60"}, 60, kAbsent},
      {{"max-age=60, s-maxage=5"}, 60, 5},
      {{"max-age=60", "s-maxage=5"}, 60, 5},
      {{" , max-age=60 ,, "}, 60, kAbsent},
      {{"max-age=\"60\""}, 60, kAbsent},
      {{"max-age = 60"}, 60, kAbsent},
      // Given twice: the same is fine, different is stale.
      {{"max-age=60, max-age=60"}, 60, kAbsent},
      {{"max-age=60, max-age=61"}, 0, kAbsent},
      {{"max-age=60", "max-age=3600"}, 0, kAbsent},
      // Invalid is stale.
      {{"max-age"}, 0, kAbsent},
      {{"max-age="}, 0, kAbsent},
      {{"max-age=abc"}, 0, kAbsent},
      {{"max-age=-5"}, 0, kAbsent},
      {{"max-age=1.5"}, 0, kAbsent},
      {{"s-maxage=x, max-age=60"}, 60, 0},
      // Inside a quoted string it is no directive.
      {{"foo=\"max-age=60\""}, kAbsent, kAbsent},
      {{"foo=\"a, max-age=60, b\", max-age=7"}, 7, kAbsent},
      {{"foo=\"\\\", max-age=60\""}, kAbsent, kAbsent},
      {{"xmax-age=60, max-agex=60"}, kAbsent, kAbsent},
  };
  for (const auto& row : kRows) {
    ResponseDirectives directives;
    for (std::string_view value : row.values) directives.Read(value);
    EXPECT_EQ(directives.max_age_s, row.max_age_s) << row.values[0];
    EXPECT_EQ(directives.s_maxage_s, row.s_maxage_s) << row.values[0];
  }
}

TEST(CacheControl, ResponseFlags) {
  ResponseDirectives directives;
  directives.Read("No-Store, private=\"Set-Cookie\", no-cache=\"a, b\", public, must-revalidate");
  directives.Read("proxy-revalidate, must-understand, no-transform");
  EXPECT_TRUE(directives.no_store);
  EXPECT_TRUE(directives.is_private);
  EXPECT_TRUE(directives.no_cache) << "with field names: the whole answer is validated";
  EXPECT_TRUE(directives.is_public);
  EXPECT_TRUE(directives.must_revalidate);
  EXPECT_TRUE(directives.proxy_revalidate);
  EXPECT_TRUE(directives.must_understand);
  EXPECT_TRUE(directives.no_transform);
}

TEST(CacheControl, RequestWishes) {
  auto of = [](std::string_view text) {
    return RequestDirectives::Of(testing::Request(text).head());
  };
  EXPECT_TRUE(of("GET /\nCache-Control: no-cache").no_cache);
  EXPECT_TRUE(of("GET /\nPragma: no-cache").no_cache);
  EXPECT_FALSE(of("GET /\nPragma: no-cache\nCache-Control: max-age=5").no_cache);
  EXPECT_TRUE(of("GET /\nCache-Control: no-store, only-if-cached").only_if_cached);
  EXPECT_EQ(of("GET /\nCache-Control: max-age=5, max-age=3").max_age_s, 3);
  EXPECT_EQ(of("GET /\nCache-Control: min-fresh=5\nCache-Control: min-fresh=9").min_fresh_s, 9);
  EXPECT_EQ(of("GET /\nCache-Control: max-stale").max_stale_s, kDeltaSecondsMax);
  EXPECT_EQ(of("GET /\nCache-Control: max-stale=7").max_stale_s, 7);
  EXPECT_EQ(of("GET /\nCache-Control: max-stale=x").max_stale_s, kAbsent);
  EXPECT_EQ(of("GET /").max_age_s, kAbsent);
}

}  // namespace
}  // namespace catzilla::cache
