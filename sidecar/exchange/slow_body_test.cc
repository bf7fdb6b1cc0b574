// The time an app has for its answer begins when it can begin: not while its client is still
// sending the body that is collected for it.
#include "sidecar/exchange/visitor_test.h"

namespace catzilla::exchange {
namespace {

TEST(SlowBodies, TakeNothingOfTheAppsTime) {
  config::Pool pool;
  pool.request_timeout_us = 1'000'000;
  Stage stage(pool);
  stage.Attach();
  const auto wait = [&](int64_t us) {
    const int64_t until_us = base::ReadClock().monotonic_us + us;
    ASSERT_TRUE(stage.Until([&] { return base::ReadClock().monotonic_us > until_us; }));
  };
  Visitor client(stage.desk.context);
  client.Say("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
  wait(1'100'000);
  client.Say("body");
  const uint32_t stream = stage.TakeRequest();
  ASSERT_NE(stream, 0u);
  wait(300'000);
  EXPECT_EQ(client.read(), "") << "the app has had a third of its time";
  if (!client.over()) {
    stage.lane().Respond(stream);
    stage.Pump();
    EXPECT_TRUE(client.read().ends_with("hello"));
  } else {
    (void)stage.TakeCancel();
  }
}

}  // namespace
}  // namespace catzilla::exchange
