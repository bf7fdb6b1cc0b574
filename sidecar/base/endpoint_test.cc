#include "sidecar/base/endpoint.h"

#include <gtest/gtest.h>

namespace catzilla::base {
namespace {

using Kind = Endpoint::Kind;

TEST(Endpoint, TakesSocketsAddressesAndNames) {
  struct Row {
    const char* text;
    Kind kind;
    const char* host;
    uint16_t port;
    const char* authority;
  };
  for (const Row& row : {
           Row{"unix:/run/app.sock", Kind::kUnix, "/run/app.sock", 0, "localhost"},
           Row{"127.0.0.1:9000", Kind::kAddress, "127.0.0.1", 9000, "127.0.0.1:9000"},
           Row{"127.0.0.1:80", Kind::kAddress, "127.0.0.1", 80, "127.0.0.1"},
           Row{"[::1]:9000", Kind::kAddress, "::1", 9000, "[::1]:9000"},
           Row{"app:9000", Kind::kName, "app", 9000, "app:9000"},
           Row{"my_app.default.svc:65535", Kind::kName, "my_app.default.svc", 65535,
               "my_app.default.svc:65535"},
           Row{"4you.example:1", Kind::kName, "4you.example", 1, "4you.example:1"},
       }) {
    const auto parsed = ParseEndpoint(row.text);
    ASSERT_TRUE(parsed.ok()) << row.text;
    EXPECT_EQ(parsed->kind, row.kind) << row.text;
    EXPECT_EQ(parsed->host, row.host);
    EXPECT_EQ(parsed->port, row.port);
    EXPECT_EQ(parsed->text, row.text);
    EXPECT_EQ(parsed->Authority(), row.authority);
  }
}

TEST(Endpoint, RefusesEverythingElse) {
  for (const char* text :
       {"",       "app",    ":9000",         "app:",     "app:0",           "app:65536",
        "app:+1", "app:1x", "unix:",         "unix:run", "http://app:9000", "[::1]",
        "[::1",   "[]:1",   "[127.0.0.1]:1", "::1:9000", "1.2.3:80",        "1.2.3.4.5:80",
        "a b:80", "-a:80",  ".a:80",         "a..b:80",  "a/b:80",          "a@b:80"}) {
    EXPECT_FALSE(ParseEndpoint(text).ok()) << text;
  }
  EXPECT_FALSE(ParseEndpoint("unix:/" + std::string(107, 'a')).ok());
  EXPECT_TRUE(ParseEndpoint("unix:/" + std::string(106, 'a')).ok());
  EXPECT_FALSE(ParseEndpoint(std::string(254, 'a') + ":80").ok());
}

}  // namespace
}  // namespace catzilla::base
