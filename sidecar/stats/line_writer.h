// Lines of a log into a descriptor that nobody may be reading: never waits longer than it was told.
//
// Threads: one at a time, that of the log's writer; never a loop's.
// Owns:    nothing; the descriptor is the caller's.
// Limits:  kPieceBytes a system call: what a pipe that is ready takes without blocking (PIPE_BUF).
// Fails:   by writing less, which the caller may keep or Drop(); and by losing what a full disk or
//          a reader that has gone does not take. What is lost is counted by its ends of lines, and
//          the next line that is written begins on a line of its own.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace catzilla::stats {

class LineWriter {
 public:
  static constexpr size_t kPieceBytes = 4096;

  explicit LineWriter(int fd) : fd_(fd) {}

  // Returns how many bytes are done with: written, or lost to an error. Waits at most `wait_us` for
  // a reader, less when `*impatient` is set.
  size_t Write(std::string_view lines, int64_t wait_us,
               const std::atomic<bool>* impatient = nullptr);
  // The rest of what Write() left will not be written.
  void Drop(std::string_view lines);

  // Another file of the same log. The rest of a line that the one before has not taken is the first
  // that this one gets.
  void Reset(int fd) {
    fd_ = fd;
    torn_ = broken_ = false;
  }

  // A line has been begun whose rest is still to be written.
  bool in_line() const { return torn_ && !broken_; }

  // Lines that were not written, or not to their end.
  uint64_t lost() const { return lost_; }

 private:
  // False: it takes nothing, and `wait_us` is over.
  bool WaitForRoom(int64_t wait_us, const std::atomic<bool>* impatient) const;

  int fd_;
  uint64_t lost_ = 0;
  bool torn_ = false;    // The last byte that was written ends no line...
  bool broken_ = false;  // ...and its rest was dropped.
};

}  // namespace catzilla::stats
