// What is to be written to one connection, in order: bytes, shared bytes and pieces of files.
//
// Small pieces are copied into pooled chunks, so that a turn's answers leave in one write of few
// parts; large ones are referenced and kept alive by their owner until they have been written.
//
// Threads: those of one loop; the pool belongs to the loop.
// Owns:    its chunks (given back to the pool), a reference to each owner. Files' descriptors
//          belong to their owners.
// Limits:  none of its own: whoever appends asks pending_bytes() first and stops at its mark.
// Fails:   never, but for the process running out of memory.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "sidecar/base/ref.h"

namespace catzilla::http {

// A file of which pieces are sent, as far as whoever sends them must ask it before each write.
class SentFile : public base::Owner {
 public:
  // Whether it still is what the head said. `now_us`: of this turn (monotonic); within one turn the
  // answer may be remembered.
  virtual bool Intact(int64_t now_us) const = 0;
  // How many of `bytes` from `offset` on can be sent without waiting for a disk.
  virtual uint64_t Cached(uint64_t offset, uint64_t bytes, int64_t now_us) const = 0;
  virtual int fd() const = 0;
  // A read of it hangs: from now on it is not intact.
  virtual void GiveUp() const = 0;

 protected:
  ~SentFile() override = default;
};

class OutputQueue {
 public:
  static constexpr size_t kChunkBytes = 16 * 1024;
  // Shorter shared bytes are copied: one more part of a write costs more than the copy.
  static constexpr size_t kCopyBytesMax = 4 * 1024;

  struct FilePiece {
    int fd = -1;
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  OutputQueue() = default;
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;

  bool empty() const { return first_ == pieces_.size(); }
  uint64_t pending_bytes() const { return pending_bytes_; }
  size_t chunk_count() const { return chunks_.size(); }

  // Room for `bytes` in one run, to be filled and then committed (in full or in part).
  // REQUIRES: bytes <= kChunkBytes. Invalidated by every other call but Commit().
  char* Reserve(size_t bytes);
  void Commit(size_t bytes);

  void Append(std::string_view bytes);  // Copies.
  void AppendShared(std::string_view bytes, base::Ref<base::Owner> owner);
  void AppendFile(const FilePiece& piece, base::Ref<SentFile> file);

  // The leading pieces in memory as iovecs; 0 if a file is first or nothing is there. `more` tells
  // whether something follows them, so that the kernel may wait for it (MSG_MORE).
  int Gather(iovec* parts, int parts_max, bool* more) const;
  // The piece of a file that is next, or null; and the file. REQUIRES for the latter: it is there.
  const FilePiece* FrontPiece() const;
  const SentFile& FrontFile() const;
  const base::Ref<base::Owner>& FrontOwner() const { return pieces_[first_].owner; }

  void Consume(uint64_t bytes);  // REQUIRES: no more than was gathered, or the front file's length.
  void Clear();                  // Drops everything; chunks and owners are released.

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    size_t used = 0;
  };
  enum class Kind : uint8_t { kChunk, kShared, kFile };
  struct Piece {
    Kind kind = Kind::kChunk;
    const char* data = nullptr;  // Bytes not yet written.
    uint64_t size = 0;
    FilePiece file;
    base::Ref<base::Owner> owner;
  };

  void Extend(const char* data, size_t bytes);
  void Trim();

  std::vector<Piece> pieces_;
  size_t first_ = 0;
  uint64_t pending_bytes_ = 0;
  std::vector<Chunk> chunks_;  // Oldest first; the last is being filled.
};

// Keeps emptied queues with their memory: a connection holds one only while it has output.
class OutputPool {
 public:
  explicit OutputPool(size_t kept_max = 64) : kept_max_(kept_max) {}
  std::unique_ptr<OutputQueue> Take();
  void Give(std::unique_ptr<OutputQueue> queue);

 private:
  const size_t kept_max_;
  std::vector<std::unique_ptr<OutputQueue>> kept_;
};

}  // namespace catzilla::http
