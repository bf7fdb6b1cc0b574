// Which stored objects carry a tag; exact match only.
//
// Threads: any. Its mutex is a leaf: nothing is called under it.
// Owns:    copies of the tags in use. Objects unindex themselves before the store drops them.
// Limits:  the objects' (tags_per_object_max each); an unused tag leaves no trace.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sidecar/base/mutex.h"
#include "sidecar/base/ref.h"
#include "sidecar/cache/object.h"

namespace catzilla::cache {

class TagIndex {
 public:
  void Add(Object& object);
  void Remove(Object& object);  // REQUIRES: added.
  // Every object that has the tag now, with a reference.
  std::vector<base::Ref<Object>> Find(std::string_view tag) const;
  size_t tag_count() const;

 private:
  struct Entry {
    Object* object;
    size_t tag;  // Which of the object's tags this is.
  };
  mutable base::Mutex mutex_;
  std::unordered_map<std::string, std::vector<Entry>> entries_ CATZILLA_GUARDED_BY(mutex_);
};

}  // namespace catzilla::cache
