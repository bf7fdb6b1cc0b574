// Answers out of what an HTTP/1.1 server has sent, one event at a time, strictly.
//
//   kIdle --Begin()--> kHead --final head--> kBody / kChunks / kUntilClose --last byte--> kEnd
//                       | ^                   \--no body--------------------------------> kEnd
//                       \-/ 1xx           any --malformed--> kFailed, for good
//
// Feed it what was read; take one event; drop `consumed` bytes; ask again. Every final answer ends
// with kEnd, also one without a body; kEnd needs no input: ask again, even with nothing, while
// at_end(). What comes after kEnd, or without a request, is nobody's: kExcess.
//
// Refused: what is not HTTP/1.0 or 1.1; status lines and fields that are not as RFC 9112 has them
// (bare CR or LF, folded fields, spaces before the colon, control bytes); several or listed
// Content-Lengths; Content-Length with Transfer-Encoding; codings other than one chunked, or in
// 1.0; framing of a body in 1xx and 204; 101, unless the request was to switch. Trailers are
// checked, counted and dropped.
//
// Threads: its loop's.
// Owns:    the bytes of the head; the fields' names are lower-cased in them. head() is there until
//          the next kInformational, kHead or Begin().
// Limits:  ResponseLimits. A body has none: its reader's window bounds what is read.
// Fails:   with a reason; the connection must then be closed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/http/chunked_decoder.h"
#include "sidecar/http/field.h"

namespace catzilla::http {

struct ResponseLimits {
  uint32_t head_bytes_max = 64 * 1024;  // With status line and empty line; of each head.
  uint32_t fields_max = 200;
  uint32_t informational_max = 64;  // Interim answers before the final one.
};

// X(identifier, name for the log)
#define CATZILLA_RESPONSE_ERROR_LIST(X)              \
  X(kNone, "none")                                   \
  X(kStatusLine, "status_line")                      \
  X(kVersion, "version")                             \
  X(kStatus, "status")                               \
  X(kBareLineEnd, "bare_line_end")                   \
  X(kField, "field")                                 \
  X(kFolded, "folded_field")                         \
  X(kHeadTooLarge, "head_too_large")                 \
  X(kTooManyFields, "too_many_fields")               \
  X(kContentLength, "content_length")                \
  X(kTransferEncoding, "transfer_encoding")          \
  X(kAmbiguousLength, "ambiguous_length")            \
  X(kBodyNotAllowed, "body_not_allowed")             \
  X(kSwitchingProtocols, "switching_protocols")      \
  X(kTooManyInformational, "too_many_informational") \
  X(kChunk, "chunk")                                 \
  X(kTrailer, "trailer")                             \
  X(kExcess, "excess_bytes")                         \
  X(kClosedBeforeHead, "closed_before_head")         \
  X(kClosedInHead, "closed_in_head")                 \
  X(kClosedInBody, "closed_in_body")

enum class ResponseError : uint8_t {
#define CATZILLA_RESPONSE_ERROR_ENUM(identifier, name) identifier,
  CATZILLA_RESPONSE_ERROR_LIST(CATZILLA_RESPONSE_ERROR_ENUM)
#undef CATZILLA_RESPONSE_ERROR_ENUM
};
std::string_view NameOf(ResponseError error);

// What the head of an answer says.
struct ParsedResponse {
  uint16_t status = 0;
  uint8_t minor_version = 1;
  bool keep_alive = true;  // As far as its fields go; a body until close ends the connection too.
  bool has_length = false;
  uint64_t content_length = 0;
  std::vector<Field> fields;  // Names in lower case, in the server's order, duplicates kept.
};

class ResponseParser {
 public:
  enum class Event : uint8_t {
    kNeedMore,       // All of the input is consumed.
    kInformational,  // A 1xx: head() is there. The final answer is still to come.
    kHead,           // The final answer's.
    kBody,           // `body` is a part of the input.
    kEnd,            // The answer is complete.
    kError,          // `error` says why.
  };
  struct Step {
    Event event = Event::kNeedMore;
    size_t consumed = 0;
    std::string_view body;
    ResponseError error = ResponseError::kNone;
  };

  // The next answer is to a request, which was HEAD or not. REQUIRES: idle().
  // With `may_switch` a 101 is a final head, and what comes behind it is not HTTP's any more.
  void Begin(bool head_request, const ResponseLimits& limits, bool may_switch = false);
  Step Next(std::string_view input);
  // The server has closed its end, orderly, and all it has sent was fed: kEnd for a body until
  // close, else kError.
  Step Close();

  const ParsedResponse& head() const { return head_; }
  // No answer is awaited: what comes now is nobody's.
  bool idle() const { return state_ == State::kIdle; }
  // Next({}) gives kEnd.
  bool at_end() const { return state_ == State::kEnd; }
  // Not a byte of an answer has come.
  bool untouched() const { return state_ == State::kHead && bytes_.empty() && interim_ == 0; }
  // The connection can be used again once the answer has ended.
  bool reusable() const { return reusable_; }
  // The body has no other end than the connection's.
  bool ends_with_connection() const { return state_ == State::kUntilClose; }
  // Lets go of what large heads took.
  void Shrink();

 private:
  enum class State : uint8_t { kIdle, kHead, kBody, kChunks, kUntilClose, kEnd, kFailed };

  Step ParseHead(std::string_view input);
  ResponseError ReadHead();
  ResponseError ReadStatusLine(std::string_view line);
  ResponseError ReadField(char* line, size_t size);
  ResponseError ReadFraming();
  Step Fail(ResponseError error, size_t consumed);

  State state_ = State::kIdle;
  bool head_request_ = false;
  bool may_switch_ = false;
  bool reusable_ = false;
  bool last_was_cr_ = false;
  bool line_is_empty_ = false;  // Nothing of the line that is being read has come.
  bool head_shown_ = false;     // bytes_ is an interim answer's, for head() only.
  bool has_coding_ = false;
  bool close_ = false;
  bool stays_ = false;
  ResponseError error_ = ResponseError::kNone;
  uint32_t interim_ = 0;
  ResponseLimits limits_;
  uint64_t body_left_ = 0;
  ChunkedDecoder chunks_;
  std::string bytes_;  // The head's.
  ParsedResponse head_;
};

}  // namespace catzilla::http
