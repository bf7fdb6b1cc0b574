#include "sidecar/files/answer.h"

#include <algorithm>
#include <charconv>

#include "sidecar/base/check.h"
#include "sidecar/files/byteranges.h"
#include "sidecar/files/codings.h"
#include "sidecar/files/path.h"
#include "sidecar/http/conditional.h"
#include "sidecar/http/range.h"
#include "sidecar/http/status.h"

namespace catzilla::files {

namespace {

constexpr std::string_view kAllowLine = "Allow: GET, HEAD, OPTIONS\r\n";

void AppendNumber(uint64_t number, std::string& out) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  out.append(digits, end);
}

Answer OnlyStatus(uint16_t status, std::string_view fields = {}) {
  Answer answer;
  answer.status = status;
  answer.fields = fields;
  return answer;
}

Answer Whole(Entry& entry, bool is_head) {
  Answer answer;
  answer.status = 200;
  answer.entry = &entry;
  answer.head = entry.head_200();
  answer.date_offset = entry.date_offset_200();
  answer.contiguous = true;
  if (is_head) return answer;
  answer.body_bytes = entry.size();
  if (entry.in_memory()) {
    answer.body = entry.body();
  } else {
    answer.contiguous = false;
    answer.fd = entry.fd();
  }
  return answer;
}

Answer NotModified(Entry& entry) {
  Answer answer;
  answer.status = 304;
  answer.entry = &entry;
  answer.head = entry.head_304();
  answer.date_offset = entry.date_offset_304();
  answer.contiguous = true;
  return answer;
}

Answer Part(Entry& entry, const http::ByteRange& range, std::string& scratch) {
  char text[http::kContentRangeBytesMax];
  const size_t text_bytes = http::WriteContentRange(range, entry.size(), text);
  scratch.assign(entry.head_206());
  scratch.append("Content-Range: ").append(text, text_bytes).append("\r\nContent-Length: ");
  AppendNumber(range.length, scratch);
  scratch.append("\r\n\r\n");

  Answer answer;
  answer.status = 206;
  answer.entry = &entry;
  answer.head = std::string_view(scratch).substr(0, scratch.size() - 2);
  answer.date_offset = entry.date_offset_206();
  answer.offset = range.first;
  answer.body_bytes = range.length;
  if (entry.in_memory()) {
    answer.body = entry.body().substr(range.first, range.length);
  } else {
    answer.fd = entry.fd();
  }
  return answer;
}

Answer Unsatisfiable(const Entry& entry, std::string& scratch) {
  char text[http::kContentRangeBytesMax];
  const size_t text_bytes = http::WriteUnsatisfiedRange(entry.size(), text);
  scratch.assign("Content-Range: ").append(text, text_bytes).append("\r\n");
  if (entry.varies()) scratch.append("Vary: Accept-Encoding\r\n");
  return OnlyStatus(416, scratch);
}

bool HasPreconditions(const http::RequestHead& request) {
  using http::HeaderId;
  return request.Has(HeaderId::kIfNoneMatch) || request.Has(HeaderId::kIfModifiedSince) ||
         request.Has(HeaderId::kIfMatch) || request.Has(HeaderId::kIfUnmodifiedSince);
}

Answer RespondFromFile(Entry& entry, const http::RequestHead& request, int64_t now_s,
                       AnswerScratch& scratch) {
  const http::Validators validators{entry.etag(), entry.last_modified_s()};
  if (HasPreconditions(request)) {
    switch (http::JudgePreconditions(request, validators, now_s)) {
      case http::Precondition::kProceed:
        break;
      case http::Precondition::kNotModified:
        return NotModified(entry);
      case http::Precondition::kFailed:
        return OnlyStatus(412);
    }
  }
  const bool is_get = request.method() == http::Method::kGet;
  // Two Range lines are no list of ranges: nobody knows which is meant.
  if (is_get && entry.ranges() && request.Has(http::HeaderId::kRange) &&
      request.Count(http::HeaderId::kRange) == 1 &&
      http::RangeApplies(request, validators, now_s)) {
    const http::RangeSet set =
        http::ParseRange(*request.Find(http::HeaderId::kRange), entry.size());
    if (set.kind == http::RangeSet::Kind::kUnsatisfiable) return Unsatisfiable(entry, scratch.text);
    if (set.kind == http::RangeSet::Kind::kPartial) {
      if (set.count == 1) return Part(entry, set.ranges[0], scratch.text);
      // A server may ignore a Range (RFC 9110 section 14.2) that would cost more than the whole.
      if (Answer answer; RespondWithParts(entry, set, scratch, &answer)) return answer;
    }
  }
  return Whole(entry, !is_get);
}

}  // namespace

Answer RespondToMethod(http::Method method) {
  if (method == http::Method::kGet || method == http::Method::kHead) return {};
  return OnlyStatus(method == http::Method::kOptions ? 204 : 405, kAllowLine);
}

Answer Respond(Entry& entry, const http::RequestHead& request, std::string_view path,
               const base::Now& now, AnswerScratch& scratch) {
  CATZILLA_CHECK(request.method() == http::Method::kGet || request.method() == http::Method::kHead,
                 "a file was asked for by another method than GET and HEAD");
  switch (entry.kind()) {
    case EntryKind::kFile:
      return RespondFromFile(SelectVariant(entry, request), request, now.wall_s(), scratch);
    case EntryKind::kDirectory:
      scratch.text.clear();
      AppendSlashLocation(path, request.query_with_mark(), scratch.text);
      return OnlyStatus(301, scratch.text);
    case EntryKind::kNegative:
      break;
  }
  return OnlyStatus(entry.negative_status());
}

Answer RespondWhole(Entry& entry, const http::RequestHead& request) {
  return Whole(SelectVariant(entry, request), request.method() == http::Method::kHead);
}

Answer RespondWithPage(Entry& entry, const http::RequestHead& request, uint16_t status,
                       std::string& scratch) {
  constexpr std::string_view kLeftOut[] = {
      "ETag:", "Last-Modified:", "Accept-Ranges:", "Cache-Control:"};
  Entry& variant = SelectVariant(entry, request);
  Answer answer = Whole(variant, request.method() == http::Method::kHead);
  scratch.assign(http::StatusLine(status));
  std::string_view lines = variant.head_200();
  lines.remove_prefix(lines.find('\n') + 1);
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n') + 1);
    lines.remove_prefix(line.size());
    if (line.starts_with("Date:")) {
      answer.date_offset =
          static_cast<uint32_t>(scratch.size() + std::string_view("Date: ").size());
    }
    if (std::none_of(std::begin(kLeftOut), std::end(kLeftOut),
                     [&](std::string_view name) { return line.starts_with(name); })) {
      scratch.append(line);
    }
  }
  answer.status = status;
  answer.head = scratch;
  answer.contiguous = false;
  return answer;
}

void AppendSlashLocation(std::string_view path, std::string_view query, std::string& out) {
  out.append("Location: /");
  // One slash in front: "//host/" would be another server's.
  while (!path.empty() && path[0] == '/') path.remove_prefix(1);
  AppendEscapedPath(path, out);
  out.push_back('/');
  for (const char c : query) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f) out.push_back(c);
  }
  out.append("\r\n");
}

}  // namespace catzilla::files
