#include "sidecar/http/entity_tag.h"

#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

// Takes a tag off the front of `text`; false: there is none.
bool TakeTag(std::string_view* text, EntityTag* tag) {
  std::string_view rest = *text;
  tag->weak = rest.substr(0, 2) == "W/";
  if (tag->weak) rest.remove_prefix(2);
  if (rest.empty() || rest.front() != '"') return false;
  size_t end = 1;
  while (end < rest.size() && rest[end] != '"') {
    const auto byte = static_cast<uint8_t>(rest[end]);
    if (byte <= 0x20 || byte == 0x7f) return false;  // etagc
    ++end;
  }
  if (end == rest.size()) return false;
  tag->opaque = rest.substr(0, end + 1);
  *text = rest.substr(end + 1);
  return true;
}

}  // namespace

std::optional<EntityTag> ParseEntityTag(std::string_view text) {
  text = Trim(text);
  EntityTag tag;
  if (!TakeTag(&text, &tag) || !text.empty()) return std::nullopt;
  return tag;
}

bool StrongEquals(const EntityTag& a, const EntityTag& b) {
  return !a.weak && !b.weak && a.opaque == b.opaque;
}

bool WeakEquals(const EntityTag& a, const EntityTag& b) { return a.opaque == b.opaque; }

// Not ListItems: a backslash is an ordinary character in a tag.
bool TagListHas(std::string_view list, const EntityTag& tag, TagCompare compare) {
  for (;;) {
    while (!list.empty() && (list.front() == ' ' || list.front() == '\t' || list.front() == ',')) {
      list.remove_prefix(1);
    }
    EntityTag element;
    if (!TakeTag(&list, &element)) return false;
    const std::string_view rest = Trim(list);
    if (!rest.empty() && rest.front() != ',') return false;
    if (compare == TagCompare::kStrong ? StrongEquals(element, tag) : WeakEquals(element, tag)) {
      return true;
    }
  }
}

}  // namespace catzilla::http
