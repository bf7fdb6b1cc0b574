#include "sidecar/files/answer.h"

#include <gtest/gtest.h>

#include <memory>

#include "sidecar/files/mount_harness.h"
#include "sidecar/http/request_parser.h"

namespace catzilla::files {
namespace {

// 2023-11-14T22:13:20Z
constexpr int64_t kModified = 1'700'000'000;
constexpr std::string_view kModifiedText = "Tue, 14 Nov 2023 22:13:20 GMT";
constexpr std::string_view kEarlierText = "Tue, 14 Nov 2023 22:13:19 GMT";
constexpr std::string_view kLaterText = "Tue, 14 Nov 2023 22:13:21 GMT";

class AnswerTest : public testing::Test {
 protected:
  AnswerTest() {
    harness_.tree.Write("a.txt", "0123456789");
    harness_.tree.Write("empty", "");
    harness_.tree.SetModified("a.txt", kModified);
    harness_.tree.Directory("docs");
    harness_.config.headers = {{"X-Mount", "m"}};
    harness_.config.cache_control = "max-age=5";
    harness_.Make();
  }

  // `fields` are lines with CRLF; ETAG in them is replaced by the file's tag.
  const http::RequestHead& Parse(std::string_view method, std::string_view target,
                                 std::string fields) {
    for (size_t at; (at = fields.find("ETAG")) != std::string::npos;) fields.replace(at, 4, etag_);
    text_ = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n" + fields +
            "\r\n";
    buffer_ = std::make_unique<http::HeadBuffer>();
    http::RequestParser parser;
    parser.Begin(buffer_.get(), {});
    EXPECT_EQ(parser.Next(text_).event, http::RequestParser::Event::kHead) << text_;
    return buffer_->head();
  }

  Answer Ask(std::string_view path, std::string_view method, std::string fields = "",
             std::string_view query = "") {
    const MountHarness::Got got = harness_.Get(path);
    entry_ = got.entry;
    etag_ = std::string(entry_->etag());
    const std::string target = std::string(path) + std::string(query);
    const http::RequestHead& head = Parse(method, target, std::move(fields));
    return harness_.mount->Respond(*entry_, head, path, harness_.now, scratch_, 0);
  }

  MountHarness harness_;
  base::Ref<Entry> entry_;
  std::string etag_, text_;
  AnswerScratch scratch_;
  std::unique_ptr<http::HeadBuffer> buffer_;
};

TEST_F(AnswerTest, JudgesPreconditionsInTheOrderOfTheStandard) {
  const std::string modified(kModifiedText), earlier(kEarlierText), later(kLaterText);
  struct {
    std::string fields;
    int status;
  } const kRows[] = {
      {"", 200},
      {"If-None-Match: ETAG\r\n", 304},
      {"If-None-Match: W/ETAG\r\n", 304},
      {"If-None-Match: \"x\", ETAG\r\n", 304},
      {"If-None-Match: *\r\n", 304},
      {"If-None-Match: \"x\"\r\n", 200},
      {"If-Modified-Since: " + modified + "\r\n", 304},
      {"If-Modified-Since: " + later + "\r\n", 304},
      {"If-Modified-Since: " + earlier + "\r\n", 200},
      {"If-Modified-Since: yesterday\r\n", 200},
      {"If-None-Match: \"x\"\r\nIf-Modified-Since: " + modified + "\r\n", 200},
      {"If-None-Match: ETAG\r\nIf-Modified-Since: " + earlier + "\r\n", 304},
      {"If-Match: ETAG\r\n", 200},
      {"If-Match: *\r\n", 200},
      {"If-Match: W/ETAG\r\n", 412},
      {"If-Match: \"x\"\r\n", 412},
      {"If-Match: \"x\"\r\nIf-None-Match: ETAG\r\n", 412},
      {"If-Match: ETAG\r\nIf-None-Match: ETAG\r\n", 304},
      {"If-Unmodified-Since: " + modified + "\r\n", 200},
      {"If-Unmodified-Since: " + earlier + "\r\n", 412},
      {"If-Match: ETAG\r\nIf-Unmodified-Since: " + earlier + "\r\n", 200},
      {"If-None-Match: ETAG\r\nRange: bytes=0-1\r\n", 304},
      {"If-Match: \"x\"\r\nRange: bytes=0-1\r\n", 412},
  };
  for (const auto& row : kRows) {
    for (const char* method : {"GET", "HEAD"}) {
      const Answer answer = Ask("/static/a.txt", method, row.fields);
      EXPECT_EQ(answer.status, row.status) << method << " " << row.fields;
      const bool has_body = row.status == 200 && std::string_view(method) == "GET";
      EXPECT_EQ(answer.body, has_body ? "0123456789" : "");
      EXPECT_EQ(answer.body_bytes, answer.body.size());
      EXPECT_EQ(answer.head.empty(), row.status == 412);
    }
  }
}

TEST_F(AnswerTest, SendsOneRange) {
  const std::string modified(kModifiedText), later(kLaterText);
  struct {
    std::string fields;
    int status;
    std::string_view body;
    std::string_view content_range;
  } const kRows[] = {
      {"Range: bytes=0-3\r\n", 206, "0123", "bytes 0-3/10"},
      {"Range: bytes=4-\r\n", 206, "456789", "bytes 4-9/10"},
      {"Range: bytes=-2\r\n", 206, "89", "bytes 8-9/10"},
      {"Range: bytes=-99\r\n", 206, "0123456789", "bytes 0-9/10"},
      {"Range: bytes=9-9999999999999\r\n", 206, "9", "bytes 9-9/10"},
      {"Range: bytes=10-\r\n", 416, "", "bytes */10"},
      {"Range: bytes=-0\r\n", 416, "", "bytes */10"},
      {"Range: bytes=3-2\r\n", 200, "0123456789", ""},
      {"Range: bytes=x-\r\n", 200, "0123456789", ""},
      {"Range: lines=0-1\r\n", 200, "0123456789", ""},
      {"Range: bytes=0-3\r\nIf-Range: ETAG\r\n", 206, "0123", "bytes 0-3/10"},
      {"Range: bytes=0-3\r\nIf-Range: W/ETAG\r\n", 200, "0123456789", ""},
      {"Range: bytes=0-3\r\nIf-Range: \"x\"\r\n", 200, "0123456789", ""},
      {"Range: bytes=0-3\r\nIf-Range: " + modified + "\r\n", 206, "0123", "bytes 0-3/10"},
      {"Range: bytes=0-3\r\nIf-Range: " + later + "\r\n", 200, "0123456789", ""},
      {"Range: bytes=99-\r\nIf-Range: \"x\"\r\n", 200, "0123456789", ""},
  };
  for (const auto& row : kRows) {
    const Answer answer = Ask("/static/a.txt", "GET", row.fields);
    EXPECT_EQ(answer.status, row.status) << row.fields;
    EXPECT_EQ(answer.body, row.body) << row.fields;
    const std::string fields(row.status == 416 ? answer.fields : answer.head);
    if (row.content_range.empty()) {
      EXPECT_EQ(fields.find("Content-Range"), std::string::npos);
    } else {
      const std::string line = "Content-Range: " + std::string(row.content_range) + "\r\n";
      EXPECT_NE(fields.find(line), std::string::npos) << fields;
    }
    if (row.status == 206) {
      const std::string line = "Content-Length: " + std::to_string(row.body.size()) + "\r\n";
      EXPECT_NE(fields.find(line), std::string::npos) << fields;
      EXPECT_NE(fields.find("X-Mount: m\r\n"), std::string::npos);
      EXPECT_NE(fields.find("ETag: "), std::string::npos);
      EXPECT_EQ(answer.wire().substr(answer.head.size()), "\r\n");
      EXPECT_EQ(answer.head.substr(answer.date_offset - 6, 6), "Date: ");
      EXPECT_FALSE(answer.contiguous);
    }
    EXPECT_EQ(Ask("/static/a.txt", "HEAD", row.fields).status, 200) << "ranges are for GET";
  }
  harness_.config.ranges = false;
  harness_.Make();
  EXPECT_EQ(Ask("/static/a.txt", "GET", "Range: bytes=0-3\r\n").status, 200);
}

TEST_F(AnswerTest, SendsSeveralRangesWhereThatIsLess) {
  harness_.tree.Write("b.txt", std::string(3'000, 'b'));
  std::string many = "Range: bytes=0-0";
  for (int i = 1; i < 1'000; ++i) many += "," + std::to_string(2 * i) + "-" + std::to_string(2 * i);
  struct {
    std::string_view path;
    std::string fields;
    int status;
    size_t parts;  // With the closing delimiter.
  } const kRows[] = {
      {"/static/b.txt", "Range: bytes=0-0,-1\r\n", 206, 3},
      {"/static/b.txt", "Range: bytes=2000-2009, 0-9\r\n", 206, 3},
      {"/static/b.txt", "Range: bytes=0-0,1000-1000,2000-2000\r\n", 206, 4},
      {"/static/b.txt", "Range: bytes=0-0,5000-\r\n", 206, 0},
      {"/static/b.txt", "Range: bytes=0-99,50-149,60-69\r\n", 206, 0},
      {"/static/b.txt", "Range: bytes=0-1399,1500-2999\r\n", 200, 0},
      {"/static/b.txt", "Range: bytes=0-,0-\r\n", 200, 0},
      {"/static/b.txt", many + "\r\n", 200, 0},
      {"/static/b.txt", "Range: bytes=5000-,-0\r\n", 416, 0},
      {"/static/b.txt", "Range: bytes=0-0,x\r\n", 200, 0},
      {"/static/b.txt", "Range: bytes=0-0\r\nRange: bytes=9-9\r\n", 200, 0},
      {"/static/b.txt", "Range: bytes=0-0,-1\r\nIf-Range: ETAG\r\n", 206, 3},
      {"/static/b.txt", "Range: bytes=0-0,-1\r\nIf-Range: W/ETAG\r\n", 200, 0},
      {"/static/b.txt", "Range: bytes=0-0,-1\r\nIf-None-Match: ETAG\r\n", 304, 0},
      {"/static/a.txt", "Range: bytes=0-0,-1\r\n", 206, 0},
      {"/static/empty", "Range: bytes=0-0,1-\r\n", 416, 0},
      {"/static/empty", "Range: bytes=-5\r\n", 200, 0},
  };
  for (const auto& row : kRows) {
    const Answer answer = Ask(row.path, "GET", row.fields);
    EXPECT_EQ(answer.status, row.status) << row.fields;
    EXPECT_EQ(answer.parts.size(), row.parts) << row.fields;
    EXPECT_EQ(Ask(row.path, "HEAD", row.fields).parts.size(), 0u);
  }
}

TEST_F(AnswerTest, IsReadyToBeSentAsItLies) {
  const Answer whole = Ask("/static/a.txt", "GET");
  EXPECT_TRUE(whole.contiguous);
  EXPECT_EQ(std::string(whole.wire()), std::string(whole.head) + "\r\n0123456789");
  EXPECT_TRUE(whole.head.starts_with("HTTP/1.1 200 OK\r\nServer: catzilla\r\nDate: "));
  EXPECT_EQ(whole.head.substr(whole.date_offset, 29), "Thu, 01 Jan 1970 00:00:00 GMT");
  const std::string last_modified = "Last-Modified: " + std::string(kModifiedText) + "\r\n";
  EXPECT_NE(whole.head.find(last_modified), std::string::npos);

  const std::string head(whole.head);
  const Answer only_head = Ask("/static/a.txt", "HEAD");
  EXPECT_EQ(only_head.head, head);
  EXPECT_EQ(std::string(only_head.wire()), head + "\r\n");

  const Answer not_modified = Ask("/static/a.txt", "GET", "If-None-Match: ETAG\r\n");
  EXPECT_TRUE(not_modified.wire().starts_with("HTTP/1.1 304 Not Modified\r\n"));
  EXPECT_TRUE(not_modified.wire().ends_with("\r\n\r\n"));
  for (const char* line : {"ETag: ", "Cache-Control: max-age=5\r\n", "X-Mount: m\r\n"}) {
    EXPECT_NE(not_modified.head.find(line), std::string::npos) << line;
  }
  EXPECT_EQ(not_modified.head.find("Content-"), std::string::npos);

  const Answer empty = Ask("/static/empty", "GET");
  EXPECT_NE(empty.head.find("Content-Length: 0\r\n"), std::string::npos);
  EXPECT_TRUE(empty.wire().ends_with("\r\n\r\n"));
  EXPECT_EQ(Ask("/static/empty", "GET", "Range: bytes=0-\r\n").status, 416);
}

TEST_F(AnswerTest, PointsIntoTheOpenFileWhenItIsLarge) {
  harness_.config.cache_file_bytes_max = 5;
  harness_.Make();
  const Answer whole = Ask("/static/a.txt", "GET");
  EXPECT_EQ(whole.status, 200);
  EXPECT_FALSE(whole.contiguous);
  EXPECT_EQ(whole.fd, entry_->fd());
  EXPECT_EQ(whole.offset, 0u);
  EXPECT_EQ(whole.body_bytes, 10u);
  EXPECT_TRUE(whole.wire().ends_with("\r\n\r\n"));
  const Answer part = Ask("/static/a.txt", "GET", "Range: bytes=4-6\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.offset, 4u);
  EXPECT_EQ(part.body_bytes, 3u);
  char bytes[3];
  ASSERT_EQ(pread(part.fd, bytes, 3, static_cast<off_t>(part.offset)), 3);
  EXPECT_EQ(std::string_view(bytes, 3), "456");
  EXPECT_EQ(Ask("/static/a.txt", "HEAD").body_bytes, 0u);
  EXPECT_EQ(Ask("/static/a.txt", "HEAD").fd, -1);
  EXPECT_EQ(Ask("/static/a.txt", "GET", "If-None-Match: ETAG\r\n").status, 304);
}

TEST_F(AnswerTest, RedirectsADirectoryToItsSlashOnThisHost) {
  const Answer answer = Ask("/static/docs", "GET", "", "?a=1&b=%20");
  EXPECT_EQ(answer.status, 301);
  EXPECT_EQ(answer.fields, "Location: /static/docs/?a=1&b=%20\r\n");
  EXPECT_EQ(Ask("/static", "HEAD").fields, "Location: /static/\r\n");
  struct {
    std::string_view path, query, location;
  } const kRows[] = {
      {"//evil.com", "", "Location: /evil.com/\r\n"},
      {"///evil.com/x", "", "Location: /evil.com/x/\r\n"},
      {"/\\evil.com", "", "Location: /%5Cevil.com/\r\n"},
      {"/a\r\nSet-Cookie: b", "?c\r\nd", "Location: /a%0D%0ASet-Cookie:%20b/?cd\r\n"},
      {"/\xc3\xa9?#", "?q", "Location: /%C3%A9%3F%23/?q\r\n"},
  };
  for (const auto& row : kRows) {
    std::string out;
    AppendSlashLocation(row.path, row.query, out);
    EXPECT_EQ(out, row.location);
  }
}

TEST_F(AnswerTest, SaysWhichMethodsThereAre) {
  EXPECT_EQ(RespondToMethod(http::Method::kGet).status, 0);
  EXPECT_EQ(RespondToMethod(http::Method::kHead).status, 0);
  EXPECT_EQ(RespondToMethod(http::Method::kOptions).status, 204);
  for (const http::Method method : {http::Method::kPost, http::Method::kDelete, http::Method::kPut,
                                    http::Method::kTrace, http::Method::kOther}) {
    EXPECT_EQ(RespondToMethod(method).status, 405);
    EXPECT_EQ(RespondToMethod(method).fields, "Allow: GET, HEAD, OPTIONS\r\n");
  }
}

TEST_F(AnswerTest, HasNoValidatorsWhereTheyAreOff) {
  harness_.config.etags = false;
  harness_.Make();
  const std::string modified(kModifiedText);
  Answer answer = Ask("/static/a.txt", "GET", "If-Modified-Since: " + modified + "\r\n");
  EXPECT_EQ(answer.status, 304);
  EXPECT_NE(answer.head.find("Last-Modified: "), std::string::npos);
  harness_.config.last_modified = false;
  harness_.Make();
  answer = Ask("/static/a.txt", "GET", "If-Modified-Since: " + modified + "\r\n");
  EXPECT_EQ(answer.status, 200);
}

TEST_F(AnswerTest, IsCounted) {
  Ask("/static/a.txt", "GET");
  Ask("/static/a.txt", "HEAD");
  Ask("/static/a.txt", "GET", "Range: bytes=0-3\r\n");
  Ask("/static/a.txt", "GET", "Range: bytes=99-\r\n");
  Ask("/static/a.txt", "GET", "If-None-Match: ETAG\r\n");
  Ask("/static/a.txt", "GET", "If-Match: \"x\"\r\n");
  Ask("/static/docs", "GET");
  Ask("/static/none", "GET");
  const MountStats& stats = harness_.mount->stats();
  struct {
    Counter counter;
    uint64_t value;
  } const kRows[] = {
      {Counter::kOk, 2},          {Counter::kPartial, 1},      {Counter::kBadRange, 1},
      {Counter::kNotModified, 1}, {Counter::kPrecondition, 1}, {Counter::kRedirect, 1},
      {Counter::kNotFound, 1},    {Counter::kBytes, 14},       {Counter::kHits, 5},
      {Counter::kMisses, 3},      {Counter::kEntries, 3},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(stats.Get(row.counter), row.value) << CounterName(row.counter);
  }
}

}  // namespace
}  // namespace catzilla::files
