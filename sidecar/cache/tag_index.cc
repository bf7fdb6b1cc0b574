#include "sidecar/cache/tag_index.h"

#include "sidecar/base/check.h"

namespace catzilla::cache {

void TagIndex::Add(Object& object) {
  base::MutexLock lock(mutex_);
  for (size_t i = 0; i < object.tags_.size(); ++i) {
    std::vector<Entry>& entries = entries_[std::string(object.tags_[i])];
    object.tag_positions_[i] = entries.size();
    entries.push_back({&object, i});
  }
}

void TagIndex::Remove(Object& object) {
  base::MutexLock lock(mutex_);
  for (size_t i = 0; i < object.tags_.size(); ++i) {
    auto found = entries_.find(std::string(object.tags_[i]));
    CATZILLA_CHECK(found != entries_.end(), "a tagged object is not in the index");
    std::vector<Entry>& entries = found->second;
    // The last takes its place.
    const size_t position = object.tag_positions_[i];
    entries[position] = entries.back();
    entries[position].object->tag_positions_[entries[position].tag] = position;
    entries.pop_back();
    if (entries.empty()) entries_.erase(found);
  }
}

std::vector<base::Ref<Object>> TagIndex::Find(std::string_view tag) const {
  base::MutexLock lock(mutex_);
  std::vector<base::Ref<Object>> objects;
  auto found = entries_.find(std::string(tag));
  if (found == entries_.end()) return objects;
  objects.reserve(found->second.size());
  for (const Entry& entry : found->second) objects.emplace_back(entry.object);
  return objects;
}

size_t TagIndex::tag_count() const {
  base::MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace catzilla::cache
