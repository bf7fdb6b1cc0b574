#include "sidecar/files/resolve.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "sidecar/files/temp_tree.h"

namespace catzilla::files {
namespace {

using config::Symlinks;

constexpr int64_t kAlwaysFresh = 1'000'000'000;

std::string ReadAll(int fd) {
  char bytes[256];
  const ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
  return n < 0 ? "" : std::string(bytes, n);
}

// Every rule must hold whichever way a path is resolved.
class ResolveTest : public testing::TestWithParam<ResolveMethod> {
 protected:
  ResolveTest() {
    tree_.Directory("root/sub/deep");
    tree_.Write("outside/secret", "secret");
    tree_.Write("root/file", "inside");
    tree_.Write("root/sub/file", "sub");
    tree_.Write("root/noread", "x");
    root_ = tree_ / "root";
  }

  // The bytes, or "errno N".
  std::string Open(const std::string& relative, Symlinks symlinks = Symlinks::kInside) {
    Resolver resolver(root_, symlinks, GetParam());
    return OpenWith(resolver, relative);
  }
  static std::string OpenWith(Resolver& resolver, const std::string& relative, int64_t now = 0,
                              int64_t age = kAlwaysFresh) {
    base::Result<Opened, int> opened = resolver.Open(relative, now, age);
    if (!opened) return "errno " + std::to_string(opened.error());
    if (S_ISDIR(opened->status.st_mode)) return "directory";
    return ReadAll(opened->fd.get());
  }
  static std::string Error(int error) { return "errno " + std::to_string(error); }

  TempTree tree_;
  std::string root_;
};

TEST_P(ResolveTest, OpensFilesAndDirectories) {
  EXPECT_EQ(Open("file"), "inside");
  EXPECT_EQ(Open("sub/file"), "sub");
  EXPECT_EQ(Open(""), "directory");
  EXPECT_EQ(Open("sub"), "directory");
  EXPECT_EQ(Open("sub/"), "directory");
  EXPECT_EQ(Open("missing"), Error(ENOENT));
  EXPECT_EQ(Open("file/x"), Error(ENOTDIR));
  EXPECT_EQ(Open("file/"), Error(ENOTDIR));
  EXPECT_EQ(Open(std::string(300, 'x')), Error(ENAMETOOLONG));
}

TEST_P(ResolveTest, NeverLeavesTheRoot) {
  for (const Symlinks symlinks : {Symlinks::kInside, Symlinks::kNever}) {
    EXPECT_EQ(Open("../outside/secret", symlinks), Error(EXDEV));
    EXPECT_EQ(Open("sub/../../outside/secret", symlinks), Error(EXDEV));
  }
  tree_.Link("root/up", "../outside/secret");
  tree_.Link("root/absolute", tree_ / "outside/secret");
  tree_.Link("root/home", tree_ / "root/file");  // Absolute, although it points back inside.
  tree_.Link("root/dir", "../outside");
  EXPECT_EQ(Open("up"), Error(EXDEV));
  EXPECT_EQ(Open("absolute"), Error(EXDEV));
  EXPECT_EQ(Open("home"), Error(EXDEV));
  EXPECT_EQ(Open("dir/secret"), Error(EXDEV));
  // A door the operator has opened.
  EXPECT_EQ(Open("up", Symlinks::kAnywhere), "secret");
  EXPECT_EQ(Open("dir/secret", Symlinks::kAnywhere), "secret");
}

TEST_P(ResolveTest, FollowsLinksInsideTheRootUnlessTheyAreOff) {
  tree_.Link("root/alias", "sub/file");
  tree_.Link("root/sub/back", "../file");
  tree_.Link("root/lib", "sub");
  tree_.Link("root/loop", "loop");
  // A ConfigMap volume: names link through ..data, which is swapped as a whole.
  tree_.Write("root/..2026_11_21/page.html", "config");
  tree_.Link("root/..data", "..2026_11_21");
  tree_.Link("root/page.html", "..data/page.html");
  struct {
    const char* relative;
    const char* inside;
  } const kRows[] = {
      {"alias", "sub"}, {"sub/back", "inside"}, {"lib/file", "sub"}, {"page.html", "config"}};
  for (const auto& row : kRows) {
    EXPECT_EQ(Open(row.relative), row.inside);
    EXPECT_EQ(Open(row.relative, Symlinks::kNever), Error(ELOOP)) << row.relative;
  }
  EXPECT_EQ(Open("loop"), Error(ELOOP));
  EXPECT_EQ(Open("alias/"), Error(ENOTDIR));
}

TEST_P(ResolveTest, OpensNothingButFilesAndDirectories) {
  ASSERT_EQ(mkfifo((root_ + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(Open("fifo"), Error(ENOENT));  // And does not hang.

  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", root_.c_str());
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(Open("socket"), Error(ENXIO));
  close(listener);

  tree_.Link("root/null", "/dev/null");
  EXPECT_EQ(Open("null", Symlinks::kAnywhere), Error(ENOENT));
}

TEST_P(ResolveTest, SaysWhatIsForbidden) {
  chmod(tree_.path().c_str(), 0755);
  chmod((root_ + "/noread").c_str(), 0);
  // Root may read everything, so this thread is nobody for a moment.
  if (geteuid() == 0) setfsuid(65534);
  const std::string found = Open("noread");
  if (geteuid() == 0) setfsuid(0);
  EXPECT_EQ(found, Error(EACCES));
}

TEST_P(ResolveTest, ReopensASwappedRootWithinTheWindow) {
  tree_.Write("v1/file", "one");
  tree_.Write("v2/file", "two");
  tree_.Link("current", "v1");
  Resolver resolver(tree_ / "current", Symlinks::kInside, GetParam());
  EXPECT_EQ(OpenWith(resolver, "file", 1000, 500), "one");
  tree_.Link("current.new", "v2");
  std::filesystem::rename(tree_ / "current.new", tree_ / "current");
  EXPECT_EQ(OpenWith(resolver, "file", 1400, 500), "one");
  EXPECT_EQ(OpenWith(resolver, "file", 1501, 500), "two");
  std::filesystem::remove(tree_ / "current");
  EXPECT_EQ(OpenWith(resolver, "file", 2002, 500), Error(ENOENT));
  tree_.Link("current", "v1");
  EXPECT_EQ(OpenWith(resolver, "file", 2002, 500), "one");
}

// A thread swaps a directory for a link to the outside and a file for a link to a secret while
// others ask. Whatever is opened is from inside.
TEST_P(ResolveTest, HoldsWhileLinksAndDirectoriesAreSwapped) {
  tree_.Write("root/d/secret", "inside");
  tree_.Write("root/f", "inside");
  tree_.Link("root/d.link", "../outside");
  tree_.Link("root/f.link", "../outside/secret");
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    const std::string d = root_ + "/d", f = root_ + "/f";
    while (!stop.load(std::memory_order_relaxed)) {
      syscall(SYS_renameat2, AT_FDCWD, d.c_str(), AT_FDCWD, (d + ".link").c_str(), 2u);  // EXCHANGE
      syscall(SYS_renameat2, AT_FDCWD, f.c_str(), AT_FDCWD, (f + ".link").c_str(), 2u);
    }
  });
  Resolver resolver(root_, Symlinks::kInside, GetParam());
  int inside = 0, refused = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  for (int i = 0; i < 100'000 && std::chrono::steady_clock::now() < end; ++i) {
    const std::string bytes = OpenWith(resolver, i % 2 == 0 ? "d/secret" : "f");
    ASSERT_NE(bytes, "secret");
    if (bytes == "inside") {
      ++inside;
    } else {
      ++refused;
    }
  }
  stop = true;
  swapper.join();
  EXPECT_GT(inside, 0);
  EXPECT_GT(refused, 0);
}

INSTANTIATE_TEST_SUITE_P(Both, ResolveTest,
                         testing::Values(ResolveMethod::kOpenat2, ResolveMethod::kWalk),
                         [](const auto& row) {
                           return row.param == ResolveMethod::kOpenat2 ? "Openat2" : "Walk";
                         });

TEST(HttpStatusOf, TellsMissingForbiddenShortAndBroken) {
  for (const int error : {ENOENT, ENOTDIR, ELOOP, EXDEV, ENAMETOOLONG, ENXIO}) {
    EXPECT_EQ(HttpStatusOf(error), 404) << error;
  }
  EXPECT_EQ(HttpStatusOf(EACCES), 403);
  for (const int error : {EMFILE, ENFILE, ENOMEM}) EXPECT_EQ(HttpStatusOf(error), 503) << error;
  EXPECT_EQ(HttpStatusOf(EIO), 500);
}

}  // namespace
}  // namespace catzilla::files
