#include "sidecar/files/store.h"

#include <algorithm>

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

// What a descriptor or a negative entry is charged in its table: the tables have a bucket for each.
constexpr size_t kUnit = 1024;

size_t BytesHeld(const Entry& entry) {
  return entry.memory_bytes() + static_cast<size_t>(entry.descriptors()) * kDescriptorBytes;
}

bool IsNegative(const Entry& entry) { return entry.kind() == EntryKind::kNegative; }

size_t Charge(const Entry& entry) {
  if (IsNegative(entry)) return kUnit;
  if (entry.descriptors() > 0) return static_cast<size_t>(entry.descriptors()) * kUnit;
  return entry.memory_bytes();
}

}  // namespace

FileStore::FileStore(base::EpochDomain& domain, const FileStoreLimits& limits, uint64_t seed)
    : domain_(domain),
      limits_(limits),
      seed_(seed),
      bodies_(domain, {.bytes_max = limits.bytes_max, .entries_max = limits.entries_max}, this),
      open_(domain,
            {.bytes_max = limits.descriptors_max * kUnit,
             .entry_bytes_max = limits.descriptors_max * kUnit,
             .shards = 1},
            this),
      negatives_(domain, {.bytes_max = limits.negatives_max * kUnit, .shards = 1}, this) {}

FileStore::Table& FileStore::TableOf(const Entry& entry) {
  if (IsNegative(entry)) return negatives_;
  return entry.descriptors() > 0 ? open_ : bodies_;
}

Entry* FileStore::Find(uint64_t mount_id, std::string_view key) const {
  const uint64_t hash = Entry::HashKey(mount_id, key);
  for (const Table* table : {&bodies_, &open_, &negatives_}) {
    if (Entry* entry = table->Find(hash, SameKey{mount_id, key})) return entry;
  }
  return nullptr;
}

base::Ref<Entry> FileStore::FindRef(uint64_t mount_id, std::string_view key) const {
  const base::EpochDomain::Guard guard(domain_);
  const uint64_t hash = Entry::HashKey(mount_id, key);
  for (const Table* table : {&bodies_, &open_, &negatives_}) {
    // The table's own reference is dropped only after this epoch.
    if (Entry* entry = table->Peek(hash, SameKey{mount_id, key})) return base::Ref<Entry>(entry);
  }
  return nullptr;
}

bool FileStore::Insert(const base::Ref<Entry>& entry) {
  const SameKey same{entry->mount_id(), entry->path()};
  Table& own = TableOf(*entry);
  const base::CacheAdmission admission = own.Insert(entry, entry->hash(), Charge(*entry), same);
  // What it was before may have been of another kind: small, or not there.
  for (Table* table : {&bodies_, &open_, &negatives_}) {
    if (table != &own) table->Remove(entry->hash(), same);
  }
  return admission == base::CacheAdmission::kAdmitted;
}

std::shared_ptr<FileStore> FileStore::MakeAnother(size_t bytes_max, size_t entries_max) const {
  constexpr size_t kBytesPerDescriptor = 64 * 1024;
  FileStoreLimits limits = limits_;
  limits.bytes_max = bytes_max;
  limits.entries_max = entries_max;
  size_t most = std::max<size_t>(bytes_max / kBytesPerDescriptor, 32);
  most = std::min<size_t>(most, limits.descriptors_max);
  if (entries_max != 0) most = std::min(most, entries_max);
  limits.descriptors_max = static_cast<uint32_t>(most);
  return std::make_shared<FileStore>(domain_, limits, seed_);
}

size_t FileStore::DropMount(uint64_t mount_id) {
  size_t removed = 0;
  for (Table* table : {&bodies_, &open_, &negatives_}) {
    removed +=
        table->RemoveIf([mount_id](const Entry& entry) { return entry.mount_id() == mount_id; });
  }
  domain_.Reclaim();
  return removed;
}

base::CacheTableStats FileStore::stats() const {
  base::CacheTableStats sum;
  sum.bytes = bytes_.load(std::memory_order_relaxed);
  for (const Table* table : {&bodies_, &open_, &negatives_}) {
    const base::CacheTableStats one = table->stats();
    sum.entries += one.entries;
    sum.admitted += one.admitted;
    sum.evicted += one.evicted;
    sum.declined += one.declined;
  }
  return sum;
}

uint64_t FileStore::NewMountId() {
  const uint64_t number = mounts_made_.fetch_add(1, std::memory_order_relaxed) + 1;
  // An odd factor permutes the numbers, and the seed hides them.
  return seed_ ^ number * 0x9e3779b97f4a7c15;
}

void FileStore::OnLinked(Entry& entry) {
  entry.stats().AddShared(Counter::kEntries);
  entry.stats().AddShared(Counter::kBytesHeld, static_cast<int64_t>(BytesHeld(entry)));
  bytes_.fetch_add(BytesHeld(entry), std::memory_order_relaxed);
  descriptors_.fetch_add(static_cast<uint32_t>(entry.descriptors()), std::memory_order_relaxed);
}

void FileStore::OnUnlinked(Entry& entry, base::CacheRemoval reason) {
  entry.stats().AddShared(Counter::kEntries, -1);
  entry.stats().AddShared(Counter::kBytesHeld, -static_cast<int64_t>(BytesHeld(entry)));
  if (reason == base::CacheRemoval::kEvicted) entry.stats().AddShared(Counter::kEvictions);
  bytes_.fetch_sub(BytesHeld(entry), std::memory_order_relaxed);
  descriptors_.fetch_sub(static_cast<uint32_t>(entry.descriptors()), std::memory_order_relaxed);
}

}  // namespace catzilla::files
