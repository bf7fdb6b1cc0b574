#include "sidecar/base/pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace catzilla::base {
namespace {

struct Case {
  const char* pattern;
  const char* path;
  bool matches;
  bool holds;
};

TEST(Pattern, MatchesAsFnmatchAndGitignoreDo) {
  static constexpr Case kCases[] = {
      {"*.bak", "a.bak", true, true},
      {"*.bak", "deep/er/a.bak", true, true},
      {"*.bak", "a.bak.txt", false, false},
      {"*.bak", "a.BAK", false, false},  // Case matters.
      {"*.bak", "old.bak/index.html", false, true},
      {"private", "private/key", false, true},
      {"private", "a/private/key", false, true},
      {"private/", "private/key", false, true},
      {"/private", "a/private", false, false},
      {"/private", "private", true, true},
      {"a/*.key", "a/x.key", true, true},
      {"a/*.key", "a/b/x.key", false, false},
      {"a/**", "a/b/c", true, true},
      {"a/**", "ab", false, false},
      {"a/**/x", "a/x", true, true},
      {"a/**/x", "a/b/c/x", true, true},
      {"a/**/x", "a/bx", false, false},
      {"**/x.txt", "x.txt", true, true},
      {"**/x.txt", "a/b/x.txt", true, true},
      {"?.txt", "a.txt", true, true},
      {"?.txt", "ab.txt", false, false},
      {"[a-c]x", "bx", true, true},
      {"[!a-c]x", "bx", false, false},
      {"[!a-c]x", "dx", true, true},
      {"[]x]", "]", true, true},
      {"\\*", "*", true, true},
      {"\\*", "a", false, false},
      {"a*b*c", "a-b-b-c", true, true},
  };
  for (const Case& one : kCases) {
    const auto pattern = Pattern::Compile(one.pattern);
    ASSERT_TRUE(pattern.ok()) << one.pattern;
    EXPECT_EQ(pattern->Matches(one.path), one.matches) << one.pattern << " " << one.path;
    EXPECT_EQ(pattern->MatchesOrHolds(one.path), one.holds) << one.pattern << " " << one.path;
  }
}

TEST(Pattern, SaysWhatIsWrong) {
  for (const char* text : {"", "/", "a\\", "[abc", "[z-a]"}) {
    EXPECT_FALSE(Pattern::Compile(text).ok()) << text;
  }
  EXPECT_FALSE(Pattern::Compile(std::string(Pattern::kTokensMax + 1, 'a')).ok());
  EXPECT_TRUE(Pattern::Compile(std::string(Pattern::kTokensMax, 'a')).ok());
}

// A backtracking matcher would not come back from this one.
TEST(Pattern, ManyStarsEnd) {
  std::string stars;
  for (int i = 0; i < 100; ++i) stars += "*a";
  const auto pattern = Pattern::Compile(stars + "b");
  ASSERT_TRUE(pattern.ok());
  EXPECT_FALSE(pattern->Matches(std::string(4000, 'a')));
}

}  // namespace
}  // namespace catzilla::base
