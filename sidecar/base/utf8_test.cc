#include "sidecar/base/utf8.h"

#include <gtest/gtest.h>

namespace catzilla::base {
namespace {

TEST(Utf8, FindsTheFirstByteThatIsNone) {
  struct Case {
    std::string_view bytes;
    size_t at;
  };
  constexpr size_t kNone = std::string_view::npos;
  for (const Case& one : std::initializer_list<Case>{
           {"", kNone},
           {"plain", kNone},
           {"caf\xc3\xa9", kNone},
           {"\xe2\x82\xac\xf0\x9f\x90\x88", kNone},
           {"caf\xe9", 3},           // Latin-1
           {"\xc0\xaf", 0},          // Overlong.
           {"\xe0\x80\xaf", 0},      // Overlong.
           {"a\xed\xa0\x80", 1},     // A surrogate.
           {"\xf4\x90\x80\x80", 0},  // Above U+10FFFF.
           {"\xf5\x80\x80\x80", 0},
           {"ab\xe2\x82", 2},  // Cut.
           {"\x80", 0},
       }) {
    EXPECT_EQ(FindInvalidUtf8(one.bytes), one.at) << one.bytes;
  }
}

TEST(Utf8, PercentSafeEscapesOnlyWhatMayNotLeave) {
  EXPECT_EQ(PercentSafe("/caf\xc3\xa9/a b"), "/caf\xc3\xa9/a b");
  EXPECT_EQ(PercentSafe("/\xe9\x1b[31m\n"), "/%E9%1B[31m%0A");
  EXPECT_EQ(PercentSafe("\xe2\x82"), "%E2%82");
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const char bytes[] = {static_cast<char>(first), static_cast<char>(second)};
      EXPECT_EQ(FindInvalidUtf8(PercentSafe({bytes, 2})), std::string_view::npos);
    }
  }
}

TEST(Utf8, CutsBetweenCharacters) {
  EXPECT_EQ(CutUtf8("abc", 3), "abc");
  EXPECT_EQ(CutUtf8("ab\xc3\xa9", 3), "ab");
  EXPECT_EQ(CutUtf8("\xe2\x82\xac", 2), "");
}

}  // namespace
}  // namespace catzilla::base
