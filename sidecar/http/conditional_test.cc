#include "sidecar/http/conditional.h"

#include <gtest/gtest.h>

#include "sidecar/http/entity_tag.h"
#include "sidecar/http/testing.h"

namespace catzilla::http {
namespace {

constexpr int64_t kModified = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT
constexpr int64_t kNow = kModified + 3600;
constexpr std::string_view kAt = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr std::string_view kBefore = "Sun, 06 Nov 1994 08:49:36 GMT";

TEST(EntityTag, IsWeakOrStrongAndNothingElse) {
  EXPECT_FALSE(ParseEntityTag("\"a\"")->weak);
  EXPECT_TRUE(ParseEntityTag("W/\"a\"")->weak);
  EXPECT_EQ(ParseEntityTag(" W/\"a\" ")->opaque, "\"a\"");
  EXPECT_TRUE(ParseEntityTag("\"\"").has_value());
  for (const std::string_view text :
       {"", "a", "\"a", "a\"", "w/\"a\"", "W/a", "\"a b\"", "\"a\" x", "*"}) {
    EXPECT_FALSE(ParseEntityTag(text).has_value()) << text;
  }
}

TEST(EntityTag, ComparesAsTheRfcsTable) {
  const EntityTag weak1{true, "\"1\""};
  const EntityTag weak2{true, "\"2\""};
  const EntityTag strong1{false, "\"1\""};
  EXPECT_FALSE(StrongEquals(weak1, weak1));
  EXPECT_TRUE(WeakEquals(weak1, weak1));
  EXPECT_FALSE(WeakEquals(weak1, weak2));
  EXPECT_FALSE(StrongEquals(weak1, strong1));
  EXPECT_TRUE(WeakEquals(weak1, strong1));
  EXPECT_TRUE(StrongEquals(strong1, strong1));
}

TEST(EntityTag, ListsMayHoldCommasAndBackslashesInTags) {
  const EntityTag tag{false, "\"a,b\\\""};
  EXPECT_TRUE(TagListHas("\"x\", \"a,b\\\"", tag, TagCompare::kStrong));
  EXPECT_TRUE(TagListHas(" ,, \"a,b\\\" ,\"x\"", tag, TagCompare::kStrong));
  EXPECT_FALSE(TagListHas("\"a\",\"b\\\"", tag, TagCompare::kStrong));
  EXPECT_FALSE(TagListHas("junk, \"a,b\\\"", tag, TagCompare::kStrong));
  EXPECT_FALSE(TagListHas("\"a,b\\\"junk", tag, TagCompare::kStrong));
  EXPECT_FALSE(TagListHas("W/\"a,b\\\"", tag, TagCompare::kStrong));
  EXPECT_TRUE(TagListHas("W/\"a,b\\\"", tag, TagCompare::kWeak));
}

Precondition Judge(std::string_view method, std::initializer_list<std::string_view> lines,
                   Validators validators = {"\"v1\"", kModified}) {
  const auto request = ParseLinesForTest(std::string(method) + " /", lines);
  return JudgePreconditions(request->head(), validators, kNow);
}

std::string Line(std::string_view name, std::string_view value) {
  return std::string(name) + ": " + std::string(value);
}

TEST(Preconditions, WithoutAnyTheRequestProceeds) {
  EXPECT_EQ(Judge("GET", {}), Precondition::kProceed);
}

TEST(Preconditions, IfMatchComparesStronglyAndFailsWith412) {
  EXPECT_EQ(Judge("PUT", {"If-Match: \"v1\""}), Precondition::kProceed);
  EXPECT_EQ(Judge("PUT", {"If-Match: \"v0\", \"v1\""}), Precondition::kProceed);
  EXPECT_EQ(Judge("PUT", {"If-Match: \"v0\"", "If-Match: \"v1\""}), Precondition::kProceed);
  EXPECT_EQ(Judge("PUT", {"If-Match: *"}), Precondition::kProceed);
  EXPECT_EQ(Judge("PUT", {"If-Match: \"v2\""}), Precondition::kFailed);
  EXPECT_EQ(Judge("GET", {"If-Match: \"v2\""}), Precondition::kFailed);
  EXPECT_EQ(Judge("GET", {"If-Match: W/\"v1\""}, {"W/\"v1\"", -1}), Precondition::kFailed);
  EXPECT_EQ(Judge("GET", {"If-Match: \"v1\""}, {"", kModified}), Precondition::kFailed);
}

TEST(Preconditions, IfUnmodifiedSinceCountsOnlyWithoutIfMatch) {
  EXPECT_EQ(Judge("PUT", {Line("If-Unmodified-Since", kAt)}), Precondition::kProceed);
  EXPECT_EQ(Judge("PUT", {Line("If-Unmodified-Since", kBefore)}), Precondition::kFailed);
  EXPECT_EQ(Judge("PUT", {Line("If-Unmodified-Since", kBefore), "If-Match: \"v1\""}),
            Precondition::kProceed);
  EXPECT_EQ(Judge("PUT", {"If-Unmodified-Since: yesterday"}), Precondition::kProceed);
}

TEST(Preconditions, IfNoneMatchComparesWeakly) {
  EXPECT_EQ(Judge("GET", {"If-None-Match: \"v1\""}), Precondition::kNotModified);
  EXPECT_EQ(Judge("HEAD", {"If-None-Match: W/\"v1\""}), Precondition::kNotModified);
  EXPECT_EQ(Judge("GET", {"If-None-Match: *"}), Precondition::kNotModified);
  EXPECT_EQ(Judge("GET", {"If-None-Match: \"v2\""}), Precondition::kProceed);
  EXPECT_EQ(Judge("PUT", {"If-None-Match: *"}), Precondition::kFailed);
  EXPECT_EQ(Judge("DELETE", {"If-None-Match: \"v1\""}), Precondition::kFailed);
}

TEST(Preconditions, IfModifiedSinceCountsOnlyWithoutIfNoneMatchAndForReads) {
  EXPECT_EQ(Judge("GET", {Line("If-Modified-Since", kAt)}), Precondition::kNotModified);
  EXPECT_EQ(Judge("GET", {Line("If-Modified-Since", kBefore)}), Precondition::kProceed);
  EXPECT_EQ(Judge("POST", {Line("If-Modified-Since", kAt)}), Precondition::kProceed);
  EXPECT_EQ(Judge("GET", {Line("If-Modified-Since", kAt), "If-None-Match: \"v2\""}),
            Precondition::kProceed);
  EXPECT_EQ(Judge("GET", {Line("If-Modified-Since", kAt)}, {"\"v1\"", -1}), Precondition::kProceed);
  EXPECT_EQ(Judge("GET", {Line("If-Modified-Since", kAt), Line("If-Modified-Since", kAt)}),
            Precondition::kProceed);
}

TEST(Preconditions, TheFirstThatFailsDecides) {
  EXPECT_EQ(Judge("GET", {"If-Match: \"v2\"", "If-None-Match: \"v1\""}), Precondition::kFailed);
  EXPECT_EQ(Judge("GET", {"If-Match: \"v1\"", "If-None-Match: \"v1\""}),
            Precondition::kNotModified);
}

bool Applies(std::string_view if_range, Validators validators, int64_t now_s = kNow) {
  const std::string line = Line("If-Range", if_range);
  const auto request = ParseLinesForTest("GET /", {"Range: bytes=0-1", line});
  return RangeApplies(request->head(), validators, now_s);
}

TEST(IfRange, NeedsAStrongMatch) {
  const Validators strong{"\"v1\"", kModified};
  EXPECT_TRUE(Applies("\"v1\"", strong));
  EXPECT_FALSE(Applies("\"v2\"", strong));
  EXPECT_FALSE(Applies("W/\"v1\"", {"W/\"v1\"", kModified}));
  EXPECT_FALSE(Applies("\"v1\"", {"W/\"v1\"", kModified}));
  EXPECT_TRUE(Applies(kAt, strong));
  EXPECT_FALSE(Applies(kBefore, strong));
  EXPECT_FALSE(Applies(kAt, strong, kModified)) << "may change again within this second";
  EXPECT_FALSE(Applies("rubbish", strong));
  const auto without = ParseLinesForTest("GET /", {"Range: bytes=0-1"});
  EXPECT_TRUE(RangeApplies(without->head(), strong, kNow));
}

}  // namespace
}  // namespace catzilla::http
