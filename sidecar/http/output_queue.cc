#include "sidecar/http/output_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sidecar/base/check.h"

namespace catzilla::http {

char* OutputQueue::Reserve(size_t bytes) {
  CATZILLA_CHECK(bytes <= kChunkBytes, "more was reserved than a chunk holds");
  if (chunks_.empty() || kChunkBytes - chunks_.back().used < bytes) {
    chunks_.push_back({std::unique_ptr<char[]>(new char[kChunkBytes]), 0});
  }
  return chunks_.back().bytes.get() + chunks_.back().used;
}

void OutputQueue::Commit(size_t bytes) {
  Chunk& chunk = chunks_.back();
  CATZILLA_CHECK(bytes <= kChunkBytes - chunk.used, "more was committed than reserved");
  Extend(chunk.bytes.get() + chunk.used, bytes);
  chunk.used += bytes;
}

void OutputQueue::Extend(const char* data, size_t bytes) {
  if (bytes == 0) return;
  pending_bytes_ += bytes;
  if (!empty()) {
    Piece& last = pieces_.back();
    if (last.kind == Kind::kChunk && last.data + last.size == data) {
      last.size += bytes;
      return;
    }
  }
  Piece& piece = pieces_.emplace_back();
  piece.data = data;
  piece.size = bytes;
}

void OutputQueue::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    char* room = Reserve(1);
    const size_t fits = std::min(bytes.size(), kChunkBytes - chunks_.back().used);
    std::memcpy(room, bytes.data(), fits);
    Commit(fits);
    bytes.remove_prefix(fits);
  }
}

void OutputQueue::AppendShared(std::string_view bytes, base::Ref<base::Owner> owner) {
  if (bytes.size() <= kCopyBytesMax) {
    Append(bytes);
    return;
  }
  pending_bytes_ += bytes.size();
  Piece& piece = pieces_.emplace_back();
  piece.kind = Kind::kShared;
  piece.data = bytes.data();
  piece.size = bytes.size();
  piece.owner = std::move(owner);
}

void OutputQueue::AppendFile(const FilePiece& piece, base::Ref<SentFile> file) {
  if (piece.length == 0) return;
  pending_bytes_ += piece.length;
  Piece& added = pieces_.emplace_back();
  added.kind = Kind::kFile;
  added.file = piece;
  added.owner = std::move(file);
}

int OutputQueue::Gather(iovec* parts, int parts_max, bool* more) const {
  int count = 0;
  size_t at = first_;
  for (; at < pieces_.size() && count < parts_max; ++at) {
    const Piece& piece = pieces_[at];
    if (piece.kind == Kind::kFile) break;
    parts[count++] = {const_cast<char*>(piece.data), piece.size};
  }
  *more = at < pieces_.size();
  return count;
}

const OutputQueue::FilePiece* OutputQueue::FrontPiece() const {
  if (empty() || pieces_[first_].kind != Kind::kFile) return nullptr;
  return &pieces_[first_].file;
}

const SentFile& OutputQueue::FrontFile() const {
  return static_cast<const SentFile&>(*pieces_[first_].owner);  // As AppendFile() took it.
}

void OutputQueue::Consume(uint64_t bytes) {
  CATZILLA_CHECK(bytes <= pending_bytes_, "more was written than was pending");
  pending_bytes_ -= bytes;
  while (bytes > 0) {
    Piece& piece = pieces_[first_];
    if (piece.kind == Kind::kFile) {
      const uint64_t taken = std::min(bytes, piece.file.length);
      piece.file.offset += taken;
      piece.file.length -= taken;
      bytes -= taken;
      if (piece.file.length > 0) break;
    } else {
      const uint64_t taken = std::min(bytes, piece.size);
      piece.data += taken;
      piece.size -= taken;
      bytes -= taken;
      if (piece.size > 0) break;
    }
    piece.owner = nullptr;
    ++first_;
  }
  if (empty()) {
    Clear();
  } else {
    Trim();
  }
}

// A stream to a slow reader never empties its queue: what has been written must go all the same.
void OutputQueue::Trim() {
  if (first_ >= 16) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  // Chunks are filled and written in order, so the oldest one in use is that of the first piece.
  size_t unused = chunks_.size() - std::min<size_t>(chunks_.size(), 1);
  for (size_t at = first_; at < pieces_.size(); ++at) {
    if (pieces_[at].kind != Kind::kChunk) continue;
    const auto holds = [&](const Chunk& chunk) {
      return pieces_[at].data >= chunk.bytes.get() &&
             pieces_[at].data < chunk.bytes.get() + kChunkBytes;
    };
    unused =
        static_cast<size_t>(std::find_if(chunks_.begin(), chunks_.end(), holds) - chunks_.begin());
    break;
  }
  chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(unused));
}

void OutputQueue::Clear() {
  pieces_.clear();
  first_ = 0;
  pending_bytes_ = 0;
  // One chunk is kept: the next answer needs it at once.
  if (chunks_.size() > 1) chunks_.resize(1);
  if (!chunks_.empty()) chunks_[0].used = 0;
}

std::unique_ptr<OutputQueue> OutputPool::Take() {
  if (kept_.empty()) return std::make_unique<OutputQueue>();
  std::unique_ptr<OutputQueue> queue = std::move(kept_.back());
  kept_.pop_back();
  return queue;
}

void OutputPool::Give(std::unique_ptr<OutputQueue> queue) {
  queue->Clear();
  if (kept_.size() < kept_max_) kept_.push_back(std::move(queue));
}

}  // namespace catzilla::http
