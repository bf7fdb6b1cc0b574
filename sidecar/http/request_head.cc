#include "sidecar/http/request_head.h"

#include <algorithm>
#include <cstring>

namespace catzilla::http {

std::optional<std::string_view> RequestHead::Find(HeaderId id) const {
  if (!Has(id)) return std::nullopt;
  for (size_t i = 0; i < field_count_; ++i) {
    if (fields_[i].id == id) return value(i);
  }
  return std::nullopt;
}

std::optional<std::string_view> RequestHead::Find(std::string_view wanted) const {
  for (size_t i = 0; i < field_count_; ++i) {
    if (EqualsIgnoringCase(name(i), wanted)) return value(i);
  }
  return std::nullopt;
}

size_t RequestHead::Count(HeaderId id) const {
  size_t count = 0;
  ForEach(id, [&count](std::string_view) { ++count; });
  return count;
}

bool RequestHead::ListHasItem(HeaderId id, std::string_view lower) const {
  bool found = false;
  ForEach(id, [&](std::string_view list) { found = found || ListHas(list, lower); });
  return found;
}

void RequestHead::Pin() {
  if (pinned()) return;
  const char* const from = base_;
  const uint32_t bytes = length_;
  length_ = 0;
  if (wants_upgrade_) {  // It may stay for hours.
    owned_.reset(new char[bytes]);
    owned_capacity_ = bytes;
  }
  Reserve(bytes);
  std::memcpy(owned_.get(), from, bytes);
  base_ = owned_.get();
  length_ = bytes;
}

void RequestHead::Compact() {
  if (compact_) return;
  compact_ = true;
  std::unique_ptr<HeaderField[]> kept(new HeaderField[field_count_]);
  std::copy_n(fields_.get(), field_count_, kept.get());
  fields_ = std::move(kept);
}

void RequestHead::Reserve(size_t bytes) {
  if (bytes <= owned_capacity_) return;
  constexpr size_t kFirstBytes = 2048;
  const size_t capacity = std::max({bytes, size_t{owned_capacity_} * 2, kFirstBytes});
  std::unique_ptr<char[]> grown(new char[capacity]);
  if (length_ > 0) std::memcpy(grown.get(), owned_.get(), length_);
  owned_ = std::move(grown);
  owned_capacity_ = static_cast<uint32_t>(capacity);
}

}  // namespace catzilla::http
