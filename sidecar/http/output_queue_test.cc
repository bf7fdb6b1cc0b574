#include "sidecar/http/output_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace catzilla::http {
namespace {

class Flag final : public base::Owner {
 public:
  explicit Flag(bool* gone) : gone_(gone) {}
  ~Flag() override { *gone_ = true; }

 private:
  bool* gone_;
};

class File final : public SentFile {
 public:
  explicit File(bool* gone) : gone_(gone) {}
  ~File() override { *gone_ = true; }
  bool Intact(int64_t) const override { return false; }
  uint64_t Cached(uint64_t, uint64_t bytes, int64_t) const override { return bytes; }
  int fd() const override { return 7; }
  void GiveUp() const override {}

 private:
  bool* gone_;
};

std::string Gathered(const OutputQueue& queue, bool* more) {
  iovec parts[8];
  std::string text;
  const int count = queue.Gather(parts, 8, more);
  for (int i = 0; i < count; ++i) {
    text.append(static_cast<char*>(parts[i].iov_base), parts[i].iov_len);
  }
  return text;
}

TEST(OutputQueue, SmallAnswersBecomeOnePart) {
  OutputQueue queue;
  queue.Append("head ");
  char* room = queue.Reserve(4);
  std::copy_n("body", 4, room);
  queue.Commit(4);
  iovec parts[8];
  bool more = true;
  EXPECT_EQ(queue.Gather(parts, 8, &more), 1);
  EXPECT_FALSE(more);
  EXPECT_EQ(Gathered(queue, &more), "head body");
  queue.Consume(7);
  EXPECT_EQ(Gathered(queue, &more), "dy");
  queue.Consume(2);
  EXPECT_TRUE(queue.empty());
}

TEST(OutputQueue, SharedBytesLiveUntilWritten) {
  OutputQueue queue;
  bool gone = false;
  const std::string body(OutputQueue::kCopyBytesMax + 1, 'b');
  queue.Append("h");
  queue.AppendShared(body, base::Ref<base::Owner>::Adopt(new Flag(&gone)));
  queue.Append("t");
  queue.Consume(1 + body.size() - 1);
  EXPECT_FALSE(gone);
  queue.Consume(1);
  EXPECT_TRUE(gone);
  bool more = false;
  EXPECT_EQ(Gathered(queue, &more), "t");
}

TEST(OutputQueue, AFileStopsTheGatheringAndIsConsumedInPieces) {
  OutputQueue queue;
  bool gone = false;
  queue.Append("head");
  queue.AppendFile({7, 100, 50}, base::Ref<SentFile>::Adopt(new File(&gone)));
  bool more = false;
  EXPECT_EQ(Gathered(queue, &more), "head");
  EXPECT_TRUE(more);
  EXPECT_EQ(queue.FrontPiece(), nullptr);
  queue.Consume(4);
  ASSERT_NE(queue.FrontPiece(), nullptr);
  EXPECT_FALSE(queue.FrontFile().Intact(1));
  queue.Consume(20);
  EXPECT_EQ(queue.FrontPiece()->offset, 120u);
  EXPECT_EQ(queue.pending_bytes(), 30u);
  queue.Clear();
  EXPECT_TRUE(gone);
}

TEST(OutputQueue, LongBytesSpanChunks) {
  OutputQueue queue;
  const std::string text(3 * OutputQueue::kChunkBytes + 5, 'x');
  queue.Append(text);
  bool more = false;
  EXPECT_EQ(Gathered(queue, &more), text);
  queue.Consume(text.size());
  EXPECT_TRUE(queue.empty());
}

TEST(OutputQueue, AStreamThatNeverEmptiesKeepsFewChunks) {
  OutputQueue queue;
  const std::string text(1000, 'x');
  queue.Append(text);
  for (int i = 0; i < 10'000; ++i) {
    queue.Append(text);
    queue.Consume(text.size());
    ASSERT_LE(queue.chunk_count(), 2u);
  }
  EXPECT_EQ(queue.pending_bytes(), text.size());
}

}  // namespace
}  // namespace catzilla::http
