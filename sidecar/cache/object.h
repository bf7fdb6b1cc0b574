// One answer that is kept: immutable, counted, and laid out so that serving it again is two copies.
//
// In one piece of memory: the struct, key, Vary values, the 200's head and the 304's, tags and, up
// to kInlineBodyBytesMax, the body. Longer bodies stay in the segments they arrived in, shared with
// the fill's readers and with the object's successors after a validation.
//
// Threads: immutable but for a counter; any thread reads it inside its epoch, or with a Ref.
// Owns:    its bytes (arena `cache`) and references of its segments.
// Limits:  none of its own; charge() is what all of it costs.
// Fails:   Make() and Segment::Make() return null when there is no memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sidecar/base/cache_table.h"
#include "sidecar/base/ref.h"
#include "sidecar/cache/key.h"
#include "sidecar/cache/record.h"

namespace catzilla::cache {

inline constexpr size_t kSegmentBytesMax = 64 * 1024;
inline constexpr size_t kInlineBodyBytesMax = 64 * 1024;

// Bytes that are written once, from the front, by a fill's producer; readers see only what the fill
// published to them.
class Segment final : public base::Owner {
 public:
  static base::Ref<Segment> Make(size_t capacity);
  char* data() { return reinterpret_cast<char*>(this + 1); }
  size_t capacity() const { return capacity_; }
  size_t charge() const { return sizeof(Segment) + capacity_; }

 private:
  explicit Segment(size_t capacity) : capacity_(capacity) {}
  void DestroySelf() override;
  const size_t capacity_;
};

// A body in segments, complete.
class Body final : public base::Owner {
 public:
  void Append(base::Ref<Segment> segment, size_t size) {
    pieces_.emplace_back(segment->data(), size);
    charge_ += segment->charge();
    segments_.push_back(std::move(segment));
    size_ += size;
  }
  std::span<const std::string_view> pieces() const { return pieces_; }
  size_t size() const { return size_; }
  size_t charge() const { return charge_; }

 private:
  std::vector<base::Ref<Segment>> segments_;
  std::vector<std::string_view> pieces_;
  size_t size_ = 0;
  size_t charge_ = sizeof(Owner);
};

class Object final : public base::Owner, public base::CacheNode {
 public:
  // Copies the body when it is short enough, else keeps a reference. Null: no memory.
  static base::Ref<Object> Make(const CacheKey& key, const Record& record, base::Ref<Body> body);

  // "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" and all fields; without Age, Cache-Status,
  // Connection and the empty line, which the sender appends. Serves HEAD too.
  std::string_view head() const { return {key_ + key_size_ + vary_size_, head_size_}; }
  // "HTTP/1.1 304 Not Modified\r\n" and the fields it repeats; ends as head() does.
  std::string_view not_modified_head() const {
    return {head().data() + head_size_, head_304_size_};
  }
  // The fields alone, without Content-Length: for a 206, which has its own.
  std::string_view fields() const { return head().substr(fields_offset_); }
  // In order, all of it; kept by this object, for long writes take a Ref of it.
  std::span<const std::string_view> body() const {
    if (body_) return body_->pieces();
    return {&inline_body_, inline_body_.empty() ? 0u : 1u};
  }
  uint64_t body_size() const { return body_ ? body_->size() : inline_body_.size(); }

  std::string_view key() const { return {key_, key_size_}; }
  uint64_t key_hash() const { return key_hash_; }
  std::string_view vary() const { return {key_ + key_size_, vary_size_}; }
  const Freshness& freshness() const { return freshness_; }
  int status() const { return status_; }
  std::string_view etag() const { return etag_; }
  int64_t last_modified_s() const { return last_modified_s_; }
  std::span<const std::string_view> tags() const { return tags_; }
  size_t charge() const { return charge_; }

  // How often it has answered, its predecessors before a validation included.
  uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  void CountHit(uint64_t more = 1) const { hits_.fetch_add(more, std::memory_order_relaxed); }

  bool Matches(std::string_view key, const http::RequestHead& request) const {
    return this->key() == key && (vary_size_ == 0 || MatchesVary(vary(), request));
  }

  // For Freshen(): the body again, to be shared.
  base::Ref<Body> ShareBody() const;

 private:
  friend class TagIndex;
  Object() = default;
  void DestroySelf() override;

  // Constant after construction.
  const char* key_ = nullptr;
  uint32_t key_size_ = 0;
  uint32_t vary_size_ = 0;
  uint32_t head_size_ = 0;
  uint32_t head_304_size_ = 0;
  uint32_t fields_offset_ = 0;
  int status_ = 200;
  Freshness freshness_;
  std::string_view inline_body_;
  base::Ref<Body> body_;
  uint64_t key_hash_ = 0;
  std::string_view etag_;
  int64_t last_modified_s_ = -1;
  std::vector<std::string_view> tags_;
  size_t charge_ = 0;
  size_t allocated_ = 0;

  // Guarded by the tag index: where this object stands in each tag's list.
  std::vector<size_t> tag_positions_;

  mutable std::atomic<uint64_t> hits_{0};  // At the end, away from what a lookup reads.
};

}  // namespace catzilla::cache
