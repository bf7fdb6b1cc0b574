#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "sidecar/stats/access_log.h"
#include "sidecar/stats/json_line.h"
#include "sidecar/stats/route_stats.h"

namespace catzilla::stats {
namespace {

TEST(JsonLine, EscapesWhatJsonCannotHold) {
  char buffer[512];
  JsonLine line(buffer, sizeof(buffer));
  line.Text("a", "q\" b\\ n\n \xc3\xa9 \xff");
  line.Number("n", -5);
  line.Seconds("s", 1'000'042);
  line.Bool("b", true);
  EXPECT_EQ(line.Finish(),
            "{\"a\":\"q\\\" b\\\\ n\\u000a \xc3\xa9 "
            "\xef\xbf\xbd\",\"n\":-5,\"s\":1.000042,\"b\":true}\n");
}

TEST(JsonLine, StaysValidWhenItDoesNotFit) {
  for (size_t bytes = 16; bytes < 90; ++bytes) {
    std::string buffer(bytes, '\0');
    JsonLine line(buffer.data(), bytes);
    line.Text("first", std::string(40, '\n'));
    line.Number("second", 123456);
    const std::string_view text = line.Finish();
    ASSERT_LE(text.size(), bytes);
    EXPECT_TRUE(text.starts_with("{") && text.ends_with("}\n")) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '"') % 2, 0) << text;
  }
}

TEST(LogRing, WrapsAndDeclinesWhatDoesNotFit) {
  LogRing ring(1);
  const std::string line(AccessLog::kLineBytesMax, 'x');
  size_t pushed = 0;
  while (ring.Push(line)) ++pushed;
  EXPECT_EQ(pushed, 2u);
  std::string_view first;
  std::string_view second;
  ring.Peek(&first, &second);
  ring.Pop(100);
  EXPECT_TRUE(ring.Push(std::string(100, 'y')));
  EXPECT_FALSE(ring.Push("z"));
  ring.Peek(&first, &second);
  EXPECT_EQ(second, std::string(100, 'y'));
}

TEST(AccessLog, EveryLineOfEveryLoopArrives) {
  char name[] = "/tmp/catzilla-log-XXXXXX";
  const int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  close(fd);
  uint64_t written[2] = {};
  {
    auto log = AccessLog::Open(name, 2, 1 << 20);
    ASSERT_TRUE(log.ok());
    std::thread loops[2];
    for (int loop = 0; loop < 2; ++loop) {
      loops[loop] = std::thread([&, loop] {
        for (int i = 0; i < 5000; ++i) {
          if ((*log)->Write(loop, std::to_string(loop) + "\n")) ++written[loop];
        }
      });
    }
    for (std::thread& loop : loops) loop.join();
  }
  std::ifstream file(name);
  uint64_t read[2] = {};
  for (std::string line; std::getline(file, line);) ++read[line == "1"];
  EXPECT_EQ(read[0], written[0]);
  EXPECT_EQ(read[1], written[1]);
  EXPECT_EQ(written[0], 5000u);
  unlink(name);
}

TEST(AccessLog, APathThatCannotBeOpenedHasARemedy) {
  const auto log = AccessLog::Open("/nowhere/x.log", 1, 1);
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.error().find("/nowhere/x.log"), std::string::npos);
}

TEST(RouteStats, SurviveAReloadAndGoWithTheirRoute) {
  RouteStatsTable table(2, 1000);
  auto items = table.Get("/items", {"GET", "POST"});
  items->Count(0, MethodSlot("GET"), 200, 700);
  items->Count(1, MethodSlot("BREW"), 404, 70);
  EXPECT_EQ(table.Get("/items", {"GET"}), items);
  EXPECT_EQ(items->requests(MethodSlot("GET"), 1), 1u);
  EXPECT_EQ(items->requests(kMethodLabels.size() - 1, 3), 1u);
  EXPECT_EQ(items->duration_bucket(1), 1u);
  items.reset();
  EXPECT_EQ(table.All().size(), 1u);
}

TEST(RouteStats, AScannerCannotGrowThem) {
  RouteStatsTable table(1, 100);
  std::vector<std::shared_ptr<RouteStats>> kept;
  for (int i = 0; i < 1000; ++i) kept.push_back(table.Get("/" + std::to_string(i), {"GET"}));
  EXPECT_LE(table.All().size(), 6u);
  EXPECT_EQ(kept.back()->label(), "<other>");
  EXPECT_GT(table.overflowed(), 0u);
}

}  // namespace
}  // namespace catzilla::stats
