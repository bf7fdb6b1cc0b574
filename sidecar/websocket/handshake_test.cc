#include "sidecar/websocket/handshake.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "sidecar/http/testing.h"

namespace catzilla::websocket {
namespace {

using Lines = std::vector<std::string>;

const Lines kSound = {"Connection: keep-alive, Upgrade", "Upgrade: WebSocket",
                      "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="};

std::unique_ptr<http::HeadBuffer> Parse(const std::string& line, const Lines& lines,
                                        const std::string& host = "test") {
  std::string text = line + " HTTP/1.1\r\nHost: " + host + "\r\n";
  for (const std::string& field : lines) text += field + "\r\n";
  return http::ParseHeadForTest(text + "\r\n");
}

Lines With(size_t at, const std::string& line) {
  Lines lines = kSound;
  lines[at] = line;
  return lines;
}

TEST(Handshake, AnAnswerIsChecked) {
  const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";
  const std::string accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
  using List = std::vector<http::Field>;
  const List sound = {{"upgrade", "WebSocket"},
                      {"connection", "keep-alive, Upgrade"},
                      {"sec-websocket-accept", accept}};
  const auto with = [&](http::Field field) {
    List fields = sound;
    fields.push_back(field);
    return fields;
  };
  const struct {
    const char* name;
    List fields;
    bool is_sound;
  } rows[] = {
      {"sound", sound, true},
      {"nothing", {}, false},
      {"no upgrade", {sound[1], sound[2]}, false},
      {"no connection", {sound[0], sound[2]}, false},
      {"no key", {sound[0], sound[1]}, false},
      {"another protocol", {{"upgrade", "h2c"}, sound[1], sound[2]}, false},
      {"two keys", with({"sec-websocket-accept", accept}), false},
      {"another key", {sound[0], sound[1], {"sec-websocket-accept", "AAAA"}}, false},
      {"an extension", with({"sec-websocket-extensions", "permessage-deflate"}), false},
      {"a subprotocol", with({"sec-websocket-protocol", "chat"}), true},
      {"in another case", with({"sec-websocket-protocol", "Chat"}), false},
      {"one not offered", with({"sec-websocket-protocol", "talk"}), false},
      {"a list of them", with({"sec-websocket-protocol", "chat, v2"}), false},
      {"any other field", with({"x-own", "yes"}), true},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(CheckAccept(row.fields, key, "chat,v2, v3,") == nullptr, row.is_sound) << row.name;
  }
}

TEST(Handshake, AcceptsAsTheRfcDoes) {
  EXPECT_EQ(AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(AcceptKey("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
}

TEST(Handshake, OnlyAGetWithBothFieldsAsks) {
  EXPECT_TRUE(AsksForSocket(Parse("GET /", kSound)->head()));
  EXPECT_FALSE(AsksForSocket(Parse("POST /", kSound)->head()));
  EXPECT_FALSE(AsksForSocket(Parse("GET /", With(0, "A: b"))->head()));
  EXPECT_FALSE(AsksForSocket(Parse("GET /", With(1, "Upgrade: h2c"))->head()));
}

TEST(Handshake, EachFaultHasItsStatus) {
  const auto status = [](const Lines& lines) {
    return CheckHandshake(Parse("GET /", lines)->head()).status;
  };
  EXPECT_EQ(status(kSound), 0);
  EXPECT_EQ(status(With(2, "Sec-WebSocket-Version: 8")), 426);
  EXPECT_EQ(status(With(2, "A: b")), 426);
  EXPECT_EQ(status(With(3, "A: b")), 400);
  EXPECT_EQ(status(With(3, "Sec-WebSocket-Key: ")), 400);
  EXPECT_EQ(status(With(3, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=")), 400);
  EXPECT_EQ(status(With(3, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==")), 400);
  EXPECT_EQ(status(With(3, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==")), 400);
  Lines twice = kSound;
  twice.push_back(kSound[3]);
  EXPECT_EQ(status(twice), 400);
  Lines body = kSound;
  body.push_back("Content-Length: 1");
  EXPECT_EQ(status(body), 400);
}

TEST(Handshake, OriginsAreComparedWhole) {
  struct Row {
    std::string origin;  // Empty: no field.
    Lines allowed;
    bool is_allowed;
  };
  const Row rows[] = {
      {"https://evil.example", {}, true},
      {"https://a.example", {"https://a.example"}, true},
      {"https://A.example", {"https://a.example"}, true},
      {"https://a.example:443", {"https://a.example"}, true},
      {"https://a.example", {"https://a.example:443"}, true},
      {"https://a.example:444", {"https://a.example"}, false},
      {"http://a.example", {"https://a.example"}, false},
      {"https://a.example.evil", {"https://a.example"}, false},
      {"https://evil.a.example", {"https://a.example"}, false},
      {"", {"https://a.example"}, false},
      {"", {"https://a.example", "none"}, true},
      {"none", {"none"}, false},
      {"same", {"same"}, false},
      {"null", {"same", "none"}, false},
      {"http://host.example", {"same"}, true},
      {"http://host.example:80", {"same"}, true},
      {"https://host.example", {"same"}, false},
      {"http://other.example", {"same"}, false},
  };
  for (const Row& row : rows) {
    Lines lines = kSound;
    if (!row.origin.empty()) lines.push_back("Origin: " + row.origin);
    const auto request = Parse("GET /", lines, "Host.example");
    EXPECT_EQ(OriginAllowed(request->head(), "http", row.allowed), row.is_allowed) << row.origin;
  }
}

}  // namespace
}  // namespace catzilla::websocket
