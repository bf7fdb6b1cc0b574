#include "sidecar/files/store.h"

namespace catzilla::files {

namespace {

// What the kernel keeps for an open file, roughly; the descriptor itself has its own limit.
constexpr size_t kDescriptorBytes = 1024;

struct SameKey {
  uint64_t mount_id;
  std::string_view key;
  bool operator()(const Entry& entry) const {
    return entry.mount_id() == mount_id && entry.path() == key;
  }
};

size_t Charge(const Entry& entry) {
  return entry.memory_bytes() + entry.descriptors() * kDescriptorBytes;
}

}  // namespace

FileStore::FileStore(base::EpochDomain& domain, const FileStoreLimits& limits, uint64_t seed)
    : domain_(domain),
      limits_(limits),
      seed_(seed),
      table_(domain, {.bytes_max = limits.bytes_max}, this) {}

Entry* FileStore::Find(uint64_t mount_id, std::string_view key) const {
  return table_.Find(Entry::HashKey(mount_id, key), SameKey{mount_id, key});
}

base::Ref<Entry> FileStore::FindRef(uint64_t mount_id, std::string_view key) const {
  const base::EpochDomain::Guard guard(domain_);
  Entry* entry = table_.Peek(Entry::HashKey(mount_id, key), SameKey{mount_id, key});
  // The table's own reference is dropped only after this epoch.
  return base::Ref<Entry>(entry);
}

bool FileStore::Insert(const base::Ref<Entry>& entry) {
  if (!HasRoom(*entry)) {
    Remove(*entry);  // What it replaces; that may be the room it needs.
    if (!HasRoom(*entry)) return false;
  }
  const base::CacheAdmission admission = table_.Insert(entry, entry->hash(), Charge(*entry),
                                                       SameKey{entry->mount_id(), entry->path()});
  return admission == base::CacheAdmission::kAdmitted;
}

bool FileStore::HasRoom(const Entry& entry) const {
  if (entry.kind() == EntryKind::kNegative) return negatives() < limits_.negatives_max;
  return entry.descriptors() == 0 || descriptors() + entry.descriptors() <= limits_.descriptors_max;
}

void FileStore::Remove(const Entry& entry) {
  table_.Remove(entry.hash(), SameKey{entry.mount_id(), entry.path()});
}

std::shared_ptr<FileStore> FileStore::MakeAnother(size_t bytes_max) const {
  FileStoreLimits limits = limits_;
  limits.bytes_max = bytes_max;
  return std::make_shared<FileStore>(domain_, limits, seed_);
}

size_t FileStore::DropMount(uint64_t mount_id) {
  const size_t removed =
      table_.RemoveIf([mount_id](const Entry& entry) { return entry.mount_id() == mount_id; });
  domain_.Reclaim();
  return removed;
}

uint64_t FileStore::NewMountId() {
  const uint64_t number = mounts_made_.fetch_add(1, std::memory_order_relaxed) + 1;
  // An odd factor permutes the numbers, and the seed hides them.
  return seed_ ^ number * 0x9e3779b97f4a7c15;
}

void FileStore::OnLinked(Entry& entry) {
  entry.stats().AddShared(Counter::kEntries);
  entry.stats().AddShared(Counter::kBytesHeld, static_cast<int64_t>(Charge(entry)));
  if (entry.kind() == EntryKind::kNegative) negatives_.fetch_add(1, std::memory_order_relaxed);
  descriptors_.fetch_add(entry.descriptors(), std::memory_order_relaxed);
}

void FileStore::OnUnlinked(Entry& entry, base::CacheRemoval reason) {
  entry.stats().AddShared(Counter::kEntries, -1);
  entry.stats().AddShared(Counter::kBytesHeld, -static_cast<int64_t>(Charge(entry)));
  if (reason == base::CacheRemoval::kEvicted) entry.stats().AddShared(Counter::kEvictions);
  if (entry.kind() == EntryKind::kNegative) negatives_.fetch_sub(1, std::memory_order_relaxed);
  descriptors_.fetch_sub(entry.descriptors(), std::memory_order_relaxed);
}

}  // namespace catzilla::files
