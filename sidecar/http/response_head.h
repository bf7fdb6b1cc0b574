// Response heads, written straight into the memory they are sent from.
//
// Threads: any; each object one at a time.
// Owns:    nothing: the caller's buffer.
// Limits:  the buffer. What does not fit is not written and `ok()` becomes false.
// Fails:   by leaving a field out that could split the response (CR, LF, NUL, other control bytes
//          in a value; a name that is no token): Field() returns false, the rest goes on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "sidecar/http/method.h"
#include "sidecar/http/status.h"

namespace catzilla::http {

class ResponseWriter {
 public:
  ResponseWriter(char* begin, size_t capacity)
      : begin_(begin), next_(begin), end_(begin + capacity) {}

  // "HTTP/1.1 200 OK\r\n"; always 1.1, whatever the client speaks (RFC 9110 section 6.2).
  void Status(uint16_t status);
  bool Field(std::string_view name, std::string_view value);
  void Field(std::string_view name, uint64_t value);
  // Complete lines with their CRLF, checked before (a file's prepared fields, a stored object's).
  void Lines(std::string_view lines) { Append(lines); }
  // "Date: …\r\n" with `date` as DateCache gives it.
  void Date(std::string_view date);
  // What the connection will do, as far as the client must be told: close for 1.1, keep-alive
  // for 1.0.
  void Connection(bool keep_alive, int minor_version);
  // The empty line. Returns ok().
  bool End() {
    Append("\r\n");
    return ok_;
  }

  bool ok() const { return ok_; }  // Everything fitted.
  size_t size() const { return static_cast<size_t>(next_ - begin_); }
  std::string_view bytes() const { return {begin_, size()}; }

 private:
  void Append(std::string_view text) {
    if (text.size() > static_cast<size_t>(end_ - next_)) {
      ok_ = false;
      end_ = next_;  // Nothing after it either: half a head is worse than none.
      return;
    }
    if (!text.empty()) std::memcpy(next_, text.data(), text.size());
    next_ += text.size();
  }

  char* const begin_;
  char* next_;
  char* end_;
  bool ok_ = true;
};

// Whether a field may be sent as it is.
bool IsSafeField(std::string_view name, std::string_view value);

// How the body of an answer to `method` in HTTP/1.`minor_version` is framed.
enum class ResponseFraming : uint8_t {
  kNone,     // HEAD, 1xx, 204, 304: no byte of a body may be sent.
  kLength,   // Content-Length.
  kChunked,  // Transfer-Encoding: chunked.
  kClose,    // HTTP/1.0 and no length: the end of the connection ends it.
};
// `length_known`: the whole body, or its length, is there when the head is written.
ResponseFraming FramingOf(Method method, int minor_version, uint16_t status, bool length_known);

// The 29 bytes of "Sun, 06 Nov 1994 08:49:37 GMT" for the current second, formatted once in it.
class DateCache {
 public:
  static constexpr size_t kBytes = 29;
  // `wall_s`: seconds since 1970.
  std::string_view Get(int64_t wall_s) {
    if (wall_s != second_) Format(wall_s);
    return {text_, kBytes};
  }

 private:
  void Format(int64_t wall_s);

  int64_t second_ = INT64_MIN;
  char text_[kBytes + 3];
};

// The chunked coding, for answers: size line, data, kChunkEnd; and kLastChunk at the end.
inline constexpr size_t kChunkHeadBytesMax = 18;  // 16 digits and CRLF.
inline constexpr std::string_view kChunkEnd = "\r\n";
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
// Writes the size line of a chunk and returns its length. REQUIRES: bytes > 0 (an empty chunk would
// end the body), `out` has kChunkHeadBytesMax bytes.
size_t WriteChunkHead(uint64_t bytes, char* out);

inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

}  // namespace catzilla::http
