#include "sidecar/schema/units.h"

#include <gtest/gtest.h>

namespace catzilla::schema {
namespace {

TEST(Units, DurationsInEveryForm) {
  const std::pair<const char*, int64_t> kTable[] = {
      {"0", 0},
      {"0s", 0},
      {"30s", 30'000'000},
      {"1m30s", 90'000'000},
      {"250ms", 250'000},
      {"10us", 10},
      {"1.5s", 1'500'000},
      {"2h", 7'200'000'000},
      {"1d", 86'400'000'000},
      {"1h0m1s", 3'601'000'000},
      {"0.001ms", 1},
  };
  for (const auto& [text, want] : kTable) {
    auto got = ParseDuration(text);
    ASSERT_TRUE(got.ok()) << text << ": " << got.error();
    EXPECT_EQ(*got, want) << text;
  }
}

TEST(Units, WrongDurationsNameTheRemedy) {
  const std::pair<const char*, const char*> kTable[] = {
      {"30", "\"30s\" for seconds"},
      {"", "empty"},
      {"s", "not a duration"},
      {"-5s", "not a duration"},
      {"1x", "not a duration"},
      {"5 s", "not a duration"},
      {"30seconds", "not a duration"},
      {"1s1m", "out of order"},
      {"1s1s", "out of order"},
      {"1.s", "not a duration"},
      {"1.5", "no unit"},
      {"99999999999999999999s", "not a duration"},
      {"9999999999999d", "longer than any clock"},
  };
  for (const auto& [text, want] : kTable) {
    auto got = ParseDuration(text);
    ASSERT_FALSE(got.ok()) << text;
    EXPECT_NE(got.error().find(want), std::string::npos) << text << ": " << got.error();
  }
}

TEST(Units, SizesInEveryForm) {
  const std::pair<const char*, uint64_t> kTable[] = {
      {"0", 0},
      {"0B", 0},
      {"512B", 512},
      {"64KiB", 65536},
      {"64MiB", 64ull << 20},
      {"1GB", 1'000'000'000},
      {"1kB", 1000},
      {"1.5MiB", 1572864},
      {"25%", 256},
      {"12.5%", 128},
      {"100%", 1024},
      {"2TiB", 2ull << 40},
  };
  for (const auto& [text, want] : kTable) {
    auto got = ParseSize(text, 1024);
    ASSERT_TRUE(got.ok()) << text << ": " << got.error();
    EXPECT_EQ(*got, want) << text;
  }
}

TEST(Units, WrongSizesNameTheRemedy) {
  const std::pair<const char*, const char*> kTable[] = {
      {"64", "\"64MiB\""},   {"64M", "not a size"},    {"101%", "more than all memory"},
      {"-1B", "not a size"}, {"64MiBs", "not a size"}, {"99999999TiB", "larger than any memory"},
  };
  for (const auto& [text, want] : kTable) {
    auto got = ParseSize(text, 1024);
    ASSERT_FALSE(got.ok()) << text;
    EXPECT_NE(got.error().find(want), std::string::npos) << text << ": " << got.error();
  }
  EXPECT_FALSE(ParseSize("25%", 0).ok());
}

TEST(Units, FormattedTextReadsBack) {
  for (const int64_t us : {int64_t{0}, int64_t{1}, int64_t{90'000'000}, int64_t{86'461'000'250}}) {
    EXPECT_EQ(*ParseDuration(FormatDuration(us)), us) << FormatDuration(us);
  }
  for (const uint64_t bytes : {0ull, 1ull, 1023ull, 1024ull, 3ull << 20, (1ull << 40) + 1}) {
    EXPECT_EQ(*ParseSize(FormatSize(bytes), 0), bytes) << FormatSize(bytes);
  }
}

}  // namespace
}  // namespace catzilla::schema
