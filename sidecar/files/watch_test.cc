#include "sidecar/files/watch.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "sidecar/base/clock.h"
#include "sidecar/files/temp_tree.h"

namespace catzilla::files {
namespace {

// Whether `watch` tells of what `change` does; the kernel's queue has no other end to wait for.
bool Tells(Watch& watch, const std::function<void()>& change) {
  const uint64_t before = watch.changes();
  change();
  const int64_t until_us = base::ReadClockMicros(CLOCK_MONOTONIC) + 5'000'000;
  while (watch.changes() == before) {
    if (base::ReadClockMicros(CLOCK_MONOTONIC) > until_us) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(Watch, TellsOfEveryWayAFileChanges) {
  TempTree tree;
  tree.Write("css/app.css", "one");
  Watcher watcher;
  const auto watch = watcher.Open(tree.path());
  const struct {
    const char* what;
    std::function<void()> change;
  } kWays[] = {
      {"rewritten in place", [&] { tree.Write("css/app.css", "two"); }},
      {"renamed over", [&] { tree.Replace("css/app.css", "three"); }},
      {"its time set", [&] { tree.SetModified("css/app.css", 1'000'000); }},
      {"made unreadable", [&] { std::filesystem::permissions(tree / "css/app.css", {}); }},
      {"removed", [&] { std::filesystem::remove(tree / "css/app.css"); }},
      {"made again", [&] { tree.Write("css/app.css", "four"); }},
      {"its directory renamed", [&] { std::filesystem::rename(tree / "css", tree / "css.old"); }},
      {"another directory in its place", [&] { tree.Write("new/app.css", "five"); }},
      {"... by that name", [&] { std::filesystem::rename(tree / "new", tree / "css"); }},
      {"a file in that one", [&] { tree.Write("css/app.css", "six"); }},
      {"the root itself renamed",
       [&] { std::filesystem::rename(tree.path(), tree.path() + ".old"); }},
      {"and back", [&] { std::filesystem::rename(tree.path() + ".old", tree.path()); }},
      {"a file in it", [&] { tree.Write("css/app.css", "seven"); }},
  };
  for (const auto& way : kWays) {
    watch->Cover("/css/app.css");  // As every look at the file does.
    EXPECT_TRUE(Tells(*watch, way.change)) << way.what;
  }
  EXPECT_EQ(watch->degraded(), "");
}

TEST(Watch, TellsWhenASymlinkIsSwapped) {
  TempTree tree;  // As a ConfigMap is updated: ..data is renamed over.
  tree.Write("..1/page", "one");
  tree.Write("..2/page", "two");
  tree.Link("..data", "..1");
  tree.Link("page", "..data/page");
  Watcher watcher;
  const auto watch = watcher.Open(tree.path());
  watch->Cover("/page");
  EXPECT_TRUE(Tells(*watch, [&] {
    tree.Link("..new", "..2");
    std::filesystem::rename(tree / "..new", tree / "..data");
  }));
  // A root that is a symlink, as releases are switched.
  tree.Link("current", "..1");
  const auto release = watcher.Open(tree / "current");
  release->Cover("/page");
  EXPECT_TRUE(Tells(*release, [&] {
    tree.Link("next", "..2");
    std::filesystem::rename(tree / "next", tree / "current");
  }));
  release->Cover("/page");
  EXPECT_TRUE(Tells(*release, [&] { tree.Write("..2/page", "three"); }));
}

TEST(Watch, TellsOfWhatIsNotThereYet) {
  TempTree tree;
  Watcher watcher;
  const auto watch = watcher.Open(tree / "public");
  watch->Cover("/a/b/file");
  EXPECT_TRUE(Tells(*watch, [&] { tree.Directory("public"); }));
  watch->Cover("/a/b/file");
  EXPECT_TRUE(Tells(*watch, [&] { tree.Directory("public/a/b"); }));
  watch->Cover("/a/b/file");
  EXPECT_TRUE(Tells(*watch, [&] { tree.Write("public/a/b/file", "x"); }));
}

TEST(Watch, KeepsRootsApartThatShareADirectory) {
  TempTree tree;
  tree.Write("both/a", "x");
  tree.Write("own/a", "x");
  Watcher watcher;
  const auto first = watcher.Open(tree / "both");
  auto second = watcher.Open(tree / "both");
  const auto other = watcher.Open(tree / "own");
  for (Watch* watch : {first.get(), second.get(), other.get()}) watch->Cover("/a");
  const uint64_t before = other->changes();
  EXPECT_TRUE(Tells(*second, [&] { tree.Write("both/a", "y"); }));
  EXPECT_EQ(other->changes(), before);
  second.reset();
  std::this_thread::sleep_for(std::chrono::microseconds(Watcher::kQuietUs));
  EXPECT_TRUE(Tells(*first, [&] { tree.Write("both/a", "z"); }));
}

TEST(Watch, AStormIsOneChangeNowAndThen) {
  TempTree tree;
  tree.Write("a", "x");
  Watcher watcher;
  const auto watch = watcher.Open(tree.path());
  watch->Cover("/a");
  const uint64_t before = watch->changes();
  const int64_t began_us = base::ReadClockMicros(CLOCK_MONOTONIC);
  for (int i = 0; i < 2000; ++i) tree.Write("a", std::to_string(i));
  const int64_t took_us = base::ReadClockMicros(CLOCK_MONOTONIC) - began_us;
  std::this_thread::sleep_for(std::chrono::microseconds(3 * Watcher::kQuietUs));
  const uint64_t last = watch->changes();
  EXPECT_GT(last, before);  // The last one is told, too.
  EXPECT_LE(last - before, static_cast<uint64_t>(took_us / Watcher::kQuietUs) + 4);
}

TEST(Watch, SaysWhenItCannotBeTold) {
  TempTree tree;
  tree.Write("a", "x");
  rlimit before{}, none{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before) + getrlimit(RLIMIT_NOFILE, &none), 0);
  none.rlim_cur = dup(0);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none) + close(static_cast<int>(none.rlim_cur)), 0);
  Watcher watcher;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  const auto watch = watcher.Open(tree.path());
  watch->Cover("/a");
  EXPECT_NE(watch->degraded().find("no inotify"), std::string::npos) << watch->degraded();
}

}  // namespace
}  // namespace catzilla::files
