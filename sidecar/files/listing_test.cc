#include "sidecar/files/listing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "sidecar/files/listing_page.h"
#include "sidecar/files/mount_harness.h"

namespace catzilla::files {
namespace {

using config::DirectoryListing;

Listing Of(std::string name) {
  Listing listing;
  listing.prefix = "/static";
  listing.path = "a&b/";
  listing.entries.push_back({std::move(name), false, 1536, 0});
  return listing;
}

TEST(Listing, EscapesEveryName) {
  const std::string html = ListingHtml(Of("<b>\"'&\n:\xff.txt"));
  EXPECT_EQ(html.find("<b>"), html.npos);
  EXPECT_NE(html.find("&lt;b&gt;&quot;&#39;&amp;\n:\xef\xbf\xbd.txt"), html.npos);
  EXPECT_NE(html.find("href=\"./%3Cb%3E%22&#39;&amp;%0A:%FF.txt\""), html.npos);
  EXPECT_NE(html.find("Index of /static/a&amp;b/"), html.npos);
  EXPECT_NE(html.find("1.5 KiB"), html.npos);
  EXPECT_EQ(html.find("http"), html.npos) << "a resource from elsewhere";

  const std::string json = ListingJson(Of("<\"\\\n\xff"));
  EXPECT_NE(json.find(R"("name":"\u003c\"\\\u000a)"
                      "\xef\xbf\xbd\""),
            json.npos)
      << json;
  EXPECT_NE(json.find(R"("size":1536,"mtime":"1970-01-01T00:00:00Z")"), json.npos) << json;
  EXPECT_NE(json.find(R"("href":"./%3C%22%5C%0A%FF")"), json.npos) << json;
}

TEST(Listing, SaysWhenItWasCut) {
  Listing listing = Of("a");
  EXPECT_EQ(ListingHtml(listing).find("There is more"), std::string::npos);
  EXPECT_NE(ListingJson(listing).find("\"truncated\":false"), std::string::npos);
  for (int i = 0; i < 30'000; ++i) listing.entries.push_back({std::string(200, 'x'), false, 1, 0});
  for (const ListingFormat format : {ListingFormat::kHtml, ListingFormat::kJson}) {
    const std::string body = WriteListing(listing, format);
    EXPECT_LE(body.size(), Listing::kBodyBytesMax);
    EXPECT_TRUE(body.find("There is more") != body.npos ||
                body.find("\"truncated\":true") != body.npos);
  }
}

TEST(Listing, ReadsNoMoreThanItShows) {
  TempTree tree;
  for (size_t i = 0; i <= Listing::kEntriesMax; ++i) tree.Write("n" + std::to_string(i), "");
  const UniqueFd directory(open(tree.path().c_str(), O_RDONLY | O_DIRECTORY));
  const auto all = ReadListing(directory.get(), [](int, ListedFile*) { return true; });
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->entries.size(), Listing::kEntriesMax);
  EXPECT_TRUE(all->cut);
}

TEST(Listing, WritesSizesForPeople) {
  EXPECT_EQ(ReadableSize(0), "0 B");
  EXPECT_EQ(ReadableSize(1023), "1023 B");
  EXPECT_EQ(ReadableSize(1024), "1.0 KiB");
  EXPECT_EQ(ReadableSize(1024 * 1024 - 1), "1.0 MiB");
}

TEST(Listing, IsOffUnlessAskedFor) {
  MountHarness harness;
  harness.tree.Write("sub/a.txt", "a");
  harness.Make();
  EXPECT_EQ(harness.Get("/static/sub/").answered(), 404);
}

TEST(Listing, ShowsWhatWouldBeServedAndNothingElse) {
  MountHarness harness;
  harness.config.directory_listing = DirectoryListing::kJson;
  harness.config.blocked_patterns = {"*.bak"};
  harness.config.blocked_extensions = {"env"};
  harness.config.file_bytes_max = 5;
  harness.tree.Write("b.txt", "b");
  harness.tree.Write("z/deep.txt", "b");
  harness.tree.Write("a\\b", "x");
  harness.tree.Write("a\nb", "x");
  for (const char* name : {".hidden", "x.bak", "y.env", "y.env.gz"}) harness.tree.Write(name, "x");
  harness.tree.Write("large", "123456");
  harness.tree.Link("escape", "/etc/passwd");
  harness.tree.Link("dangling", "nowhere");
  harness.tree.Link("inside", "b.txt");
  ASSERT_EQ(mkfifo((harness.tree / "fifo").c_str(), 0600), 0);
  harness.Make();
  const std::string body = harness.Get("/static/").body();
  std::vector<std::string> names;
  for (size_t at = 0; (at = body.find("{\"name\":\"", at)) != body.npos; ++at) {
    names.push_back(body.substr(at + 9, body.find('"', at + 9) - at - 9));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"z", "b.txt", "inside"})) << body;
}

TEST(Listing, IsKeptAndSeesANewFile) {
  MountHarness harness;
  harness.config.directory_listing = DirectoryListing::kHtml;
  harness.tree.Write("a.txt", "a");
  harness.Make();
  const auto first = harness.Get("/static/");
  ASSERT_TRUE(first.is_file());
  EXPECT_TRUE(harness.Get("/static/").hot);
  harness.Advance(1'100'000);
  EXPECT_EQ(harness.Get("/static/").entry, first.entry) << "the same bytes are the same entry";
  harness.tree.Write("new.txt", "a");
  harness.Advance(1'100'000);
  const auto second = harness.Get("/static/");
  EXPECT_NE(second.body().find("new.txt"), std::string::npos);
  EXPECT_NE(second.entry->etag(), first.entry->etag());

  const auto json = harness.Get(std::string("/static/").append(kJsonKey));
  EXPECT_TRUE(json.body().starts_with("{\"path\":\"/static/\"")) << json.body();
  harness.tree.Write("index.html", "home");
  harness.Advance(1'100'000);
  EXPECT_EQ(harness.Get("/static/").body(), "home");
}

}  // namespace
}  // namespace catzilla::files
