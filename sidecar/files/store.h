// The entries of all mounts in one table with one byte limit.
//
// Threads: any. Find() only inside an epoch (a loop's turn); the rest takes its own.
// Owns:    a reference to each entry in it. Made by main, outlives mounts and their executor.
// Limits:  FileStoreLimits: past `bytes_max` the table evicts (S3-FIFO); past `negatives_max` and
//          `descriptors_max` an entry serves the requests that wait for it, but is not kept.
// Fails:   never; Insert() may decline.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "sidecar/base/cache_table.h"
#include "sidecar/base/epoch.h"
#include "sidecar/files/entry.h"

namespace catzilla::files {

struct FileStoreLimits {
  size_t bytes_max = 64u << 20;
  uint32_t negatives_max = 4096;    // Remembered 403 and 404.
  uint32_t descriptors_max = 1024;  // Large files kept open between requests.
};

class FileStore final : private base::CacheTable<Entry>::Listener {
 public:
  // `seed`: random and secret, it keys the hash of every path.
  FileStore(base::EpochDomain& domain, const FileStoreLimits& limits, uint64_t seed);
  FileStore(const FileStore&) = delete;
  FileStore& operator=(const FileStore&) = delete;

  // REQUIRES: inside an epoch, at whose end the result must not be used unless referenced.
  Entry* Find(uint64_t mount_id, std::string_view key) const;
  // The same with a reference, from any thread, not counted as a use.
  base::Ref<Entry> FindRef(uint64_t mount_id, std::string_view key) const;

  // Publishes `entry` in place of what had its key. False: declined; what it would have replaced is
  // gone all the same.
  bool Insert(const base::Ref<Entry>& entry);

  // A store beside this one, with its own bytes and otherwise the same limits.
  std::shared_ptr<FileStore> MakeAnother(size_t bytes_max) const;

  // Lets go of a replaced mount's entries. Walks the whole table: not on a loop.
  size_t DropMount(uint64_t mount_id);

  // Never the same twice.
  uint64_t NewMountId();

  base::CacheTableStats stats() const { return table_.stats(); }
  size_t bytes_max() const { return table_.bytes_max(); }
  // For memory pressure and live configuration: evicts down to it.
  void SetBytesMax(size_t bytes_max) { table_.SetBytesMax(bytes_max, 0); }
  uint32_t negatives() const { return negatives_.load(std::memory_order_relaxed); }
  uint32_t descriptors() const { return descriptors_.load(std::memory_order_relaxed); }

 private:
  void OnLinked(Entry& entry) override;
  void OnUnlinked(Entry& entry, base::CacheRemoval reason) override;
  bool HasRoom(const Entry& entry) const;
  void Remove(const Entry& entry);

  // Constant after construction.
  base::EpochDomain& domain_;
  const FileStoreLimits limits_;
  const uint64_t seed_;

  std::atomic<uint64_t> mounts_made_{0};
  std::atomic<uint32_t> negatives_{0};
  std::atomic<uint32_t> descriptors_{0};
  base::CacheTable<Entry> table_;  // Last: dies first, while the counts above are still there.
};

}  // namespace catzilla::files
