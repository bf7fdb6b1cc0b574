// A file that another process has opened and passed on: pieces of it are sent as those of an Entry.
//
// Threads: made and asked on a loop; GiveUp() from any thread.
// Owns:    the descriptor.
// Fails:   Take() with a literal: what is no regular file, is open for more than reading, or is
//          shorter than what is to be sent is not taken. Nothing here waits for a disk.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "sidecar/base/executor.h"
#include "sidecar/base/ref.h"
#include "sidecar/base/unique_fd.h"
#include "sidecar/files/mount.h"
#include "sidecar/http/output_queue.h"

namespace catzilla::files {

class PassedFile final : public http::SentFile {
 public:
  // Null: `why` says why not.
  static base::Ref<PassedFile> Take(base::UniqueFd fd, uint64_t offset, uint64_t length,
                                    std::string_view* why);

  int fd() const override { return fd_.get(); }
  bool Intact(int64_t now_us) const override;
  uint64_t Cached(uint64_t offset, uint64_t bytes, int64_t now_us) const override;
  void GiveUp() const override { lost_.store(true, std::memory_order_relaxed); }

 private:
  explicit PassedFile(base::UniqueFd fd) : fd_(std::move(fd)) {}
  void DestroySelf() override { delete this; }

  const base::UniqueFd fd_;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;
  mutable std::atomic<bool> lost_{false};
};

// Reads such files ahead, off the loops: one group of the executor, so that a file system that
// hangs under an app costs the mounts nothing.
//
// Threads: any loop. Borrows the executor.
class PassedFiles {
 public:
  explicit PassedFiles(base::Executor& executor)
      : executor_(executor), group_(base::Ref<base::Executor::Group>::Make()) {}

  // As Mount::ReadAhead().
  [[nodiscard]] bool ReadAhead(const base::Ref<base::Owner>& file, uint64_t offset, uint64_t bytes,
                               const Waiter& waiter);

 private:
  base::Executor& executor_;
  const base::Ref<base::Executor::Group> group_;
};

}  // namespace catzilla::files
