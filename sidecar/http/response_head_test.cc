#include "sidecar/http/response_head.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "sidecar/http/error_page.h"
#include "sidecar/http/testing.h"

namespace catzilla::http {
namespace {

TEST(ResponseWriter, WritesAHead) {
  char buffer[256];
  ResponseWriter writer(buffer, sizeof(buffer));
  writer.Status(200);
  writer.Date("Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_TRUE(writer.Field("Content-Type", "text/plain"));
  writer.Field("Content-Length", 18446744073709551615u);
  EXPECT_TRUE(writer.Field("X-Empty", ""));
  writer.Lines("Vary: Accept-Encoding\r\n");
  writer.Connection(false, 1);
  ASSERT_TRUE(writer.End());
  EXPECT_EQ(writer.bytes(),
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
            "Content-Length: 18446744073709551615\r\nX-Empty: \r\nVary: Accept-Encoding\r\n"
            "Connection: close\r\n\r\n");
}

TEST(ResponseWriter, LeavesOutFieldsThatCouldSplitTheAnswer) {
  char buffer[256];
  ResponseWriter writer(buffer, sizeof(buffer));
  for (const std::string_view value :
       {std::string_view("a\r\nSet-Cookie: x"), std::string_view("a\nb"), std::string_view("a\rb"),
        std::string_view("a\0b", 3), std::string_view("\x7f"), std::string_view("\x01")}) {
    EXPECT_FALSE(writer.Field("Location", value));
  }
  for (const std::string_view name : {"", "A B", "A:", "A\r\n", "\xc3\xa9"}) {
    EXPECT_FALSE(writer.Field(name, "x"));
  }
  EXPECT_TRUE(writer.Field("X", "\xe9\ttab"));
  EXPECT_EQ(writer.bytes(), "X: \xe9\ttab\r\n");
}

TEST(ResponseWriter, NeverWritesPastItsBuffer) {
  for (size_t capacity = 0; capacity < 60; ++capacity) {
    std::string memory(capacity, '#');
    ResponseWriter writer(memory.data(), capacity);
    writer.Status(404);
    writer.Field("Content-Type", "text/plain");
    writer.Field("A", "b");
    const bool ok = writer.End();
    EXPECT_EQ(ok, capacity >= 58) << capacity;
    EXPECT_LE(writer.size(), capacity);
  }
}

TEST(ResponseWriter, TellsOnlyWhatTheClientDoesNotAssume) {
  const auto written = [](bool keep_alive, int minor) {
    char buffer[64];
    ResponseWriter writer(buffer, sizeof(buffer));
    writer.Connection(keep_alive, minor);
    return std::string(writer.bytes());
  };
  EXPECT_EQ(written(true, 1), "");
  EXPECT_EQ(written(false, 1), "Connection: close\r\n");
  EXPECT_EQ(written(true, 0), "Connection: keep-alive\r\n");
  EXPECT_EQ(written(false, 0), "Connection: close\r\n");
}

TEST(Status, HasTheRegisteredReason) {
  EXPECT_EQ(ReasonPhrase(200), "OK");
  EXPECT_EQ(ReasonPhrase(413), "Content Too Large");
  EXPECT_EQ(ReasonPhrase(431), "Request Header Fields Too Large");
  EXPECT_EQ(ReasonPhrase(511), "Network Authentication Required");
  EXPECT_EQ(ReasonPhrase(299), "");
  EXPECT_EQ(ReasonPhrase(999), "");
  EXPECT_EQ(ReasonPhrase(0), "");
  char buffer[64];
  ResponseWriter writer(buffer, sizeof(buffer));
  writer.Status(599);
  EXPECT_EQ(writer.bytes(), "HTTP/1.1 599 \r\n");
}

TEST(Framing, FollowsMethodVersionAndStatus) {
  using Framing = ResponseFraming;
  EXPECT_EQ(FramingOf(Method::kGet, 1, 200, true), Framing::kLength);
  EXPECT_EQ(FramingOf(Method::kGet, 1, 200, false), Framing::kChunked);
  EXPECT_EQ(FramingOf(Method::kGet, 0, 200, false), Framing::kClose);
  EXPECT_EQ(FramingOf(Method::kHead, 1, 200, true), Framing::kNone);
  for (const uint16_t status : {100, 101, 103, 204, 304}) {
    EXPECT_EQ(FramingOf(Method::kGet, 1, status, false), Framing::kNone) << status;
  }
}

TEST(Chunks, BeginWithTheirSize) {
  char out[kChunkHeadBytesMax];
  EXPECT_EQ(std::string_view(out, WriteChunkHead(1, out)), "1\r\n");
  EXPECT_EQ(std::string_view(out, WriteChunkHead(65535, out)), "ffff\r\n");
  EXPECT_EQ(std::string_view(out, WriteChunkHead(UINT64_MAX, out)), "ffffffffffffffff\r\n");
}

TEST(ErrorPage, IsHtmlForBrowsersAndJsonForTheRest) {
  const auto format = [](std::string_view accept) {
    const std::string line = "Accept: " + std::string(accept);
    return ChooseErrorFormat(&ParseLinesForTest("GET /", {line})->head());
  };
  EXPECT_EQ(format("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ErrorFormat::kHtml);
  EXPECT_EQ(format("*/*"), ErrorFormat::kJson);
  EXPECT_EQ(format("application/json"), ErrorFormat::kJson);
  EXPECT_EQ(format("text/html;q=0.5, application/json"), ErrorFormat::kJson);
  EXPECT_EQ(format("text/*"), ErrorFormat::kHtml);
  EXPECT_EQ(ChooseErrorFormat(nullptr), ErrorFormat::kJson);
  EXPECT_EQ(ChooseErrorFormat(&ParseLinesForTest("GET /", {})->head()), ErrorFormat::kJson);
}

TEST(ErrorPage, EscapesWhatItIsGiven) {
  std::string json;
  AppendErrorPage(ErrorFormat::kJson, 404, "no \"<b>\"\n", "id-1", json);
  EXPECT_EQ(
      json,
      "{\"error\":{\"status\":404,\"reason\":\"Not Found\",\"detail\":\"no \\\"<b>\\\"\\u000a\","
      "\"request_id\":\"id-1\"}}\n");
  std::string html;
  AppendErrorPage(ErrorFormat::kHtml, 404, "<script>", "", html);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_NE(html.find("404 Not Found"), std::string::npos);
}

}  // namespace
}  // namespace catzilla::http
