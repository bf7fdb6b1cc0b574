#include "sidecar/files/codings.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "sidecar/files/mount_harness.h"
#include "sidecar/http/testing.h"

namespace catzilla::files {
namespace {

std::string Gunzip(std::string_view bytes) {
  std::string out(1 << 20, '\0');
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

struct Seen {
  uint16_t status;
  std::string head, body;
  bool Has(std::string_view text) const { return head.find(text) != std::string::npos; }
};

Seen Ask(MountHarness& harness, std::string_view path,
         std::initializer_list<std::string_view> lines, std::string_view request = "GET /") {
  const auto got = harness.Get(path);
  EXPECT_TRUE(got.is_file());
  const auto parsed = http::ParseLinesForTest(request, lines);
  AnswerScratch scratch;
  const Answer answer = Respond(*got.entry, parsed->head(), path, harness.now, scratch);
  return {answer.status, std::string(answer.head) + std::string(answer.fields),
          std::string(answer.body)};
}

TEST(Codings, SeveralRangesAreOfWhatIsNotCoded) {
  MountHarness harness;
  harness.tree.Write("a.js", std::string(5'000, 'o'));
  harness.tree.Write("a.js.br", std::string(4'000, 'b'));
  harness.config.precompressed = {"br"};
  harness.Make();
  struct Row {
    std::string accept, range;
    int status;
  };
  for (const Row& row : {Row{"", "0-0,3000-3000", 206}, Row{"br", "0-0,3000-3000", 200},
                         Row{"br", "3000-3000", 206}}) {
    const std::string accept = "Accept-Encoding: " + row.accept;
    const std::string range = "Range: bytes=" + row.range;
    const Seen seen = Ask(harness, "/static/a.js", {accept, range});
    EXPECT_EQ(seen.status, row.status) << row.accept << row.range;
    EXPECT_EQ(seen.Has("Content-Encoding: br\r\n"), row.accept == "br");
  }
}

TEST(Codings, SiblingsAreServedToThoseWhoAcceptThem) {
  MountHarness harness;
  harness.tree.Write("a.js", "original");
  harness.tree.Write("a.js.br", "brotli");
  harness.tree.Write("a.js.gz", "gzip");
  harness.config.precompressed = {"br", "gzip"};
  harness.Make();
  struct Row {
    std::string accept, body;
  };
  for (const Row& row :
       {Row{"", "original"}, Row{"gzip", "gzip"}, Row{"gzip, br", "brotli"},
        Row{"br;q=0.5, gzip", "gzip"}, Row{"zstd", "original"}, Row{"identity;q=0", "original"},
        Row{"*", "brotli"}, Row{"br;q=0, *", "gzip"}, Row{"gzip;q=7", "original"}}) {
    const std::string accept = "Accept-Encoding: " + row.accept;
    const Seen seen = Ask(harness, "/static/a.js", {accept});
    EXPECT_EQ(seen.body, row.body) << row.accept;
    EXPECT_TRUE(seen.Has("Vary: Accept-Encoding\r\n")) << row.accept;
    EXPECT_TRUE(seen.Has("Content-Type: text/javascript")) << seen.head;
    EXPECT_EQ(seen.Has("Content-Encoding: "), row.body != "original") << row.accept;
  }
  const Seen bad = Ask(harness, "/static/a.js", {"Accept-Encoding: gzip", "Range: bytes=99-"});
  EXPECT_EQ(bad.status, 416);
  EXPECT_TRUE(bad.Has("bytes */4\r\n") && bad.Has("Vary: Accept-Encoding\r\n"));
  const Seen part = Ask(harness, "/static/a.js", {"Accept-Encoding: gzip", "Range: bytes=1-2"});
  EXPECT_EQ(part.body, "zi");  // Of the coded bytes.
}

TEST(Codings, ASiblingThatAppearsIsServedAfterTheWindow) {
  MountHarness harness;
  harness.tree.Write("a.js", "original");
  harness.config.precompressed = {"gzip"};
  harness.Make();
  EXPECT_EQ(Ask(harness, "/static/a.js", {"Accept-Encoding: gzip"}).body, "original");
  harness.tree.Write("a.js.gz", "gzip");
  harness.Advance(2'000'000);
  EXPECT_EQ(Ask(harness, "/static/a.js", {"Accept-Encoding: gzip"}).body, "gzip");
}

TEST(Codings, CompressesOnceAndTagsTheCodedBytes) {
  MountHarness harness;
  const std::string text(20'000, 'x');
  harness.tree.Write("a.css", text);
  harness.tree.Write("a.png", text);
  harness.tree.Write("small.css", "x");
  harness.config.gzip_level = 6;
  harness.Make();
  const Seen coded = Ask(harness, "/static/a.css", {"Accept-Encoding: gzip"});
  EXPECT_EQ(Gunzip(coded.body), text);
  EXPECT_TRUE(coded.Has("-gz\"\r\n"));
  const size_t at = coded.head.find("ETag: ") + 6;
  const std::string tag = coded.head.substr(at, coded.head.find('\r', at) - at);
  const std::string match = "If-None-Match: " + tag;
  const Seen again = Ask(harness, "/static/a.css", {"Accept-Encoding: gzip", match});
  EXPECT_EQ(again.status, 304);
  EXPECT_TRUE(again.Has("Vary: Accept-Encoding\r\n"));
  EXPECT_EQ(Ask(harness, "/static/a.css", {match}).status, 200);
  EXPECT_EQ(harness.mount->stats().Get(Counter::kCompressedIn), text.size());
  EXPECT_FALSE(Ask(harness, "/static/a.png", {"Accept-Encoding: gzip"}).Has("Content-Encoding"));
  EXPECT_FALSE(Ask(harness, "/static/small.css", {"Accept-Encoding: gzip"}).Has("Vary"));
}

}  // namespace
}  // namespace catzilla::files
