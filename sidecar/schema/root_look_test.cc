#include "sidecar/schema/root_look.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "sidecar/schema/store_harness.h"

namespace catzilla::schema {
namespace {

TEST(RootLook, TellsWhatIsThere) {
  const TempDir dir;
  EXPECT_EQ(LookAtRoot(dir.path).stat_error, 0);
  EXPECT_TRUE(LookAtRoot(dir.path).is_directory);
  EXPECT_EQ(LookAtRoot(dir.path).access_error, 0);
  EXPECT_EQ(LookAtRoot(dir.path + "/missing").stat_error, ENOENT);
  EXPECT_EQ(LookAtRoot("/dev/null").stat_error, 0);
  EXPECT_FALSE(LookAtRoot("/dev/null").is_directory);
}

TEST(RootLook, ManyMayLookAtOnce) {
  const TempDir dir;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) EXPECT_TRUE(LookAtRoot(dir.path).is_directory);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace catzilla::schema
