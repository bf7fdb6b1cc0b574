// Purging: what is covered is found by key or tag, and no fill may bring it back.
//
// How a purge and the ends of fills meet. A fill is marked, checked, inserted and taken off the
// list under one lock, that of its shard of the fills' table. A purge (1) marks the fills it
// covers, (2) removes objects, (3) takes every shard's lock once more. A fill that was marked
// stores nothing. One that ended before its mark has inserted its object before (2) looks. A fill
// that began after its shard's mark asked the app after the purge began, so it may be kept; unless
// it validates an object from before: Freshen() inserts the new object, then removes the old one,
// and if the purge was faster with the old one takes back the new one, before (3) can pass.
#include <algorithm>

#include "sidecar/cache/store.h"
#include "sidecar/cache/url.h"
#include "sidecar/http/text.h"

namespace catzilla::cache {

namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = http::ToLower(c);
  return lower;
}

bool SameTarget(std::string_view key, const KeyParts& target) {
  const KeyParts parts = SplitKey(key);
  return parts.path == target.path && parts.query == target.query;
}

bool BeginsWith(std::string_view key, std::string_view prefix) {
  if (!prefix.starts_with('/')) return key.starts_with(prefix);
  const KeyParts parts = SplitKey(key);
  return key.substr(static_cast<size_t>(parts.path.data() - key.data())).starts_with(prefix);
}

bool IsOfHost(std::string_view key, std::string_view host) {
  const std::string_view stored = SplitKey(key).host;
  if (stored == host) return true;
  // Without a port: every port. Not inside an IPv6 literal.
  const bool has_port = host.rfind(':') != std::string_view::npos && !host.ends_with(']');
  return !has_port && stored.starts_with(host) && stored.size() > host.size() &&
         stored[host.size()] == ':';
}

}  // namespace

template <typename Matches>
uint64_t ObjectStore::MarkFills(Matches&& matches) {
  uint64_t marked = 0;
  for (FillShard& shard : fill_shards_) {
    base::MutexLock lock(shard.mutex);
    for (auto& [hash, fill] : shard.fills) {
      if (fill->purged_ || !matches(static_cast<const Fill&>(*fill))) continue;
      fill->purged_ = true;
      fill->shared_ = false;
      ++marked;
    }
  }
  return marked;
}

uint64_t ObjectStore::MarkTag(std::string_view tag) {
  // More purges than these during one fill: it is not kept at all.
  constexpr size_t kPurgedTagsMax = 64;
  uint64_t marked = 0;
  for (FillShard& shard : fill_shards_) {
    base::MutexLock lock(shard.mutex);
    for (auto& [hash, fill] : shard.fills) {
      if (fill->purged_) continue;
      const Fill::Tagged tagged = fill->HasTag(tag);
      if (tagged == Fill::Tagged::kNo) continue;
      fill->shared_ = false;
      if (tagged == Fill::Tagged::kYes || fill->purged_tags_.size() == kPurgedTagsMax) {
        fill->purged_ = true;
        ++marked;
      } else {
        fill->purged_tags_.emplace_back(tag);  // Its head will tell.
      }
    }
  }
  return marked;
}

void ObjectStore::AwaitEnds() {
  for (FillShard& shard : fill_shards_) {
    base::MutexLock lock(shard.mutex);
  }
}

Purged ObjectStore::PurgeKey(const CacheKey& key) {
  Purged purged;
  FillShard& shard = ShardOf(key.hash);
  {
    base::MutexLock lock(shard.mutex);
    const auto [begin, end] = shard.fills.equal_range(key.hash);
    for (auto at = begin; at != end; ++at) {
      Fill& fill = *at->second;
      if (fill.purged_ || !(fill.key_ == key)) continue;
      fill.purged_ = true;
      fill.shared_ = false;
      ++purged.fills;
    }
  }
  purged.objects = table_.Remove(key.hash, [&](const Object& object) {
    if (object.key() != key.text) return false;
    purged.bytes += object.charge();
    return true;
  });
  base::MutexLock lock(shard.mutex);
  return purged;
}

Purged ObjectStore::Purge(PurgeKind kind, std::string_view value, const KeyPolicy& key_policy) {
  Purged purged;
  auto walk = [&](auto&& matches) {
    purged.fills =
        MarkFills([&](const Fill& fill) { return matches(std::string_view(fill.key().text)); });
    purged.objects = table_.RemoveIf([&](const Object& object) {
      if (!matches(object.key())) return false;
      purged.bytes += object.charge();
      return true;
    });
    AwaitEnds();
  };
  switch (kind) {
    case PurgeKind::kUrl: {
      CacheKey key;
      BuildKey(NormalUrl(value).parts(), key_policy, seed_, &key);
      if (value.starts_with('/')) {
        const KeyParts target = SplitKey(key.text);
        walk([&](std::string_view text) { return SameTarget(text, target); });
      } else {
        purged = PurgeKey(key);
      }
      break;
    }
    case PurgeKind::kPrefix: {
      const std::string prefix =
          value.starts_with('/') ? std::string(value) : NormalUrl(value).text();
      walk([&](std::string_view text) { return BeginsWith(text, prefix); });
      break;
    }
    case PurgeKind::kHost: {
      const std::string host = Lower(value);
      walk([&](std::string_view text) { return IsOfHost(text, host); });
      break;
    }
    case PurgeKind::kAll:
      walk([](std::string_view) { return true; });
      break;
    case PurgeKind::kTag:
      purged.fills = MarkTag(value);
      for (const base::Ref<Object>& object : tags_.Find(value)) {
        if (!table_.RemoveEntry(*object)) continue;
        ++purged.objects;
        purged.bytes += object->charge();
      }
      AwaitEnds();
      break;
  }
  counters_.purged[static_cast<size_t>(kind)].fetch_add(purged.objects, std::memory_order_relaxed);
  counters_.purged_fills.fetch_add(purged.fills, std::memory_order_relaxed);
  return purged;
}

Purged ObjectStore::Preview(PurgeKind kind, std::string_view value,
                            const KeyPolicy& key_policy) const {
  CacheKey key;
  std::string text;
  if (kind == PurgeKind::kUrl) BuildKey(NormalUrl(value).parts(), key_policy, seed_, &key);
  if (kind == PurgeKind::kPrefix) {
    text = value.starts_with('/') ? std::string(value) : NormalUrl(value).text();
  }
  if (kind == PurgeKind::kHost) text = Lower(value);
  const auto named = [&](std::string_view stored) {
    switch (kind) {
      case PurgeKind::kUrl:
        return value.starts_with('/') ? SameTarget(stored, SplitKey(key.text)) : stored == key.text;
      case PurgeKind::kPrefix:
        return BeginsWith(stored, text);
      case PurgeKind::kHost:
        return IsOfHost(stored, text);
      case PurgeKind::kAll:
        return true;
      case PurgeKind::kTag:
        break;
    }
    return false;
  };
  const bool by_tag = kind == PurgeKind::kTag;
  Purged purged;
  for (const FillShard& shard : fill_shards_) {
    base::MutexLock lock(shard.mutex);
    for (const auto& [hash, fill] : shard.fills) {
      if (fill->purged_) continue;
      purged.fills += by_tag ? fill->HasTag(value) == Fill::Tagged::kYes : named(fill->key_.text);
    }
  }
  table_.ForEach([&](const Object& object) {
    const bool covered =
        by_tag ? std::find(object.tags().begin(), object.tags().end(), value) != object.tags().end()
               : named(object.key());
    if (!covered) return;
    ++purged.objects;
    purged.bytes += object.charge();
  });
  return purged;
}

}  // namespace catzilla::cache
