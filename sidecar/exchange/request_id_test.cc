// A refusal names the request twice, in a field and in its page: with the client's own id, if it
// came with one.
#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

TEST(RequestIds, AreNamedByThePageOfEveryRefusal) {
  Stage stage;
  for (const char* line : {"GET /none", "PUT /app", "DELETE /files/a"}) {
    Visitor client(stage.desk.context);
    client.Say(std::string(line) + " HTTP/1.1\r\nHost: a\r\nX-Request-Id: r1\r\n\r\n");
    EXPECT_NE(client.read().find("X-Request-Id: r1\r\n"), std::string::npos) << line;
    EXPECT_NE(client.read().find("\"request_id\":\"r1\""), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace catzilla::exchange
