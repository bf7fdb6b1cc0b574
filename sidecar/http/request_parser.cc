#include "sidecar/http/request_parser.h"

#include <llhttp.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "sidecar/base/check.h"
#include "sidecar/http/head_analysis.h"

namespace catzilla::http {
namespace {

struct ErrorFacts {
  uint16_t status;
  std::string_view name;
};
constexpr ErrorFacts kErrorFacts[] = {
#define CATZILLA_PARSE_ERROR_FACTS(identifier, status, name) {status, name},
    CATZILLA_PARSE_ERROR_LIST(CATZILLA_PARSE_ERROR_FACTS)
#undef CATZILLA_PARSE_ERROR_FACTS
};
static_assert(std::size(kErrorFacts) == static_cast<size_t>(ParseError::kCount));

// Longer ones are nobody's, and would leave a line of the access log no room for the rest.
constexpr size_t kMethodBytesMax = 64;

// A buffer that a large head has grown is not kept at that size.
constexpr uint32_t kKeptBytesMax = 16 * 1024;

}  // namespace

uint16_t StatusOf(ParseError error) { return kErrorFacts[static_cast<size_t>(error)].status; }
std::string_view NameOf(ParseError error) { return kErrorFacts[static_cast<size_t>(error)].name; }

// What llhttp reports while it reads a head: spans, kept as offsets from the head's base.
struct RequestParser::Callbacks {
  static HeadBuffer& Buffer(llhttp_t* parser) { return *static_cast<HeadBuffer*>(parser->data); }
  static llhttp_t* Llhttp(HeadBuffer& buffer) {
    return std::launder(reinterpret_cast<llhttp_t*>(buffer.llhttp_));
  }

  static int OnUrl(llhttp_t* parser, const char* at, size_t length) {
    RequestHead& head = Buffer(parser).head_;
    const auto offset = static_cast<uint32_t>(at - head.base_);
    if (head.target_length_ == 0) head.target_offset_ = offset;
    head.target_length_ = offset + static_cast<uint32_t>(length) - head.target_offset_;
    return HPE_OK;
  }

  // Counted when a name is known to be one, at its colon: before it the name itself may be refused,
  // and the answer must not depend on where the reads were cut.
  static bool TooMany(HeadBuffer& buffer) {
    const size_t most = std::min<size_t>(buffer.limits_.fields_max, RequestHead::kFieldsMax);
    if (buffer.head_.field_count_ <= most) return false;
    buffer.error_ = ParseError::kTooManyFields;
    return true;
  }

  // A name or value that reaches over two reads comes in two spans.
  static int OnName(llhttp_t* parser, const char* at, size_t length) {
    HeadBuffer& buffer = Buffer(parser);
    RequestHead& head = buffer.head_;
    const auto offset = static_cast<uint32_t>(at - head.base_);
    const auto end = offset + static_cast<uint32_t>(length);
    if (!buffer.in_value_ && head.field_count_ > 0) {
      HeaderField& field = head.fields_[head.field_count_ - 1];
      if (offset == field.name_offset + field.name_length) {
        field.name_length = end - field.name_offset;
        field.value_offset = end;
        return HPE_OK;
      }
    }
    if (TooMany(buffer)) return HPE_USER;
    head.fields_[head.field_count_++] = {offset, end - offset, end, 0, HeaderId::kOther};
    buffer.in_value_ = false;
    return HPE_OK;
  }

  static int OnValue(llhttp_t* parser, const char* at, size_t length) {
    HeadBuffer& buffer = Buffer(parser);
    RequestHead& head = buffer.head_;
    const auto offset = static_cast<uint32_t>(at - head.base_);
    HeaderField& field = head.fields_[head.field_count_ - 1];
    if (!buffer.in_value_) {
      if (TooMany(buffer)) return HPE_USER;
      field.value_offset = offset;
      field.value_length = static_cast<uint32_t>(length);
      buffer.in_value_ = true;
      return HPE_OK;
    }
    if (offset != field.value_offset + field.value_length) {
      buffer.error_ = ParseError::kField;  // Folded.
      return HPE_USER;
    }
    field.value_length += static_cast<uint32_t>(length);
    return HPE_OK;
  }

  // The rest, the body, is ours: llhttp stops here and starts anew with the next request.
  static int OnComplete(llhttp_t* parser) {
    HeadBuffer& buffer = Buffer(parser);
    if (TooMany(buffer)) return HPE_USER;
    buffer.complete_ = true;
    return HPE_PAUSED;
  }

  static const llhttp_settings_t& Settings() {
    static const llhttp_settings_t settings = [] {
      llhttp_settings_t made;
      llhttp_settings_init(&made);
      made.on_url = &OnUrl;
      made.on_header_field = &OnName;
      made.on_header_value = &OnValue;
      made.on_headers_complete = &OnComplete;
      return made;
    }();
    return settings;
  }
};

HeadBuffer::HeadBuffer() {
  static_assert(sizeof(llhttp_t) <= sizeof(llhttp_) && alignof(llhttp_t) <= 8);
  new (llhttp_) llhttp_t;
}

std::unique_ptr<HeadBuffer> HeadPool::Take() {
  if (kept_.empty()) return std::make_unique<HeadBuffer>();
  std::unique_ptr<HeadBuffer> buffer = std::move(kept_.back());
  kept_.pop_back();
  return buffer;
}

void HeadPool::Give(std::unique_ptr<HeadBuffer> buffer) {
  if (buffer == nullptr || kept_.size() >= kept_max_ || buffer->head_.compact_) return;
  if (buffer->head_.owned_capacity_ > kKeptBytesMax) {
    buffer->head_.owned_.reset();
    buffer->head_.owned_capacity_ = 0;
  }
  kept_.push_back(std::move(buffer));
}

// The events...

void RequestParser::Begin(HeadBuffer* buffer, const HeadLimits& limits) {
  CATZILLA_CHECK(state_ == State::kBetween, "a head buffer was lent in the middle of a request");
  llhttp_t* const llhttp = Callbacks::Llhttp(*buffer);
  llhttp_init(llhttp, HTTP_REQUEST, &Callbacks::Settings());
  llhttp->data = buffer;
  buffer->limits_ = limits;
  buffer->in_value_ = buffer->complete_ = buffer->line_done_ = buffer->method_done_ = false;
  buffer->error_ = ParseError::kNone;
  RequestHead& head = buffer->head_;
  head.base_ = nullptr;
  head.length_ = head.target_offset_ = head.target_length_ = head.field_count_ = 0;
  buffer_ = buffer;
  is_head_request_ = false;
  body_room_ = UINT64_MAX;
}

RequestParser::Step RequestParser::Next(std::string_view input) {
  switch (state_) {
    case State::kBetween:
    case State::kHead:
      return ParseHead(input);
    case State::kBody:
      return ParseBody(input);
    case State::kChunks:
      return ParseChunks(input);
    case State::kEnd:
      state_ = State::kBetween;
      return {Event::kEnd, 0, {}, 0, ParseError::kNone};
    case State::kFailed:
      break;
  }
  return Fail(error_, 0);
}

RequestParser::Step RequestParser::Fail(ParseError error, size_t consumed) {
  state_ = State::kFailed;
  error_ = error;
  return {Event::kError, consumed, {}, StatusOf(error), error};
}

// The head...

// RFC 9112 section 2.2: one empty line before a request line is forgiven, old clients send it after
// a body. A second one, or a bare CR or LF, is not.
size_t RequestParser::SkipEmptyLine(std::string_view input) {
  size_t skipped = 0;
  while (skipped < input.size()) {
    const char c = input[skipped];
    const bool expected = (empty_line_ == 0 && c == '\r') || (empty_line_ == 1 && c == '\n');
    if (!expected) {
      if (empty_line_ == 1 || c == '\r' || c == '\n') error_ = ParseError::kSyntax;
      break;
    }
    ++empty_line_;
    ++skipped;
  }
  return skipped;
}

RequestParser::Step RequestParser::ParseHead(std::string_view input) {
  CATZILLA_CHECK(buffer_ != nullptr, "Begin() was not called for this request");
  size_t used = 0;
  if (state_ == State::kBetween) {
    used = SkipEmptyLine(input);
    if (error_ != ParseError::kNone) return Fail(error_, used);
    if (used == input.size()) return {Event::kNeedMore, used, {}, 0, ParseError::kNone};
    state_ = State::kHead;
  }
  RequestHead& head = buffer_->head_;
  const HeadLimits& limits = buffer_->limits_;
  // The usual head is whole in one read, and stays where it is. Else the reads are put together in
  // the buffer, whose offsets are the same.
  const bool in_place = head.length_ == 0;
  if (in_place) head.base_ = input.data() + used;
  for (;;) {
    const uint32_t bytes_max = buffer_->line_done_
                                   ? limits.head_bytes_max
                                   : std::min(limits.request_line_bytes_max, limits.head_bytes_max);
    const size_t piece = std::min<size_t>(input.size() - used, bytes_max - head.length_);
    if (used == input.size()) {
      if (in_place) head.Pin();
      return {Event::kNeedMore, used, {}, 0, ParseError::kNone};
    }
    if (piece == 0) {
      if (buffer_->line_done_) return Fail(ParseError::kHeadTooLarge, used);
      buffer_->line_done_ = head.bytes().find('\n') != std::string_view::npos;
      if (!buffer_->line_done_) return Fail(ParseError::kRequestLineTooLong, used);
      if (head.length_ >= limits.head_bytes_max) return Fail(ParseError::kHeadTooLarge, used);
      continue;
    }
    if (!in_place) {
      head.Reserve(head.length_ + piece);
      head.base_ = head.owned_.get();
      std::memcpy(head.owned_.get() + head.length_, input.data() + used, piece);
    }
    constexpr size_t kMethodBytes = 5;
    if (head.length_ < kMethodBytes && head.length_ + piece >= kMethodBytes) {
      is_head_request_ = Is({head.base_, kMethodBytes}, "HEAD ");
    }
    // What llhttp has not been given yet: all of the method, until its end has come.
    size_t fed = head.length_;
    if (!buffer_->method_done_ && !FeedMethod(head.length_ + piece, &fed)) {
      if (head.length_ + piece > kMethodBytesMax) return Fail(ParseError::kMethodUnknown, used);
      head.length_ += static_cast<uint32_t>(piece);
      used += piece;
      continue;
    }
    llhttp_t* const llhttp = Callbacks::Llhttp(*buffer_);
    const char* const at = head.base_ + fed;
    const size_t offered = head.length_ + piece - fed;
    const llhttp_errno_t code = llhttp_execute(llhttp, at, offered);
    if (code == HPE_OK) {
      head.length_ += static_cast<uint32_t>(piece);
      used += piece;
      continue;
    }
    const char* const stopped = llhttp_get_error_pos(llhttp);
    if (code != HPE_PAUSED || !buffer_->complete_) return Fail(ErrorOf(code, stopped), used);
    const auto end = static_cast<size_t>(stopped - head.base_);
    const size_t last = end - head.length_;
    head.length_ = static_cast<uint32_t>(end);
    return Complete(used + last);
  }
}

// llhttp refuses methods that are not on its list (RFC 9110 section 9.1 leaves that to the origin).
// To it they are POST: the framing of a request does not depend on its method.
bool RequestParser::FeedMethod(size_t have, size_t* fed) {
  const RequestHead& head = buffer_->head_;
  size_t end = head.length_;
  while (end < have && IsIn(head.base_[end], kTokenChar)) ++end;
  *fed = 0;
  if (end == have || end > kMethodBytesMax) return false;
  buffer_->method_done_ = true;
  const std::string_view method(head.base_, end);
  const bool stands_in = end > 0 && head.base_[end] == ' ' && method != "PRI" &&
                         MethodFromText(method) == Method::kOther;
  if (stands_in && llhttp_execute(Callbacks::Llhttp(*buffer_), "POST", 4) == HPE_OK) *fed = end;
  return true;
}

RequestParser::Step RequestParser::Complete(size_t consumed) {
  const ParseError error = HeadAnalysis(buffer_->head_).Run();
  if (error != ParseError::kNone) return Fail(error, consumed);
  const RequestHead& head = buffer_->head_;
  empty_line_ = 0;
  switch (head.body_kind()) {
    case BodyKind::kNone:
      state_ = State::kBetween;
      break;
    case BodyKind::kLength:
      state_ = State::kBody;
      body_left_ = head.content_length();
      break;
    case BodyKind::kChunked:
      state_ = State::kChunks;
      chunks_.Reset(buffer_->limits_.head_bytes_max);
      break;
  }
  buffer_ = nullptr;
  return {Event::kHead, consumed, {}, 0, ParseError::kNone};
}

// Judged only by bytes up to where llhttp stopped, so that the answer is the same however the head
// is cut into reads.
ParseError RequestParser::ErrorOf(int code, const char* stopped) {
  const RequestHead& head = buffer_->head_;
  const auto seen = static_cast<size_t>(stopped - head.base_);
  const std::string_view text(head.base_, seen);
  if (buffer_->error_ != ParseError::kNone) return buffer_->error_;
  switch (code) {
    case HPE_PAUSED_H2_UPGRADE:
      return ParseError::kHttp2Preface;
    case HPE_INVALID_METHOD:
      // TLS begins with a record type.
      return head.base_[0] == 0x16 ? ParseError::kTlsOnPlainPort : ParseError::kSyntax;
    case HPE_INVALID_CONSTANT: {
      const size_t tail = head.target_offset_ + head.target_length_;
      const bool http = head.target_length_ > 0 && text.substr(std::min(tail, seen), 5) == " HTTP";
      return http ? ParseError::kMethodUnknown : ParseError::kRequestLine;
    }
    case HPE_INVALID_URL:
      return ParseError::kTarget;
    case HPE_INVALID_VERSION: {
      // "2.0" is a version, "x.1" is none, "1.10" is something behind one. llhttp stops behind it.
      const std::string_view version = text.substr(std::max<size_t>(seen, 3) - 3);
      const bool shaped = version.size() == 3 && IsIn(version[0], kDigitChar) &&
                          version[1] == '.' && IsIn(version[2], kDigitChar);
      const bool spoken = version == "1.0" || version == "1.1";
      return shaped && !spoken ? ParseError::kVersion : ParseError::kRequestLine;
    }
    case HPE_INVALID_HEADER_TOKEN:
    case HPE_UNEXPECTED_SPACE:
      return ParseError::kField;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
      return ParseError::kAmbiguousLength;
    case HPE_INVALID_CONTENT_LENGTH:
      return ParseError::kContentLength;
    case HPE_INVALID_TRANSFER_ENCODING:
      return ParseError::kTransferEncoding;
    default:
      return ParseError::kSyntax;
  }
}

// The body...

void RequestParser::LimitBody(uint64_t bytes_max) {
  body_room_ = bytes_max;
  if (state_ == State::kBody && body_left_ > bytes_max) Fail(ParseError::kBodyTooLarge, 0);
}

RequestParser::Step RequestParser::ParseBody(std::string_view input) {
  const size_t bytes = static_cast<size_t>(std::min<uint64_t>(body_left_, input.size()));
  if (bytes == 0) return {Event::kNeedMore, 0, {}, 0, ParseError::kNone};
  body_left_ -= bytes;
  if (body_left_ == 0) state_ = State::kEnd;
  return {Event::kBody, bytes, input.substr(0, bytes), 0, ParseError::kNone};
}

RequestParser::Step RequestParser::ParseChunks(std::string_view input) {
  const ChunkedDecoder::Step step = chunks_.Next(input);
  switch (step.event) {
    case ChunkedDecoder::Event::kNeedMore:
      break;
    case ChunkedDecoder::Event::kData:
      if (step.data.size() > body_room_ || chunks_.chunk_left() > body_room_ - step.data.size()) {
        return Fail(ParseError::kBodyTooLarge, step.consumed);
      }
      body_room_ -= step.data.size();
      return {Event::kBody, step.consumed, step.data, 0, ParseError::kNone};
    case ChunkedDecoder::Event::kDone:
      state_ = State::kBetween;
      return {Event::kEnd, step.consumed, {}, 0, ParseError::kNone};
    case ChunkedDecoder::Event::kBadChunk:
      return Fail(ParseError::kChunk, step.consumed);
    case ChunkedDecoder::Event::kBadTrailer:
      return Fail(ParseError::kTrailer, step.consumed);
    case ChunkedDecoder::Event::kTrailerTooLarge:
      return Fail(ParseError::kTrailerTooLarge, step.consumed);
  }
  if (chunks_.chunk_left() > body_room_) return Fail(ParseError::kBodyTooLarge, step.consumed);
  return {Event::kNeedMore, step.consumed, {}, 0, ParseError::kNone};
}

}  // namespace catzilla::http
