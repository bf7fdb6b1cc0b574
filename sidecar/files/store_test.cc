#include "sidecar/files/store.h"

#include <gtest/gtest.h>

#include <string>

#include "sidecar/files/mount_harness.h"

namespace catzilla::files {
namespace {

void Ask(MountHarness& h, const std::string& name, int count, int status) {
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(h.Get("/static/" + name + std::to_string(i)).answered(), status) << i;
  }
}

TEST(FileStore, RemembersWhatIsMissingBrieflyAndBounded) {
  MountHarness h({.negatives_max = 40});
  h.config.revalidate_us = 60'000'000;
  h.Make();
  Ask(h, "missing", 50, 404);
  EXPECT_EQ(h.store.negatives(), 40u);
  EXPECT_TRUE(h.Get("/static/missing49").hot) << "the latest are remembered, not the first";
  h.tree.Write("missing49", "here");
  h.Advance(1'000'001);
  EXPECT_EQ(h.Get("/static/missing49").body(), "here");
  EXPECT_EQ(h.store.negatives(), 39u);
}

TEST(FileStore, BoundsBytesAndOpenFiles) {
  MountHarness h({.bytes_max = 256 * 1024, .descriptors_max = 30});
  for (int i = 0; i < 100; ++i) h.tree.Write("f" + std::to_string(i), std::string(8000, 'x'));
  h.Make();
  Ask(h, "f", 100, 200);
  const MountStats& stats = h.mount->stats();
  EXPECT_LE(h.store.stats().bytes, 256u * 1024);
  EXPECT_EQ(stats.Get(Counter::kBytesHeld), h.store.stats().bytes);
  EXPECT_EQ(stats.Get(Counter::kEntries), h.store.stats().entries);
  EXPECT_EQ(stats.Get(Counter::kEntries) + stats.Get(Counter::kEvictions), 100u);
  EXPECT_EQ(stats.Get(Counter::kMisses), 100u);

  h.config.cache_file_bytes_max = 100;
  h.Make();
  Ask(h, "f", 80, 200);
  EXPECT_EQ(h.store.descriptors(), 30u);
  EXPECT_TRUE(h.Get("/static/f79").hot) << "the latest stay open, not the first";
  // A file that has become small is no open file any more.
  h.tree.Write("f79", "small");
  h.Advance(2'000'000);
  EXPECT_EQ(h.Get("/static/f79").body(), "small");
  EXPECT_EQ(h.store.descriptors(), 29u);
}

TEST(FileStore, AStoreOfItsOwnHoldsNoMoreFilesThanItMay) {
  MountHarness h;
  h.config.cache_bytes_max = 1 << 20;
  h.config.cache_entries_max = 10;
  for (int i = 0; i < 50; ++i) h.tree.Write("f" + std::to_string(i), "x");
  h.Make();
  Ask(h, "f", 50, 200);
  EXPECT_EQ(h.mount->stats().Get(Counter::kEntries), 10u);
  EXPECT_EQ(h.mount->stats().Get(Counter::kEvictions), 40u);
  EXPECT_EQ(h.store.stats().entries, 0u);
}

TEST(FileStore, FewEntriesInMuchMemoryAreTheLatest) {
  MountHarness h;
  h.config.cache_bytes_max = 1 << 30;
  h.config.cache_entries_max = 3;
  for (const uint64_t in_memory_max : {1 << 20, 0}) {
    h.config.cache_file_bytes_max = in_memory_max;
    for (int i = 0; i < 20; ++i) h.tree.Write("f" + std::to_string(i), "x");
    h.Make();
    Ask(h, "f", 20, 200);
    EXPECT_EQ(h.mount->stats().Get(Counter::kEntries), 3u) << in_memory_max;
    Ask(h, "f", 1, 200);  // Open files are so few that one must have been asked for before.
    EXPECT_TRUE(h.Get("/static/f0").hot) << in_memory_max;
  }
}

}  // namespace
}  // namespace catzilla::files
