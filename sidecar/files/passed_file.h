// A file that another process has opened and passed on: pieces of it are sent as those of an Entry.
//
// Threads: made and asked on a loop; GiveUp() from any thread.
// Owns:    the descriptor.
// Fails:   Take() with a literal: what is no regular file, is open for more than reading, or is
//          shorter than what is to be sent is not taken. What is asked here of the kernel waits for
//          no disk; sending from a file system that cannot tell what it has in memory may.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "sidecar/base/executor.h"
#include "sidecar/base/ref.h"
#include "sidecar/base/unique_fd.h"
#include "sidecar/files/mount.h"
#include "sidecar/http/output_queue.h"

namespace catzilla::files {

class PassedFile final : public http::SentFile {
 public:
  // What counts those that are open; null: nobody does.
  using Count = std::shared_ptr<std::atomic<int>>;

  // Null: `why` says why not.
  static base::Ref<PassedFile> Take(base::UniqueFd fd, uint64_t offset, uint64_t length,
                                    std::string_view* why, Count count = nullptr);

  int fd() const override { return fd_.get(); }
  bool Intact(int64_t now_us) const override;
  uint64_t Cached(uint64_t offset, uint64_t bytes, int64_t now_us) const override;
  void GiveUp() const override { lost_.store(true, std::memory_order_relaxed); }

 private:
  PassedFile(base::UniqueFd fd, Count count);
  ~PassedFile() override;
  void DestroySelf() override { delete this; }

  const base::UniqueFd fd_;
  const Count count_;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
  mutable std::atomic<bool> lost_{false};
};

// All of a process: how many are open, and their reading ahead off the loops, one group of the
// executor, apart from the mounts'.
//
// Threads: any loop. Borrows the executor.
// Limits:  past `open_max` crowded() says that no further one is wanted; what comes nonetheless,
//          because it was on its way, is taken.
class PassedFiles {
 public:
  PassedFiles(base::Executor& executor, int open_max) : executor_(executor), open_max_(open_max) {}

  bool crowded() const { return count_->load(std::memory_order_relaxed) >= open_max_; }
  // PassedFile::Take(), counted.
  base::Ref<PassedFile> Take(base::UniqueFd fd, uint64_t offset, uint64_t length,
                             std::string_view* why) {
    return PassedFile::Take(std::move(fd), offset, length, why, count_);
  }

  // As Mount::ReadAhead().
  [[nodiscard]] bool ReadAhead(const base::Ref<base::Owner>& file, uint64_t offset, uint64_t bytes,
                               const Waiter& waiter);

 private:
  base::Executor& executor_;
  const int open_max_;
  const base::Ref<base::Executor::Group> group_ = base::Ref<base::Executor::Group>::Make();
  const PassedFile::Count count_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace catzilla::files
