#include "sidecar/cache/validation.h"

#include <vector>

#include "sidecar/http/http_date.h"

namespace catzilla::cache {

Conditions ConditionsFor(const Object& stale) {
  Conditions conditions;
  conditions.if_none_match = stale.etag();
  if (stale.last_modified_s() >= 0) {
    conditions.if_modified_since = http::FormatHttpDate(stale.last_modified_s());
  }
  return conditions;
}

bool IsOwnCondition(http::HeaderId id) {
  using http::HeaderId;
  return id == HeaderId::kIfNoneMatch || id == HeaderId::kIfModifiedSince ||
         id == HeaderId::kIfRange || id == HeaderId::kIfMatch ||
         id == HeaderId::kIfUnmodifiedSince || id == HeaderId::kRange;
}

namespace {

// RFC 9111 3.2: describe the stored bytes, not the 304.
bool StaysAsStored(std::string_view name, Fields message) {
  const http::HeaderId id = http::FindHeaderId(name);
  using http::HeaderId;
  return id == HeaderId::kContentLength || id == HeaderId::kContentEncoding ||
         id == HeaderId::kContentType || http::EqualsLower(name, "content-range") ||
         id == HeaderId::kEtag || id == HeaderId::kVary || IsHopByHop(name, message);
}

bool Has(Fields fields, std::string_view name) {
  for (const Field& field : fields) {
    if (http::EqualsIgnoringCase(field.name, name)) return true;
  }
  return false;
}

}  // namespace

std::optional<Record> Freshened(const Object& stale, const RequestView& request,
                                const ResponseView& not_modified, const RecordPolicy& policy,
                                const ExchangeTimes& times) {
  const std::vector<Field> stored = ParseFields(stale.fields());
  const Fields news = not_modified.fields;
  std::vector<Field> merged;
  const std::string length = std::to_string(stale.body_size());
  for (const Field& field : stored) {
    // A 304 without Date came now; the old one would count the time since as age.
    const bool is_date = http::EqualsLower(field.name, "date");
    if (!StaysAsStored(field.name, news) && (is_date || Has(news, field.name))) continue;
    merged.push_back(field);
  }
  for (const Field& field : news) {
    if (!StaysAsStored(field.name, news)) merged.push_back(field);
  }
  merged.push_back({"Content-Length", length});
  Record record = MakeRecord(request, {stale.status(), merged}, policy, times);
  if (!record.storable) return std::nullopt;
  return record;
}

Reply ReplyTo(const http::RequestHead& request, const Object& object, int64_t now_s) {
  Reply reply;
  if (object.status() != 200) return reply;  // Conditions and ranges are about representations.
  const http::Validators validators{object.etag(), object.last_modified_s()};
  switch (http::JudgePreconditions(request, validators, now_s)) {
    case http::Precondition::kNotModified:
      reply.kind = Reply::Kind::kNotModified;
      return reply;
    case http::Precondition::kFailed:
      reply.kind = Reply::Kind::kFailed;
      return reply;
    case http::Precondition::kProceed:
      break;
  }
  if (request.method() != http::Method::kGet || !request.Has(http::HeaderId::kRange)) return reply;
  if (!http::RangeApplies(request, validators, now_s)) return reply;
  const http::RangeSet ranges =
      http::ParseRange(*request.Find(http::HeaderId::kRange), object.body_size());
  if (ranges.kind == http::RangeSet::Kind::kUnsatisfiable) reply.kind = Reply::Kind::kUnsatisfiable;
  // Several ranges of a cached answer: the whole is correct, and simpler for everyone.
  if (ranges.kind == http::RangeSet::Kind::kPartial && ranges.count == 1) {
    reply.kind = Reply::Kind::kPartial;
    reply.range = ranges.ranges[0];
  }
  return reply;
}

}  // namespace catzilla::cache
