#include "sidecar/http/target.h"

#include <gtest/gtest.h>

#include "sidecar/http/query_vectors.h"

namespace catzilla::http {
namespace {

TEST(DecodePath, DecodesOnceAndTellsWhatWasInIt) {
  struct Row {
    std::string_view raw;
    std::string_view path;
    int flags;
  };
  const Row rows[] = {
      {"/", "/", 0},
      {"/a/b.css", "/a/b.css", 0},
      {"/a%20b", "/a b", 0},
      {"/%41", "/A", 0},
      {"/%252e%252e/x", "/%2e%2e/x", 0},
      {"/a%2Fb", "/a/b", kPathEncodedSlash},
      {"/a%2fb", "/a/b", kPathEncodedSlash},
      {"/a%5Cb", "/a\\b", kPathBackslash},
      {"/a\\b", "/a\\b", kPathBackslash},
      {"/a%00b", std::string_view("/a\0b", 4), kPathControl},
      {"/a%0d%0ab", "/a\r\nb", kPathControl},
      {"/a%7f", "/a\x7f", kPathControl},
      {"/a%", "/a%", kPathBadEscape},
      {"/a%4", "/a%4", kPathBadEscape},
      {"/a%zz", "/a%zz", kPathBadEscape},
      {"/%%41", "/%A", kPathBadEscape},
      {"/../x", "/../x", kPathDotSegment},
      {"/%2e%2e/x", "/../x", kPathDotSegment},
      {"/a/.%2e", "/a/..", kPathDotSegment},
      {"/a/./b", "/a/./b", kPathDotSegment},
      {"/..%2fx", "/../x", kPathDotSegment | kPathEncodedSlash},
      {"/...", "/...", 0},
      {"/.well-known", "/.well-known", 0},
      {"/%c3%a9", "/\xc3\xa9", 0},
      {"/%e9", "/\xe9", kPathNotUtf8},
      {"/%c0%ae", "/\xc0\xae", kPathNotUtf8},  // An overlong dot is not a dot.
      {"*", "*", 0},
  };
  std::string scratch;
  for (const Row& row : rows) {
    const DecodedPath decoded = DecodePath(row.raw, scratch);
    EXPECT_EQ(decoded.path, row.path) << row.raw;
    EXPECT_EQ(decoded.flags, row.flags) << row.raw;
  }
}

TEST(DecodePath, APathWithoutEscapesIsNotCopied) {
  std::string scratch;
  const std::string_view raw = "/assets/app.js";
  EXPECT_EQ(DecodePath(raw, scratch).path.data(), raw.data());
}

TEST(DecodePath, FilesRefuseWhatRoutesAccept) {
  EXPECT_TRUE(IsFitForFiles(0));
  EXPECT_TRUE(IsFitForFiles(kPathDotSegment));
  EXPECT_TRUE(IsFitForFiles(kPathNotUtf8));
  for (const int flag : {kPathEncodedSlash, kPathBackslash, kPathControl, kPathBadEscape}) {
    EXPECT_FALSE(IsFitForFiles(static_cast<uint8_t>(flag)));
  }
}

TEST(DecodePath, GivesTheAppWhatPythonsUnquoteGives) {
  std::string scratch;
  for (const PathVector& vector : kPathVectors) {
    const DecodedPath decoded = DecodePath(vector.raw, scratch);
    std::string text;
    AppendReplacingInvalidUtf8(decoded.path, text);
    EXPECT_EQ(text, vector.path) << vector.raw;
    EXPECT_EQ(text != decoded.path, (decoded.flags & kPathNotUtf8) != 0) << vector.raw;
  }
}

TEST(RemoveDotSegments, AsTheUriRfcDoesButNeverAboveTheRoot) {
  struct Row {
    std::string_view path;
    std::string_view result;  // Empty: refused.
  };
  const Row rows[] = {
      {"/", "/"},         {"/a", "/a"},         {"/a/", "/a/"},      {"/a/./b", "/a/b"},
      {"/a/../b", "/b"},  {"/a/..", "/"},       {"/a/.", "/a/"},     {"/a/b/../..", "/"},
      {"/./", "/"},       {"/.", "/"},          {"/..", ""},         {"/../a", ""},
      {"/a/../../b", ""}, {"/a//../b", "/a/b"}, {"/a/b/../", "/a/"}, {"/a/..b/.c", "/a/..b/.c"},
      {"//a/..", "//"},   {"/a/./../b", "/b"},
  };
  std::string scratch;
  for (const Row& row : rows) {
    std::string_view result;
    const bool inside = RemoveDotSegments(row.path, scratch, &result);
    EXPECT_EQ(inside, !row.result.empty()) << row.path;
    if (inside) {
      EXPECT_EQ(result, row.result) << row.path;
    }
  }
}

TEST(RemoveDotSegments, MayReadAndWriteTheSameScratch) {
  std::string scratch;
  const DecodedPath decoded = DecodePath("/a/%2e%2e/b%20c", scratch);
  std::string_view result;
  ASSERT_TRUE(RemoveDotSegments(decoded.path, scratch, &result));
  EXPECT_EQ(result, "/b c");
}

TEST(QueryPairs, AreThoseOfPythonsParseQsl) {
  for (const QueryVector& vector : kQueryVectors) {
    QueryPairs pairs(vector.query);
    std::string_view name;
    std::string_view value;
    size_t count = 0;
    std::string name_scratch;
    std::string value_scratch;
    while (pairs.Next(&name, &value)) {
      ASSERT_LT(count, vector.pairs.size()) << vector.query;
      EXPECT_EQ(DecodeFormText(name, name_scratch), vector.pairs[count].first) << vector.query;
      EXPECT_EQ(DecodeFormText(value, value_scratch), vector.pairs[count].second) << vector.query;
      ++count;
    }
    EXPECT_EQ(count, vector.pairs.size()) << vector.query;
  }
}

}  // namespace
}  // namespace catzilla::http
