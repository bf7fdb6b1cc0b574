#include "sidecar/cache/record.h"

#include <algorithm>

#include "sidecar/cache/key.h"
#include "sidecar/http/header_id.h"
#include "sidecar/http/http_date.h"
#include "sidecar/http/response_head.h"

namespace catzilla::cache {
namespace {

bool IsRepeatedIn304(http::HeaderId id) {
  using http::HeaderId;
  return id == HeaderId::kCacheControl || id == HeaderId::kContentLocation ||
         id == HeaderId::kDate || id == HeaderId::kEtag || id == HeaderId::kExpires ||
         id == HeaderId::kVary;
}

// "Surrogate-Key: a b", "Cache-Tag: a, b"; a tag said twice counts once.
void ReadTags(Fields fields, std::vector<std::string>* tags) {
  auto add = [&](std::string_view tag) {
    if (std::find(tags->begin(), tags->end(), tag) == tags->end()) tags->emplace_back(tag);
  };
  ForEachElement(fields, "cache-tag", add);
  for (const Field& field : fields) {
    if (!http::EqualsLower(field.name, "surrogate-key")) continue;
    std::string_view rest = http::Trim(field.value);
    while (!rest.empty()) {
      const size_t end = std::min(rest.find_first_of(" \t"), rest.size());
      add(rest.substr(0, end));
      rest = http::Trim(rest.substr(end));
    }
  }
}

void AppendLine(std::string_view name, std::string_view value, std::string* out) {
  out->append(name).append(": ").append(value).append("\r\n");
}

void Serialise(const ResponseView& response, int64_t wall_s, Record* record) {
  bool has_date = false;
  for (const Field& field : response.fields) {
    const http::HeaderId id = http::FindHeaderId(field.name);
    if (id == http::HeaderId::kContentLength) {
      uint64_t length = 0;
      if (http::ParseDecimal(field.value, &length)) record->content_length = length;
      continue;
    }
    if (id == http::HeaderId::kAge || IsHopByHop(field.name, response.fields)) continue;
    // What could split the answer is left out; the worker room logs it.
    if (!http::IsSafeField(field.name, field.value)) continue;
    has_date = has_date || id == http::HeaderId::kDate;
    AppendLine(field.name, field.value, &record->fields);
    if (IsRepeatedIn304(id)) AppendLine(field.name, field.value, &record->fields_304);
  }
  if (!has_date) {  // RFC 9110 6.6.1: who keeps it notes when it came.
    const std::string date = http::FormatHttpDate(wall_s);
    AppendLine("Date", date, &record->fields);
    AppendLine("Date", date, &record->fields_304);
  }
}

}  // namespace

bool IsHopByHop(std::string_view name, Fields message) {
  if (http::IsHopByHop(http::FindHeaderId(name))) return true;
  bool listed = false;
  ForEachElement(message, "connection", [&](std::string_view other) {
    listed = listed || http::EqualsIgnoringCase(name, other);
  });
  return listed;
}

std::vector<Field> ParseFields(std::string_view fields) {
  std::vector<Field> parsed;
  while (!fields.empty()) {
    const size_t end = fields.find("\r\n");
    const std::string_view line = fields.substr(0, end);
    const size_t colon = line.find(": ");
    parsed.push_back({line.substr(0, colon), line.substr(colon + 2)});
    fields.remove_prefix(end + 2);
  }
  return parsed;
}

Record MakeRecord(const RequestView& request, const ResponseView& response,
                  const RecordPolicy& policy, const ExchangeTimes& times) {
  Record record;
  record.status = response.status;
  const Storability storability = Storable(request, response, policy.storage, times);
  record.reason = storability.reason;
  if (!storability.storable) return record;
  record.freshness = storability.freshness;

  std::optional<std::string> vary = EncodeVary(response.fields, request.head);
  if (!vary) {
    record.reason = "vary too large";
    return record;
  }
  record.vary = *std::move(vary);
  record.tags = policy.route_tags;
  ReadTags(response.fields, &record.tags);
  if (record.tags.size() > policy.tags_max) {
    record.reason = "too many tags";
    return record;
  }
  record.status_line = http::StatusLine(static_cast<uint16_t>(response.status));
  if (record.status_line.empty()) {
    record.status_line = "HTTP/1.1 " + std::to_string(response.status) + " \r\n";
  }
  Serialise(response, times.response_wall_s, &record);
  if (const Field* etag = FindField(response.fields, "etag")) record.etag = etag->value;
  if (const Field* modified = FindField(response.fields, "last-modified")) {
    record.last_modified_s =
        http::ParseHttpDate(modified->value, times.response_wall_s).value_or(-1);
  }
  record.storable = true;
  return record;
}

}  // namespace catzilla::cache
