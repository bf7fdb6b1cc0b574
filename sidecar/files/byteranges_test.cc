#include "sidecar/files/byteranges.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <string>

#include "sidecar/files/mount_harness.h"

namespace catzilla::files {
namespace {

class ByterangesTest : public testing::Test {
 protected:
  static constexpr size_t kFileBytes = 20'000;

  ByterangesTest() {
    for (size_t i = 0; text_.size() < kFileBytes; ++i) text_ += std::to_string(i) + " ";
    text_.resize(kFileBytes);
    harness_.config.headers = {{"X-Mount", "m"}};
    Serve(text_);
  }

  void Serve(std::string_view text) {
    harness_.tree.Write("a.txt", text);
    harness_.Make();
    entry_ = harness_.Get("/static/a.txt").entry;
  }

  bool Ask(std::initializer_list<http::ByteRange> ranges) {
    http::RangeSet set;
    set.kind = http::RangeSet::Kind::kPartial;
    set.count = ranges.size();
    std::copy(ranges.begin(), ranges.end(), set.ranges.begin());
    answer_ = {};
    return RespondWithParts(*entry_, set, scratch_, &answer_);
  }

  // What would be sent behind the head.
  std::string Body() const {
    std::string body;
    for (const AnswerPart& part : answer_.parts) {
      body.append(part.lines).append(part.body);
      std::string bytes(part.file_bytes, '\0');
      if (part.file_bytes > 0) {
        EXPECT_EQ(pread(answer_.fd, bytes.data(), bytes.size(), static_cast<off_t>(part.offset)),
                  static_cast<ssize_t>(bytes.size()));
      }
      body.append(bytes);
    }
    return body;
  }

  std::string_view Boundary() const {
    constexpr std::string_view kName = "; boundary=";
    const size_t at = answer_.head.find(kName) + kName.size();
    return answer_.head.substr(at, answer_.head.find('\r', at) - at);
  }

  std::string Part(size_t first, size_t bytes) const {
    return "--" + std::string(Boundary()) +
           "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes " +
           std::to_string(first) + "-" + std::to_string(first + bytes - 1) + "/20000\r\n\r\n" +
           text_.substr(first, bytes) + "\r\n";
  }

  std::string text_;
  MountHarness harness_;
  base::Ref<Entry> entry_;
  AnswerScratch scratch_;
  Answer answer_;
};

TEST_F(ByterangesTest, ArePartsInTheOrderOfTheSetFromMemoryAndFromTheFile) {
  for (const uint64_t hot_bytes_max : {kFileBytes, size_t{10}}) {
    harness_.config.cache_file_bytes_max = hot_bytes_max;
    Serve(text_);
    const bool in_memory = hot_bytes_max == kFileBytes;
    ASSERT_EQ(entry_->in_memory(), in_memory);
    struct {
      std::initializer_list<http::ByteRange> ranges;
    } const kRows[] = {
        {{{0, 1}, {19'999, 1}}},
        {{{0, 10}, {500, 20}}},
        {{{9'000, 5'000}, {100, 7'000}}},
        {{{3, 1}, {1'003, 2}, {2'003, 3}, {700, 4}}},
        {{{0, 1},
          {1'000, 1},
          {2'000, 1},
          {3'000, 1},
          {4'000, 1},
          {5'000, 1},
          {6'000, 1},
          {7'000, 1},
          {8'000, 1},
          {9'000, 1},
          {10'000, 1},
          {11'000, 1},
          {12'000, 1},
          {13'000, 1},
          {14'000, 1},
          {15'000, 1}}},
    };
    for (const auto& row : kRows) {
      ASSERT_TRUE(Ask(row.ranges));
      std::string expected;
      for (const http::ByteRange& range : row.ranges) expected += Part(range.first, range.length);
      expected += "--" + std::string(Boundary()) + "--\r\n";
      const std::string body = Body();
      EXPECT_EQ(body, expected);
      EXPECT_EQ(answer_.body_bytes, body.size());
      EXPECT_EQ(answer_.parts.size(), row.ranges.size() + 1);
      EXPECT_EQ(answer_.fd >= 0, !in_memory);
      EXPECT_EQ(answer_.entry, entry_.get());
    }
  }
}

// Not a copy: what is large is sent from where it lies.
TEST_F(ByterangesTest, ReferToTheBodyInMemory) {
  ASSERT_TRUE(Ask({{10, 5'000}, {9'000, 6'000}}));
  EXPECT_EQ(answer_.parts[0].body.data(), entry_->body().data() + 10);
  EXPECT_EQ(answer_.parts[1].body.data(), entry_->body().data() + 9'000);
}

TEST_F(ByterangesTest, HaveAHeadWithTheTypeOfTheWholeBodyOnly) {
  ASSERT_TRUE(Ask({{0, 10}, {500, 20}}));
  EXPECT_EQ(answer_.status, 206);
  EXPECT_FALSE(answer_.contiguous);
  const std::string head(answer_.head);
  EXPECT_TRUE(head.starts_with("HTTP/1.1 206 Partial Content\r\nServer: catzilla\r\nDate: "));
  EXPECT_TRUE(head.ends_with("\r\n"));
  EXPECT_EQ(answer_.wire().substr(head.size()), "\r\n");
  EXPECT_EQ(head.substr(answer_.date_offset - 6, 6), "Date: ");
  EXPECT_EQ(head.find("Content-Range"), std::string::npos);
  EXPECT_EQ(head.find("text/plain"), std::string::npos);
  for (const std::string& line :
       {"\r\nContent-Length: " + std::to_string(Body().size()) + "\r\n",
        "\r\nContent-Type: multipart/byteranges; boundary=" + std::string(Boundary()) + "\r\n",
        std::string("\r\nX-Mount: m\r\n"), std::string("\r\nAccept-Ranges: bytes\r\n"),
        "\r\nETag: " + std::string(entry_->etag()) + "\r\n"}) {
    EXPECT_NE(head.find(line), std::string::npos) << line << head;
  }
}

TEST_F(ByterangesTest, HaveANewBoundaryOf128BitsEachTime) {
  ASSERT_TRUE(Ask({{0, 10}, {500, 20}}));
  const std::string first(Boundary());
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(first.find_first_not_of("0123456789abcdef"), std::string::npos);
  ASSERT_TRUE(Ask({{0, 10}, {500, 20}}));
  EXPECT_NE(Boundary(), first);
}

TEST_F(ByterangesTest, AreDeclinedWhereTheWholeIsNotLonger) {
  Serve(text_.substr(0, 999));
  ASSERT_TRUE(Ask({{0, 1}, {200, 1}}));
  const uint64_t body_bytes = answer_.body_bytes;
  ASSERT_GT(body_bytes, 201u);  // So that the numbers below have as many digits.
  ASSERT_LT(body_bytes, 999u);
  Serve(text_.substr(0, body_bytes + 1));
  EXPECT_TRUE(Ask({{0, 1}, {200, 1}}));
  EXPECT_EQ(answer_.body_bytes, body_bytes);
  Serve(text_.substr(0, body_bytes));
  EXPECT_FALSE(Ask({{0, 1}, {200, 1}}));
  EXPECT_EQ(answer_.status, 0);
}

}  // namespace
}  // namespace catzilla::files
