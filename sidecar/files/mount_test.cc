#include "sidecar/files/mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <set>
#include <thread>

#include "sidecar/files/mount_harness.h"

namespace catzilla::files {
namespace {

std::string Etag(const MountHarness::Got& got) { return std::string(got.entry->etag()); }

TEST(Mount, FindsFilesIndexesAndDirectories) {
  MountHarness h;
  h.tree.Write("index.html", "<home>");
  h.tree.Write("app.js", "js");
  h.tree.Write("empty.css", "");
  h.tree.Write("docs/index.html", "<docs>");
  h.tree.Write("a b \xe4\xb8\x89.txt", "names");
  h.tree.Directory("bare");
  h.Make();
  struct {
    std::string_view path;
    int status;
    std::string_view body;
  } const kRows[] = {
      {"/static/", 200, "<home>"},
      {"/static", 301, ""},
      {"/static/app.js", 200, "js"},
      {"/static//app.js", 200, "js"},
      {"/static/empty.css", 200, ""},
      {"/static/docs/", 200, "<docs>"},
      {"/static/docs", 301, ""},
      {"/static/docs/index.html", 200, "<docs>"},
      {"/static/a b \xe4\xb8\x89.txt", 200, "names"},
      {"/static/bare/", 404, ""},
      {"/static/bare", 301, ""},
      {"/static/app.js/", 404, ""},
      {"/static/missing", 404, ""},
      {"/static/missing/", 404, ""},
  };
  for (const bool hot : {false, true}) {
    for (const auto& row : kRows) {
      const MountHarness::Got got = h.Get(row.path);
      EXPECT_EQ(got.hot, hot) << row.path;
      EXPECT_EQ(got.answered(), row.status) << row.path;
      EXPECT_EQ(got.body(), row.body) << row.path;
    }
  }
}

TEST(Mount, RefusesBadAndHiddenPathsWithoutOpeningAnything) {
  MountHarness h;
  h.tree.Write(".secret/x", "x");
  h.tree.Write(".env", "x");
  h.tree.Write(".well-known/acme", "token");
  h.Make();
  using namespace std::string_view_literals;
  for (const auto& [path, status] : {std::pair{"/static/.secret/x"sv, 404},
                                     {"/static/.env"sv, 404},
                                     {"/static/a\0b"sv, 400},
                                     {"/static/a\nb"sv, 400},
                                     {"/static/..\\x"sv, 400},
                                     {"/static/../x"sv, 400}}) {
    const base::EpochDomain::Guard turn(h.domain);
    const Mount::Lookup lookup = h.mount->Find(path, h.now, 0);
    EXPECT_EQ(lookup.found, Mount::Found::kStatus) << path;
    EXPECT_EQ(lookup.status, status) << path;
  }
  EXPECT_EQ(h.Get("/static/.well-known/acme").body(), "token");
  h.config.hidden_files = true;
  h.Make();
  EXPECT_EQ(h.Get("/static/.secret/x").body(), "x");
}

TEST(Mount, HonoursEachOfItsOptions) {
  MountHarness h;
  h.tree.Write("d/home.htm", "home");
  h.tree.Write("d/index.html", "index");
  h.tree.Write("x.bin", "x");
  h.tree.Link("link", "x.bin");
  h.Make();
  const std::string plain(h.Get("/static/x.bin").entry->head_200());
  EXPECT_EQ(h.Get("/static/d/").body(), "index");
  EXPECT_EQ(h.Get("/static/link").answered(), 200);
  EXPECT_NE(plain.find("Server: catzilla\r\n"), std::string::npos);
  EXPECT_NE(plain.find("Content-Type: application/octet-stream\r\n"), std::string::npos);
  EXPECT_NE(plain.find("Content-Length: 1\r\n"), std::string::npos);
  EXPECT_NE(plain.find("\r\nETag: \""), std::string::npos);
  EXPECT_NE(plain.find("\r\nLast-Modified: "), std::string::npos);
  EXPECT_NE(plain.find("\r\nAccept-Ranges: bytes\r\n"), std::string::npos);
  EXPECT_EQ(plain.find("Cache-Control"), std::string::npos);

  h.config.index_files = {"home.htm", "index.html"};
  h.config.symlinks = config::Symlinks::kNever;
  h.config.etags = false;
  h.config.last_modified = false;
  h.config.ranges = false;
  h.config.cache_control = "public, max-age=60";
  h.config.headers = {{"X-Frame-Options", "DENY"}, {"X-Split", "a\r\nSet-Cookie: b"}};
  h.config.mime_types = {{"bin", "application/x-blob"}};
  h.Make();
  const MountHarness::Got got = h.Get("/static/x.bin");
  const std::string head(got.entry->head_200());
  EXPECT_EQ(h.Get("/static/d/").body(), "home");
  EXPECT_EQ(h.Get("/static/link").answered(), 404);
  EXPECT_EQ(head.find("ETag"), std::string::npos);
  EXPECT_EQ(head.find("Last-Modified"), std::string::npos);
  EXPECT_EQ(head.find("Accept-Ranges"), std::string::npos);
  EXPECT_NE(head.find("Cache-Control: public, max-age=60\r\n"), std::string::npos);
  EXPECT_NE(head.find("X-Frame-Options: DENY\r\n"), std::string::npos);
  EXPECT_NE(head.find("Content-Type: application/x-blob\r\n"), std::string::npos);
  EXPECT_EQ(head.find("Set-Cookie"), std::string::npos);
  EXPECT_NE(got.entry->head_304().find("Cache-Control: public, max-age=60\r\n"), std::string::npos);
  EXPECT_EQ(got.entry->head_304().find("Content-"), std::string::npos);
}

TEST(Mount, KeepsItsHeadsReadyToBeSent) {
  MountHarness h;
  h.tree.Write("a.txt", "body");
  h.Make();
  const MountHarness::Got got = h.Get("/static/a.txt");
  const Entry& entry = *got.entry;
  for (const auto& [head, offset] : {std::pair{entry.head_200(), entry.date_offset_200()},
                                     {entry.head_206(), entry.date_offset_206()},
                                     {entry.head_304(), entry.date_offset_304()}}) {
    EXPECT_EQ(head.substr(offset - 6, 6 + 29 + 2), "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    EXPECT_TRUE(head.ends_with("\r\n"));
    EXPECT_FALSE(head.ends_with("\r\n\r\n"));
    EXPECT_EQ(std::string_view(head.data() + head.size(), 2), "\r\n");
  }
  // One run: head, empty line, body.
  EXPECT_EQ(entry.head_200().data() + entry.head_200().size() + 2, entry.body().data());
  EXPECT_EQ(entry.body(), "body");
}

// The kind of a validator depends on the file's size alone.
TEST(Mount, TagsContentUpToTheLimitAndStatusAboveIt) {
  MountHarness h({.bytes_max = 1 << 20});
  h.config.cache_file_bytes_max = 100;
  h.tree.Write("small", std::string(100, 'a'));
  h.tree.Write("same", std::string(100, 'a'));
  h.tree.Write("large", std::string(101, 'a'));
  h.Make();
  const MountHarness::Got small = h.Get("/static/small");
  EXPECT_EQ(Etag(small), Etag(h.Get("/static/same")));
  EXPECT_EQ(Etag(small).size(), 34u);
  EXPECT_TRUE(small.entry->in_memory());
  const MountHarness::Got large = h.Get("/static/large");
  EXPECT_FALSE(large.entry->in_memory());
  EXPECT_GE(large.entry->fd(), 0);
  EXPECT_NE(Etag(large).find("-65-"), std::string::npos);

  // Epoch times say nothing: no Last-Modified, and what is not read has a weak tag.
  for (const int64_t epoch : {0, 1}) {
    h.tree.SetModified("small", epoch);
    h.tree.SetModified("large", epoch);
    h.Advance(2'000'000);
    const MountHarness::Got small_now = h.Get("/static/small");
    EXPECT_EQ(Etag(small_now), Etag(small));
    EXPECT_EQ(small_now.entry->last_modified_s(), -1);
    EXPECT_TRUE(Etag(h.Get("/static/large")).starts_with("W/\""));
  }
  // Not admitted to the table, the tag is the same.
  MountHarness tiny({.bytes_max = 1024});
  tiny.config.root = h.tree.path();
  tiny.Make();
  EXPECT_EQ(Etag(tiny.Get("/static/small")), Etag(small));
  EXPECT_FALSE(tiny.Get("/static/small").hot);
}

TEST(Mount, NoticesEveryKindOfChangeWithinItsWindow) {
  MountHarness h;
  h.tree.Write("replaced", "old-");
  h.tree.Write("rewritten", "old-");
  h.tree.Write("grown", "old-");
  h.tree.Write("deleted", "old-");
  h.tree.Write("v1/swapped", "old-");
  h.tree.Write("v2/swapped", "new!");
  h.tree.Link("current", "v1");
  h.Make();
  const std::pair<std::string_view, std::string_view> kRows[] = {
      {"/static/replaced", "new!"},        {"/static/rewritten", "new!"},
      {"/static/grown", "old-new!"},       {"/static/deleted", ""},
      {"/static/current/swapped", "new!"}, {"/static/late", "new!"}};
  for (const auto& row : kRows) h.Get(row.first);

  h.tree.Replace("replaced", "new!");
  h.tree.Write("rewritten", "new!");
  h.tree.Write("grown", "old-new!");
  std::filesystem::remove(h.tree / "deleted");
  h.tree.Link("current.new", "v2");
  std::filesystem::rename(h.tree / "current.new", h.tree / "current");
  h.tree.Write("late", "new!");

  // Inside the window the old answer may stand, whole.
  h.Advance(h.config.revalidate_us / 2);
  EXPECT_EQ(h.Get("/static/grown").body(), "old-");
  h.Advance(h.config.revalidate_us / 2 + 1);
  for (const auto& [path, body] : kRows) {
    const MountHarness::Got got = h.Get(path);
    EXPECT_EQ(got.body(), body) << path;
    EXPECT_FALSE(got.hot) << path;
    EXPECT_EQ(got.answered(), body.empty() ? 404 : 200) << path;
  }
  EXPECT_EQ(h.mount->stats().Get(Counter::kChanged), std::size(kRows));
}

TEST(Mount, RechecksInTheBackgroundHalfwayThroughTheWindow) {
  MountHarness h;
  h.tree.Write("a", "old-");
  h.Make();
  h.Get("/static/a");
  h.Advance(h.config.revalidate_us / 2 + 1);
  EXPECT_TRUE(h.Get("/static/a").hot);  // Served at once, and checked.
  h.Settle();
  EXPECT_EQ(h.mount->stats().Get(Counter::kRevalidations), 1u);
  h.Advance(h.config.revalidate_us / 2);
  EXPECT_TRUE(h.Get("/static/a").hot);  // Fresh again by that check: nobody waits.
  h.Settle();
  EXPECT_EQ(h.mount->stats().Get(Counter::kMisses), 1u);
  EXPECT_EQ(h.mount->stats().Get(Counter::kRevalidations), 1u);

  h.tree.Replace("a", "new!");
  h.Advance(h.config.revalidate_us / 2 - 1);
  EXPECT_EQ(h.Get("/static/a").body(), "old-");
  h.Settle();
  EXPECT_EQ(h.Get("/static/a").body(), "new!");
  EXPECT_EQ(h.mount->stats().Get(Counter::kMisses), 1u);
}

TEST(Mount, ReadsAgainWhatChangedJustBeforeItWasRead) {
  MountHarness h;
  h.tree.Write("a", "one-");
  struct stat status;
  ASSERT_EQ(stat((h.tree / "a").c_str(), &status), 0);
  h.now.wall_us = status.st_ctim.tv_sec * 1'000'000 + status.st_ctim.tv_nsec / 1000 + 1000;
  h.Make();
  const MountHarness::Got young = h.Get("/static/a");
  EXPECT_TRUE(young.entry->racy());
  h.Advance(h.config.revalidate_us + 1);
  const MountHarness::Got settled = h.Get("/static/a");
  EXPECT_FALSE(settled.entry == young.entry);
  EXPECT_FALSE(settled.entry->racy());
  EXPECT_EQ(Etag(settled), Etag(young));
}

TEST(Mount, NeverSendsOldHeadsWithARewrittenLargeFile) {
  MountHarness h;
  h.config.cache_file_bytes_max = 0;
  h.tree.Write("large", "0123456789");
  h.Make();
  const MountHarness::Got first = h.Get("/static/large");
  EXPECT_TRUE(h.Get("/static/large").hot);
  EXPECT_TRUE(first.entry->Intact(1));
  h.tree.Write("large", "012");  // Truncated in place, inside the window.
  EXPECT_TRUE(first.entry->Intact(1)) << "asked once a turn";
  EXPECT_FALSE(first.entry->Intact(2));
  h.now.monotonic_us += 1;
  const MountHarness::Got second = h.Get("/static/large");
  EXPECT_FALSE(second.hot);
  EXPECT_EQ(second.entry->size(), 3u);
  // Renamed over or deleted: the open file is what it was, and an answer may finish.
  std::filesystem::remove(h.tree / "large");
  EXPECT_TRUE(second.entry->Intact(3));
}

TEST(Mount, OpensAFileOnceForAllWhoWait) {
  MountHarness h({}, 1);
  h.tree.Write("a", "body");
  h.Make();
  std::promise<void> running, release;
  std::shared_future<void> released = release.get_future().share();
  ASSERT_TRUE(h.executor.TryPost([&] {
    running.set_value();
    released.wait();
  }));
  running.get_future().wait();
  for (uint32_t ticket = 1; ticket <= 100; ++ticket) {
    ASSERT_EQ(h.mount->Open("/static/a", h.now, {&h.sink, {ticket}}, 0), Mount::Start::kPending);
  }
  EXPECT_EQ(h.executor.state().queued, 1u);
  release.set_value();
  std::set<const Entry*> entries;
  for (uint32_t ticket = 1; ticket <= 100; ++ticket) {
    entries.insert(h.sink.Wait(ticket).entry.get());
  }
  EXPECT_EQ(entries.size(), 1u);
  EXPECT_NE(*entries.begin(), nullptr);
}

TEST(Mount, DeclinesWhenTheExecutorIsFull) {
  MountHarness h({}, 1, 1);
  h.tree.Write("a", "a");
  h.Make();
  std::promise<void> running, release;
  std::shared_future<void> released = release.get_future().share();
  ASSERT_TRUE(h.executor.TryPost([&] {
    running.set_value();
    released.wait();
  }));
  running.get_future().wait();
  EXPECT_EQ(h.mount->Open("/static/a", h.now, {&h.sink, 1}, 0), Mount::Start::kPending);
  EXPECT_EQ(h.mount->Open("/static/a", h.now, {&h.sink, 2}, 0), Mount::Start::kPending);
  EXPECT_EQ(h.mount->Open("/static/b", h.now, {&h.sink, 3}, 0), Mount::Start::kOverloaded);
  release.set_value();
  EXPECT_EQ(h.sink.Wait(1).entry->body(), "a");
  EXPECT_EQ(h.sink.Wait(2).entry->body(), "a");
  EXPECT_EQ(h.Get("/static/b").answered(), 404);
}

TEST(Mount, ReportsForbiddenFilesAndAMissingRoot) {
  MountHarness h;
  chmod(h.tree.path().c_str(), 0755);
  h.tree.Write("private", "x");
  chmod((h.tree / "private").c_str(), 0);
  h.Make();
  // The executor's one thread becomes nobody: root may read everything.
  MountHarness nobody({}, 1);
  nobody.config.root = h.tree.path();
  nobody.Make();
  std::promise<void> done;
  ASSERT_TRUE(nobody.executor.TryPost([&] {
    if (geteuid() == 0) setfsuid(65534);
    done.set_value();
  }));
  done.get_future().wait();
  EXPECT_EQ(nobody.Get("/static/private").answered(), 403);

  h.config.root = h.tree / "not-yet";
  h.Make();
  EXPECT_EQ(h.Get("/static/a").answered(), 404);
  h.tree.Write("not-yet/a", "now");
  h.Advance(h.config.revalidate_us + 1);
  EXPECT_EQ(h.Get("/static/a").body(), "now");
}

TEST(Mount, AnswersTheRestWhenDescriptorsRunOut) {
  MountHarness h;
  h.tree.Write("hot", "hot");
  h.tree.Write("cold", "cold");
  h.Make();
  ASSERT_EQ(h.Get("/static/hot").answered(), 200);
  rlimit before{}, none{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before) + getrlimit(RLIMIT_NOFILE, &none), 0);
  none.rlim_cur = dup(0);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none) + close(none.rlim_cur), 0);
  const MountHarness::Got cold = h.Get("/static/cold");
  const MountHarness::Got hot = h.Get("/static/hot");
  h.Advance(h.config.revalidate_us + 1);
  const MountHarness::Got old = h.Get("/static/hot");  // Past its window.
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(cold.answered(), 503);
  EXPECT_EQ(cold.error, EMFILE);
  EXPECT_EQ(h.mount->stats().Get(Counter::kOpenErrors), 1u);
  EXPECT_TRUE(hot.hot);
  EXPECT_EQ(old.body(), "hot");
  EXPECT_EQ(h.Get("/static/cold").body(), "cold");  // A shortage is not remembered.
}

TEST(Mount, LetsGoOfItsEntriesWhenItIsReplaced) {
  MountHarness h;
  h.tree.Write("a", "body");
  h.Make();
  const MountHarness::Got held = h.Get("/static/a");
  h.config.cache_control = "no-cache";
  h.Make();
  h.Settle();
  EXPECT_EQ(h.store.stats().entries, 0u);
  EXPECT_EQ(held.body(), "body");  // An answer under way keeps its bytes.
  EXPECT_NE(h.Get("/static/a").entry->head_200().find("no-cache"), std::string::npos);
}

TEST(HeaderProblem, NamesWhatCannotBeSentWithFiles) {
  EXPECT_EQ(HeaderProblem("X-Frame-Options", "DENY"), nullptr);
  EXPECT_EQ(HeaderProblem("Content-Security-Policy", "default-src 'self'"), nullptr);
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, const char*>>{{"", "x"},
                                                                  {"X A", "x"},
                                                                  {"X:", "x"},
                                                                  {"X-A", "x\r\nB: c"},
                                                                  {"X-A", "\x01"},
                                                                  {"content-length", "3"},
                                                                  {"Transfer-Encoding", "chunked"},
                                                                  {"Connection", "close"},
                                                                  {"Date", "now"},
                                                                  {"etag", "x"}}) {
    EXPECT_NE(HeaderProblem(name, value), nullptr) << name;
  }
}

TEST(MountStats, NamesEachCounterOnce) {
  std::set<std::string> names;
  for (int i = 0; i < kCounterCount; ++i) names.insert(CounterName(static_cast<Counter>(i)));
  EXPECT_EQ(names.size(), static_cast<size_t>(kCounterCount));
}

// Loops read while a deployer replaces, rewrites and deletes: no answer is torn, and lengths agree.
TEST(Mount, IsReadByManyLoopsWhileFilesChange) {
  MountHarness h({.bytes_max = 64 * 1024}, 2, 1024);
  h.config.revalidate_us = 100;
  h.config.headers = {{"X-A", "b"}};
  for (int i = 0; i < 8; ++i) h.tree.Write("f" + std::to_string(i), std::string(1000 + i, 'a'));
  h.Make();
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> answers{0}, torn{0};
  const auto check = [&](const Entry& entry) {
    if (entry.kind() != EntryKind::kFile) return;
    const std::string_view body = entry.body();
    const std::string length = "Content-Length: " + std::to_string(body.size()) + "\r\n";
    const bool whole = body.find_first_not_of(body.empty() ? 'a' : body[0]) == body.npos;
    if (!whole || entry.head_200().find(length) == std::string_view::npos) ++torn;
    ++answers;
  };
  std::thread deployer([&] {
    for (int i = 0; !stop.load(std::memory_order_relaxed); ++i) {
      const std::string name = "f" + std::to_string(i % 8);
      const std::string bytes(500 + i % 2000, static_cast<char>('a' + i % 26));
      if (i % 5 == 0) {
        std::error_code ignored;
        std::filesystem::remove(h.tree / name, ignored);
      }
      if (i % 3 == 0) {
        h.tree.Write(name, bytes);
      } else {
        h.tree.Replace(name, bytes);
      }
    }
  });
  std::vector<std::thread> loops;
  for (int loop = 0; loop < 3; ++loop) {
    loops.emplace_back([&, loop] {
      base::EpochDomain::Reader reader(h.domain);
      WaitingSink sink;
      for (uint32_t i = 0; i < 3000; ++i) {
        const base::Now now = base::ReadClock();
        const std::string path = "/static/f" + std::to_string((i * 7 + loop) % 8);
        reader.Enter();
        const Mount::Lookup lookup = h.mount->Find(path, now, loop);
        if (lookup.found == Mount::Found::kEntry) check(*lookup.entry);
        reader.Leave();
        if (lookup.found != Mount::Found::kOpen) continue;
        if (h.mount->Open(path, now, {&sink, {i}}, loop) == Mount::Start::kOverloaded) continue;
        const OpenResult result = sink.Wait(i);
        if (result.entry) check(*result.entry);
      }
    });
  }
  for (std::thread& loop : loops) loop.join();
  stop = true;
  deployer.join();
  h.Settle();
  EXPECT_EQ(torn, 0u);
  EXPECT_GT(answers, 1000u);
}

}  // namespace
}  // namespace catzilla::files
