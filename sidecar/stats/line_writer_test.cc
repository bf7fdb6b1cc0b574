#include "sidecar/stats/line_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace catzilla::stats {
namespace {

class Pipe {
 public:
  Pipe() { EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0); }
  ~Pipe() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  int in() const { return ends_[1]; }
  std::string Read() {
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    std::string all(1 << 20, '\0');
    const ssize_t got = ::read(ends_[0], all.data(), all.size());
    all.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return all;
  }

 private:
  int ends_[2];
};

std::string Lines(int count, char letter = 'x') {
  std::string lines;
  for (int i = 0; i < count; ++i) lines += std::string(99, letter) + "\n";
  return lines;
}

TEST(LineWriter, WritesWhatThereIsRoomFor) {
  Pipe pipe;
  LineWriter writer(pipe.in());
  EXPECT_EQ(writer.Write(Lines(300), 1'000'000), 30'000u);
  EXPECT_EQ(pipe.Read(), Lines(300));
  EXPECT_EQ(writer.lost(), 0u);
}

TEST(LineWriter, WhatAPipeDoesNotTakeIsTheCallersToKeepOrDrop) {
  Pipe pipe;
  LineWriter writer(pipe.in());
  const std::string lines = Lines(10'000);  // Far more than a pipe takes.
  const size_t taken = writer.Write(lines, 1000);
  EXPECT_LT(taken, lines.size());
  EXPECT_EQ(writer.lost(), 0u);
  // Kept: it goes on where it stopped.
  EXPECT_EQ(pipe.Read(), lines.substr(0, taken));
  const std::string_view rest = std::string_view(lines).substr(taken, 1000 - taken % 100);
  EXPECT_EQ(writer.Write(rest, 0), rest.size());
  EXPECT_EQ(pipe.Read(), rest);
}

TEST(LineWriter, BehindADroppedLineANewOneBegins) {
  Pipe pipe;
  LineWriter writer(pipe.in());
  const std::string lines(1 << 20, 'x');  // One line: it is cut somewhere.
  const size_t taken = writer.Write(lines, 1000);
  ASSERT_LT(taken, lines.size());
  writer.Drop(std::string_view(lines).substr(taken));
  writer.Drop("and another\n");
  EXPECT_EQ(writer.lost(), 1u);
  EXPECT_EQ(pipe.Read().size(), taken);
  EXPECT_EQ(writer.Write("again\n", 0), 6u);
  EXPECT_EQ(pipe.Read(), "\nagain\n");
}

TEST(LineWriter, AFullDiskIsLoss) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  LineWriter writer(full);
  EXPECT_EQ(writer.Write(Lines(3), 1000), 300u);
  EXPECT_EQ(writer.lost(), 3u);
  ::close(full);
}

TEST(LineWriter, ImpatienceEndsTheWait) {
  Pipe pipe;
  LineWriter writer(pipe.in());
  const std::atomic<bool> impatient{true};
  EXPECT_LT(writer.Write(Lines(10'000), int64_t{3600} * 1'000'000, &impatient), 1'000'000u);
}

}  // namespace
}  // namespace catzilla::stats
