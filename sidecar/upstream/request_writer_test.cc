#include "sidecar/upstream/request_writer.h"

#include <gtest/gtest.h>

#include <vector>

namespace catzilla::upstream {
namespace {

class Writer : public testing::Test {
 protected:
  std::string Write() {
    spec.fields = fields;
    std::string line;
    std::string rest;
    WriteRequest(spec, config, &line, &rest);
    return line + rest;
  }

  Writer() {
    spec.target = "/a?b";
    spec.host = "example.com";
    config.x_forwarded = false;
  }

  origin::RequestSpec spec;
  config::Upstream config;
  std::vector<http::Field> fields;
};

TEST_F(Writer, LeavesOutWhatIsOfTheClientsConnection) {
  fields = {{"host", "other"},          {"accept", "*/*"},  {"connection", "close"},
            {"keep-alive", "1"},        {"te", "trailers"}, {"transfer-encoding", "chunked"},
            {"content-length", "77"},   {"upgrade", "h2c"}, {"proxy-connection", "close"},
            {"expect", "100-continue"}, {"x-twice", "1"},   {"x-twice", "2"}};
  EXPECT_EQ(Write(),
            "GET /a?b HTTP/1.1\r\nhost: example.com\r\naccept: */*\r\nx-twice: 1\r\nx-twice: 2\r\n"
            "\r\n");
}

TEST_F(Writer, FramesTheBodyAnew) {
  spec.method = "POST";
  EXPECT_TRUE(Write().ends_with("\r\ncontent-length: 0\r\n\r\n"));
  spec.body_mode = origin::BodyMode::kInline;
  spec.body = "hello";
  EXPECT_TRUE(Write().ends_with("\r\ncontent-length: 5\r\n\r\n"));
  spec.body_mode = origin::BodyMode::kStreaming;
  spec.body_length = 1 << 20;
  EXPECT_TRUE(Write().ends_with("\r\ncontent-length: 1048576\r\n\r\n"));
  spec.body_length = origin::kLengthUnknown;
  EXPECT_TRUE(Write().ends_with("\r\ntransfer-encoding: chunked\r\n\r\n"));
  fields = {{"expect", "100-continue"}};
  EXPECT_EQ(Write().find("expect"), std::string::npos);
  spec.flags = origin::kExpectContinue;
  EXPECT_NE(Write().find("expect: 100-continue\r\n"), std::string::npos);
}

TEST_F(Writer, LeavesTheHostToTheTarget) {
  config.preserve_host = false;
  EXPECT_EQ(Write().find("host"), std::string::npos);
}

TEST_F(Writer, BelievesOnlyTrustedPeers) {
  config.x_forwarded = config.forwarded = true;
  config.via = "side";
  spec.peer = "2001:db8::1";
  spec.server_port = 8080;
  fields = {{"x-forwarded-for", "6.6.6.6"}, {"x-forwarded-host", "real"},
            {"x-forwarded-port", "443"},    {"forwarded", "for=6.6.6.6"},
            {"x-real-ip", "6.6.6.6"},       {"via", "1.1 front"}};
  const std::string stranger = Write();
  EXPECT_EQ(stranger.find("6.6.6.6"), std::string::npos);
  EXPECT_NE(stranger.find("x-forwarded-for: 2001:db8::1\r\n"), std::string::npos);
  EXPECT_NE(stranger.find("x-forwarded-host: example.com\r\n"), std::string::npos);
  EXPECT_NE(stranger.find("x-forwarded-port: 8080\r\n"), std::string::npos);
  EXPECT_NE(stranger.find("forwarded: for=\"[2001:db8::1]\";proto=http;host=\"example.com\"\r\n"),
            std::string::npos);
  EXPECT_NE(stranger.find("via: 1.1 front, 1.1 side\r\n"), std::string::npos);
  spec.peer_trusted = true;
  const std::string trusted = Write();
  EXPECT_NE(trusted.find("x-forwarded-for: 6.6.6.6, 2001:db8::1\r\n"), std::string::npos);
  EXPECT_NE(trusted.find("x-forwarded-host: real\r\n"), std::string::npos);
  EXPECT_NE(trusted.find("x-forwarded-port: 443\r\n"), std::string::npos);
  EXPECT_NE(trusted.find("forwarded: for=6.6.6.6, for="), std::string::npos);
  EXPECT_EQ(trusted.find("x-real-ip"), std::string::npos);
}

}  // namespace
}  // namespace catzilla::upstream
