// Requests out of a connection's bytes, one event at a time, strictly.
//
//   kBetween --first byte--> kHead --empty line--> kBody / kChunks --last byte--> kEnd --> kBetween
//                                 \--no body-------------------------------------------> kBetween
//   any --malformed--> kFailed, for good
//
// Feed it what was read; take one event; drop `consumed` bytes; ask again. A head without body is
// the whole request: no kEnd follows it. kEnd needs no input: ask again, even with nothing, while
// at_end().
//
// Refused with 400 besides what llhttp refuses: folded fields, bare CR or LF, control bytes,
// fragments and non-ASCII in the target, several Hosts, none in 1.1, several or listed
// Content-Lengths, Content-Length with Transfer-Encoding, Transfer-Encoding in 1.0 or not ending in
// chunked, chunk extensions past a bound. An absolute target wins over Host. Chunk extensions are
// skipped; trailers are checked, counted and dropped.
//
// Threads: its loop's.
// Owns:    nothing. The HeadBuffer is lent from Begin() until its request has been answered; while
//          it is between requests or in a body, the parser needs none.
// Limits:  HeadLimits; LimitBody().
// Fails:   with a status and a reason; the connection must then be closed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "sidecar/http/chunked_decoder.h"
#include "sidecar/http/request_head.h"

namespace catzilla::http {

struct HeadLimits {
  uint32_t request_line_bytes_max = 8 * 1024;  // 414; with its CRLF.
  uint32_t head_bytes_max = 32 * 1024;         // 431; with request line and empty line.
  uint32_t fields_max = 100;                   // 431; at most RequestHead::kFieldsMax count.
};

// X(identifier, status, name for the access log and for developers)
#define CATZILLA_PARSE_ERROR_LIST(X)                        \
  X(kNone, 0, "none")                                       \
  X(kSyntax, 400, "syntax")                                 \
  X(kTlsOnPlainPort, 400, "tls_on_plain_port")              \
  X(kRequestLine, 400, "request_line")                      \
  X(kTarget, 400, "target")                                 \
  X(kField, 400, "field")                                   \
  X(kHostMissing, 400, "host_missing")                      \
  X(kHostRepeated, 400, "host_repeated")                    \
  X(kHostInvalid, 400, "host_invalid")                      \
  X(kContentLength, 400, "content_length")                  \
  X(kTransferEncoding, 400, "transfer_encoding")            \
  X(kAmbiguousLength, 400, "ambiguous_length")              \
  X(kChunk, 400, "chunk")                                   \
  X(kTrailer, 400, "trailer")                               \
  X(kBodyTooLarge, 413, "body_too_large")                   \
  X(kRequestLineTooLong, 414, "request_line_too_long")      \
  X(kExpectation, 417, "expectation")                       \
  X(kHeadTooLarge, 431, "head_too_large")                   \
  X(kTooManyFields, 431, "too_many_fields")                 \
  X(kTrailerTooLarge, 431, "trailer_too_large")             \
  X(kMethodUnknown, 501, "method_unknown")                  \
  X(kConnectMethod, 501, "connect_method")                  \
  X(kTransferCodingUnknown, 501, "transfer_coding_unknown") \
  X(kVersion, 505, "version")                               \
  X(kHttp2Preface, 505, "http2_preface")

enum class ParseError : uint8_t {
#define CATZILLA_PARSE_ERROR_ENUM(identifier, status, name) identifier,
  CATZILLA_PARSE_ERROR_LIST(CATZILLA_PARSE_ERROR_ENUM)
#undef CATZILLA_PARSE_ERROR_ENUM
      kCount,  // Not an error.
};
uint16_t StatusOf(ParseError error);
std::string_view NameOf(ParseError error);

// One request's head and what parsing it takes. About 3 KiB, and the head's bytes if they were
// copied.
class HeadBuffer {
 public:
  HeadBuffer();
  RequestHead& head() { return head_; }
  const RequestHead& head() const { return head_; }

 private:
  friend class RequestParser;
  friend class HeadPool;

  RequestHead head_;
  HeadLimits limits_;
  bool in_value_ = false;  // The last span was a value, not a name.
  bool complete_ = false;
  bool method_done_ = false;              // llhttp has got the method, or one for it.
  bool line_done_ = false;                // The request line is known to be within its limit.
  ParseError error_ = ParseError::kNone;  // Found by a callback.
  alignas(8) std::byte llhttp_[128];      // An llhttp_t, in place; its header stays in the .cc.
};

// Keeps used buffers with a loop, so that an idle connection has none.
class HeadPool {
 public:
  explicit HeadPool(size_t kept_max = 256) : kept_max_(kept_max) {}
  std::unique_ptr<HeadBuffer> Take();
  void Give(std::unique_ptr<HeadBuffer> buffer);  // Null is allowed.

 private:
  const size_t kept_max_;
  std::vector<std::unique_ptr<HeadBuffer>> kept_;
};

class RequestParser {
 public:
  enum class Event : uint8_t {
    kNeedMore,  // All of the input is consumed.
    kHead,      // buffer->head() is there; look at it before the input goes away, or Pin() it.
    kBody,      // `body` is a part of the input.
    kEnd,       // The request is complete. Only after a head with body.
    kError,     // Answer `status` and close.
  };
  struct Step {
    Event event = Event::kNeedMore;
    size_t consumed = 0;  // Bytes of the input that are done with; set for every event.
    std::string_view body;
    uint16_t status = 0;  // For kError.
    ParseError error = ParseError::kNone;
  };

  // Lends a buffer for the next request. REQUIRES: between_requests(). `buffer` outlives its head's
  // parsing, and its head is used until the request has been answered.
  void Begin(HeadBuffer* buffer, const HeadLimits& limits);

  // REQUIRES: Begin() was called for the request that is being parsed.
  Step Next(std::string_view input);

  // The most bytes the body may have, known once the request is routed: to be called after kHead.
  // Passing it is 413. Until then there is no limit but that nothing is read without being asked
  // for.
  void LimitBody(uint64_t bytes_max);

  bool between_requests() const { return state_ == State::kBetween; }
  // A byte of the next head has come.
  bool started() const { return state_ == State::kHead; }
  // Next({}) gives kEnd.
  bool at_end() const { return state_ == State::kEnd; }
  bool failed() const { return state_ == State::kFailed; }
  // The head that is being parsed, or could not be, begins with HEAD: its answer has no body.
  bool is_head_request() const { return is_head_request_; }

 private:
  enum class State : uint8_t { kBetween, kHead, kBody, kChunks, kEnd, kFailed };

  struct Callbacks;  // llhttp's

  Step ParseHead(std::string_view input);
  // Gives llhttp the method, or one in its place if only the app can know it. False: its end has
  // not come.
  bool FeedMethod(size_t have, size_t* fed);
  Step ParseBody(std::string_view input);
  Step ParseChunks(std::string_view input);
  // How many bytes of an empty line before the request line to skip; sets error_.
  size_t SkipEmptyLine(std::string_view input);
  ParseError ErrorOf(int code, const char* stopped);
  Step Complete(size_t consumed);
  Step Fail(ParseError error, size_t consumed);

  State state_ = State::kBetween;
  uint8_t empty_line_ = 0;  // Bytes of a CRLF seen before the request line.
  bool is_head_request_ = false;
  ParseError error_ = ParseError::kNone;
  HeadBuffer* buffer_ = nullptr;
  uint64_t body_left_ = 0;           // kBody: of Content-Length.
  uint64_t body_room_ = UINT64_MAX;  // Until the body is too large.
  ChunkedDecoder chunks_;
};

static_assert(sizeof(RequestParser) <= 96, "an idle connection holds one");

}  // namespace catzilla::http
