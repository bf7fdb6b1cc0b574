// A bounded table of immutable, counted entries, shared by all loops: the file cache and the edge
// cache stand on it. Lookups take no lock; a full table evicts by S3-FIFO.
//
// Use:     struct Entry : base::Owner, base::CacheNode { std::string key; ... };
//          base::CacheTable<Entry> table(domain, {.bytes_max = 64 << 20});
//          table.Insert(entry, hash, charge, [&](const Entry& old) { return old.key == key; });
//          Entry* found = table.Find(hash, [&](const Entry& e) { return e.key == key; });
// Threads: any. Find() must run inside an epoch of the domain (a loop's turn, or a Guard); what it
//          returns lives until the epoch ends, longer with a Ref taken before that. A shard's lock
//          is held to link, unlink and evict; Listener calls come under it.
// Owns:    one reference of each entry, dropped when no reader can see it any more.
// Limits:  bytes_max and entries_max over all shards, exactly: Insert() returns with the sums back
//          under them. An entry larger than entry_bytes_max is declined. The number of buckets is
//          fixed at construction (one per KiB of bytes_max, not resident until used); so are the
//          ghosts (4 bytes per KiB).
// Fails:   never. Insert() says why it declined.
//
// S3-FIFO (SOSP'23): new entries go to a small queue (10 % of the bytes); those used again move to
// main, the others leave and are remembered as ghosts, by hash only; a ghost that comes back goes
// to main at once. So a scan never flushes what is used. A hit stores at most one relaxed bump of a
// counter below 3. While evictions are needed, an entry larger than a twentieth of the table must
// be a ghost (asked for before) to get in: one large answer does not push out hundreds of small
// ones.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "sidecar/base/cache_ghosts.h"
#include "sidecar/base/check.h"
#include "sidecar/base/epoch.h"
#include "sidecar/base/mutex.h"
#include "sidecar/base/ref.h"

namespace catzilla::base {

enum class CacheRemoval : uint8_t { kEvicted, kReplaced, kRemoved };

enum class CacheAdmission : uint8_t {
  kAdmitted,
  kTooLarge,  // For this table at any time.
  kUnproven,  // Large, the table is full, and nobody had asked for it before; now it is remembered.
  kSaturated,  // Too much garbage waits for a reader (EpochDomain::saturated).
};

// What the table needs in every entry. The first half is what a lookup reads; keep it near the key.
class CacheNode {
 public:
  uint64_t cache_hash() const { return hash_; }
  size_t cache_charge() const { return charge_; }

 protected:
  CacheNode() = default;
  ~CacheNode() = default;

 private:
  template <typename Entry>
  friend class CacheTable;
  enum class Queue : uint8_t { kNone, kSmall, kMain, kGone };

  std::atomic<CacheNode*> next_{nullptr};  // Stays when unlinked, for readers who stand here.
  uint64_t hash_ = 0;
  std::atomic<uint8_t> uses_{0};  // 0..3; racing bumps may lose one, which is harmless.
  Queue queue_ = Queue::kNone;    // Guarded by the shard, as what follows.
  size_t charge_ = 0;
  CacheNode* older_ = nullptr;
  CacheNode* newer_ = nullptr;
};

struct CacheTableOptions {
  size_t bytes_max = 64u << 20;
  size_t entry_bytes_max = 0;  // 0: a quarter of bytes_max.
  size_t entries_max = 0;      // 0: any number.
  unsigned shards = 0;         // A power of two; 0: one per 16 MiB, at most 16.
};

struct CacheTableStats {
  size_t bytes = 0;
  size_t entries = 0;
  uint64_t admitted = 0;
  uint64_t evicted = 0;
  uint64_t declined = 0;
};

template <typename Entry>
class CacheTable {
 public:
  // Told of every change, under the shard's lock: it must be quick and must not call the table.
  class Listener {
   public:
    virtual void OnLinked(Entry&) {}
    virtual void OnUnlinked(Entry& entry, CacheRemoval reason) = 0;

   protected:
    ~Listener() = default;
  };

  CacheTable(EpochDomain& domain, CacheTableOptions options, Listener* listener = nullptr)
      : domain_(domain),
        listener_(listener),
        entries_max_(options.entries_max),
        bytes_max_(options.bytes_max) {
    entry_bytes_max_ =
        options.entry_bytes_max != 0 ? options.entry_bytes_max : options.bytes_max / 4;
    size_t shards = options.shards;
    if (shards == 0) shards = std::clamp<size_t>(options.bytes_max >> 24, 1, 16);
    // With a share of few entries a shard would evict what has just come.
    while (options.entries_max != 0 && shards > 1 && options.entries_max / shards < 64) shards /= 2;
    shards = std::bit_ceil(shards);
    shard_mask_ = shards - 1;
    const size_t buckets = std::clamp<size_t>(options.bytes_max / 1024 / shards, 64, 1u << 26);
    shards_ = std::make_unique<Shard[]>(shards);
    for (size_t i = 0; i < shards; ++i) shards_[i].Init(std::bit_ceil(buckets));
  }
  ~CacheTable() {
    Clear();
    domain_.Reclaim();
  }
  CacheTable(const CacheTable&) = delete;
  CacheTable& operator=(const CacheTable&) = delete;

  // The newest entry under `hash` for which matches(const Entry&) is true, or null; counts as a
  // use. REQUIRES: the caller is inside an epoch.
  template <typename Matches>
  [[nodiscard]] Entry* Find(uint64_t hash, Matches&& matches) const {
    Entry* entry = Peek(hash, matches);
    if (entry == nullptr) return nullptr;
    CacheNode* node = entry;
    const uint8_t uses = node->uses_.load(std::memory_order_relaxed);
    if (uses < kUsesMax) node->uses_.store(uses + 1, std::memory_order_relaxed);
    return entry;
  }

  // Find() that does not count as a use: for control and statistics.
  template <typename Matches>
  [[nodiscard]] Entry* Peek(uint64_t hash, Matches&& matches) const {
    const Shard& shard = ShardOf(hash);
    CacheNode* node = shard.buckets[Bucket(shard, hash)].load(std::memory_order_acquire);
    for (; node != nullptr; node = node->next_.load(std::memory_order_acquire)) {
      if (node->hash_ != hash) continue;
      Entry* entry = static_cast<Entry*>(node);
      if (matches(static_cast<const Entry&>(*entry))) return entry;
    }
    return nullptr;
  }

  // Publishes `entry`: later lookups see all of it. Entries of the same hash for which
  // replaces(const Entry&) is true are unlinked in the same step; a lookup meanwhile finds one or
  // the other. `charge` is what the entry costs in all, its own struct included. REQUIRES: never
  // inserted before.
  template <typename Replaces>
  CacheAdmission Insert(Ref<Entry> entry, uint64_t hash, size_t charge, Replaces&& replaces);

  // Unlinks the entries under `hash` that match; returns how many.
  template <typename Matches>
  size_t Remove(uint64_t hash, Matches&& matches);

  // Unlinks this very entry; false when it is no longer here. REQUIRES: it was inserted here.
  bool RemoveEntry(Entry& entry);

  // Unlinks every entry that matches, a few buckets per lock, so that no loop waits long. Entries
  // inserted meanwhile may be missed. For control threads: it walks the whole table.
  template <typename Matches>
  size_t RemoveIf(Matches&& matches);

  size_t Clear() {
    return RemoveIf([](const Entry&) { return true; });
  }

  // Calls visit(const Entry&) for each entry, under the shard's lock, as RemoveIf() walks.
  template <typename Visit>
  void ForEach(Visit&& visit) const;

  // Changes the limit and evicts down to it.
  void SetBytesMax(size_t bytes_max, size_t entry_bytes_max) {
    bytes_max_.store(bytes_max, std::memory_order_relaxed);
    entry_bytes_max_.store(entry_bytes_max != 0 ? entry_bytes_max : bytes_max / 4,
                           std::memory_order_relaxed);
    EvictDown(0);
  }
  size_t bytes_max() const { return bytes_max_.load(std::memory_order_relaxed); }
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  size_t entries() const { return entries_.load(std::memory_order_relaxed); }
  CacheTableStats stats() const;

 private:
  static constexpr uint8_t kUsesMax = 3;
  static constexpr size_t kSmallPercent = 10;
  static constexpr size_t kProvenFraction = 20;  // Larger than 1/20 of the table: see above.
  static constexpr size_t kBucketsPerLock = 256;

  // A FIFO of entries, oldest first.
  struct Fifo {
    CacheNode* oldest = nullptr;
    CacheNode* newest = nullptr;
    size_t bytes = 0;
    size_t entries = 0;

    void Push(CacheNode& node) {
      node.older_ = newest;
      node.newer_ = nullptr;
      (newest != nullptr ? newest->newer_ : oldest) = &node;
      newest = &node;
      bytes += node.charge_;
      ++entries;
    }
    void Remove(CacheNode& node) {
      (node.older_ != nullptr ? node.older_->newer_ : oldest) = node.newer_;
      (node.newer_ != nullptr ? node.newer_->older_ : newest) = node.older_;
      bytes -= node.charge_;
      --entries;
    }
  };

  struct FreeBuckets {
    void operator()(std::atomic<CacheNode*>* memory) const { std::free(memory); }
  };

  struct alignas(64) Shard {
    // Constant after construction. calloc, because its pages stay unmapped until an entry needs
    // them.
    std::unique_ptr<std::atomic<CacheNode*>[], FreeBuckets> buckets;
    size_t bucket_mask = 0;

    alignas(64) mutable Mutex mutex;
    Fifo small CATZILLA_GUARDED_BY(mutex);
    Fifo main CATZILLA_GUARDED_BY(mutex);
    CacheGhosts ghosts CATZILLA_GUARDED_BY(mutex);
    uint64_t admitted CATZILLA_GUARDED_BY(mutex) = 0;
    uint64_t evicted CATZILLA_GUARDED_BY(mutex) = 0;
    uint64_t declined CATZILLA_GUARDED_BY(mutex) = 0;

    void Init(size_t count) {
      static_assert(sizeof(std::atomic<CacheNode*>) == sizeof(CacheNode*));
      void* memory = std::calloc(count, sizeof(std::atomic<CacheNode*>));
      CATZILLA_CHECK(memory != nullptr, "no memory for the buckets of a cache");
      buckets.reset(static_cast<std::atomic<CacheNode*>*>(memory));
      bucket_mask = count - 1;
      MutexLock lock(mutex);
      ghosts.Resize(count / 2);
    }
    size_t bytes() const CATZILLA_REQUIRES(mutex) { return small.bytes + main.bytes; }
    size_t entries() const CATZILLA_REQUIRES(mutex) { return small.entries + main.entries; }
  };

  Shard& ShardOf(uint64_t hash) const { return shards_[hash >> 60 & shard_mask_]; }
  static size_t Bucket(const Shard& shard, uint64_t hash) { return hash & shard.bucket_mask; }
  bool TooManyBytes() const { return bytes() > bytes_max(); }
  bool TooManyEntries() const { return entries_max_ != 0 && entries() > entries_max_; }
  // While the sum is above a limit, some shard is above its share.
  bool IsAboveShare(const Shard& shard) const CATZILLA_REQUIRES(shard.mutex) {
    return (TooManyBytes() && shard.bytes() > bytes_max() / (shard_mask_ + 1)) ||
           (TooManyEntries() && shard.entries() > entries_max_ / (shard_mask_ + 1));
  }

  void Link(Shard& shard, CacheNode& node, bool proven) CATZILLA_REQUIRES(shard.mutex);
  void Unlink(Shard& shard, CacheNode& node, CacheRemoval reason) CATZILLA_REQUIRES(shard.mutex);
  template <typename Matches>
  size_t UnlinkMatching(Shard& shard, size_t bucket, const CacheNode* but, CacheRemoval reason,
                        Matches&& matches) CATZILLA_REQUIRES(shard.mutex);
  void EvictOne(Shard& shard) CATZILLA_REQUIRES(shard.mutex);
  void EvictDown(size_t first_shard);

  EpochDomain& domain_;
  Listener* const listener_;
  const size_t entries_max_;
  std::atomic<size_t> bytes_max_;
  std::atomic<size_t> entry_bytes_max_;
  std::atomic<size_t> bytes_{0};
  std::atomic<size_t> entries_{0};
  size_t shard_mask_ = 0;
  std::unique_ptr<Shard[]> shards_;
};

// Changing the table...

template <typename Entry>
template <typename Replaces>
CacheAdmission CacheTable<Entry>::Insert(Ref<Entry> entry, uint64_t hash, size_t charge,
                                         Replaces&& replaces) {
  CacheNode& node = *entry;
  CATZILLA_CHECK(node.queue_ == CacheNode::Queue::kNone, "an entry is inserted twice");
  const size_t bytes_max = this->bytes_max();
  const bool too_large = charge > entry_bytes_max_.load(std::memory_order_relaxed);
  Shard& shard = ShardOf(hash);
  {
    MutexLock lock(shard.mutex);
    const bool proven = shard.ghosts.Take(hash, std::max<size_t>(shard.main.entries, 64));
    const bool full = bytes() + charge > bytes_max;
    CacheAdmission verdict = CacheAdmission::kAdmitted;
    if (too_large) {
      verdict = CacheAdmission::kTooLarge;
    } else if (domain_.saturated()) {
      verdict = CacheAdmission::kSaturated;
    } else if (full && !proven && charge > bytes_max / kProvenFraction) {
      verdict = CacheAdmission::kUnproven;
      shard.ghosts.Remember(hash);
    }
    if (verdict != CacheAdmission::kAdmitted) {
      ++shard.declined;
      // What it would have replaced is outdated all the same.
      UnlinkMatching(shard, Bucket(shard, hash), nullptr, CacheRemoval::kReplaced,
                     [&](const Entry& old) { return old.cache_hash() == hash && replaces(old); });
      return verdict;
    }
    node.hash_ = hash;
    node.charge_ = charge;
    Link(shard, node, proven);
    UnlinkMatching(shard, Bucket(shard, hash), &node, CacheRemoval::kReplaced,
                   [&](const Entry& old) { return old.cache_hash() == hash && replaces(old); });
    (void)entry.Release();  // The table's reference now.
  }
  EvictDown(static_cast<size_t>(&shard - shards_.get()));
  domain_.Reclaim();  // Outside the lock: deleters may be slow.
  return CacheAdmission::kAdmitted;
}

template <typename Entry>
template <typename Matches>
size_t CacheTable<Entry>::Remove(uint64_t hash, Matches&& matches) {
  Shard& shard = ShardOf(hash);
  size_t removed;
  {
    MutexLock lock(shard.mutex);
    removed = UnlinkMatching(
        shard, Bucket(shard, hash), nullptr, CacheRemoval::kRemoved,
        [&](const Entry& entry) { return entry.cache_hash() == hash && matches(entry); });
  }
  if (removed != 0) domain_.Reclaim();
  return removed;
}

template <typename Entry>
bool CacheTable<Entry>::RemoveEntry(Entry& entry) {
  CacheNode& node = entry;
  Shard& shard = ShardOf(node.hash_);
  {
    MutexLock lock(shard.mutex);
    const bool here =
        node.queue_ == CacheNode::Queue::kSmall || node.queue_ == CacheNode::Queue::kMain;
    if (!here) return false;
    Unlink(shard, node, CacheRemoval::kRemoved);
  }
  domain_.Reclaim();
  return true;
}

template <typename Entry>
template <typename Matches>
size_t CacheTable<Entry>::RemoveIf(Matches&& matches) {
  size_t removed = 0;
  for (size_t s = 0; s <= shard_mask_; ++s) {
    Shard& shard = shards_[s];
    for (size_t bucket = 0; bucket <= shard.bucket_mask;) {
      MutexLock lock(shard.mutex);
      if (shard.entries() == 0) break;
      const size_t end = std::min(bucket + kBucketsPerLock, shard.bucket_mask + 1);
      for (; bucket < end; ++bucket) {
        removed += UnlinkMatching(shard, bucket, nullptr, CacheRemoval::kRemoved, matches);
      }
    }
  }
  domain_.Reclaim();
  return removed;
}

template <typename Entry>
template <typename Visit>
void CacheTable<Entry>::ForEach(Visit&& visit) const {
  for (size_t s = 0; s <= shard_mask_; ++s) {
    Shard& shard = shards_[s];
    for (size_t bucket = 0; bucket <= shard.bucket_mask;) {
      MutexLock lock(shard.mutex);
      if (shard.entries() == 0) break;
      const size_t end = std::min(bucket + kBucketsPerLock, shard.bucket_mask + 1);
      for (; bucket < end; ++bucket) {
        CacheNode* node = shard.buckets[bucket].load(std::memory_order_relaxed);
        for (; node != nullptr; node = node->next_.load(std::memory_order_relaxed)) {
          visit(static_cast<const Entry&>(*static_cast<Entry*>(node)));
        }
      }
    }
  }
}

template <typename Entry>
CacheTableStats CacheTable<Entry>::stats() const {
  CacheTableStats stats;
  stats.bytes = bytes();
  for (size_t s = 0; s <= shard_mask_; ++s) {
    const Shard& shard = shards_[s];
    MutexLock lock(shard.mutex);
    stats.entries += shard.entries();
    stats.admitted += shard.admitted;
    stats.evicted += shard.evicted;
    stats.declined += shard.declined;
  }
  return stats;
}

// Links and queues...

template <typename Entry>
void CacheTable<Entry>::Link(Shard& shard, CacheNode& node, bool proven) {
  std::atomic<CacheNode*>& head = shard.buckets[Bucket(shard, node.hash_)];
  node.next_.store(head.load(std::memory_order_relaxed), std::memory_order_relaxed);
  node.queue_ = proven ? CacheNode::Queue::kMain : CacheNode::Queue::kSmall;
  (proven ? shard.main : shard.small).Push(node);
  bytes_.fetch_add(node.charge_, std::memory_order_relaxed);
  entries_.fetch_add(1, std::memory_order_relaxed);
  ++shard.admitted;
  if (listener_ != nullptr) listener_->OnLinked(static_cast<Entry&>(node));
  head.store(&node, std::memory_order_release);
}

template <typename Entry>
void CacheTable<Entry>::Unlink(Shard& shard, CacheNode& node, CacheRemoval reason) {
  std::atomic<CacheNode*>* link = &shard.buckets[Bucket(shard, node.hash_)];
  for (;;) {
    CacheNode* at = link->load(std::memory_order_relaxed);
    CATZILLA_CHECK(at != nullptr, "a linked entry is not in its bucket");
    if (at == &node) break;
    link = &at->next_;
  }
  link->store(node.next_.load(std::memory_order_relaxed), std::memory_order_release);
  (node.queue_ == CacheNode::Queue::kMain ? shard.main : shard.small).Remove(node);
  node.queue_ = CacheNode::Queue::kGone;
  bytes_.fetch_sub(node.charge_, std::memory_order_relaxed);
  entries_.fetch_sub(1, std::memory_order_relaxed);
  Entry& entry = static_cast<Entry&>(node);
  if (listener_ != nullptr) listener_->OnUnlinked(entry, reason);
  domain_.Retire(&entry, [](void* object) { static_cast<Entry*>(object)->Unref(); }, node.charge_);
}

template <typename Entry>
template <typename Matches>
size_t CacheTable<Entry>::UnlinkMatching(Shard& shard, size_t bucket, const CacheNode* but,
                                         CacheRemoval reason, Matches&& matches) {
  size_t count = 0;
  CacheNode* node = shard.buckets[bucket].load(std::memory_order_relaxed);
  while (node != nullptr) {
    CacheNode* next = node->next_.load(std::memory_order_relaxed);
    if (node != but && matches(static_cast<const Entry&>(*static_cast<Entry*>(node)))) {
      Unlink(shard, *node, reason);
      ++count;
    }
    node = next;
  }
  return count;
}

// Evicts one entry of the shard, after moving on those that were used meanwhile.
template <typename Entry>
void CacheTable<Entry>::EvictOne(Shard& shard) {
  for (;;) {
    const bool from_small =
        shard.main.oldest == nullptr ||
        (shard.small.oldest != nullptr && shard.small.bytes * 100 >= shard.bytes() * kSmallPercent);
    Fifo& fifo = from_small ? shard.small : shard.main;
    CacheNode* node = fifo.oldest;
    if (node == nullptr) return;
    const uint8_t uses = node->uses_.load(std::memory_order_relaxed);
    if (uses == 0) {
      const uint64_t hash = node->hash_;
      ++shard.evicted;
      Unlink(shard, *node, CacheRemoval::kEvicted);
      if (from_small) shard.ghosts.Remember(hash);
      return;
    }
    // Each turn here lowers a counter that is at most 3, so this ends.
    fifo.Remove(*node);
    node->queue_ = CacheNode::Queue::kMain;
    node->uses_.store(from_small ? 0 : uses - 1, std::memory_order_relaxed);
    shard.main.Push(*node);
  }
}

// It begins with the shard that grew.
template <typename Entry>
void CacheTable<Entry>::EvictDown(size_t first_shard) {
  for (size_t i = 0; TooManyBytes() || TooManyEntries(); ++i) {
    Shard& shard = shards_[(first_shard + i) & shard_mask_];
    MutexLock lock(shard.mutex);
    while (IsAboveShare(shard)) EvictOne(shard);
  }
}

}  // namespace catzilla::base
