// File systems that hang: opens that the kernel holds until this test lets them go (fanotify).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/files/mount_harness.h"

namespace catzilla::files {
namespace {

// Holds every open of the files it is given, until it ends. Without the right to do so: usable() is
// false.
class HeldOpens {
 public:
  HeldOpens() {
    fd_ = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_LARGEFILE);
    if (fd_ >= 0) thread_ = std::thread([this] { Run(); });
  }
  ~HeldOpens() {
    if (fd_ < 0) return;
    ending_.store(true);
    thread_.join();
    close(fd_);  // The kernel allows what nobody has answered.
  }
  bool usable() const { return fd_ >= 0; }
  bool Hold(const std::string& path) {
    return fanotify_mark(fd_, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, path.c_str()) == 0;
  }
  int held() const { return held_.load(); }
  void Release() {
    base::MutexLock lock(mutex_);
    released_ = true;
    for (const int event : events_) Allow(event);
    events_.clear();
  }

 private:
  void Run() {
    while (!ending_.load()) {
      pollfd ready{fd_, POLLIN, 0};
      if (poll(&ready, 1, 20) <= 0) continue;
      alignas(fanotify_event_metadata) char buffer[4096];
      ssize_t bytes = read(fd_, buffer, sizeof(buffer));
      base::MutexLock lock(mutex_);
      auto* event = reinterpret_cast<fanotify_event_metadata*>(buffer);
      for (; FAN_EVENT_OK(event, bytes); event = FAN_EVENT_NEXT(event, bytes)) {
        ++held_;
        if (released_) {
          Allow(event->fd);
        } else {
          events_.push_back(event->fd);
        }
      }
    }
    Release();
  }
  void Allow(int event) const {
    const fanotify_response response{event, FAN_ALLOW};
    EXPECT_EQ(write(fd_, &response, sizeof(response)), static_cast<ssize_t>(sizeof(response)));
    close(event);
  }

  int fd_ = -1;
  std::atomic<int> held_{0};
  std::atomic<bool> ending_{false};
  base::Mutex mutex_;
  bool released_ CATZILLA_GUARDED_BY(mutex_) = false;
  std::vector<int> events_ CATZILLA_GUARDED_BY(mutex_);
  std::thread thread_;
};

// A mount of which four threads hang.
struct Hanging : ::testing::Test {
  Hanging() : h({}, 4) {}
  void SetUp() override {
    if (!held.usable()) GTEST_SKIP() << "needs root, and a kernel with fanotify's permissions";
    h.tree.Write("well", "well");
    h.tree.Write("large", std::string(4 << 20, 'l'));
    h.Make();
    large = h.Get("/static/large").entry;
    ASSERT_TRUE(large);
    h.executor.SetDeadline(200'000);
    for (size_t i = 0; i < base::Executor::kGroupStuckMax; ++i) {
      const std::string name = "hangs" + std::to_string(i);
      h.tree.Write(name, "x");
      ASSERT_TRUE(held.Hold(h.tree / name));
      const MountHarness::Got got = h.Get("/static/" + name);
      EXPECT_EQ(got.status, 503);
      EXPECT_EQ(got.error, ETIMEDOUT);
      const int64_t end_us = base::ReadClockMicros(CLOCK_MONOTONIC) + 20'000'000;
      while (h.executor.state().stuck <= i) {
        ASSERT_LT(base::ReadClockMicros(CLOCK_MONOTONIC), end_us);
        std::this_thread::yield();
      }
      if (i > 0) continue;
      h.executor.SetDeadline(60'000'000);
      EXPECT_EQ(h.Get("/static/well").body(), "well") << "with one thread at a time";
      h.executor.SetDeadline(200'000);
    }
  }
  void TearDown() override {
    if (held.usable()) held.Release();
  }

  MountHarness h;
  HeldOpens held;  // Ends first: the harness waits for its threads.
  base::Ref<Entry> large;
};

TEST_F(Hanging, C12IsRefusedAtOnceAndComesBack) {
  EXPECT_EQ(h.Get("/static/hangs0").status, 503);
  EXPECT_EQ(held.held(), 4) << "nobody tried again";
  EXPECT_EQ(h.mount->stats().Get(Counter::kLate), 4u);
  EXPECT_EQ(h.Get("/static/well").body(), "well") << "what is hot is served";
  held.Release();
  h.executor.SetDeadline(60'000'000);
  while (h.executor.state().stuck > 0) std::this_thread::yield();
  EXPECT_EQ(h.Get("/static/hangs0").body(), "x");
}

TEST_F(Hanging, C12ALargeFileIsNotReadOnTheLoopInstead) {
  EXPECT_TRUE(large->Intact(h.now.monotonic_us));
  ASSERT_TRUE(h.mount->ReadAhead(large, 0, 65536, {&h.sink, 99}, 0));
  EXPECT_FALSE(h.sink.Wait(99).entry);
  EXPECT_FALSE(large->Intact(h.now.monotonic_us)) << "its answer ends";
  held.Release();
  h.executor.SetDeadline(60'000'000);
  while (h.executor.state().stuck > 0) std::this_thread::yield();
  const MountHarness::Got again = h.Get("/static/large");
  ASSERT_TRUE(again.is_file());
  EXPECT_NE(again.entry.get(), large.get()) << "opened anew";
  EXPECT_TRUE(again.entry->Intact(h.now.monotonic_us));
}

}  // namespace
}  // namespace catzilla::files
