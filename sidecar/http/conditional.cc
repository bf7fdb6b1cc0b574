#include "sidecar/http/conditional.h"

#include <optional>

#include "sidecar/http/entity_tag.h"
#include "sidecar/http/http_date.h"

namespace catzilla::http {
namespace {

// Whether the list that all fields of that name make has the representation's tag; "*" has any.
bool FieldsHaveTag(const RequestHead& request, HeaderId id, const Validators& validators,
                   TagCompare compare) {
  const std::optional<EntityTag> tag = ParseEntityTag(validators.etag);
  bool found = false;
  request.ForEach(id, [&](std::string_view value) {
    found = found || value == "*" || (tag.has_value() && TagListHas(value, *tag, compare));
  });
  return found;
}

// The one date of a field; none if it is malformed or repeated: then the field is ignored.
std::optional<int64_t> DateOf(const RequestHead& request, HeaderId id, int64_t now_s) {
  if (request.Count(id) != 1) return std::nullopt;
  return ParseHttpDate(*request.Find(id), now_s);
}

}  // namespace

Precondition JudgePreconditions(const RequestHead& request, const Validators& validators,
                                int64_t now_s) {
  const bool dated = validators.last_modified_s >= 0;
  if (request.Has(HeaderId::kIfMatch)) {
    if (!FieldsHaveTag(request, HeaderId::kIfMatch, validators, TagCompare::kStrong)) {
      return Precondition::kFailed;
    }
  } else if (dated && request.Has(HeaderId::kIfUnmodifiedSince)) {
    const std::optional<int64_t> since = DateOf(request, HeaderId::kIfUnmodifiedSince, now_s);
    if (since.has_value() && validators.last_modified_s > *since) return Precondition::kFailed;
  }

  const bool reads = request.method() == Method::kGet || request.method() == Method::kHead;
  if (request.Has(HeaderId::kIfNoneMatch)) {
    if (FieldsHaveTag(request, HeaderId::kIfNoneMatch, validators, TagCompare::kWeak)) {
      return reads ? Precondition::kNotModified : Precondition::kFailed;
    }
  } else if (dated && reads && request.Has(HeaderId::kIfModifiedSince)) {
    const std::optional<int64_t> since = DateOf(request, HeaderId::kIfModifiedSince, now_s);
    if (since.has_value() && validators.last_modified_s <= *since) {
      return Precondition::kNotModified;
    }
  }
  return Precondition::kProceed;
}

bool RangeApplies(const RequestHead& request, const Validators& validators, int64_t now_s) {
  if (!request.Has(HeaderId::kIfRange)) return true;
  if (request.Count(HeaderId::kIfRange) != 1) return false;
  const std::string_view value = *request.Find(HeaderId::kIfRange);
  if (const std::optional<EntityTag> wanted = ParseEntityTag(value); wanted.has_value()) {
    const std::optional<EntityTag> tag = ParseEntityTag(validators.etag);
    return tag.has_value() && StrongEquals(*wanted, *tag);
  }
  const std::optional<int64_t> date = ParseHttpDate(value, now_s);
  // Within the second of its change a file may change again: only then is the date a weak
  // validator.
  return date.has_value() && validators.last_modified_s >= 0 &&
         *date == validators.last_modified_s && now_s > validators.last_modified_s;
}

}  // namespace catzilla::http
