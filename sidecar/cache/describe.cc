// Looking in: what of a URL is kept or on its way, for people.
#include <algorithm>

#include "sidecar/cache/store.h"
#include "sidecar/cache/url.h"

namespace catzilla::cache {
namespace {

Description DescriptionOf(const Object& object, int64_t now_us) {
  Description description;
  description.key = object.key();
  description.vary = VaryFields(object.vary());
  description.etag = object.etag();
  description.tags.assign(object.tags().begin(), object.tags().end());
  description.status = object.status();
  description.body_bytes = object.body_size();
  description.charge_bytes = object.charge();
  description.age_s = object.freshness().AgeUs(now_us) / 1'000'000;
  description.ttl_s = object.freshness().TtlUs(now_us) / 1'000'000;
  description.stored_for_us = now_us - object.freshness().response_us;
  description.hits = object.hits();
  return description;
}

}  // namespace

std::vector<Description> ObjectStore::Describe(std::string_view url, const KeyPolicy& key_policy,
                                               const http::RequestHead* request,
                                               int64_t now_us) const {
  CacheKey key;
  BuildKey(NormalUrl(url).parts(), key_policy, seed_, &key);
  // Without a host: of every scheme and host, as Purge() takes it.
  const bool any_host = url.starts_with('/');
  const KeyParts target = SplitKey(key.text);
  const auto named = [&](std::string_view text) {
    if (!any_host) return text == key.text;
    const KeyParts parts = SplitKey(text);
    return parts.path == target.path && parts.query == target.query;
  };
  std::vector<Description> found;
  std::vector<std::string> selected;  // Keys of which a variant has been chosen.
  const auto add = [&](const Object& object) {
    if (!named(object.key()) || found.size() >= kDescriptionsMax) return;
    Description description = DescriptionOf(object, now_us);
    // One of a key's variants answers: the first that matches, as Find() has it.
    const bool taken = std::find(selected.begin(), selected.end(), object.key()) != selected.end();
    if (request != nullptr && !taken && MatchesVary(object.vary(), *request)) {
      description.selected = true;
      selected.emplace_back(object.key());
    }
    found.push_back(std::move(description));
  };
  if (any_host) {
    table_.ForEach(add);
  } else {
    base::EpochDomain::Guard guard(domain_);
    (void)table_.Peek(key.hash, [&](const Object& object) {
      add(object);
      return false;  // On to the next variant.
    });
  }
  for (const FillShard& shard : fill_shards_) {
    base::MutexLock lock(shard.mutex);
    for (const auto& [hash, fill] : shard.fills) {
      if (!named(fill->key().text) || found.size() >= kDescriptionsMax) continue;
      Description description;
      description.key = fill->key().text;
      description.in_flight = true;
      description.age_s = (now_us - fill->started_us()) / 1'000'000;
      found.push_back(std::move(description));
    }
  }
  return found;
}

ObjectStore::Known ObjectStore::Ask(const CacheKey& key, const http::RequestHead& request) const {
  Known known;
  base::EpochDomain::Guard guard(domain_);
  const Object* found = table_.Peek(key.hash, [&](const Object& object) {
    if (object.key() != key.text) return false;
    known.variants_exist = true;
    return MatchesVary(object.vary(), request);
  });
  if (found != nullptr) known.freshness = found->freshness();
  return known;
}

}  // namespace catzilla::cache
