#include "sidecar/exchange/responder.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "sidecar/exchange/handed_file.h"
#include "sidecar/exchange/request_fields.h"
#include "sidecar/exchange/trailers.h"
#include "sidecar/http/error_page.h"
#include "sidecar/http/list.h"
#include "sidecar/http/text.h"

namespace catzilla::exchange {
namespace {

using http::OutputQueue;
using http::ResponseFraming;

constexpr size_t kFieldOverhead = 4;  // ": " and CRLF.

// What one answer's head is written into: a chunk of the output, or memory of its own for what does
// not fit one.
class HeadRoom {
 public:
  HeadRoom(OutputQueue& output, size_t bytes)
      : output_(output),
        large_(bytes <= OutputQueue::kChunkBytes ? nullptr : new char[bytes]),
        out_(large_ == nullptr ? output.Reserve(bytes) : large_.get(), bytes) {}

  http::ResponseWriter& out() { return out_; }
  // The empty line, and the head is in the output. False: it did not fit; nothing was added.
  bool Finish() {
    if (!out_.End()) return false;
    if (large_ == nullptr) {
      output_.Commit(out_.size());
    } else {
      output_.Append(out_.bytes());
    }
    return true;
  }

 private:
  OutputQueue& output_;
  const std::unique_ptr<char[]> large_;
  http::ResponseWriter out_;
};

// Whether a head, or its lines, has a field of this name (in lower case).
bool HasLine(std::string_view head, std::string_view lower_name) {
  for (size_t begin = 0; begin < head.size();) {
    const std::string_view line = head.substr(begin);
    if (line.size() > lower_name.size() && line[lower_name.size()] == ':' &&
        http::EqualsLower(line.substr(0, lower_name.size()), lower_name)) {
      return true;
    }
    const size_t end = line.find('\n');
    if (end == std::string_view::npos) return false;
    begin += end + 1;
  }
  return false;
}

bool NamesClose(std::string_view connection) {
  http::ListItems items(connection);
  for (std::string_view item; items.Next(&item);) {
    if (http::EqualsIgnoringCase(item, "close")) return true;
  }
  return false;
}

size_t BytesOf(const origin::ResponseHead& head) {
  size_t bytes = 0;
  for (const http::Field& field : head.fields) {
    bytes += field.name.size() + field.value.size() + kFieldOverhead;
  }
  return bytes;
}

}  // namespace

// What of ours an answer does not say already.
struct Responder::Own {
  bool date = true;
  bool server = true;
  bool id = true;
};

// What an app's fields say that concerns us.
struct Responder::AppFields {
  std::optional<uint64_t> length;
  Own own;
  bool close = false;
};

bool RequestBody::MaySkip(const http::RequestHead& request) const {
  if (complete) return true;
  if (request.expect_continue()) return false;
  return request.body_kind() == http::BodyKind::kLength ? request.content_length() <= kSkippedMax
                                                        : bytes_max <= kSkippedMax;
}

void Responder::Begin(Context& context, Client& client, const http::RequestHead& request,
                      RequestFacts& facts, const RequestBody& body, ExchangeRecord& record,
                      bool last) {
  context_ = &context;
  client_ = &client;
  request_ = &request;
  facts_ = &facts;
  request_body_ = &body;
  record_ = &record;
  body_left_ = rate_limit_ = 0;
  framing_ = ResponseFraming::kNone;
  close_ = last || !request.keep_alive();
  head_written_ = sends_file_ = wants_room_ = false;
  if (!trailers_.empty()) std::string().swap(trailers_);
}

void Responder::HeadWritten(uint16_t status) {
  head_written_ = true;
  record_->status = status;
}

void Responder::WriteDate(http::ResponseWriter& out) {
  out.Date(context_->date.Get(context_->now().wall_s()));
}

void Responder::WriteServer(http::ResponseWriter& out) {
  const std::string& server = context_->plan->snapshot->server_name;
  if (!server.empty()) out.Field("Server", server);
}

void Responder::WriteConnection(http::ResponseWriter& out) {
  out.Connection(!close_, request_->minor_version());
}

void Responder::WriteId(http::ResponseWriter& out) {
  if (!facts_->id().empty()) out.Field("X-Request-Id", facts_->id());
}

// How the body will be framed, and how much of it there must be.
void Responder::Promise(uint16_t status, std::optional<uint64_t> length) {
  framing_ =
      http::FramingOf(request_->method(), request_->minor_version(), status, length.has_value());
  if (framing_ == ResponseFraming::kClose) close_ = true;
  body_left_ = length.value_or(UINT64_MAX);
}

void Responder::Inform(const origin::ResponseHead& informational) {
  if (head_written_ || request_->minor_version() == 0) return;
  // No window bounds them, and nobody needs them: a client that does not read gets none.
  if (client_->output().pending_bytes() >= kOutputMark) return;
  HeadRoom room(client_->output(), BytesOf(informational) + kOwnBytesMax);
  room.out().Status(informational.status);
  for (const http::Field& field : informational.fields) room.out().Field(field.name, field.value);
  room.Finish();
}

void Responder::Continue() {
  if (!head_written_) client_->output().Append(http::kContinue);
}

void Responder::Refuse(const Refusal& refusal, bool as_fastapi) {
  close_ = close_ || !request_body_->MaySkip(*request_);
  facts_->TakeId();
  const http::ErrorFormat format = http::ChooseErrorFormat(request_);
  // FastAPI's own 404 and 405 are JSON for everyone; other errors of its routes for who takes JSON.
  const bool as_json = as_fastapi && (refusal.status == 404 || refusal.status == 405 ||
                                      format == http::ErrorFormat::kJson);
  const bool has_body = http::StatusHasBody(refusal.status);
  const std::string_view page = has_body ? Page(refusal, as_json, format) : std::string_view();
  OutputQueue& output = client_->output();
  HeadRoom room(output, refusal.fields.size() + kOwnBytesMax);
  http::ResponseWriter& out = room.out();
  out.Status(refusal.status);
  WriteDate(out);
  WriteServer(out);
  WriteConnection(out);
  out.Lines(refusal.fields);
  if (has_body) {
    out.Field("Content-Type", as_json ? "application/json" : http::ContentTypeOf(format));
    out.Field("Content-Length", uint64_t{page.size()});
  }
  if (refusal.status == 503) out.Field("Retry-After", uint64_t{refusal.retry_after_s});
  WriteId(out);
  room.Finish();
  if (has_body && request_->method() != http::Method::kHead) {
    output.Append(page);
    record_->body_bytes = page.size();
  }
  HeadWritten(refusal.status);
}

std::string_view Responder::Page(const Refusal& refusal, bool as_json, http::ErrorFormat format) {
  std::string& page = context_->scratch;
  page.clear();
  if (as_json) {
    page.append(R"({"detail":")").append(http::ReasonPhrase(refusal.status)).append("\"}");
    return page;
  }
  const bool tells = context_->plan->snapshot->development;
  http::AppendErrorPage(format, refusal.status, tells ? refusal.cause : std::string_view(),
                        facts_->id(), page);
  return page;
}

// The common case is one copy: head, empty line and a small body lie in one run.
void Responder::SendFile(const files::Answer& answer, std::string_view extra, uint64_t rate_limit) {
  close_ = close_ || !request_body_->MaySkip(*request_);
  facts_->TakeId();
  char own[512];
  http::ResponseWriter own_lines(own, sizeof(own));
  WriteConnection(own_lines);
  WriteId(own_lines);
  own_lines.Lines(extra);

  const bool is_small =
      answer.fd < 0 && answer.parts.empty() && answer.body.size() <= OutputQueue::kCopyBytesMax;
  const bool whole = is_small && answer.contiguous && own_lines.size() == 0;
  const std::string_view run = whole ? answer.wire() : answer.head;
  const std::string_view body = is_small && !whole ? answer.body : std::string_view();
  OutputQueue& output = client_->output();
  const size_t needed = run.size() + own_lines.size() + 2 + body.size();
  // An app's fields on a file may be many.
  const std::unique_ptr<char[]> large(needed <= OutputQueue::kChunkBytes ? nullptr
                                                                         : new char[needed]);
  char* const room = large == nullptr ? output.Reserve(needed) : large.get();
  char* next = room;
  const auto add = [&](std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(next, bytes.data(), bytes.size());
    next += bytes.size();
  };
  add(run);
  const std::string_view date = context_->date.Get(context_->now().wall_s());
  std::memcpy(room + answer.date_offset, date.data(), date.size());
  if (!whole) {
    add(own_lines.bytes());
    add("\r\n");
    add(body);
  }
  const auto bytes = static_cast<size_t>(next - room);
  if (large == nullptr) {
    output.Commit(bytes);
  } else {
    output.Append({room, bytes});
  }
  if (!is_small && answer.body_bytes > 0) AppendFile(answer);
  if (answer.body_bytes > 0) rate_limit_ = rate_limit;
  record_->body_bytes = answer.body_bytes;
  HeadWritten(answer.status);
}

void Responder::AppendFile(const files::Answer& answer) {
  OutputQueue& output = client_->output();
  const auto add = [&](std::string_view body, uint64_t offset, uint64_t bytes) {
    if (answer.fd < 0) {
      output.AppendShared(body, base::Ref<base::Owner>(answer.entry));
    } else {
      output.AppendFile({answer.fd, offset, bytes}, base::Ref<http::SentFile>(answer.entry));
    }
  };
  sends_file_ = answer.fd >= 0;
  if (answer.parts.empty()) add(answer.body, answer.offset, answer.body_bytes);
  for (const files::AnswerPart& part : answer.parts) {
    output.Append(part.lines);
    add(part.body, part.offset, part.file_bytes);
  }
}

bool Responder::SendApp(const origin::ResponseHead& response, std::string_view extra) {
  AppFields seen;
  for (const http::Field& field : response.fields) {
    if (field.name == "content-length") {
      uint64_t value = 0;  // The link lets no other than one sound length through.
      if (http::ParseDecimal(field.value, &value)) seen.length = value;
    } else if (field.name == "date") {
      seen.own.date = false;
    } else if (field.name == "server") {
      seen.own.server = false;
    } else if (field.name == "x-request-id") {
      seen.own.id = false;
    } else if (field.name == "connection") {
      seen.close = seen.close || NamesClose(field.value);
    }
  }
  if (!seen.length.has_value() && response.complete) seen.length = response.body.size();
  close_ = close_ || seen.close || !request_body_->complete;
  Promise(response.status, seen.length);
  facts_->TakeId();
  HeadRoom room(client_->output(), BytesOf(response) + extra.size() + kOwnBytesMax);
  WriteAppHead(response, seen, extra, room.out());
  if (!room.Finish()) {
    record_->cause = "answer_head_too_large";
    return false;
  }
  HeadWritten(response.status);
  return true;
}

void Responder::WriteAppHead(const origin::ResponseHead& response, const AppFields& seen,
                             std::string_view extra, http::ResponseWriter& out) {
  out.Status(response.status);
  if (seen.own.date) WriteDate(out);
  if (seen.own.server) WriteServer(out);
  WriteConnection(out);
  // Said once, however often the app said it; also where it only tells (HEAD, 304).
  const bool tells = http::StatusHasBody(response.status) || response.status == 304;
  bool told = false;
  const bool hides = !context_->plan->internal_mounts.empty();
  for (const http::Field& field : response.fields) {
    if (IsConnectionField(field.name)) continue;
    if (hides && IsHandOverField(field.name)) continue;
    if (field.name == "content-length" && (!tells || std::exchange(told, true))) continue;
    out.Field(field.name, field.value);
  }
  if (framing_ == ResponseFraming::kLength && !told) {
    out.Field("Content-Length", uint64_t{response.body.size()});
  }
  if (framing_ == ResponseFraming::kChunked) out.Field("Transfer-Encoding", "chunked");
  out.Lines(extra);
  if (seen.own.id) WriteId(out);
}

bool Responder::SwitchProtocols(const origin::ResponseHead& head, std::string_view lines) {
  bool date = true;
  bool server = true;
  bool id = true;
  for (const http::Field& field : head.fields) {
    date = date && field.name != "date";
    server = server && field.name != "server";
    id = id && field.name != "x-request-id";
  }
  facts_->TakeId();
  HeadRoom room(client_->output(), BytesOf(head) + lines.size() + kOwnBytesMax);
  http::ResponseWriter& out = room.out();
  out.Status(101);
  if (date) WriteDate(out);
  if (server) WriteServer(out);
  out.Lines(lines);
  const bool hides = !context_->plan->internal_mounts.empty();
  for (const http::Field& field : head.fields) {
    // What only the handshake itself may say, and a length that there is none of.
    if (IsConnectionField(field.name) || (hides && IsHandOverField(field.name)) ||
        field.name == "sec-websocket-accept" || field.name == "sec-websocket-extensions" ||
        field.name == "content-length") {
      continue;
    }
    out.Field(field.name, field.value);
  }
  if (id) WriteId(out);
  if (!room.Finish()) {
    record_->cause = "answer_head_too_large";
    return false;
  }
  close_ = true;
  HeadWritten(101);
  return true;
}

void Responder::SendStored(const StoredHead& head) {
  close_ = close_ || !request_body_->complete;
  Promise(head.status, head.length);
  // It was made for somebody else: as any other answer it names the server and the request, unless
  // the app has done so itself.
  facts_->NameRequest(*context_);
  const std::string_view kept = head.fields.empty() ? head.line : head.fields;
  char own[1024];
  http::ResponseWriter lines(own, sizeof(own));
  // A 204 has none (RFC 9110 section 8.6).
  const bool tells = head.tells_length && http::StatusHasBody(head.status);
  if (tells && head.length.has_value()) lines.Field("Content-Length", *head.length);
  if (framing_ == ResponseFraming::kChunked) lines.Field("Transfer-Encoding", "chunked");
  WriteConnection(lines);
  if (!HasLine(kept, "server")) WriteServer(lines);
  if (!HasLine(kept, "x-request-id")) WriteId(lines);
  OutputQueue& output = client_->output();
  output.Append(head.line);
  output.Append(head.fields);
  output.Append(head.extra);
  output.Append(lines.bytes());
  output.Append("\r\n");
  HeadWritten(head.status);
}

void Responder::Body(std::string_view bytes, base::Ref<base::Owner> owner) {
  bytes = CutToPromise(bytes);
  if (bytes.empty()) return;
  OutputQueue& output = client_->output();
  const bool chunked = framing_ == ResponseFraming::kChunked;
  if (chunked) {
    char* room = output.Reserve(http::kChunkHeadBytesMax);
    output.Commit(http::WriteChunkHead(bytes.size(), room));
  }
  if (owner) {
    output.AppendShared(bytes, std::move(owner));
  } else {
    output.Append(bytes);
  }
  if (chunked) output.Append(http::kChunkEnd);
  record_->body_bytes += bytes.size();
}

void Responder::File(const OutputQueue::FilePiece& piece, base::Ref<http::SentFile> file) {
  OutputQueue::FilePiece part = piece;
  if (framing_ == ResponseFraming::kNone) return;
  if (framing_ == ResponseFraming::kLength) {
    if (part.length > body_left_) record_->cause = "answer_longer_than_its_length";
    part.length = std::min(part.length, body_left_);
    body_left_ -= part.length;
  }
  if (part.length == 0) return;
  OutputQueue& output = client_->output();
  const bool chunked = framing_ == ResponseFraming::kChunked;
  if (chunked) {
    char* room = output.Reserve(http::kChunkHeadBytesMax);
    output.Commit(http::WriteChunkHead(part.length, room));
  }
  output.AppendFile(part, std::move(file));
  if (chunked) output.Append(http::kChunkEnd);
  record_->body_bytes += part.length;
  sends_file_ = true;
}

void Responder::Trailers(http::Fields fields) {
  if (framing_ != ResponseFraming::kChunked || !TakesTrailers(*request_)) return;
  for (const http::Field& field : fields) {
    if (MayTrail(field.name)) {
      trailers_.append(field.name).append(": ").append(field.value).append("\r\n");
    }
  }
}

// As much as the promised length has room for: more would be read as the next answer.
std::string_view Responder::CutToPromise(std::string_view bytes) {
  if (framing_ == ResponseFraming::kNone) return {};
  if (framing_ != ResponseFraming::kLength) return bytes;
  if (bytes.size() > body_left_) record_->cause = "answer_longer_than_its_length";
  bytes = bytes.substr(0, body_left_);
  body_left_ -= bytes.size();
  return bytes;
}

void Responder::EndBody() {
  if (framing_ == ResponseFraming::kChunked) {
    std::string_view last = http::kLastChunk;
    if (!trailers_.empty()) {  // Between the last chunk's own line and the empty one.
      client_->output().Append(last.substr(0, last.size() - 2));
      client_->output().Append(trailers_);
      last.remove_prefix(last.size() - 2);
    }
    client_->output().Append(last);
  }
  // Less than was promised: the client must not take it for the whole.
  if (framing_ == ResponseFraming::kLength && body_left_ > 0) {
    record_->end = End::kBroken;
    record_->cause = "answer_shorter_than_its_length";
  }
}

bool Responder::Room() {
  wants_room_ = client_->output().pending_bytes() >= kOutputMark;
  return !wants_room_;
}

size_t WriteBareRefusal(Context& context, uint16_t status, bool with_page,
                        std::span<char, kBareRefusalBytes> out) {
  std::string page;
  http::AppendErrorPage(http::ErrorFormat::kJson, status, "", "", page);
  http::ResponseWriter head(out.data(), out.size());
  head.Status(status);
  head.Date(context.date.Get(context.now().wall_s()));
  const std::string& server_name = context.plan->snapshot->server_name;
  if (!server_name.empty()) head.Field("Server", server_name);
  head.Connection(false, 1);
  if (status == 503) head.Field("Retry-After", uint64_t{1});
  head.Field("Content-Type", http::ContentTypeOf(http::ErrorFormat::kJson));
  head.Field("Content-Length", uint64_t{page.size()});
  head.Lines("\r\n");
  if (with_page) head.Lines(page);
  return head.size();
}

}  // namespace catzilla::exchange
