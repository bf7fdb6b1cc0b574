// The entries of all mounts, each kind within its own limit.
//
// Files with their bytes share a number of bytes; files that are only open, a number of
// descriptors; what is remembered as missing or forbidden, a number of entries. So a scan of
// missing names pushes out no file, and large files do not compete with small ones.
//
// Threads: any. Find() only inside an epoch (a loop's turn); the rest takes its own.
// Owns:    a reference to each entry in it. Made by main, outlives mounts and their executor.
// Limits:  FileStoreLimits. A full table evicts (S3-FIFO).
// Fails:   never; Insert() may decline, as CacheTable does.
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
  size_t entries_max = 0;           // Files with their bytes; 0: any number.
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

  // A store beside this one, with its own limits; `entries_max` as in FileStoreLimits.
  std::shared_ptr<FileStore> MakeAnother(size_t bytes_max, size_t entries_max) const;

  // Lets go of a replaced mount's entries. Walks the tables: not on a loop.
  size_t DropMount(uint64_t mount_id);

  // Never the same twice.
  uint64_t NewMountId();

  // Of all kinds; `bytes` with the open files' share, which bytes_max() does not limit.
  base::CacheTableStats stats() const;
  size_t bytes_max() const { return bodies_.bytes_max(); }
  // For memory pressure and live configuration: evicts down to it.
  void SetBytesMax(size_t bytes_max) { bodies_.SetBytesMax(bytes_max, 0); }
  uint32_t negatives() const { return static_cast<uint32_t>(negatives_.entries()); }
  uint32_t descriptors() const { return descriptors_.load(std::memory_order_relaxed); }

 private:
  using Table = base::CacheTable<Entry>;

  void OnLinked(Entry& entry) override;
  void OnUnlinked(Entry& entry, base::CacheRemoval reason) override;
  Table& TableOf(const Entry& entry);

  // Constant after construction.
  base::EpochDomain& domain_;
  const FileStoreLimits limits_;
  const uint64_t seed_;

  std::atomic<uint64_t> mounts_made_{0};
  std::atomic<size_t> bytes_{0};
  std::atomic<uint32_t> descriptors_{0};
  // Last: they die first, while the counts above are still there.
  Table bodies_;
  Table open_;
  Table negatives_;
};

}  // namespace catzilla::files
