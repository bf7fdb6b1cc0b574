// One file (or one fact about a path) as it is served: everything computed once, immutable, in one
// piece of memory.
//
//   [ Entry | key | 304 head | 206 head | 200 head CRLF body ]
//
// The wire of a hot answer lies in one run, so serving it is one copy and a patched date. A file
// above the mount's cache_file_bytes_max has no body here but an open descriptor.
//
// The variants of a file in other content codings are entries too. The identity entry owns them, so
// that one lookup finds them all, and they are replaced and evicted together.
//
// Threads: immutable after Build(), but for the revalidation stamps, which are atomics. Any thread.
// Owns:    its memory (the `files` arena) and its descriptor. The last reference frees both, so an
//          entry that was evicted or replaced still serves the answers that began with it.
// Limits:  none of its own; memory_bytes() is what a table must account for.
// Fails:   Build() returns null when there is no memory.
#pragma once

#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sidecar/base/cache_table.h"
#include "sidecar/base/ref.h"
#include "sidecar/files/stats.h"
#include "sidecar/http/accept_encoding.h"
#include "sidecar/http/output_queue.h"

namespace catzilla::files {

// What tells one version of a file from the next. ctime moves with every write and rename, so a
// rewrite that restores mtime is noticed too.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;

  static FileIdentity Of(const struct stat& status);
  bool operator==(const FileIdentity&) const = default;
};

enum class EntryKind : uint8_t {
  kFile,       // Answers 200, 206, 304, 412, 416.
  kDirectory,  // Asked for without its slash: a redirect to the path with one.
  kNegative,   // Nothing to serve: negative_status() says 403 or 404.
};

class Entry;

// What Build() copies. Views are borrowed for the call.
struct EntryParts {
  EntryKind kind = EntryKind::kFile;
  uint16_t negative_status = 0;
  uint64_t mount_id = 0;
  base::Ref<MountStats> stats;
  std::string_view path;  // The key: the decoded path under the mount.
  FileIdentity identity;
  bool racy = false;  // Read so soon after its last change that another may hide in the same tick.
  bool ranges = true;
  // A body that is no file's has its own; null: by the file's name and the mount's rules.
  const char* content_type = nullptr;
  std::string_view fields;       // With it: further lines of the head, each with its CRLF.
  std::string_view etag;         // With quotes, perhaps W/; empty: none.
  int64_t last_modified_s = -1;  // < 0: none.
  std::string_view head_304;     // Heads end with CRLF and lack the empty line.
  std::string_view head_206;     // Without Content-Range and Content-Length; Content-Type is last.
  std::string_view head_200;
  uint32_t date_offset_304 = 0;  // Where the date's 29 bytes are.
  uint32_t date_offset_206 = 0;
  uint32_t date_offset_200 = 0;
  uint32_t type_offset_206 = 0;  // Where the line with the Content-Type begins.
  bool in_memory = false;        // `body` is all of the file. Else it is sent from `fd`.
  std::string_view body;
  int fd = -1;  // Taken over if Build() succeeds.
  int64_t validated_us = 0;
  bool varies = false;  // The answer depends on Accept-Encoding.
  http::Coding coding = http::Coding::kIdentity;
  // By coding; none for identity.
  std::array<base::Ref<Entry>, http::kCodingCount> variants;
};

class Entry final : public http::SentFile, public base::CacheNode {
 public:
  static base::Ref<Entry> Build(const EntryParts& parts);

  EntryKind kind() const { return kind_; }
  uint16_t negative_status() const { return negative_status_; }
  uint64_t mount_id() const { return mount_id_; }
  MountStats& stats() const { return *stats_; }
  std::string_view path() const { return {memory() + path_offset_, path_bytes_}; }
  uint64_t hash() const { return hash_; }
  const FileIdentity& identity() const { return identity_; }
  uint64_t size() const { return identity_.size; }
  bool racy() const { return racy_; }
  bool ranges() const { return ranges_; }
  bool in_memory() const { return in_memory_; }
  int fd() const override { return fd_; }  // -1: the body is in memory.
  // What it takes from the arena with its variants, the allocator's slack included.
  size_t memory_bytes() const { return memory_bytes_; }

  bool varies() const { return varies_; }
  http::Coding coding() const { return coding_; }  // Of its own body.
  bool has_variants() const { return has_variants_; }
  // Null: there is none in this coding.
  Entry* variant(http::Coding coding) const { return variants_[static_cast<size_t>(coding)].get(); }
  // Open files, the variants' included.
  int descriptors() const { return descriptors_; }

  std::string_view etag() const { return {memory() + etag_offset_, etag_bytes_}; }
  int64_t last_modified_s() const { return last_modified_s_; }  // < 0: none.

  // A CRLF, the empty line, stands behind each head.
  std::string_view head_304() const { return {memory() + head_304_offset_, head_304_bytes_}; }
  std::string_view head_206() const { return {memory() + head_206_offset_, head_206_bytes_}; }
  std::string_view head_200() const { return {memory() + head_200_offset_, head_200_bytes_}; }
  // For several parts: each of them has the Content-Type's line, the head has one of its own.
  std::string_view head_206_without_type() const { return head_206().substr(0, type_offset_206_); }
  std::string_view type_line() const { return head_206().substr(type_offset_206_); }
  uint32_t date_offset_304() const { return date_offset_304_; }
  uint32_t date_offset_206() const { return date_offset_206_; }
  uint32_t date_offset_200() const { return date_offset_200_; }
  // The body; empty if it is not in memory.
  std::string_view body() const {
    return {memory() + body_offset(), in_memory_ ? static_cast<size_t>(identity_.size) : 0};
  }

  // Still the bytes that were opened, also of the variants? Asks the kernel, once a turn; for
  // entries with a descriptor, whose file may be rewritten in place while it is being sent.
  bool Intact(int64_t now_us) const override;
  void GiveUp() const override { lost_.store(true, std::memory_order_relaxed); }
  bool lost() const { return lost_.load(std::memory_order_relaxed); }
  // A file that can be sent in one turn and was found in the page cache is not asked about again
  // for kCachedUs.
  uint64_t Cached(uint64_t offset, uint64_t bytes, int64_t now_us) const override;

  // When the file was last known to be what this entry says (monotonic).
  int64_t validated_us() const { return validated_us_.load(std::memory_order_relaxed); }
  void SetValidated(int64_t now_us) const {
    validated_us_.store(now_us, std::memory_order_relaxed);
  }
  // Watch::changes() before the file was looked at last.
  uint64_t changes_seen() const { return changes_seen_.load(std::memory_order_relaxed); }
  void SetChangesSeen(uint64_t changes) const {
    changes_seen_.store(changes, std::memory_order_relaxed);
  }
  // True for the one caller that is to revalidate; undone by EndRevalidation().
  bool TryBeginRevalidation() const {
    return !revalidating_.exchange(true, std::memory_order_acq_rel);
  }
  void EndRevalidation() const { revalidating_.store(false, std::memory_order_release); }

  // The hash under which an entry is kept. The mount's id is random and secret, so that nobody can
  // make many paths meet in one bucket.
  static uint64_t HashKey(uint64_t mount_id, std::string_view path);

 private:
  Entry() = default;
  ~Entry() override;
  void DestroySelf() override;
  bool Unchanged() const;

  char* memory() { return reinterpret_cast<char*>(this); }
  const char* memory() const { return reinterpret_cast<const char*>(this); }
  size_t body_offset() const { return head_200_offset_ + head_200_bytes_ + 2; }

  uint64_t hash_ = 0;
  uint64_t mount_id_ = 0;
  base::Ref<MountStats> stats_;
  std::array<base::Ref<Entry>, http::kCodingCount> variants_;
  FileIdentity identity_;
  int64_t last_modified_s_ = -1;
  size_t allocated_bytes_ = 0;
  size_t memory_bytes_ = 0;
  mutable std::atomic<int64_t> validated_us_{0};
  mutable std::atomic<int64_t> intact_us_{0};        // The turn in which it was.
  mutable std::atomic<int64_t> cached_until_us_{0};  // As far as we care.
  mutable std::atomic<uint64_t> changes_seen_{0};
  uint32_t path_offset_ = 0, path_bytes_ = 0;
  uint32_t etag_offset_ = 0, etag_bytes_ = 0;
  uint32_t head_304_offset_ = 0, head_304_bytes_ = 0;
  uint32_t head_206_offset_ = 0, head_206_bytes_ = 0;
  uint32_t head_200_offset_ = 0, head_200_bytes_ = 0;
  uint32_t date_offset_304_ = 0, date_offset_206_ = 0, date_offset_200_ = 0;
  uint32_t type_offset_206_ = 0;
  int fd_ = -1;
  uint16_t negative_status_ = 0;
  EntryKind kind_ = EntryKind::kFile;
  bool racy_ = false;
  bool ranges_ = true;
  bool in_memory_ = false;
  bool varies_ = false;
  http::Coding coding_ = http::Coding::kIdentity;
  bool has_variants_ = false;
  uint8_t descriptors_ = 0;
  mutable std::atomic<bool> revalidating_{false};
  mutable std::atomic<bool> lost_{false};
};

}  // namespace catzilla::files
