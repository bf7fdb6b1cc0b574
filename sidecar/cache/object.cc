#include "sidecar/cache/object.h"

#include <cstring>
#include <new>
#include <string>

#include "sidecar/base/arena.h"

namespace catzilla::cache {

using base::ArenaId;
using base::Arenas;

base::Ref<Segment> Segment::Make(size_t capacity) {
  // What the size class gives is used in full.
  const size_t bytes = Arenas::UsableSize(sizeof(Segment) + capacity);
  void* memory = Arenas::Allocate(ArenaId::kCache, bytes);
  if (memory == nullptr) return nullptr;
  return base::Ref<Segment>::Adopt(new (memory) Segment(bytes - sizeof(Segment)));
}

void Segment::DestroySelf() {
  const size_t bytes = sizeof(Segment) + capacity_;
  this->~Segment();
  Arenas::Free(ArenaId::kCache, this, bytes);
}

namespace {

constexpr std::string_view kNotModified = "HTTP/1.1 304 Not Modified\r\n";

bool HasContentLength(int status) { return status != 204 && status != 304 && status >= 200; }

// Copies pieces behind one another and says where they are.
class Packer {
 public:
  explicit Packer(char* at) : at_(at) {}
  std::string_view Put(std::string_view text) {
    if (!text.empty()) std::memcpy(at_, text.data(), text.size());
    const std::string_view put(at_, text.size());
    at_ += text.size();
    return put;
  }

 private:
  char* at_;
};

}  // namespace

base::Ref<Object> Object::Make(const CacheKey& key, const Record& record, base::Ref<Body> body) {
  const size_t body_size = body ? body->size() : 0;
  const bool in_line = body_size <= kInlineBodyBytesMax;
  std::string length_line;
  if (HasContentLength(record.status)) {
    length_line = "Content-Length: " + std::to_string(body_size) + "\r\n";
  }
  const size_t head_size = record.status_line.size() + length_line.size() + record.fields.size();
  const size_t head_304_size = kNotModified.size() + record.fields_304.size();
  size_t total = sizeof(Object) + key.text.size() + record.vary.size() + head_size + head_304_size +
                 record.etag.size() + (in_line ? body_size : 0);
  for (const std::string& tag : record.tags) total += tag.size();

  void* memory = Arenas::Allocate(ArenaId::kCache, total);
  if (memory == nullptr) return nullptr;
  Object* object = new (memory) Object();
  object->allocated_ = total;
  Packer packer(static_cast<char*>(memory) + sizeof(Object));
  object->key_ = packer.Put(key.text).data();
  object->key_size_ = static_cast<uint32_t>(key.text.size());
  packer.Put(record.vary);
  object->vary_size_ = static_cast<uint32_t>(record.vary.size());
  packer.Put(record.status_line);
  packer.Put(length_line);
  packer.Put(record.fields);
  object->head_size_ = static_cast<uint32_t>(head_size);
  object->fields_offset_ = static_cast<uint32_t>(record.status_line.size() + length_line.size());
  packer.Put(kNotModified);
  packer.Put(record.fields_304);
  object->head_304_size_ = static_cast<uint32_t>(head_304_size);
  object->etag_ = packer.Put(record.etag);
  for (const std::string& tag : record.tags) object->tags_.push_back(packer.Put(tag));
  object->tag_positions_.resize(record.tags.size());
  object->charge_ =
      Arenas::UsableSize(total) + record.tags.size() * (sizeof(std::string_view) + 16);
  if (in_line && body) {
    const char* begin = nullptr;
    for (std::string_view piece : body->pieces()) {
      const std::string_view put = packer.Put(piece);
      if (begin == nullptr) begin = put.data();
    }
    object->inline_body_ = {begin, body_size};
  } else if (body) {
    object->charge_ += body->charge();
    object->body_ = std::move(body);
  }
  object->status_ = record.status;
  object->freshness_ = record.freshness;
  object->key_hash_ = key.hash;
  object->last_modified_s_ = record.last_modified_s;
  return base::Ref<Object>::Adopt(object);
}

base::Ref<Body> Object::ShareBody() const {
  if (body_ || inline_body_.empty()) return body_;
  auto body = base::Ref<Body>::Adopt(new Body);
  base::Ref<Segment> segment = Segment::Make(inline_body_.size());
  if (!segment) return nullptr;
  std::memcpy(segment->data(), inline_body_.data(), inline_body_.size());
  body->Append(std::move(segment), inline_body_.size());
  return body;
}

void Object::DestroySelf() {
  const size_t bytes = allocated_;
  this->~Object();
  Arenas::Free(ArenaId::kCache, this, bytes);
}

}  // namespace catzilla::cache
