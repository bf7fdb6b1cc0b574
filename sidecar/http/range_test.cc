#include "sidecar/http/range.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace catzilla::http {
namespace {

using Kind = RangeSet::Kind;
constexpr uint64_t kHuge = UINT64_MAX;

struct Row {
  std::string_view value;
  uint64_t size;
  Kind kind;
  std::vector<ByteRange> ranges;
};

TEST(ParseRange, OneRange) {
  const Row rows[] = {
      {"bytes=0-99", 1000, Kind::kPartial, {{0, 100}}},
      {"Bytes=0-99", 1000, Kind::kPartial, {{0, 100}}},
      {"bytes=0-0", 1000, Kind::kPartial, {{0, 1}}},
      {"bytes=999-999", 1000, Kind::kPartial, {{999, 1}}},
      {"bytes=900-", 1000, Kind::kPartial, {{900, 100}}},
      {"bytes=900-5000", 1000, Kind::kPartial, {{900, 100}}},
      {"bytes=-100", 1000, Kind::kPartial, {{900, 100}}},
      {"bytes=-5000", 1000, Kind::kPartial, {{0, 1000}}},
      {"bytes= 0-1 ", 1000, Kind::kPartial, {{0, 2}}},
      {"bytes=0-18446744073709551615", 1000, Kind::kPartial, {{0, 1000}}},
      {"bytes=0-99999999999999999999999", 1000, Kind::kPartial, {{0, 1000}}},
      {"bytes=-99999999999999999999999", 1000, Kind::kPartial, {{0, 1000}}},
      {"bytes=18446744073709551613-", kHuge, Kind::kPartial, {{kHuge - 2, 2}}},
  };
  for (const Row& row : rows) {
    const RangeSet set = ParseRange(row.value, row.size);
    EXPECT_EQ(set.kind, row.kind) << row.value;
    const std::vector<ByteRange> ranges(set.ranges.begin(), set.ranges.begin() + set.count);
    EXPECT_EQ(ranges, row.ranges) << row.value;
  }
}

TEST(ParseRange, WhatCannotBeSatisfied) {
  for (const std::string_view value :
       {"bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999-",
        "bytes=2000-,-0", "bytes=1000-1000,3000-4000"}) {
    EXPECT_EQ(ParseRange(value, 1000).kind, Kind::kUnsatisfiable) << value;
  }
  EXPECT_EQ(ParseRange("bytes=0-", 0).kind, Kind::kUnsatisfiable);
  EXPECT_EQ(ParseRange("bytes=-5", 0).kind, Kind::kWhole);
}

TEST(ParseRange, WhatIsIgnored) {
  for (const std::string_view value :
       {"", "bytes", "bytes=", "bytes=,", "items=0-1", "bytes 0-1", "bytes=a-b", "bytes=1",
        "bytes=-", "bytes=5-4", "bytes=0-1,x", "bytes=+0-1", "bytes=0 - 1", "bytes=0-1-2",
        "bytes=--1", "bytes=0x0-0x1", "bytes=\"0-1\""}) {
    EXPECT_EQ(ParseRange(value, 1000).kind, Kind::kWhole) << value;
  }
}

TEST(ParseRange, SeveralRangesKeepTheirOrderUnlessTheyNearlyTouch) {
  const Row rows[] = {
      {"bytes=0-9,500-509", 1000, Kind::kPartial, {{0, 10}, {500, 10}}},
      {"bytes=500-509, 0-9", 1000, Kind::kPartial, {{500, 10}, {0, 10}}},
      {"bytes=0-9,10-19", 1000, Kind::kPartial, {{0, 20}}},
      {"bytes=0-9,5-14", 1000, Kind::kPartial, {{0, 15}}},
      {"bytes=0-9,90-99", 1000, Kind::kPartial, {{0, 100}}},
      {"bytes=0-9,91-99", 1000, Kind::kPartial, {{0, 10}, {91, 9}}},
      {"bytes=500-509,0-9,5-14", 1000, Kind::kPartial, {{0, 15}, {500, 10}}},
      {"bytes=0-9,2000-", 1000, Kind::kPartial, {{0, 10}}},
      {"bytes=0-9,,500-509,", 1000, Kind::kPartial, {{0, 10}, {500, 10}}},
  };
  for (const Row& row : rows) {
    const RangeSet set = ParseRange(row.value, row.size);
    EXPECT_EQ(set.kind, row.kind) << row.value;
    const std::vector<ByteRange> ranges(set.ranges.begin(), set.ranges.begin() + set.count);
    EXPECT_EQ(ranges, row.ranges) << row.value;
  }
}

TEST(ParseRange, MoreThanTheSizeOrTooManyIsTheWhole) {
  EXPECT_EQ(ParseRange("bytes=0-,0-", 1000).kind, Kind::kWhole);
  EXPECT_EQ(ParseRange("bytes=0-599,400-999", 1000).kind, Kind::kWhole);
  std::string many = "bytes=0-0";
  for (int i = 1; i < 17; ++i)
    many += "," + std::to_string(i * 1000) + "-" + std::to_string(i * 1000);
  EXPECT_EQ(ParseRange(many, 100000).kind, Kind::kWhole);
  std::string specs = "bytes=0-0";
  for (int i = 0; i < 64; ++i) specs += ",1-1";
  EXPECT_EQ(ParseRange(specs, 100000).kind, Kind::kWhole);
}

TEST(ContentRange, IsWritten) {
  char text[kContentRangeBytesMax];
  EXPECT_EQ(std::string_view(text, WriteContentRange({10, 90}, 1234, text)), "bytes 10-99/1234");
  EXPECT_EQ(std::string_view(text, WriteUnsatisfiedRange(1234, text)), "bytes */1234");
  EXPECT_LE(WriteContentRange({kHuge - 1, 1}, kHuge, text), kContentRangeBytesMax);
}

}  // namespace
}  // namespace catzilla::http
