// The access log: one line of JSON for every request, native or not.
//
// Threads: each loop writes into its own ring (single producer); one thread of the log's own takes
//          from all rings and writes to the descriptor. Writing to a slow disk or pipe never holds
//          a loop: a full ring drops the line and the loop counts it.
// Owns:    the rings and the thread; the descriptor is borrowed unless a path was given. Who opens
//          a file waits for it, the writer never does.
// Limits:  `ring_bytes` per loop; a line is at most kLineBytesMax, longer values are cut. While it
//          ends, a reader that is stuck is waited for kFlushUs.
// Fails:   by losing lines: those that the descriptor did not take (a full disk) are lost().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/base/result.h"
#include "sidecar/stats/line_writer.h"

namespace catzilla::stats {

// A ring of bytes with one producer and one consumer.
class LogRing {
 public:
  explicit LogRing(uint32_t bytes);  // Rounded up to a power of two.

  [[nodiscard]] bool Push(std::string_view line);  // All or nothing. Producer.
  // Up to two runs of bytes that are ready. Consumer; then Pop() what was taken.
  void Peek(std::string_view* first, std::string_view* second) const;
  void Pop(size_t bytes);
  bool empty() const {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_relaxed);
  }

 private:
  const uint64_t mask_;
  std::unique_ptr<char[]> bytes_;
  alignas(64) std::atomic<uint64_t> head_{0};  // Written by the producer.
  alignas(64) std::atomic<uint64_t> tail_{0};  // Written by the consumer.
};

class AccessLog {
 public:
  static constexpr size_t kLineBytesMax = 4096;

  // `path` is a file that is appended to, or "-" for standard output.
  static base::Result<std::unique_ptr<AccessLog>, std::string> Open(const std::string& path,
                                                                    int loops, uint32_t ring_bytes);
  ~AccessLog();  // Writes what is in the rings, waits at most kFlushUs for a reader that is stuck.

  // False: dropped. Only the loop `loop` may call.
  [[nodiscard]] bool Write(int loop, std::string_view line);

  // Lines that were taken from a ring and could not be written. Any thread.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

  // From now on `path`, which may be the same one, for rotation. If it cannot be opened, the file
  // before stays. Lines that wait go to the new one. One thread at a time, never a loop's.
  base::Result<base::Unit, std::string> Switch(const std::string& path);

 private:
  static constexpr int64_t kRestUs = 20'000;
  static constexpr int64_t kFlushUs = 1'000'000;

  AccessLog(int fd, int loops, uint32_t ring_bytes);
  void RunWriter();
  void TakeNext();
  bool WriteOnce();  // True if something was there to be written.
  bool WriteRing(LogRing& ring);

  int fd_;  // The writer's.
  LineWriter lines_;
  std::atomic<uint64_t> lost_{0};
  std::vector<std::unique_ptr<LogRing>> rings_;
  size_t ring_ = 0;  // Whose turn it is; the writer's.
  std::atomic<bool> asleep_{false};
  std::atomic<int> next_fd_{-1};  // What Switch() has opened.
  std::atomic<bool> stopping_{false};
  base::Mutex mutex_;
  base::CondVar wake_;
  std::thread writer_;
};

}  // namespace catzilla::stats
