// Entity tags (RFC 9110 section 8.8.3). Pure; any thread; allocates nothing.
#pragma once

#include <optional>
#include <string_view>

namespace catzilla::http {

struct EntityTag {
  bool weak = false;
  std::string_view opaque;  // With its quotes.
};

// Exactly one tag: W/"x" or "x".
std::optional<EntityTag> ParseEntityTag(std::string_view text);

// Both strong and the same.
bool StrongEquals(const EntityTag& a, const EntityTag& b);
// The same, whether weak or strong.
bool WeakEquals(const EntityTag& a, const EntityTag& b);

enum class TagCompare { kStrong, kWeak };
// Whether a field value, a list of tags, has `tag`. A malformed element ends the list: what is
// after it does not count. "*" is not looked at: it asks for existence, see conditional.h.
bool TagListHas(std::string_view list, const EntityTag& tag, TagCompare compare);

}  // namespace catzilla::http
