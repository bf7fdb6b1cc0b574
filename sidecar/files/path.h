// What may be asked of a mount: from the request's decoded path to a path under the root.
//
// Pure; any thread. The path was decoded once, by http/target, and is never decoded again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace catzilla::files {

enum class PathVerdict : uint8_t {
  kOk,
  kBad,      // 400: NUL, control bytes, backslash, dot segments that should not be here.
  kHidden,   // 404: a segment that begins with '.', but .well-known.
  kTooLong,  // 404: longer than any file name can be.
};

struct PathRules {
  bool hidden_files = false;
};

// The path under the mount with its leading slash: "/css/app.css"; "/" is the root, and "" is the
// root asked for without its slash ("/static" of a mount at "/static").
// REQUIRES: `prefix` is "/" or without a slash at its end, and matches at a segment's boundary.
std::string_view StripPrefix(std::string_view path, std::string_view prefix);

// Judges a relative path; the bytes beyond ASCII are opaque names.
PathVerdict JudgePath(std::string_view relative, const PathRules& rules);

// The status that a verdict other than kOk is answered with.
uint16_t StatusOf(PathVerdict verdict);

// A path without empty segments and leading slashes ("/a//b/" is "a/b/", as nginx reads it).
std::string CollapseSlashes(std::string_view relative);

// Bytes that a URL's path may carry as they are; the rest is %XX. '/' stays.
void AppendEscapedPath(std::string_view path, std::string& out);

}  // namespace catzilla::files
