// Paths and queries of request targets: percent-decoding, once; dot segments; form decoding exactly
// as Python's urllib does it, so that the app and the sidecar see the same request.
//
// Pure; any thread. Results are views into the argument when there was nothing to decode, else into
// the caller's scratch string. Allocates only when scratch must grow.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace catzilla::http {

// What a decoded path had in it that some of its readers must refuse.
enum PathFlag : uint8_t {
  kPathEncodedSlash = 1,  // %2F: the decoded '/' was not a separator for whoever wrote it.
  kPathBackslash = 2,     // '\' or %5C.
  kPathControl = 4,       // NUL, another control byte or DEL.
  kPathBadEscape = 8,     // A '%' without two hex digits; it was left as it is.
  kPathDotSegment = 16,   // A segment "." or "..", encoded or not.
  kPathNotUtf8 = 32,      // Its bytes are no UTF-8; see AppendReplacingInvalidUtf8().
};

struct DecodedPath {
  std::string_view path;
  uint8_t flags = 0;
};

// Decodes %XX once, to bytes. `raw` is RequestHead::path().
DecodedPath DecodePath(std::string_view raw, std::string& scratch);

// Whether a path may be looked up as a file; if not, the answer is 400. Dot segments may remain.
constexpr bool IsFitForFiles(uint8_t flags) {
  return (flags & (kPathEncodedSlash | kPathBackslash | kPathControl | kPathBadEscape)) == 0;
}

// RFC 3986 section 5.2.4 on a decoded path. False: it leads above the root (400). REQUIRES: begins
// with '/'. `result` is `path` itself if it has no dot segment, else in scratch.
bool RemoveDotSegments(std::string_view path, std::string& scratch, std::string_view* result);

// What uvicorn puts into scope["path"]: as bytes.decode("utf-8", "replace") does it.
void AppendReplacingInvalidUtf8(std::string_view bytes, std::string& out);
bool IsUtf8(std::string_view bytes);

// The pairs of a query as parse_qsl(query, keep_blank_values=True) finds them, still encoded.
class QueryPairs {
 public:
  explicit QueryPairs(std::string_view query) : rest_(query), more_(!query.empty()) {}
  bool Next(std::string_view* name, std::string_view* value);

 private:
  std::string_view rest_;
  bool more_;
};

// A name or value of the above as unquote(text.replace("+", " ")) gives it, in UTF-8. Bytes above
// ASCII that were not encoded are taken for Latin-1, as Starlette takes them.
std::string_view DecodeFormText(std::string_view encoded, std::string& scratch);

}  // namespace catzilla::http
