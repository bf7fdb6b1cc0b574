#include "sidecar/cache/store.h"

#include <algorithm>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/cache/url.h"
#include "sidecar/http/text.h"

namespace catzilla::cache {

namespace {

size_t FillBytesMax(const config::Cache& policy) {
  return std::max<size_t>(policy.memory_bytes_max / 2, policy.object_bytes_max);
}

size_t EntryBytesMax(const config::Cache& policy) {
  // The head and the struct come on top of what operators mean by an object's size.
  return static_cast<size_t>(policy.object_bytes_max) + 64 * 1024;
}

}  // namespace

ObjectStore::ObjectStore(base::EpochDomain& domain, Waker& waker, const HashSeed& seed,
                         const config::Cache& policy)
    : domain_(domain),
      waker_(waker),
      seed_(seed),
      object_bytes_max_(policy.object_bytes_max),
      fill_bytes_max_(FillBytesMax(policy)),
      fill_timeout_us_(policy.fill_timeout_us),
      markers_(std::make_unique<Marker[]>(kMarkers)),
      table_(domain,
             {.bytes_max = policy.memory_bytes_max, .entry_bytes_max = EntryBytesMax(policy)},
             this) {}

ObjectStore::~ObjectStore() {
  CATZILLA_CHECK(fill_count_.load() == 0, "a store dies before its fills");
  table_.Clear();
}

void ObjectStore::Reconfigure(const config::Cache& policy) {
  object_bytes_max_.store(policy.object_bytes_max, std::memory_order_relaxed);
  fill_bytes_max_.store(FillBytesMax(policy), std::memory_order_relaxed);
  fill_timeout_us_.store(policy.fill_timeout_us, std::memory_order_relaxed);
  table_.SetBytesMax(policy.memory_bytes_max, EntryBytesMax(policy));
}

const Object* ObjectStore::Find(const CacheKey& key, const http::RequestHead& request,
                                bool* variants_exist) const {
  bool others = false;
  const Object* found = table_.Find(key.hash, [&](const Object& object) {
    if (object.key() != key.text) return false;
    if (object.vary().empty() || MatchesVary(object.vary(), request)) return true;
    others = true;
    return false;
  });
  if (variants_exist != nullptr) *variants_exist = others;
  return found;
}

Joined ObjectStore::Join(const CacheKey& key, const http::RequestHead& request, const Object* stale,
                         RecordPolicy policy, base::Ticket ticket, Follower& follower,
                         int64_t now_us) {
  Joined joined;
  const int64_t timeout_us = fill_timeout_us_.load(std::memory_order_relaxed);
  joined.hit_for_miss = IsHitForMiss(key.hash, now_us);
  FillShard& shard = ShardOf(key.hash);
  base::MutexLock lock(shard.mutex);
  if (!joined.hit_for_miss) {
    const auto [begin, end] = shard.fills.equal_range(key.hash);
    for (auto at = begin; at != end; ++at) {
      Fill& fill = *at->second;
      if (!fill.shared_ || !(fill.key_ == key)) continue;
      if (fill.policy_.lineage != policy.lineage) continue;
      if (!fill.Admits(request, stale, now_us - timeout_us)) continue;
      fill.Follow(follower, ticket);
      joined.role = Role::kFollow;
      joined.fill = at->second;
      joined.deadline_us = fill.started_us() + timeout_us;
      return joined;
    }
  }
  if (fill_count_.load(std::memory_order_relaxed) >= kFillsMax) return joined;
  auto fill = base::Ref<Fill>::Adopt(new Fill(*this, key, std::move(policy),
                                              base::Ref<Object>(const_cast<Object*>(stale)), ticket,
                                              now_us));
  fill->listed_ = true;
  fill->shared_ = !joined.hit_for_miss;
  fill->Follow(follower, ticket);
  shard.fills.emplace(key.hash, fill);
  fill_count_.fetch_add(1, std::memory_order_relaxed);
  joined.role = Role::kLead;
  joined.fill = fill;
  joined.producer = Producer(std::move(fill));
  joined.deadline_us = now_us + timeout_us;
  return joined;
}

// Ends of fills...

void ObjectStore::Unlist(Fill& fill, FillShard& shard) {
  if (!fill.listed_) return;
  fill.listed_ = false;
  const auto [begin, end] = shard.fills.equal_range(fill.key_.hash);
  for (auto at = begin; at != end; ++at) {
    if (at->second.get() != &fill) continue;
    shard.fills.erase(at);  // The producer still holds it.
    fill_count_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
}

bool ObjectStore::MayKeep(Fill& fill, const Object& object, FillShard&) {
  if (fill.purged_) return false;
  return std::none_of(
      fill.purged_tags_.begin(), fill.purged_tags_.end(), [&](const std::string& tag) {
        return std::find(object.tags().begin(), object.tags().end(), tag) != object.tags().end();
      });
}

bool ObjectStore::Insert(base::Ref<Object> object, const Object* spare) {
  Object& inserted = *object;
  const size_t charge = inserted.charge();
  size_t variants = 0;
  // The table shows the newest first, so the oldest variants are those that are too many. All
  // variants of a key vary on the same fields: one that does not would answer for others.
  const base::CacheAdmission admission =
      table_.Insert(std::move(object), inserted.key_hash(), charge, [&](const Object& old) {
        if (&old == spare || old.key() != inserted.key()) return false;
        return old.vary() == inserted.vary() || !SameVaryNames(old.vary(), inserted.vary()) ||
               ++variants >= kVariantsMax;
      });
  const bool stored = admission == base::CacheAdmission::kAdmitted;
  (stored ? counters_.stored : counters_.declined).fetch_add(1, std::memory_order_relaxed);
  return stored;
}

void ObjectStore::Store(Fill& fill, base::Ref<Object> object) {
  FillShard& shard = ShardOf(fill.key_.hash);
  base::MutexLock lock(shard.mutex);
  if (MayKeep(fill, *object, shard)) Insert(std::move(object), nullptr);
  Unlist(fill, shard);
}

void ObjectStore::Freshen(Fill& fill, const base::Ref<Object>& object) {
  FillShard& shard = ShardOf(fill.key_.hash);
  base::MutexLock lock(shard.mutex);
  if (MayKeep(fill, *object, shard)) {
    Object& fresh = *object;
    const bool inserted = Insert(object, fill.stale_.get());
    const bool was_there = table_.RemoveEntry(*fill.stale_);
    if (inserted && !was_there) table_.RemoveEntry(fresh);
  }
  Unlist(fill, shard);
}

void ObjectStore::Drop(Fill& fill) {
  FillShard& shard = ShardOf(fill.key_.hash);
  base::MutexLock lock(shard.mutex);
  Unlist(fill, shard);
}

void ObjectStore::StopSharing(Fill& fill) {
  FillShard& shard = ShardOf(fill.key_.hash);
  base::MutexLock lock(shard.mutex);
  fill.shared_ = false;
}

// Hit for miss: a small table of hashes, each new one in place of an old one. A false match costs a
// collapse, nothing else.

bool ObjectStore::IsHitForMiss(uint64_t hash, int64_t now_us) const {
  const Marker& marker = markers_[hash & (kMarkers - 1)];
  return marker.hash.load(std::memory_order_relaxed) == hash &&
         marker.until_us.load(std::memory_order_relaxed) > now_us;
}

void ObjectStore::MarkHitForMiss(uint64_t hash, int64_t until_us) {
  Marker& marker = markers_[hash & (kMarkers - 1)];
  marker.hash.store(hash, std::memory_order_relaxed);
  marker.until_us.store(until_us, std::memory_order_relaxed);
}

uint64_t ObjectStore::Invalidate(const RequestView& request, const ResponseView& response,
                                 const KeyPolicy& key_policy) {
  if (http::IsSafe(request.head.method()) || response.status < 200 || response.status > 399)
    return 0;
  CacheKey key;
  BuildKey(request, key_policy, seed_, &key);
  uint64_t count = PurgeKey(key).objects;
  const Url target{std::string(request.scheme), std::string(request.host),
                   std::string(request.head.path()), std::string(request.head.query())};
  for (const Field& field : response.fields) {
    if (!http::EqualsLower(field.name, "location") &&
        !http::EqualsLower(field.name, "content-location")) {
      continue;
    }
    const std::optional<Url> named = ResolveSameOrigin(target, field.value);
    if (!named) continue;
    BuildKey(named->parts(), key_policy, seed_, &key);
    count += PurgeKey(key).objects;
  }
  counters_.invalidated.fetch_add(count, std::memory_order_relaxed);
  return count;
}

CacheStats ObjectStore::stats() const {
  CacheStats stats;
  counters_.AddTo(&stats);
  const base::CacheTableStats table = table_.stats();
  stats.objects = table.entries;
  stats.bytes = table.bytes;
  stats.bytes_max = table_.bytes_max();
  stats.fills = fill_count_.load(std::memory_order_relaxed);
  stats.fill_bytes = fill_bytes_.load(std::memory_order_relaxed);
  return stats;
}

// From the table, under its shard's lock...

void ObjectStore::OnLinked(Object& object) {
  if (!object.tags().empty()) tags_.Add(object);
}

void ObjectStore::OnUnlinked(Object& object, base::CacheRemoval reason) {
  if (!object.tags().empty()) tags_.Remove(object);
  const EvictionReason why = reason == base::CacheRemoval::kEvicted    ? EvictionReason::kCapacity
                             : reason == base::CacheRemoval::kReplaced ? EvictionReason::kReplaced
                                                                       : EvictionReason::kPurged;
  counters_.evictions[static_cast<size_t>(why)].fetch_add(1, std::memory_order_relaxed);
}

}  // namespace catzilla::cache
