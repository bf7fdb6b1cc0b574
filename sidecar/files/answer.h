// Which answer an entry gives to a request: 200, 206, 304, a redirect, 412, 416 or an error.
//
// Threads: any; pure, but for the random boundary of several parts. Nothing is allocated for 200
//          and 304, nor for the rest once `scratch` has grown (keep one per loop).
// Owns:    nothing. An Answer borrows from its entry and from `scratch`: copy its bytes, or take a
//          reference (base::Ref<base::Owner>), before the turn ends.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sidecar/base/clock.h"
#include "sidecar/files/entry.h"
#include "sidecar/http/range.h"
#include "sidecar/http/request_head.h"

namespace catzilla::files {

// A piece of a body with several parts: lines of ours, then bytes of the file.
struct AnswerPart {
  std::string_view lines;  // The delimiter and the part's fields, or the closing delimiter.
  std::string_view body;   // From memory...
  uint64_t offset = 0;     // ...or from the answer's `fd`.
  uint64_t file_bytes = 0;
};

// What answers are written in, for one turn each. The parts are not touched by answers that have
// none.
struct AnswerScratch {
  std::string text;
  std::array<AnswerPart, http::kRangesMax + 1> parts;  // One more: the closing delimiter.
};

struct Answer {
  uint16_t status = 0;

  // 200, 206, 304: status line and fields, each line ended by CRLF, and the empty line's CRLF right
  // behind the view. Whoever adds fields of its own puts them, then the CRLF, after `head`.
  // Empty for every other status: the caller writes its usual page for it, with `fields`.
  std::string_view head;
  uint32_t date_offset = 0;  // Where in `head` the 29 bytes of the date are to be written.
  std::string_view fields;   // A Location, Allow or Content-Range line with its CRLF, or nothing.

  // The body: bytes in memory, or a piece of an open file. Neither for HEAD.
  std::string_view body;
  bool contiguous = false;  // `head`, CRLF and `body` are one run: wire().
  int fd = -1;              // >= 0: sendfile from here; `entry` keeps it open.
  uint64_t offset = 0;
  uint64_t body_bytes = 0;  // From memory or from the file; with several parts, their lines too.
  // Not empty: the body is these, one behind the other, instead of `body` or the piece of the file.
  std::span<const AnswerPart> parts;
  Entry* entry = nullptr;  // What the bytes belong to.

  // Head, empty line, and the body if it is contiguous: what one copy sends.
  std::string_view wire() const {
    return {head.data(), head.size() + 2 + (contiguous ? body.size() : 0)};
  }
};

// The answer that needs no file: 204 to OPTIONS, 405 to what is not GET or HEAD, each with Allow.
// For GET and HEAD the status is 0: look the file up.
Answer RespondToMethod(http::Method method);

// Answers GET and HEAD from `entry`; `path` is the whole decoded path, for a redirect.
// Preconditions are judged in the order of RFC 9110 section 13.2.2, ranges of GET after them.
// HEAD gets GET's head, as if it had asked for no range. REQUIRES: the method is GET or HEAD.
Answer Respond(Entry& entry, const http::RequestHead& request, std::string_view path,
               const base::Now& now, AnswerScratch& scratch);

// 200 with all of it, whatever the request's method and conditions: for a file that answers in
// another's name. The body is left out for HEAD. REQUIRES: a file.
Answer RespondWhole(Entry& entry, const http::RequestHead& request);

// The entry's bytes as the page of an error: without validators, ranges or leave to be
// cached, for they are not what was asked for. REQUIRES: a file; GET or HEAD.
Answer RespondWithPage(Entry& entry, const http::RequestHead& request, uint16_t status,
                       std::string& scratch);

// "Location: …\r\n" for `path` with a slash behind it: escaped, on this host whatever the path
// says.
void AppendSlashLocation(std::string_view path, std::string_view query, std::string& out);

}  // namespace catzilla::files
