// The edge cache's memory: finished answers found by key, and the fills that bring new ones.
//
// Threads: any loop may call any method. Find() takes no lock and needs the caller's epoch; Join()
//          and what ends a fill hold one shard of the fills' table for a moment. Purge() and
//          Describe() walk and are for control threads, but for purging one URL.
// Owns:    the objects, and the fills while they are in flight.
// Limits:  config::Cache: memory_bytes_max over all objects and object_bytes_max for one; half as
//          much again for bodies on their way (beyond it a fill is not kept); kFillsMax fills, then
//          misses go alone; kVariantsMax variants of one key, then the oldest goes;
//          tags_per_object_max.
// Fails:   never: a full store evicts, an object it will not take is declined and counted.
// Purge:   after Purge() returned, no Find() gives an object that was stored before it, no Join()
//          follows a fill begun before it, and such a fill is not stored. Its present followers get
//          their answer.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sidecar/base/cache_table.h"
#include "sidecar/base/epoch.h"
#include "sidecar/base/mutex.h"
#include "sidecar/cache/fill.h"
#include "sidecar/cache/key.h"
#include "sidecar/cache/object.h"
#include "sidecar/cache/stats.h"
#include "sidecar/cache/tag_index.h"
#include "sidecar/config/snapshot.h"

namespace catzilla::cache {

enum class PurgeKind : uint8_t {
  kUrl,     // "http://host/path?query": that key; "/path?query": on every scheme and host.
  kPrefix,  // "http://host/a/" or "/a/": every key that begins so, character by character.
  kTag,     // Exactly that tag.
  kHost,    // "example.org" on every port, "example.org:8080" on that one.
  kAll,
};
inline constexpr size_t kPurgeKinds = 5;

struct Purged {
  uint64_t objects = 0;  // Every variant counts.
  uint64_t fills = 0;    // In flight: answered, not kept.
  uint64_t bytes = 0;    // Memory of the objects.
};

enum class Role : uint8_t {
  kLead,    // Ask the app, and write to `producer`.
  kFollow,  // Somebody asks already: wait for `fill`, at most until `deadline_us`.
  kAlone,   // Too many fills: ask the app, keep nothing.
};
struct Joined {
  Role role = Role::kAlone;
  base::Ref<Fill> fill;  // For kLead and kFollow; the follower given to Join() is in it.
  Producer producer;     // For kLead.
  int64_t deadline_us = 0;
  bool hit_for_miss =
      false;  // Leads although others ask too: the last answer was not to be shared.
};

// What catzillactl shows of a key.
struct Description {
  std::string key;
  std::vector<std::pair<std::string, std::string>> vary;  // Names and stored values.
  std::string etag;
  std::vector<std::string> tags;
  int status = 0;
  uint64_t body_bytes = 0;
  uint64_t charge_bytes = 0;
  int64_t age_s = 0;
  int64_t ttl_s = 0;
  int64_t stored_for_us = 0;  // Since it was stored, or validated last.
  uint64_t hits = 0;
  bool selected = false;   // The variant that the request which was asked about would get.
  bool in_flight = false;  // A fill; of it only the key is known.
};

class ObjectStore final : private base::CacheTable<Object>::Listener {
 public:
  static constexpr size_t kFillsMax = 4096;
  static constexpr size_t kVariantsMax = 32;
  static constexpr size_t kDescriptionsMax = 1024;
  static constexpr int64_t kHitForMissUs = 5'000'000;

  // All must outlive the store. REQUIRES at its end: no fill is in flight, no loop looks up.
  ObjectStore(base::EpochDomain& domain, Waker& waker, const HashSeed& seed,
              const config::Cache& policy);
  ~ObjectStore();

  // New limits of the same cache; what no longer fits is evicted at once.
  void Reconfigure(const config::Cache& policy);
  const HashSeed& seed() const { return seed_; }

  // The stored answer that `request` selects, or null; says nothing about age (Judge() does). Lives
  // until the epoch ends; take a Ref to keep it. `*variants_exist` when null: the key has others.
  // REQUIRES: inside an epoch.
  const Object* Find(const CacheKey& key, const http::RequestHead& request,
                     bool* variants_exist) const;

  // After a kMiss or kRevalidate: leads a new fill, or follows the one in flight. `stale` is what
  // Judge() wanted validated, or null. `follower` is put into the fill.
  Joined Join(const CacheKey& key, const http::RequestHead& request, const Object* stale,
              RecordPolicy policy, base::Ticket ticket, Follower& follower, int64_t now_us);

  // (purge.cc)
  Purged Purge(PurgeKind kind, std::string_view value, const KeyPolicy& key_policy);
  // What Purge() would take; walks everything. A fill whose tags are not known yet counts as not
  // covered.
  Purged Preview(PurgeKind kind, std::string_view value, const KeyPolicy& key_policy) const;

  // RFC 9111 4.4: a non-error answer to an unsafe method drops what its target, Location and
  // Content-Location name, on the same scheme and host. Safe methods and errors do nothing.
  uint64_t Invalidate(const RequestView& request, const ResponseView& response,
                      const KeyPolicy& key_policy);

  // What is kept or on its way under `url`, of every host if it names none; kDescriptionsMax at
  // most. `request`: who asks, or null. (describe.cc)
  std::vector<Description> Describe(std::string_view url, const KeyPolicy& key_policy,
                                    const http::RequestHead* request, int64_t now_us) const;
  // What Find() would give, as a copy, from any thread, not counted as a use.
  struct Known {
    std::optional<Freshness> freshness;  // None: nothing that this request selects.
    bool variants_exist = false;
  };
  Known Ask(const CacheKey& key, const http::RequestHead& request) const;

  // The next requests for this key do not wait for one another.
  void MarkHitForMiss(uint64_t hash, int64_t until_us);

  // Requests by result, counted by the loops (one block each, no sharing); see stats.h.
  void Count(unsigned loop, CacheResult result) { counters_.Count(loop, result); }
  CacheStats stats() const;

 private:
  friend class Fill;
  friend class Producer;

  struct FillShard {
    mutable base::Mutex mutex;
    std::unordered_multimap<uint64_t, base::Ref<Fill>> fills CATZILLA_GUARDED_BY(mutex);
  };
  struct Marker {
    std::atomic<uint64_t> hash{0};
    std::atomic<int64_t> until_us{0};
  };

  // From the table, under its shard's lock.
  void OnLinked(Object& object) override;
  void OnUnlinked(Object& object, base::CacheRemoval reason) override;

  FillShard& ShardOf(uint64_t hash) { return fill_shards_[hash >> 56 & (kFillShards - 1)]; }
  bool IsHitForMiss(uint64_t hash, int64_t now_us) const;
  void Unlist(Fill& fill, FillShard& shard) CATZILLA_REQUIRES(shard.mutex);

  // Ends of a fill, called by its producer...
  void Store(Fill& fill, base::Ref<Object> object);
  void Freshen(Fill& fill, const base::Ref<Object>& object);
  void Drop(Fill& fill);
  void StopSharing(Fill& fill);  // No newcomers: it has outgrown the cache.
  bool MayKeep(Fill& fill, const Object& object, FillShard& shard) CATZILLA_REQUIRES(shard.mutex);
  bool Insert(base::Ref<Object> object, const Object* spare);

  template <typename Matches>
  uint64_t MarkFills(Matches&& matches);
  uint64_t MarkTag(std::string_view tag);
  void AwaitEnds();
  Purged PurgeKey(const CacheKey& key);

  static constexpr size_t kFillShards = 16;
  static constexpr size_t kMarkers = 4096;

  base::EpochDomain& domain_;
  Waker& waker_;
  const HashSeed seed_;
  std::atomic<size_t> object_bytes_max_;
  std::atomic<size_t> fill_bytes_max_;
  std::atomic<int64_t> fill_timeout_us_;
  std::atomic<size_t> fill_bytes_{0};
  std::atomic<size_t> fill_count_{0};
  std::array<FillShard, kFillShards> fill_shards_;
  std::unique_ptr<Marker[]> markers_;
  TagIndex tags_;
  CacheCounters counters_;
  base::CacheTable<Object> table_;  // Last: its listener is all of the above.
};

}  // namespace catzilla::cache
