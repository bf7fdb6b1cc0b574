#include "sidecar/runtime/made_request.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace catzilla::runtime {
namespace {

using Fields = std::map<std::string, std::string>;

TEST(MadeRequest, O8IsWhatTheServerWouldHaveParsed) {
  const auto made = MadeRequest::Make("GET", "/a?b=1", "Example.org:8080",
                                      Fields{{"accept-language", "de"}, {"host", "other"}});
  ASSERT_TRUE(made.ok());
  const http::RequestHead& head = made->head();
  EXPECT_EQ(head.method(), http::Method::kGet);
  EXPECT_EQ(head.path(), "/a");
  EXPECT_EQ(head.query(), "b=1");
  EXPECT_EQ(head.host(), "example.org") << "the URL's, not the field's";
  EXPECT_EQ(head.port(), 8080);
  EXPECT_EQ(head.Find("accept-language"), "de");
  const auto by_field = MadeRequest::Make("GET", "/", "", Fields{{"Host", "other"}});
  ASSERT_TRUE(by_field.ok());
  EXPECT_EQ(by_field->head().host(), "other");
}

TEST(MadeRequest, O8TellsWhatIsNoRequestFromWhatIsRefused) {
  const auto status = [](const std::string& method, const std::string& host, const Fields& fields) {
    const auto made = MadeRequest::Make(method, "/", host, fields);
    return made.ok() ? 200 : made.error().status;
  };
  EXPECT_EQ(status("GET", "", {}), 200);
  EXPECT_EQ(status("BREW", "", {}), 200);
  EXPECT_EQ(status("CONNECT", "", {}), 501);
  EXPECT_EQ(status("GET", "a b", {}), 400);
  EXPECT_EQ(status("GET", "", {{"x", std::string(40'000, 'x')}}), 431);
  // Nothing that is described may become two requests, or another one.
  EXPECT_EQ(status("GET / HTTP/1.1\r\nX: ", "", {}), 0);
  EXPECT_EQ(status("GET", "", {{"x", "1\r\ny: 2"}}), 0);
  EXPECT_EQ(status("GET", "", {{"x: 1\r\ny", "2"}}), 0);
  EXPECT_EQ(status("GET", "a\r\nx: y", {}), 0);
  EXPECT_FALSE(MadeRequest::Make("GET", "/a HTTP/1.1\r\nx: y", "", Fields{}).ok());
}

}  // namespace
}  // namespace catzilla::runtime
