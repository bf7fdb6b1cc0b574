// Files whose size the file system does not know.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "sidecar/files/mount_harness.h"

namespace catzilla::files {
namespace {

// What procfs and sysfs say of a file's size is 0 and 4096, whatever a read gives.
TEST(Unsized, C11FilesWithoutASizeAreReadToTheirEnd) {
  MountHarness h;
  h.config.root = "/proc/self";
  h.Make();
  const MountHarness::Got status = h.Get("/static/status");
  ASSERT_EQ(status.answered(), 200) << status.error;
  EXPECT_TRUE(status.body().starts_with("Name:")) << status.body();
  EXPECT_NE(status.body().find("nonvoluntary_ctxt_switches"), std::string::npos);
  EXPECT_EQ(status.entry->size(), status.body().size());
  // Its times stand still and its bytes do not: each look reads it.
  ASSERT_EQ(prctl(PR_SET_NAME, "before"), 0);
  EXPECT_EQ(h.Get("/static/comm").body(), "before\n");
  ASSERT_EQ(prctl(PR_SET_NAME, "then"), 0);
  EXPECT_EQ(h.Get("/static/comm").body(), "before\n") << "as any file, for the mount's window";
  h.Advance(h.config.revalidate_us + 1);
  EXPECT_EQ(h.Get("/static/comm").body(), "then\n");

  h.config.root = "/sys/kernel";
  h.Make();
  if (access("/sys/kernel/uevent_seqnum", R_OK) == 0) {
    const MountHarness::Got number = h.Get("/static/uevent_seqnum");
    EXPECT_EQ(number.answered(), 200) << number.error;
    EXPECT_TRUE(number.body().ends_with("\n"));
  }
}

TEST(Unsized, C11AFileWithoutASizeHasABound) {
  MountHarness h;
  h.config.root = "/proc/self";
  h.Make();
  // As many lines as it takes, in a file that says it is empty.
  std::vector<void*> pages;
  const auto size = [] {
    std::ifstream maps("/proc/self/maps");
    return std::string(std::istreambuf_iterator<char>(maps), {}).size();
  };
  for (int i = 0; i < 40'000 && (i % 1000 != 0 || size() <= Loader::kUnsizedBytesMax); ++i) {
    const int protection = i % 2 == 0 ? PROT_READ : PROT_NONE;
    void* page = mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) break;
    pages.push_back(page);
  }
  if (size() > Loader::kUnsizedBytesMax) {
    const MountHarness::Got maps = h.Get("/static/maps");
    EXPECT_EQ(maps.status, 500);
    EXPECT_EQ(maps.error, EFBIG);
  }
  for (void* page : pages) munmap(page, 4096);
}

}  // namespace
}  // namespace catzilla::files
