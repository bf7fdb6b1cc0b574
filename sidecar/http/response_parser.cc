#include "sidecar/http/response_parser.h"

#include <algorithm>

#include "sidecar/base/check.h"
#include "sidecar/http/header_id.h"
#include "sidecar/http/list.h"
#include "sidecar/http/text.h"

namespace catzilla::http {
namespace {

constexpr uint32_t kTrailerBytesMax = 16 * 1024;
constexpr size_t kBytesKept = 4 * 1024;

}  // namespace

std::string_view NameOf(ResponseError error) {
  static constexpr std::string_view kNames[] = {
#define CATZILLA_RESPONSE_ERROR_NAME(identifier, name) name,
      CATZILLA_RESPONSE_ERROR_LIST(CATZILLA_RESPONSE_ERROR_NAME)
#undef CATZILLA_RESPONSE_ERROR_NAME
  };
  return kNames[static_cast<size_t>(error)];
}

void ResponseParser::Begin(bool head_request, const ResponseLimits& limits, bool may_switch) {
  CATZILLA_CHECK(idle(), "an answer was begun before the one before it had ended");
  state_ = State::kHead;
  head_request_ = head_request;
  may_switch_ = may_switch;
  reusable_ = last_was_cr_ = head_shown_ = false;
  line_is_empty_ = true;
  interim_ = 0;
  limits_ = limits;
  bytes_.clear();
}

void ResponseParser::Shrink() {
  if (bytes_.capacity() <= kBytesKept) return;
  std::string().swap(bytes_);
  head_.fields.clear();
  head_.fields.shrink_to_fit();
}

ResponseParser::Step ResponseParser::Next(std::string_view input) {
  switch (state_) {
    case State::kIdle:
      return input.empty() ? Step{} : Fail(ResponseError::kExcess, 0);
    case State::kHead:
      return ParseHead(input);
    case State::kBody: {
      if (input.empty()) return {};
      const size_t bytes = static_cast<size_t>(std::min<uint64_t>(body_left_, input.size()));
      body_left_ -= bytes;
      if (body_left_ == 0) state_ = State::kEnd;
      return {Event::kBody, bytes, input.substr(0, bytes), ResponseError::kNone};
    }
    case State::kChunks: {
      const ChunkedDecoder::Step step = chunks_.Next(input);
      switch (step.event) {
        case ChunkedDecoder::Event::kNeedMore:
          return {Event::kNeedMore, step.consumed, {}, ResponseError::kNone};
        case ChunkedDecoder::Event::kData:
          return {Event::kBody, step.consumed, step.data, ResponseError::kNone};
        case ChunkedDecoder::Event::kDone:
          state_ = State::kIdle;
          return {Event::kEnd, step.consumed, {}, ResponseError::kNone};
        case ChunkedDecoder::Event::kBadChunk:
          return Fail(ResponseError::kChunk, step.consumed);
        case ChunkedDecoder::Event::kBadTrailer:
        case ChunkedDecoder::Event::kTrailerTooLarge:
          return Fail(ResponseError::kTrailer, step.consumed);
      }
      return Fail(ResponseError::kChunk, step.consumed);
    }
    case State::kUntilClose:
      if (input.empty()) return {};
      return {Event::kBody, input.size(), input, ResponseError::kNone};
    case State::kEnd:
      state_ = State::kIdle;
      return {Event::kEnd, 0, {}, ResponseError::kNone};
    case State::kFailed:
      break;
  }
  return {Event::kError, 0, {}, error_};
}

ResponseParser::Step ResponseParser::Close() {
  switch (state_) {
    case State::kUntilClose:
      state_ = State::kIdle;
      return {Event::kEnd, 0, {}, ResponseError::kNone};
    case State::kHead:
      return Fail(untouched() ? ResponseError::kClosedBeforeHead : ResponseError::kClosedInHead, 0);
    case State::kBody:
    case State::kChunks:
      return Fail(ResponseError::kClosedInBody, 0);
    case State::kIdle:
    case State::kEnd:
    case State::kFailed:
      break;
  }
  return Next({});
}

ResponseParser::Step ResponseParser::Fail(ResponseError error, size_t consumed) {
  state_ = State::kFailed;
  error_ = error;
  reusable_ = false;
  return {Event::kError, consumed, {}, error};
}

// The head is collected up to its empty line; what can be wrong without knowing the rest is
// refused at once, so that nobody waits for the end of what has none.
ResponseParser::Step ResponseParser::ParseHead(std::string_view input) {
  if (head_shown_ && !input.empty()) {
    head_shown_ = false;
    bytes_.clear();
  }
  for (size_t i = 0; i < input.size(); ++i) {
    const char c = input[i];
    if (bytes_.size() == limits_.head_bytes_max) return Fail(ResponseError::kHeadTooLarge, i);
    if (c == '\n' ? !last_was_cr_ : last_was_cr_) return Fail(ResponseError::kBareLineEnd, i);
    bytes_.push_back(c);
    if (c == '\r') {
      last_was_cr_ = true;
      continue;
    }
    if (c != '\n') {
      line_is_empty_ = false;
      if (!IsIn(c, kFieldChar)) {
        return Fail(bytes_.find('\n') == std::string::npos ? ResponseError::kStatusLine
                                                           : ResponseError::kField,
                    i);
      }
      continue;
    }
    last_was_cr_ = false;
    if (!line_is_empty_) {
      line_is_empty_ = true;
      continue;
    }
    if (const ResponseError error = ReadHead(); error != ResponseError::kNone) {
      return Fail(error, i + 1);
    }
    if (head_.status >= 200 || head_.status == 101)
      return {Event::kHead, i + 1, {}, ResponseError::kNone};
    if (interim_++ == limits_.informational_max) {
      return Fail(ResponseError::kTooManyInformational, i + 1);
    }
    return {Event::kInformational, i + 1, {}, ResponseError::kNone};
  }
  return {Event::kNeedMore, input.size(), {}, ResponseError::kNone};
}

ResponseError ResponseParser::ReadHead() {
  head_.fields.clear();
  head_.has_length = has_coding_ = close_ = stays_ = false;
  head_.content_length = 0;
  // Nothing is moved any more: the fields are views of it until the next head.
  size_t begin = bytes_.find("\r\n");
  ResponseError error = ReadStatusLine(std::string_view(bytes_).substr(0, begin));
  while (error == ResponseError::kNone) {
    begin += 2;
    const size_t end = bytes_.find("\r\n", begin);
    if (end == begin) break;
    error = ReadField(bytes_.data() + begin, end - begin);
    begin = end;
  }
  if (error == ResponseError::kNone) error = ReadFraming();
  if (error != ResponseError::kNone) return error;
  head_shown_ = head_.status < 200;
  return error;
}

ResponseError ResponseParser::ReadStatusLine(std::string_view line) {
  constexpr std::string_view kProtocol = "HTTP/";
  if (line.size() < 12 || line.substr(0, kProtocol.size()) != kProtocol ||
      !IsIn(line[5], kDigitChar) || line[6] != '.' || !IsIn(line[7], kDigitChar) ||
      line[8] != ' ') {
    return ResponseError::kStatusLine;
  }
  if (line[5] != '1' || line[7] > '1') return ResponseError::kVersion;
  head_.minor_version = static_cast<uint8_t>(line[7] - '0');
  uint64_t status = 0;
  if (!ParseDecimal(line.substr(9, 3), &status) || status < 100) return ResponseError::kStatus;
  // A reason is optional, and so, for many, is the space before none.
  if (line.size() > 12 && line[12] != ' ') return ResponseError::kStatus;
  head_.status = static_cast<uint16_t>(status);
  return ResponseError::kNone;
}

ResponseError ResponseParser::ReadField(char* line, size_t size) {
  if (head_.fields.size() == limits_.fields_max) return ResponseError::kTooManyFields;
  if (line[0] == ' ' || line[0] == '\t') return ResponseError::kFolded;
  const std::string_view text(line, size);
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || !IsToken(text.substr(0, colon))) {
    return ResponseError::kField;
  }
  std::transform(line, line + colon, line, ToLower);
  const Field field{text.substr(0, colon), Trim(text.substr(colon + 1))};
  switch (FindHeaderId(field.name)) {
    case HeaderId::kContentLength:
      if (head_.has_length || !ParseDecimal(field.value, &head_.content_length)) {
        return ResponseError::kContentLength;
      }
      head_.has_length = true;
      break;
    case HeaderId::kTransferEncoding:
      if (has_coding_ || !EqualsLower(field.value, "chunked")) {
        return ResponseError::kTransferEncoding;
      }
      has_coding_ = true;
      break;
    case HeaderId::kConnection:
      close_ = close_ || ListHas(field.value, "close");
      stays_ = stays_ || ListHas(field.value, "keep-alive");
      break;
    default:
      break;
  }
  head_.fields.push_back(field);
  return ResponseError::kNone;
}

// RFC 9112 section 6.3, without what it leaves to guessing.
ResponseError ResponseParser::ReadFraming() {
  const bool is_1_1 = head_.minor_version == 1;
  if (has_coding_ && head_.has_length) return ResponseError::kAmbiguousLength;
  if (has_coding_ && !is_1_1) return ResponseError::kTransferEncoding;
  if (head_.status == 101) {
    if (!may_switch_ || !is_1_1) return ResponseError::kSwitchingProtocols;
    state_ = State::kIdle;
  }
  if (head_.status < 200) {
    return has_coding_ || head_.has_length ? ResponseError::kBodyNotAllowed : ResponseError::kNone;
  }
  if (head_.status == 204 && (has_coding_ || head_.content_length > 0)) {
    return ResponseError::kBodyNotAllowed;
  }
  head_.keep_alive = !close_ && (is_1_1 || stays_);
  reusable_ = head_.keep_alive;
  if (head_request_ || head_.status == 204 || head_.status == 304) {
    state_ = State::kEnd;
  } else if (has_coding_) {
    chunks_.Reset(kTrailerBytesMax);
    state_ = State::kChunks;
  } else if (head_.has_length) {
    body_left_ = head_.content_length;
    state_ = body_left_ == 0 ? State::kEnd : State::kBody;
  } else {
    reusable_ = false;
    state_ = State::kUntilClose;
  }
  return ResponseError::kNone;
}

}  // namespace catzilla::http
