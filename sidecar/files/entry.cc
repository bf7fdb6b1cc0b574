#include "sidecar/files/entry.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "sidecar/base/arena.h"
#include "sidecar/base/check.h"
#include "sidecar/files/page_cache.h"

namespace catzilla::files {

namespace {

constexpr std::string_view kCrlf = "\r\n";
constexpr int64_t kCachedUs = 1'000'000;

int64_t Nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

uint64_t Mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t LoadWord(const char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// Copies pieces one behind the other and remembers where they went.
class Writer {
 public:
  Writer(char* memory, size_t offset) : memory_(memory), offset_(offset) {}

  void Put(std::string_view bytes, uint32_t* at, uint32_t* size) {
    *at = static_cast<uint32_t>(offset_);
    *size = static_cast<uint32_t>(bytes.size());
    Put(bytes);
  }
  void Put(std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(memory_ + offset_, bytes.data(), bytes.size());
    offset_ += bytes.size();
  }
  size_t offset() const { return offset_; }

 private:
  char* const memory_;
  size_t offset_;
};

}  // namespace

FileIdentity FileIdentity::Of(const struct stat& status) {
  FileIdentity identity;
  identity.device = status.st_dev;
  identity.inode = status.st_ino;
  identity.size = static_cast<uint64_t>(status.st_size);
  identity.modified_ns = Nanoseconds(status.st_mtim);
  identity.changed_ns = Nanoseconds(status.st_ctim);
  return identity;
}

base::Ref<Entry> Entry::Build(const EntryParts& parts) {
  CATZILLA_CHECK(!parts.in_memory || parts.body.size() == parts.identity.size,
                 "an entry's body and its length differ");
  const size_t heads = parts.head_304.size() + parts.head_206.size() + parts.head_200.size();
  const size_t bytes = sizeof(Entry) + parts.path.size() + parts.etag.size() + heads +
                       3 * kCrlf.size() + (parts.in_memory ? parts.body.size() : 0);
  void* memory = base::Arenas::Allocate(base::ArenaId::kFiles, bytes);
  if (memory == nullptr) return nullptr;

  auto* entry = new (memory) Entry();
  entry->allocated_bytes_ = bytes;
  entry->memory_bytes_ = base::Arenas::UsableSize(bytes);
  entry->descriptors_ = parts.fd >= 0 ? 1 : 0;
  entry->varies_ = parts.varies;
  entry->coding_ = parts.coding;
  entry->variants_ = parts.variants;
  for (const base::Ref<Entry>& variant : parts.variants) {
    if (!variant) continue;
    entry->has_variants_ = true;
    entry->memory_bytes_ += variant->memory_bytes();
    entry->descriptors_ += variant->descriptors_;
  }
  entry->kind_ = parts.kind;
  entry->negative_status_ = parts.negative_status;
  entry->mount_id_ = parts.mount_id;
  entry->stats_ = parts.stats;
  entry->hash_ = HashKey(parts.mount_id, parts.path);
  entry->identity_ = parts.identity;
  entry->racy_ = parts.racy;
  entry->ranges_ = parts.ranges;
  entry->in_memory_ = parts.in_memory;
  entry->last_modified_s_ = parts.last_modified_s;
  entry->date_offset_304_ = parts.date_offset_304;
  entry->date_offset_206_ = parts.date_offset_206;
  entry->date_offset_200_ = parts.date_offset_200;
  entry->type_offset_206_ = parts.type_offset_206;
  entry->fd_ = parts.fd;
  entry->validated_us_.store(parts.validated_us, std::memory_order_relaxed);

  Writer writer(static_cast<char*>(memory), sizeof(Entry));
  writer.Put(parts.path, &entry->path_offset_, &entry->path_bytes_);
  writer.Put(parts.etag, &entry->etag_offset_, &entry->etag_bytes_);
  writer.Put(parts.head_304, &entry->head_304_offset_, &entry->head_304_bytes_);
  writer.Put(kCrlf);
  writer.Put(parts.head_206, &entry->head_206_offset_, &entry->head_206_bytes_);
  writer.Put(kCrlf);
  writer.Put(parts.head_200, &entry->head_200_offset_, &entry->head_200_bytes_);
  writer.Put(kCrlf);
  if (parts.in_memory) writer.Put(parts.body);
  CATZILLA_CHECK(writer.offset() == bytes, "an entry's parts do not fill it");
  return base::Ref<Entry>::Adopt(entry);
}

Entry::~Entry() {
  if (fd_ >= 0) close(fd_);
}

void Entry::DestroySelf() {
  const size_t bytes = allocated_bytes_;
  this->~Entry();
  base::Arenas::Free(base::ArenaId::kFiles, this, bytes);
}

uint64_t Entry::HashKey(uint64_t mount_id, std::string_view path) {
  constexpr uint64_t kOdd1 = 0x9e3779b97f4a7c15, kOdd2 = 0xd1b54a32d192ed03;
  const char* bytes = path.data();
  size_t left = path.size();
  uint64_t hash = Mix(mount_id ^ kOdd1, path.size() ^ kOdd2);
  for (; left >= 8; bytes += 8, left -= 8) hash = Mix(hash ^ LoadWord(bytes), mount_id ^ kOdd2);
  char tail[8] = {};
  if (left > 0) std::memcpy(tail, bytes, left);
  hash = Mix(hash ^ LoadWord(tail), mount_id ^ kOdd1);
  return Mix(hash, kOdd2);
}

bool Entry::Intact(int64_t now_us) const {
  for (const base::Ref<Entry>& variant : variants_) {
    if (variant && !variant->Intact(now_us)) return false;
  }
  if (fd_ < 0) return true;
  if (lost()) return false;
  if (intact_us_.load(std::memory_order_relaxed) == now_us) return true;
  if (!Unchanged()) return false;
  intact_us_.store(now_us, std::memory_order_relaxed);
  return true;
}

uint64_t Entry::Cached(uint64_t offset, uint64_t bytes, int64_t now_us) const {
  if (now_us < cached_until_us_.load(std::memory_order_relaxed)) return bytes;
  const uint64_t cached = CachedBytes(fd_, offset, bytes);
  if (cached == size()) cached_until_us_.store(now_us + kCachedUs, std::memory_order_relaxed);
  return cached;
}

// What the kernel knows already: asked for the truth, the server of a network file system may take
// for ever, and this is a loop. The re-checks of the mount ask for it.
bool Entry::Unchanged() const {
  struct statx known;
  // Not ctime: unlinking the file or renaming over it moves it, and leaves these bytes alone.
  if (statx(fd_, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE | STATX_MTIME, &known) == 0) {
    return known.stx_size == identity_.size &&
           int64_t{known.stx_mtime.tv_sec} * 1'000'000'000 + known.stx_mtime.tv_nsec ==
               identity_.modified_ns;
  }
  struct stat status;
  if (fstat(fd_, &status) != 0) return false;
  const FileIdentity now = FileIdentity::Of(status);
  return now.size == identity_.size && now.modified_ns == identity_.modified_ns;
}

}  // namespace catzilla::files
