#include "sidecar/http/request_head.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "sidecar/http/testing.h"

namespace catzilla::http {
namespace {

TEST(RequestHead, SplitsTheTarget) {
  struct Row {
    std::string_view line;
    std::string_view path;
    bool has_query;
    std::string_view query;
  };
  const Row rows[] = {
      {"GET /", "/", false, ""},
      {"GET /a/b?c=d", "/a/b", true, "c=d"},
      {"GET /a?", "/a", true, ""},
      {"GET /a?b?c", "/a", true, "b?c"},
      {"GET /?x", "/", true, "x"},
      {"GET //a//b", "//a//b", false, ""},
      {"GET /a%20b", "/a%20b", false, ""},
      {"OPTIONS *", "*", false, ""},
      {"GET http://test", "/", false, ""},
      {"GET http://test?a", "/", true, "a"},
      {"GET HTTP://test/x?y", "/x", true, "y"},
  };
  for (const Row& row : rows) {
    const auto buffer = ParseLinesForTest(row.line, {});
    const RequestHead& head = buffer->head();
    EXPECT_EQ(head.path(), row.path) << row.line;
    EXPECT_EQ(head.has_query(), row.has_query) << row.line;
    EXPECT_EQ(head.query(), row.query) << row.line;
    EXPECT_EQ(head.query_with_mark(), row.has_query ? "?" + std::string(row.query) : "");
  }
}

TEST(RequestHead, KnowsWhomItWasSentTo) {
  struct Row {
    std::string_view text;
    std::string_view host;
    int port;
    std::string_view authority;
  };
  const Row rows[] = {
      {"GET / HTTP/1.1\r\nHost: Shop.Example\r\n\r\n", "shop.example", 0, "Shop.Example"},
      {"GET / HTTP/1.1\r\nhost: a:8080 \r\n\r\n", "a", 8080, "a:8080"},
      {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "a", 0, "a:"},
      {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "[::1]", 80, "[::1]:80"},
      {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "", 0, ""},
      {"GET / HTTP/1.0\r\n\r\n", "", 0, ""},
      {"GET http://A:81/ HTTP/1.1\r\nHost: a:81\r\n\r\n", "a", 81, "A:81"},
      {"GET http://a/ HTTP/1.0\r\n\r\n", "a", 0, "a"},
      {"GET https://a/ HTTP/1.1\r\nHost: a:443\r\n\r\n", "a", 0, "a"},
  };
  for (const Row& row : rows) {
    const auto buffer = ParseHeadForTest(row.text);
    EXPECT_EQ(buffer->head().host(), row.host) << row.text;
    EXPECT_EQ(buffer->head().port(), row.port) << row.text;
    EXPECT_EQ(buffer->head().authority(), row.authority) << row.text;
  }
}

TEST(RequestHead, KnowsWhetherTheConnectionStays) {
  struct Row {
    int minor;
    std::string_view connection;
    bool stays;
  };
  const Row rows[] = {
      {1, "", true},       {1, "close", false},       {1, "Keep-Alive, Close", false},
      {1, "closed", true}, {1, "x, close ,y", false}, {0, "", false},
      {0, "close", false}, {0, "Keep-Alive", true},   {0, "keep-alive, close", false},
  };
  for (const Row& row : rows) {
    const std::string text = "GET / HTTP/1." + std::to_string(row.minor) + "\r\nHost: a\r\n" +
                             "Connection: " + std::string(row.connection) + "\r\n\r\n";
    EXPECT_EQ(ParseHeadForTest(text)->head().keep_alive(), row.stays) << text;
  }
}

TEST(RequestHead, KnowsItsBody) {
  const auto none = ParseLinesForTest("GET /", {"Content-Length: 0", "Expect: 100-continue"});
  EXPECT_EQ(none->head().body_kind(), BodyKind::kNone);
  EXPECT_FALSE(none->head().expect_continue()) << "nothing is waited for";
  const auto length = ParseLinesForTest("POST /", {"Content-Length: 12", "Expect: 100-Continue"});
  EXPECT_EQ(length->head().body_kind(), BodyKind::kLength);
  EXPECT_EQ(length->head().content_length(), 12u);
  EXPECT_TRUE(length->head().expect_continue());
  const auto chunked = ParseLinesForTest("POST /", {"Transfer-Encoding: chunked"});
  EXPECT_EQ(chunked->head().body_kind(), BodyKind::kChunked);
  EXPECT_EQ(chunked->head().content_length(), 0u);
  const auto old =
      ParseHeadForTest("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
  EXPECT_FALSE(old->head().expect_continue()) << "HTTP/1.0 knows no 100";
}

TEST(RequestHead, AnUpgradeNeedsBothFields) {
  EXPECT_TRUE(ParseLinesForTest("GET /", {"Connection: keep-alive, Upgrade", "Upgrade: websocket"})
                  ->head()
                  .wants_upgrade());
  EXPECT_FALSE(ParseLinesForTest("GET /", {"Upgrade: websocket"})->head().wants_upgrade());
  EXPECT_FALSE(ParseLinesForTest("GET /", {"Connection: upgrade"})->head().wants_upgrade());
}

TEST(RequestHead, FindsFieldsByIdNameAndAsLists) {
  const auto buffer = ParseLinesForTest(
      "GET /", {"ACCEPT:  text/html ", "X-Custom: 1", "Accept: \"a,b\";q=1,, */*", "x-custom: 2"});
  const RequestHead& head = buffer->head();
  EXPECT_EQ(head.Find(HeaderId::kAccept), "text/html");
  EXPECT_EQ(head.Count(HeaderId::kAccept), 2u);
  EXPECT_EQ(head.Find("X-CUSTOM"), "1");
  EXPECT_EQ(head.Find("x-other"), std::nullopt);
  EXPECT_EQ(head.Find(HeaderId::kCookie), std::nullopt);
  EXPECT_FALSE(head.Has(HeaderId::kCookie));
  EXPECT_EQ(head.name(1), "ACCEPT");
  EXPECT_EQ(head.id(2), HeaderId::kOther);
  std::vector<std::string> items;
  head.ForEachItem(HeaderId::kAccept, [&](std::string_view item) { items.emplace_back(item); });
  EXPECT_EQ(items, (std::vector<std::string>{"text/html", "\"a,b\";q=1", "*/*"}));
  EXPECT_TRUE(head.ListHasItem(HeaderId::kAccept, "*/*"));
}

TEST(RequestHead, AWholeHeadIsNotCopiedUntilItIsPinned) {
  std::string text = "GET /a?b HTTP/1.1\r\nHost: Example\r\nX: y\r\n\r\n";
  HeadBuffer buffer;
  RequestParser parser;
  parser.Begin(&buffer, HeadLimits());
  ASSERT_EQ(parser.Next(text).event, RequestParser::Event::kHead);
  RequestHead& head = buffer.head();
  EXPECT_FALSE(head.pinned());
  EXPECT_EQ(head.target().data(), text.data() + 4);
  head.Pin();
  head.Pin();
  EXPECT_TRUE(head.pinned());
  text.assign(text.size(), '#');
  EXPECT_EQ(head.target(), "/a?b");
  EXPECT_EQ(head.query(), "b");
  EXPECT_EQ(head.host(), "example");
  EXPECT_EQ(head.Find("x"), "y");
}

TEST(RequestHead, ABufferServesOneRequestAfterTheOther) {
  HeadBuffer buffer;
  RequestParser parser;
  const std::string_view input =
      "GET /a?b HTTP/1.1\r\nHost: A\r\nCookie: c\r\nContent-Length: 2\r\n\r\nxx"
      "GET /d HTTP/1.0\r\n\r\n";
  parser.Begin(&buffer, HeadLimits());
  size_t at = parser.Next(input).consumed;
  EXPECT_TRUE(buffer.head().Has(HeaderId::kCookie));
  const auto body = parser.Next(input.substr(at));
  EXPECT_EQ(body.body, "xx");
  EXPECT_TRUE(parser.at_end());
  EXPECT_EQ(parser.Next({}).event, RequestParser::Event::kEnd);
  EXPECT_TRUE(parser.between_requests());
  at += body.consumed;
  parser.Begin(&buffer, HeadLimits());
  ASSERT_EQ(parser.Next(input.substr(at)).event, RequestParser::Event::kHead);
  const RequestHead& head = buffer.head();
  EXPECT_FALSE(head.Has(HeaderId::kCookie));
  EXPECT_FALSE(head.has_query());
  EXPECT_EQ(head.host(), "");
  EXPECT_EQ(head.path(), "/d");
  EXPECT_EQ(head.minor_version(), 0);
  EXPECT_FALSE(head.has_body());
}

TEST(RequestParser, HoldsTheBodyToItsLimit) {
  const auto parse = [](std::string_view text, uint64_t bytes_max) {
    HeadBuffer buffer;
    RequestParser parser;
    parser.Begin(&buffer, HeadLimits());
    RequestParser::Step step = parser.Next(text);
    text.remove_prefix(step.consumed);
    parser.LimitBody(bytes_max);
    while (step.event != RequestParser::Event::kEnd && step.event != RequestParser::Event::kError) {
      step = parser.Next(text);
      text.remove_prefix(step.consumed);
    }
    return step.status;
  };
  const std::string_view length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde";
  EXPECT_EQ(parse(length, 5), 0);
  EXPECT_EQ(parse(length, 4), 413);
  const std::string_view chunks =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
      "chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
  EXPECT_EQ(parse(chunks, 5), 0);
  EXPECT_EQ(parse(chunks, 4), 413);
  EXPECT_EQ(parse(chunks, 0), 413);
  // Known by the size line alone: nobody waits for the data.
  EXPECT_EQ(parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", 100),
            413);
}

TEST(RequestParser, TellsWhetherARequestIsUnderWay) {
  HeadBuffer buffer;
  RequestParser parser;
  parser.Begin(&buffer, HeadLimits());
  EXPECT_TRUE(parser.between_requests());
  parser.Next("\r\n");
  EXPECT_FALSE(parser.started()) << "an empty line is nothing yet";
  parser.Next("G");
  EXPECT_TRUE(parser.started());
}

TEST(HeaderId, EveryNameOfTheListIsFoundInAnyCase) {
  for (size_t i = 1; i < static_cast<size_t>(HeaderId::kCount); ++i) {
    const auto id = static_cast<HeaderId>(i);
    std::string name(HeaderName(id));
    EXPECT_EQ(FindHeaderId(name), id) << name;
    for (char& c : name) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
    EXPECT_EQ(FindHeaderId(name), id) << name;
    name.back() = '!';
    EXPECT_EQ(FindHeaderId(name), HeaderId::kOther) << name;
  }
  for (const std::string_view other : {"", "x", "hos", "hosts", "\x0d", "content\x0dlength",
                                       "a-name-that-is-longer-than-any-in-the-list"}) {
    EXPECT_EQ(FindHeaderId(other), HeaderId::kOther) << other;
  }
}

TEST(Method, IsCaseSensitive) {
  EXPECT_EQ(MethodFromText("GET"), Method::kGet);
  EXPECT_EQ(MethodFromText("CONNECT"), Method::kConnect);
  EXPECT_EQ(MethodFromText("get"), Method::kOther);
  EXPECT_EQ(MethodFromText("PROPFIND"), Method::kOther);
  EXPECT_EQ(MethodText(Method::kPatch), "PATCH");
  EXPECT_EQ(ParseLinesForTest("PROPFIND /", {})->head().method_text(), "PROPFIND");
}

TEST(HeadPool, KeepsBuffersButNotLargeOnes) {
  HeadPool pool(1);
  auto first = pool.Take();
  auto second = pool.Take();
  HeadBuffer* const kept = first.get();
  pool.Give(std::move(first));
  pool.Give(std::move(second));
  pool.Give(nullptr);
  EXPECT_EQ(pool.Take().get(), kept);
}

}  // namespace
}  // namespace catzilla::http
