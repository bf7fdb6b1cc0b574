#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
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

// Rings that wrap in the midst of a line, written while others have lines: each line stays whole.
TEST(AccessLog, LinesOfLoopsAreNeverMixed) {
  char name[] = "/tmp/catzilla-log-XXXXXX";
  const int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  close(fd);
  uint64_t written = 0;
  {
    auto log = AccessLog::Open(name, 2, 1);  // The smallest ring: it wraps all the time.
    ASSERT_TRUE(log.ok());
    std::atomic<uint64_t> count{0};
    std::thread loops[2];
    for (int loop = 0; loop < 2; ++loop) {
      loops[loop] = std::thread([&, loop] {
        const std::string line = std::string(97, static_cast<char>('a' + loop)) + "\n";
        for (int i = 0; i < 20'000; ++i) {
          if ((*log)->Write(loop, line)) {
            ++count;
          } else {
            std::this_thread::yield();
          }
        }
      });
    }
    for (std::thread& loop : loops) loop.join();
    written = count;
  }
  std::ifstream file(name);
  uint64_t read = 0;
  for (std::string line; std::getline(file, line); ++read) {
    ASSERT_EQ(line.size(), 97u);
    ASSERT_EQ(line, std::string(97, line[0]));
  }
  EXPECT_EQ(read, written);
  std::remove(name);
}

TEST(AccessLog, APathThatCannotBeOpenedHasARemedy) {
  const auto log = AccessLog::Open("/nowhere/x.log", 1, 1);
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.error().find("/nowhere/x.log"), std::string::npos);
}

class AccessLogFiles : public testing::Test {
 protected:
  AccessLogFiles() {
    char name[] = "/tmp/catzilla-logs-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~AccessLogFiles() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ / name; }
  static std::string TextOf(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(AccessLogFiles, O5AnotherPathTakesWhatComesFromNowOn) {
  auto log = AccessLog::Open(Path("a"), 1, 1 << 16);
  ASSERT_TRUE(log.ok());
  ASSERT_TRUE((*log)->Write(0, "one\n"));
  while (TextOf(Path("a")).empty()) std::this_thread::yield();
  EXPECT_FALSE((*log)->Switch("/nowhere/x.log").ok());  // Then it stays as it was.
  ASSERT_TRUE((*log)->Write(0, "two\n"));
  while (TextOf(Path("a")) != "one\ntwo\n") std::this_thread::yield();
  ASSERT_TRUE((*log)->Switch(Path("b")).ok());
  uint64_t written = 2;  // The writer may be under way with the file before.
  while (TextOf(Path("b")).empty()) {
    if ((*log)->Write(0, "new\n")) ++written;
  }
  EXPECT_EQ((*log)->lost(), 0u);
  std::move(log).value().reset();
  const std::string all = TextOf(Path("a")) + TextOf(Path("b"));
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), static_cast<int64_t>(written));
}

// S12, S17: opening waits for no reader, and neither does writing or ending.
TEST_F(AccessLogFiles, S17ANamedPipeIsNeverWaitedFor) {
  const std::string pipe = Path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto unread = AccessLog::Open(pipe, 1, 1 << 16);
  ASSERT_FALSE(unread.ok());
  EXPECT_NE(unread.error().find("nobody reads"), std::string::npos) << unread.error();
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  auto log = AccessLog::Open(pipe, 1, 1 << 16);
  ASSERT_TRUE(log.ok());
  const std::string line(1000, 'x');
  int dropped = 0;
  while (dropped == 0) {
    if (!(*log)->Write(0, line + "\n")) ++dropped;
  }
  std::move(log).value().reset();
  ::close(reader);
}

TEST(RouteStats, O5ARaisedLimitGivesLaterLabelsTheirOwn) {
  RouteStatsTable table(1, 100);
  std::vector<std::shared_ptr<RouteStats>> kept;
  for (int i = 0; i < 20; ++i) kept.push_back(table.Get("/" + std::to_string(i), {"GET"}));
  ASSERT_EQ(kept.back()->label(), "<other>");
  table.SetSeriesMax(10'000);
  EXPECT_EQ(table.Get("/19", {"GET"})->label(), "/19");
  table.SetSeriesMax(100);
  EXPECT_EQ(table.Get("/0", {"GET"}), kept.front()) << "what is counted stays";
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
