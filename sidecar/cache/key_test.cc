#include "sidecar/cache/key.h"

#include <gtest/gtest.h>

#include "sidecar/cache/testing.h"
#include "sidecar/cache/url.h"

namespace catzilla::cache {
namespace {

using testing::Request;

std::string KeyOf(std::string_view target, const KeyPolicy& policy = {}) {
  const Request request("GET " + std::string(target));
  CacheKey key;
  BuildKey(request.view(), policy, {1, 2}, &key);
  return key.text;
}

TEST(Key, NormalisesTheQuery) {
  const std::vector<std::string> allow = {"id", "page"};
  const std::vector<std::string> deny = {"utm_source"};
  const struct {
    std::string_view target;
    KeyPolicy policy;
    std::string_view key;
  } kRows[] = {
      {"/a", {}, "http://example.org/a"},
      {"/a?", {}, "http://example.org/a"},
      {"/a?b=1&a=2", {}, "http://example.org/a?b=1&a=2"},  // C4
      {"/a?b=1&a=2", {.query_sort = true}, "http://example.org/a?a=2&b=1"},
      {"/a?x=2&a&x=1", {.query_sort = true}, "http://example.org/a?a&x=2&x=1"},
      {"/a?&&a=1&", {}, "http://example.org/a?a=1"},
      {"/a?b=1", {.ignore_query = true}, "http://example.org/a"},
      {"/a?page=2&utm_source=x&id=1", {.query_deny = deny}, "http://example.org/a?page=2&id=1"},
      {"/a?page=2&z=1&id=1", {.query_allow = allow}, "http://example.org/a?page=2&id=1"},
      {"/a?z=1", {.query_allow = allow}, "http://example.org/a"},
      {"/%61", {}, "http://example.org/%61"},
  };
  for (const auto& row : kRows) EXPECT_EQ(KeyOf(row.target, row.policy), row.key) << row.target;
  std::string many = "/a?z=0";
  for (int i = 0; i < 100; ++i) many += "&a" + std::to_string(i);
  EXPECT_EQ(KeyOf(many, {.query_sort = true}), "http://example.org" + many)
      << "too many to sort: as they came";
}

TEST(Key, TheHashDependsOnTheSeed) {
  EXPECT_NE(HashKey("abc", {1, 2}), HashKey("abc", {1, 3}));
  EXPECT_NE(HashKey("abc", {1, 2}), HashKey("abd", {1, 2}));
  EXPECT_NE(HashKey("", {1, 2}), HashKey(std::string_view("\0", 1), {1, 2}));
  EXPECT_EQ(HashKey("abcdefgh12345678", {1, 2}), HashKey("abcdefgh12345678", {1, 2}));
}

bool SameVariant(std::string_view vary, std::string_view first, std::string_view second) {
  const Request a("GET /\n" + std::string(first));
  const Request b("GET /\n" + std::string(second));
  const Field fields[] = {{"Vary", vary}};
  const std::optional<std::string> encoded = EncodeVary(fields, a.head());
  EXPECT_TRUE(encoded);
  return encoded && MatchesVary(*encoded, b.head());
}

TEST(Key, Variants) {
  const struct {
    std::string_view vary, first, second;
    bool same;
  } kRows[] = {
      {"Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br;q=0.5,gzip", true},
      {"Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: GZIP\nAccept-Encoding: br",
       true},
      {"Accept-Encoding", "Accept-Encoding: gzip, identity", "Accept-Encoding: gzip", true},
      {"Accept-Encoding", "Accept-Encoding: gzip, br;q=0", "Accept-Encoding: gzip", true},
      {"Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: br", false},
      {"Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip;q=0", false},
      {"Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip, identity;q=0", false},
      {"Accept-Encoding", "Accept-Encoding: gzip", "X: y", false},
      {"Accept-Language", "Accept-Language: de", "Accept-Language: de", true},
      {"Accept-Language", "Accept-Language: de", "Accept-Language: en", false},
      {"Accept-Language", "X: y", "X: y", true},
      {"Accept-Language", "X: y", "Accept-Language: de", false},
      {"X-A", "X-A: 1\nX-A: 2", "X-A: 1, 2", true},
      {"x-a, X-B", "X-A: 1\nX-B: 2", "X-A: 1\nX-B: 3", false},
      {"Cookie", "Cookie: a=1", "Cookie: a=2", false},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(SameVariant(row.vary, row.first, row.second), row.same)
        << row.vary << ": " << row.first << " / " << row.second;
  }
}

TEST(Key, RefusesWhatItCannotCompare) {
  const Request request("GET /\nX-Long: " + std::string(kVaryValueBytesMax + 1, 'x'));
  const Field star[] = {{"Vary", "Accept, *"}};
  const Field too_long[] = {{"Vary", "X-Long"}};
  EXPECT_FALSE(EncodeVary(star, request.head()));
  EXPECT_FALSE(EncodeVary(too_long, request.head()));
  std::string names;
  for (size_t i = 0; i <= kVaryNamesMax; ++i) names += "x" + std::to_string(i) + ",";
  const Field too_many[] = {{"Vary", names}};
  EXPECT_FALSE(EncodeVary(too_many, request.head()));
}

TEST(Url, NormalAndResolved) {
  EXPECT_EQ(NormalUrl("HTTP://Example.ORG:80/A?b#c").text(), "http://example.org/A?b");
  EXPECT_EQ(NormalUrl("https://example.org").text(), "https://example.org/");
  EXPECT_EQ(NormalUrl("/a?u=http://x/").path, "/a");
  const Url base = NormalUrl("http://example.org/shop/items/7?x=1");
  const struct {
    std::string_view reference;
    std::string_view result;  // Empty: another origin, or nothing.
  } kRows[] = {
      {"/list", "http://example.org/list"},
      {"8", "http://example.org/shop/items/8"},
      {"../../up", "http://example.org/up"},
      {"../../../../up", "http://example.org/up"},
      {"./", "http://example.org/shop/items/"},
      {"?y=2", "http://example.org/shop/items/7?y=2"},
      {"http://EXAMPLE.org:80/list#x", "http://example.org/list"},
      {"//example.org/list", "http://example.org/list"},
      {"https://example.org/list", ""},
      {"http://evil.example/list", ""},
      {"//evil.example/", ""},
      {"", ""},
  };
  for (const auto& row : kRows) {
    const std::optional<Url> resolved = ResolveSameOrigin(base, row.reference);
    EXPECT_EQ(resolved ? resolved->text() : "", row.result) << row.reference;
  }
}

}  // namespace
}  // namespace catzilla::cache
