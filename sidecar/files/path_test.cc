#include "sidecar/files/path.h"

#include <gtest/gtest.h>

namespace catzilla::files {
namespace {

using namespace std::string_view_literals;

TEST(Path, IsStrippedOfItsPrefixAtASegmentBoundary) {
  struct {
    std::string_view path, prefix, relative;
  } const kRows[] = {
      {"/static/app.js", "/static", "/app.js"},
      {"/static/", "/static", "/"},
      {"/static", "/static", ""},
      {"/static//a", "/static", "//a"},
      {"/a/b", "/", "/a/b"},
      {"/", "/", "/"},
  };
  for (const auto& row : kRows) EXPECT_EQ(StripPrefix(row.path, row.prefix), row.relative);
}

TEST(Path, IsJudgedByItsBytesAndSegments) {
  const std::string long_name(300, 'x');
  std::string long_path;
  for (int i = 0; i < 50; ++i) long_path += "/" + std::string(100, 'y');
  struct {
    std::string_view relative;
    PathVerdict hidden_off, hidden_on;
  } const kRows[] = {
      {"", PathVerdict::kOk, PathVerdict::kOk},
      {"/", PathVerdict::kOk, PathVerdict::kOk},
      {"/a/b.c", PathVerdict::kOk, PathVerdict::kOk},
      {"/a b", PathVerdict::kOk, PathVerdict::kOk},
      {"/\xe4\xb8\x89", PathVerdict::kOk, PathVerdict::kOk},
      {"/\xc0\xae\xc0\xae/etc", PathVerdict::kOk, PathVerdict::kOk},  // Overlong: opaque names.
      {"/%2e%2e/x", PathVerdict::kOk, PathVerdict::kOk},              // Never decoded again.
      {"/a\0b"sv, PathVerdict::kBad, PathVerdict::kBad},
      {"/a\nb", PathVerdict::kBad, PathVerdict::kBad},
      {"/a\x7f", PathVerdict::kBad, PathVerdict::kBad},
      {"/..\\x", PathVerdict::kBad, PathVerdict::kBad},
      {"/a\\b", PathVerdict::kBad, PathVerdict::kBad},
      {"/../x", PathVerdict::kBad, PathVerdict::kBad},
      {"/a/..", PathVerdict::kBad, PathVerdict::kBad},
      {"/a/./b", PathVerdict::kBad, PathVerdict::kBad},
      {"/.git/config", PathVerdict::kHidden, PathVerdict::kOk},
      {"/a/.env", PathVerdict::kHidden, PathVerdict::kOk},
      {"/.secret/x", PathVerdict::kHidden, PathVerdict::kOk},
      {"/...", PathVerdict::kHidden, PathVerdict::kOk},
      {"/.git/a\\b", PathVerdict::kBad, PathVerdict::kBad},
      {"/.well-known/x", PathVerdict::kOk, PathVerdict::kOk},
      {"/.well-known/.x", PathVerdict::kHidden, PathVerdict::kOk},
      {"/.well-knownx", PathVerdict::kHidden, PathVerdict::kOk},
      {long_name, PathVerdict::kTooLong, PathVerdict::kTooLong},
      {long_path, PathVerdict::kTooLong, PathVerdict::kTooLong},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(JudgePath(row.relative, {false}), row.hidden_off) << row.relative;
    EXPECT_EQ(JudgePath(row.relative, {true}), row.hidden_on) << row.relative;
  }
  EXPECT_EQ(StatusOf(PathVerdict::kBad), 400);
  EXPECT_EQ(StatusOf(PathVerdict::kHidden), 404);
  EXPECT_EQ(StatusOf(PathVerdict::kTooLong), 404);
}

TEST(Path, LosesItsEmptySegments) {
  EXPECT_EQ(CollapseSlashes("/a//b/"), "a/b/");
  EXPECT_EQ(CollapseSlashes("///a"), "a");
  EXPECT_EQ(CollapseSlashes("/"), "");
  EXPECT_EQ(CollapseSlashes(""), "");
}

TEST(Path, IsEscapedForALocation) {
  std::string out;
  AppendEscapedPath("/a b\r\nX: y/\xc3\xa9%?#\"<>", out);
  EXPECT_EQ(out, "/a%20b%0D%0AX:%20y/%C3%A9%25%3F%23%22%3C%3E");
}

}  // namespace
}  // namespace catzilla::files
